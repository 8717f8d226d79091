"""Cityscapes, from masks and from polygons: what is written comes out."""

import json

import numpy as np
import pytest
from drawn_rectangles import SPLITS, boxes, corners, imported
from PIL import Image

from keras_cacnet.datasets import Folder, read_example
from keras_cacnet.datasets.importing.cityscapes import _SCORED, CLASSES


def test_cityscapes(drawn, tmp_path):
    """Every label id is in the masks; the 19 that are scored become train ids, all else void."""
    train_id = np.full(256, 255, "uint8")
    for index, (label, _, _) in enumerate(_SCORED):
        train_id[label] = index
    root = tmp_path / "source"
    written = {}
    for number, (pixels, split) in enumerate(zip(drawn.images.values(), SPLITS, strict=True)):
        city = ("aachen", "bochum")[number % 2]
        frame = f"{city}_{number:06d}_000019"
        labels = np.random.default_rng(number).integers(0, 34, pixels.shape[:2]).astype("uint8")
        labels[0] = 255
        for part, name, content in (
            ("leftImg8bit", f"{frame}_leftImg8bit.png", pixels),
            ("gtFine", f"{frame}_gtFine_labelIds.png", labels if split != "test" else labels * 0),
            ("gtFine", f"{frame}_gtFine_color.png", pixels),
            ("gtFine", f"{frame}_gtFine_instanceIds.png", labels.astype("uint16") * 1000),
        ):
            path = root / part / split / city / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(content).save(path)
        if split != "test":
            written[f"{frame}_leftImg8bit"] = train_id[labels]
    report = imported(root, tmp_path / "out")
    assert (report.format, report.splits) == ("cityscapes", {"train": 6, "val": 2, "test": 2})
    assert report.classes.names[:3] == ("road", "sidewalk", "building")
    assert len(CLASSES) == 19
    data = Folder(tmp_path / "out")
    assert [e.mask for e in data.source("test")] == [None, None]
    for split in ("train", "val"):
        for example in data.source(split):
            np.testing.assert_array_equal(read_example(example, data.classes)[1], written[example.name])
    with pytest.raises(ValueError, match="cityscapes has classes of its own"):
        imported(root, tmp_path / "other", classes=["road"])
    with pytest.raises(ValueError, match="masks='ids' is for the formats voc, masks; cityscapes"):
        imported(root, tmp_path / "other", masks="ids")


def cityscapes_polygons(number, height):
    """A drawn mask as Cityscapes' polygons, whose corners are pixels; some are not drawn."""
    whole = [[0, 0], [69, 0], [69, height - 1], [0, height - 1]]
    sea, land = ([[x - (x == right), y - (y == bottom)] for x, y in corners((left, top, right, bottom))]
                 for left, top, right, bottom in boxes(number, height))  # fmt: skip
    shapes = [("sky", whole), ("road", sea), ("cargroup", land), ("license plate", whole)]
    objects = [{"label": label, "polygon": polygon} for label, polygon in shapes]
    objects += [{"label": "truck", "polygon": whole, "deleted": 1}]
    objects += [{"label": "ego vehicle", "polygon": [[0, 0], [69, 0], [69, 4], [0, 4]]}]
    return {"imgHeight": height, "imgWidth": 70, "objects": objects}


def test_cityscapes_from_polygons_alone(drawn, tmp_path):
    root = tmp_path / "source"
    written = {}
    for number, (pixels, drawn_mask) in enumerate(zip(drawn.images.values(), drawn.masks.values(), strict=True)):
        # Names of the tree's own: frames are numbered anew in every split, and the city has several words.
        frame = f"bad_homburg_v_d_h_{SPLITS[:number].count(SPLITS[number]):06d}_000019"
        for part in ("leftImg8bit", "gtFine"):
            (root / part / SPLITS[number] / "aachen").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / f"leftImg8bit/{SPLITS[number]}/aachen/{frame}_leftImg8bit.png")
        content = json.dumps(cityscapes_polygons(number, pixels.shape[0]))
        (root / f"gtFine/{SPLITS[number]}/aachen/{frame}_gtFine_polygons.json").write_text(content)
        mask = np.array([10, 0, 13], "uint8")[drawn_mask]
        mask[:5] = 255
        written[SPLITS[number], f"{frame}_leftImg8bit"] = mask
    report = imported(root, tmp_path / "out")
    assert (report.format, report.splits) == ("cityscapes", {"train": 6, "val": 2, "test": 2})
    assert "masks from gtFine (polygons)" in report.what
    data = Folder(tmp_path / "out")
    for split in ("train", "val"):
        for example in data.source(split):
            np.testing.assert_array_equal(
                read_example(example, data.classes)[1], written[split, example.name[example.name.index("bad_") :]]
            )
    faults = ('{"objects": [{"label": "cat", "polygon": [[0, 0], [1, 1]]}], "imgWidth": 9, "imgHeight": 9}', "{}")
    for number, content in enumerate(faults):
        (root / f"gtFine/train/aachen/bad_homburg_v_d_h_{number:06d}_000019_gtFine_polygons.json").write_text(content)
    report = imported(root, tmp_path / "faults")
    first, second, _ = (finding.message for finding in sorted(report.findings, key=lambda one: one.where))
    assert "label 'cat' is none of Cityscapes'" in first
    assert "no polygons of Cityscapes that can be read (KeyError: 'imgWidth')" in second
