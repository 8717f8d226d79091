"""COCO's panoptic sets: drawn masks are cut into segments, and come out as they were."""

import json

import numpy as np
import pytest
from drawn_rectangles import SPLITS, imported, masks_of
from PIL import Image


def test_coco_panoptic(drawn, assert_imported, tmp_path):
    """Every mask is cut into segments of random numbers; images are PNG, with the names of the PNG of segments."""
    root = tmp_path / "source"
    for split in ("train", "val"):
        images, annotations = [], []
        for number, (name, pixels) in enumerate(drawn.images.items()):
            if SPLITS[number] != split:
                continue
            for folder in (root / f"{split}2017", root / "annotations" / f"panoptic_{split}2017"):
                folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(root / f"{split}2017" / f"{name}.png")
            rng = np.random.default_rng(number)
            numbers = rng.choice(2**24 - 1, 6, replace=False).reshape(3, 2) + 1
            # Each class has two segments, of odd and of even columns.
            mask = drawn.masks[name]
            segment = numbers[mask, np.arange(70)[None] % 2]
            rgb = np.stack([segment % 256, segment // 256 % 256, segment // 65536], -1).astype("uint8")
            Image.fromarray(rgb).save(root / "annotations" / f"panoptic_{split}2017" / f"{name}.png")
            about = [
                {"id": int(numbers[index, part]), "category_id": (3, 7, 200)[index]}
                for index in range(3)
                for part in range(2)
            ]
            images.append({"id": number, "file_name": f"{name}.png", "height": mask.shape[0], "width": 70})
            annotations.append({"image_id": number, "file_name": f"{name}.png", "segments_info": about})
        categories = [{"id": i, "name": n, "isthing": 0} for i, n in ((200, "land"), (3, "sky"), (7, "sea"))]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / "annotations" / f"panoptic_{split}2017.json").write_text(json.dumps(content))
    report = imported(root, tmp_path / "out")
    assert (report.format, report.splits, report.findings) == ("coco_panoptic", {"train": 6, "val": 2}, ())
    assert report.what.endswith("48 segments")
    # Everything is covered, so that there is no background; a pixel of no segment would be void.
    assert (report.classes.names, report.classes.ids) == (("sky", "sea", "land"), (1, 2, 3))
    assert_imported(tmp_path / "out", count=8)
    path = root / "annotations" / "panoptic_train2017" / "scene_0.png"
    segments = np.array(Image.open(path))
    segments[:4] = 0
    Image.fromarray(segments).save(path)
    strange = root / "annotations" / "panoptic_train2017" / "scene_1.png"
    Image.fromarray(np.full((65, 70, 3), 9, "uint8")).save(strange)
    (root / "annotations" / "panoptic_train2017" / "scene_2.png").unlink()
    report = imported(root, tmp_path / "void", classes=["sea"])
    masks = masks_of(tmp_path / "void")
    expected = np.array([0, 1, 0], "uint8")[drawn.masks["scene_0"]]
    expected[:4] = 255
    np.testing.assert_array_equal(masks["scene_0"], expected)
    messages = " ".join(finding.message for finding in report.findings)
    assert "scene_1.png: segment 592137 is not in the JSON file's segments_info" in messages
    assert "left out: it has no PNG of segments in panoptic_train2017." in messages
    # Instances beside them come first.
    (root / "annotations" / "instances_train2017.json").write_text(
        '{"images": [], "annotations": [], "categories": [{"id": 1, "name": "sea"}]}'
    )
    with pytest.raises(ValueError, match=r"instances_train2017\.json: no annotation has an outline"):
        imported(root, tmp_path / "instances")
    report = imported(root, tmp_path / "panoptic", format="coco_panoptic")
    assert report.splits == {"train": 4, "val": 2}
