"""Cityscapes, COCO, LabelMe and YOLO: each set is written from drawn masks, and comes out as them.

The masks are rectangles whose corners are corners of pixels, so that polygons draw them exactly.
"""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as run_lengths

from keras_cacnet.datasets import Folder, check_dataset, import_folder, read_example
from keras_cacnet.datasets.importing.cityscapes import _SCORED, CLASSES

SPLITS = ("train",) * 6 + ("val",) * 2 + ("test",) * 2
NAMES = ("background", "sea", "land")


def imported(source, output, **options):
    return import_folder(source, output, progress=False, **options)


def boxes(number, height):
    """Left, top, right and bottom of the two classes of a drawn mask; the second lies over the first."""
    return (10, 20, 40, height), (30, 30 + number, 60, height)


def corners(box):
    left, top, right, bottom = box
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def masks_of(folder):
    data = Folder(folder)
    return {e.name: read_example(e, data.classes)[1] for split in data.splits for e in data.source(split)}


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
