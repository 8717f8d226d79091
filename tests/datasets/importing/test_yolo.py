"""YOLO polygons: a set is written from drawn masks, and comes out as them."""

import numpy as np
import pytest
from drawn_rectangles import NAMES, SPLITS, boxes, corners, imported, masks_of
from PIL import Image


@pytest.mark.parametrize("layout", ["{}/{}", "{1}/{0}"])
def test_yolo(drawn, assert_imported, tmp_path, layout):
    root = tmp_path / "source"
    for number, (name, pixels) in enumerate(drawn.images.items()):
        split = {"val": "valid"}.get(SPLITS[number], SPLITS[number])
        image, text = (root / layout.format(part, split) / name for part in ("images", "labels"))
        for path in (image, text):
            path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(image.with_suffix(".jpg"))
        height, width = pixels.shape[:2]
        shares = [(np.array(corners(box)) / (width, height)).ravel().tolist() for box in boxes(number, height)]
        rows = [" ".join(map(repr, [label, *values])) for label, values in enumerate(shares)]
        text.with_suffix(".txt").write_text("\n".join(rows))
    (root / "data.yaml").write_text(
        "path: /home/else/datasets/sea\ntrain: ../train/images\nval: ../valid/images\nnames:\n  0: sea\n  1: land\n"
    )
    report = imported(root, tmp_path / "out")
    assert (report.format, report.splits) == ("yolo", {"train": 6, "val": 2, "test": 2})
    assert (report.classes.names, report.findings) == (NAMES, ())
    assert_imported(tmp_path / "out")


def test_yolo_splits_by_its_file_boxes_and_bare_images(drawn, tmp_path):
    root = tmp_path / "source"
    drawn.write_images(root / "images")
    (root / "labels").mkdir()
    for number, name in enumerate(drawn.images):
        if number:
            (root / "labels" / f"{name}.txt").write_text("0 0 0 1 0 1 1 0 1\n" + "1 0.5 0.5 0.1 0.1\n" * (number == 2))
    (root / "labels" / "scene_3.txt").write_text("0 0 0 1 0 1 1 0 1\n0 3 4 5 6 7 8\n1 0 0 1\nsea 0 0 1 1 0 1\n")
    (root / "data.yaml").write_text("names: [sea, land]\ntrain: auto_train.txt\nval: ./auto_val.txt\n")
    (root / "auto_train.txt").write_text("\n".join(f"./images/scene_{i}.jpg" for i in range(8)))
    (root / "auto_val.txt").write_text("\n".join(f"./images/scene_{i}.jpg" for i in (8, 9)))
    report = imported(root, tmp_path / "out")
    assert report.splits == {"train": 8, "val": 2}
    assert [(finding.where.rsplit("/", 1)[-1], finding.message) for finding in report.findings] == [
        ("scene_2.txt", "lines with a box, and not a polygon, are left out."),
        ("scene_3.txt", "lines with coordinates that are not relative, in 0..1, are left out."),
        ("scene_3.txt", "lines with an odd number of coordinates, or fewer than 3 corners, are left out."),
        ("scene_3.txt", "line 4 is no class with numbers: left out."),
        ("images", "1 have no label file: all background."),
    ]
    masks = masks_of(tmp_path / "out")
    assert not masks["scene_0"].any()
    assert all((masks[f"scene_{i}"] == 1).all() for i in range(1, 10))
    (root / "labels" / "scene_4.txt").write_text("5 0 0 1 0 1 1\n")
    with pytest.raises(ValueError, match="labels have class 5, and the names go to 1: sea, land"):
        imported(root, tmp_path / "more")


def test_boxes_are_not_enough(drawn, tmp_path):
    root = tmp_path / "source"
    drawn.write_images(root / "images")
    (root / "labels").mkdir()
    for name in drawn.images:
        (root / "labels" / f"{name}.txt").write_text("0 0.5 0.5 0.2 0.2\n1 0.4 0.4 0.1 0.1\n")
    with pytest.raises(ValueError, match="no polygon in 10 label files .boxes are not enough"):
        imported(root, tmp_path / "out")
    # With masks beside them the boxes do not matter.
    drawn.write_masks(root / "masks")
    assert imported(root, tmp_path / "out").format == "masks"
