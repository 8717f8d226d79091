"""LabelMe: a set is written from drawn masks, and comes out as them."""

import base64
import io
import json

import numpy as np
from drawn_rectangles import boxes, corners, imported, masks_of
from PIL import Image


def labelme(drawn, number, name):
    height, width = drawn.images[name].shape[:2]
    sea, land = boxes(number, height)
    shape = {
        0: {"label": "land", "shape_type": "polygon", "points": corners(land)},
        1: {"label": "land", "shape_type": "rectangle", "points": [land[2:], land[:2]]},
        2: {"label": "land", "shape_type": "mask", "points": [land[:2], land[2:]]},
    }[number % 3]
    if number % 3 == 2:
        stream = io.BytesIO()
        Image.fromarray(np.ones((land[3] - land[1], land[2] - land[0]), bool)).save(stream, "PNG")
        shape["mask"] = base64.b64encode(stream.getvalue()).decode()
    shapes = [{"label": "sea", "points": corners(sea)}, shape]
    return {"version": "5.4", "shapes": shapes, "imagePath": f"{name}.jpg", "imageHeight": height, "imageWidth": width}


def test_labelme(drawn, assert_imported, tmp_path):
    root = tmp_path / "source"
    drawn.write_images(root)
    for number, name in enumerate(drawn.images):
        (root / f"{name}.json").write_text(json.dumps(labelme(drawn, number, name)))
    # sorted: land, sea
    report = imported(root, tmp_path / "out")
    assert (report.format, report.findings) == ("labelme", ())
    assert report.classes.names == ("background", "land", "sea")
    assert_imported(tmp_path / "out", index_of=(0, 2, 1))
    (root / "labels.txt").write_text("__ignore__\n_background_\nsea\nland\n")
    report = imported(root, tmp_path / "listed")
    assert report.classes.names == ("_background_", "sea", "land")
    assert_imported(tmp_path / "listed")


def test_labelme_images_inside_void_and_faults(drawn, tmp_path):
    root = tmp_path / "source"
    root.mkdir()
    for number, name in enumerate(("scene_0", "scene_1", "scene_2", "scene_3")):
        content = labelme(drawn, number, name)
        if number == 0:
            stream = io.BytesIO()
            Image.fromarray(drawn.images[name]).save(stream, "PNG")
            content["imageData"] = base64.b64encode(stream.getvalue()).decode()
        elif number < 3:
            Image.fromarray(drawn.images[name]).save(root / f"{name}.jpg")
        if number == 1:
            content["shapes"] += [
                {"label": "__ignore__", "shape_type": "circle", "points": [[20.0, 10.0], [25.0, 10.0]]},
                {"label": "sea", "shape_type": "line", "points": [[1, 1], [2, 2]]},
            ]
        (root / f"{name}.json").write_text(json.dumps(content))
    Image.new("RGB", (70, 64)).save(root / "unlabelled.jpg")
    report = imported(root, tmp_path / "out", split=(0.5, 0.5))
    said = {finding.where.rsplit("/", 1)[-1]: finding.message for finding in report.findings}
    assert said == {
        "scene_1.json": "shapes of type line have no area and are left out.",
        "scene_3.json": "left out: there is no image scene_3.jpg, and none in it.",
        "unlabelled.jpg": "left out: no annotation names it.",
    }
    masks = masks_of(tmp_path / "out")
    np.testing.assert_array_equal(masks["scene_0"], np.array([0, 2, 1])[drawn.masks["scene_0"]])
    y, x = np.mgrid[:65, :70] + 0.5
    circle = (x - 20) ** 2 + (y - 10) ** 2 < 25
    np.testing.assert_array_equal(masks["scene_1"] == 255, circle)
