"""COCO: a set is written from drawn masks, and comes out as them."""

import json

import numpy as np
import pytest
from drawn_rectangles import NAMES, SPLITS, boxes, corners, imported, masks_of
from PIL import Image
from pycocotools import mask as run_lengths

from keras_cacnet.datasets import Folder, check_dataset


def coco(drawn, split):
    """Polygons, compressed and plain run lengths in turn; ids with gaps; the second class's annotation comes last."""
    images, annotations = [], []
    for number, (name, pixels) in enumerate(drawn.images.items()):
        if SPLITS[number] != split:
            continue
        height, width = pixels.shape[:2]
        images.append({"id": number, "file_name": f"{name}.jpg", "height": height, "width": width})
        for category, box in zip((3, 7), boxes(number, height), strict=True):
            inside = np.zeros((height, width), "uint8")
            inside[box[1] : box[3], box[0] : box[2]] = 1
            flat = inside.ravel(order="F")
            runs = np.flatnonzero(np.diff(np.concatenate([[0], flat, [0]])))
            counts = np.diff(np.concatenate([[0], runs, [flat.size]])).tolist()
            encoded = run_lengths.encode(np.asfortranarray(inside))
            outline = (
                [[float(value) for corner in corners(box) for value in corner]],
                {"counts": encoded["counts"].decode(), "size": [height, width]},
                {"counts": counts, "size": [height, width]},
            )[number % 3]
            about = {"id": len(annotations), "image_id": number, "category_id": category, "iscrowd": 0}
            annotations.append({**about, "segmentation": outline})
    categories = [{"id": 3, "name": "sea", "supercategory": "water"}, {"id": 7, "name": "land"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def write_coco(drawn, root):
    (root / "annotations").mkdir(parents=True)
    for split in ("train", "val"):
        drawn.write_images(root / f"{split}2017") if split == "train" else None
        (root / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(coco(drawn, split)))
    (root / "annotations" / "captions_train2017.json").write_text('{"images": [], "annotations": [{"caption": "a"}]}')
    for path in sorted((root / "train2017").iterdir()):
        if SPLITS[int(path.stem[-1])] != "train":
            target = root / "val2017" / path.name
            target.parent.mkdir(exist_ok=True)
            path.rename(target)


def test_coco(drawn, assert_imported, tmp_path):
    write_coco(drawn, tmp_path / "source")
    report = imported(tmp_path / "source", tmp_path / "out")
    assert (report.format, report.splits, report.findings) == ("coco", {"train": 6, "val": 2}, ())
    assert report.classes.names == NAMES
    assert_imported(tmp_path / "out", count=8)
    # Annotations that cover everything: there is no background, and the ids stay.
    path = tmp_path / "source" / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    (tmp_path / "source" / "annotations" / "instances_val2017.json").unlink()
    for image in content["images"]:
        whole = [[0.0, 0.0, 70.0, 0.0, 70.0, 65.0, 0.0, 65.0]]
        content["annotations"].insert(0, {"image_id": image["id"], "category_id": 7, "segmentation": whole})
    path.write_text(json.dumps(content))
    report = imported(tmp_path / "source", tmp_path / "covered")
    assert (report.classes.names, report.classes.ids) == (("sea", "land"), (1, 2))
    assert check_dataset(Folder(tmp_path / "covered"), progress=False).ok
    # Listed the other way round, and from one file beside its images, as Roboflow has them.
    flat = tmp_path / "flat"
    drawn.write_images(flat)
    content = coco(drawn, "train")
    content["categories"].insert(0, {"id": 0, "name": "water", "supercategory": "none"})
    (flat / "_annotations.coco.json").write_text(json.dumps(content))
    report = imported(flat, tmp_path / "turned", classes=["land", "sea"], split=(0.5, 0.5))
    assert report.classes.names == ("background", "land", "sea")
    assert_imported(tmp_path / "turned", count=6, index_of=(0, 2, 1))


def test_coco_overlaps_crowds_and_faults(drawn, tmp_path):
    root = tmp_path / "source"
    write_coco(drawn, root)
    path = root / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    whole = [[0.0, 0.0, 70.0, 0.0, 70.0, 64.0, 0.0, 64.0]]
    # A crowd comes first wherever it is in the file; its outline is coarse.
    extra = {"image_id": 0, "category_id": 7, "iscrowd": 1, "segmentation": {"counts": [0, 64 * 70], "size": [64, 70]}}
    content["annotations"] += [
        extra,
        {"image_id": 2, "category_id": 3, "segmentation": []},
        {"image_id": 2, "category_id": 3, "segmentation": [[1.0, 2.0, 3.0, 4.0]]},
        {"image_id": 2, "category_id": 9, "segmentation": whole},
        {"image_id": 4, "category_id": 3, "segmentation": whole},
    ]
    content["images"] += [{"id": 99, "file_name": "gone.jpg", "height": 9, "width": 9}]
    path.write_text(json.dumps(content))
    report = imported(root, tmp_path / "out")
    messages = [finding.message for finding in report.findings]
    assert messages == [
        "annotations without an outline (boxes only) are left out.",
        "annotations with polygons of fewer than 3 points are left out.",
        "annotations of category 9, which is not in the file's list, are left out.",
        "left out: annotations/instances_train2017.json names it, and it is not there.",
    ]
    masks = masks_of(tmp_path / "out")
    expected = drawn.masks["scene_0"]
    np.testing.assert_array_equal(masks["scene_0"], np.where(expected == 0, 2, expected))
    # The last annotation lies on top.
    assert (masks["scene_4"] == 1).all()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "all.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="14 annotations, and none of their images; warning: .*: annotations without"):
        imported(tmp_path / "elsewhere", tmp_path / "nothing")
    path.write_text("{" + path.read_text()[1:-20])
    with pytest.raises(ValueError, match="instances_train2017.json: not JSON that can be read"):
        imported(root, tmp_path / "broken")


def test_outlines_are_of_the_image_as_it_is_stored_or_shown(drawn, tmp_path):
    """COCO gives height and width: where they are those of the file before EXIF turns it, the mask turns as well."""
    root = tmp_path / "source"
    root.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    content = coco(drawn, "train")
    for number, (name, pixels) in enumerate(drawn.images.items()):
        if SPLITS[number] == "train":
            stored = pixels if number % 2 else np.rot90(pixels)
            Image.fromarray(np.ascontiguousarray(stored)).save(root / f"{name}.jpg", exif=exif)
    (root / "all.json").write_text(json.dumps(content))
    report = imported(root, tmp_path / "out", split=(0.5, 0.5))
    assert len(report.findings) == 3
    masks = masks_of(tmp_path / "out")
    for number, (name, mask) in enumerate(drawn.masks.items()):
        if SPLITS[number] == "train":
            np.testing.assert_array_equal(masks[name], np.rot90(mask, -1) if number % 2 else mask)
