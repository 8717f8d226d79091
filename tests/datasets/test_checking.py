"""Planted faults: each is found, named, and does not hide another."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from keras_cacnet.datasets import Folder, check_dataset, open_dataset, require_layout

COLORS = np.array([[90, 160, 220], [20, 60, 140], [90, 140, 60], [0, 0, 0]], "uint8")


def report_of(folder, **options):
    return check_dataset(open_dataset(folder.root), progress=False, **options)


def only(findings, folder):
    """Where (below the folder) and what, of the single finding."""
    [finding] = findings
    return finding.where.removeprefix(f"{folder.root}/"), finding.message


def layout_error(folder):
    with pytest.raises(ValueError, match="problem") as raised:
        require_layout(open_dataset(folder.root))
    return str(raised.value)


def test_nothing_wrong(folder):
    report = report_of(folder)
    assert report.ok
    assert report.findings == ()
    require_layout(open_dataset(folder.root))


def test_counts(folder):
    folder.image("train", "wide.png", np.zeros((100, 200, 3)))
    folder.mask("train", "wide.png", np.full((100, 200), 255))
    report = report_of(folder)
    train = report.splits["train"]
    assert (train.images, train.masks) == (4, 4)
    assert train.sizes == {(80, 70): 3, (200, 100): 1}
    assert train.extent(0) == (80, 80, 200)
    assert train.extent(1) == (70, 70, 100)
    masks = [np.asarray(Image.open(folder.root / "labels" / "train" / f"{i}.png")) for i in range(3)]
    for class_id in range(4):
        assert train.pixels[class_id] == sum((mask == class_id).sum() for mask in masks)
        assert train.images_with[class_id] == 3
    assert train.pixels[255] == 20_000
    numbers = report.to_json()["splits"]["train"]
    assert numbers["void"] == train.pixels[3] + 20_000
    assert numbers["pixels"]["land"] == train.pixels[2]
    assert numbers["unknown"] == 0
    assert (report.splits["test"].images, report.splits["test"].masks) == (1, 0)


def test_chosen_splits(folder):
    (folder.root / "images" / "val" / "0.jpg").write_bytes(b"")
    assert report_of(folder, splits=["train", "test"]).ok
    assert not report_of(folder, splits=["val"]).ok
    with pytest.raises(ValueError, match="no split 'dev'"):
        report_of(folder, splits=["dev"])


def plant_empty(folder):
    (folder.root / "images" / "train" / "1.jpg").write_bytes(b"")
    return "images/train/1.jpg", "the file is empty"


def plant_text(folder):
    (folder.root / "labels" / "train" / "1.png").write_text("id 0, mostly")
    return "labels/train/1.png", "not an image that can be read"


def plant_jpeg_mask(folder):
    folder.mask("train", "1.png", np.zeros((70, 80)), format="JPEG")
    return "labels/train/1.png", "a mask as JPEG does not keep its ids"


def plant_other_size(folder):
    folder.mask("train", "1.png", np.zeros((70, 79)))
    return "labels/train/1.png", "the mask is 79x70 pixels, the image"


def plant_turned(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    folder.image("train", "1.jpg", np.zeros((70, 80, 3)), exif=exif)
    return "labels/train/1.png", "turn the mask as the image is shown, by EXIF"


def plant_missing_mask(folder):
    (folder.root / "labels" / "train" / "1.png").unlink()
    return "labels/train/1.png", "missing: the mask of"


def plant_missing_image(folder):
    (folder.root / "images" / "train" / "1.jpg").unlink()
    return "labels/train/1.png", "no image:"


def plant_dangling_link(folder):
    path = folder.root / "images" / "train" / "1.jpg"
    path.unlink()
    path.symlink_to("gone.jpg")
    return "images/train/1.jpg", "no such file"


def plant_two_of_a_name(folder):
    folder.image("train", "1.jpeg", np.full((70, 80, 3), 9), format="JPEG")
    return "images/train/1.jpeg", "1.jpeg and 1.jpg have one name"


LAYOUT = [
    plant_empty,
    plant_text,
    plant_jpeg_mask,
    plant_other_size,
    plant_turned,
    plant_missing_mask,
    plant_missing_image,
    plant_dangling_link,
    plant_two_of_a_name,
]


@pytest.mark.parametrize("plant", LAYOUT)
def test_faults_of_the_layout(folder, plant):
    where, message = plant(folder)
    report = report_of(folder)
    found_where, found = only(report.errors, folder)
    assert found_where == where
    assert found.startswith(message) or message in found
    assert not report.ok
    text = layout_error(folder)
    assert text.startswith(f"{folder.root}: 1 problem:\n  {folder.root}/{where}: ")
    assert message in text


def plant_unknown_id(folder):
    folder.mask("val", "1.png", np.full((70, 80), 9))
    return "labels/val/1.png", "id 9 (5600 pixels) is not in the class table"


def plant_colours(folder):
    folder.mask("train", "1.png", np.full((70, 80, 3), 9))
    return "labels/train/1.png", "the mask has colours, and 9 9 9 (5600 pixels) is not in classes.txt; add them there"


def plant_truncated(folder):
    path = folder.root / "images" / "val" / "1.jpg"
    path.write_bytes(path.read_bytes()[:-900])
    return "images/val/1.jpg", "cannot be decoded"


@pytest.mark.parametrize("plant", [plant_unknown_id, plant_truncated, plant_colours])
def test_faults_of_the_pixels(folder, plant):
    where, message = plant(folder)
    found_where, found = only(report_of(folder).errors, folder)
    assert found_where == where
    assert message in found
    # Headers do not show them.
    require_layout(open_dataset(folder.root))


def test_adaptive_palettes_are_found(folder):
    """A coloured mask saved with a palette of its own: Pillow numbers the colours as it likes."""
    ids = np.full((70, 80), 3)
    ids[:20], ids[20:30] = 2, 1
    image = Image.fromarray(COLORS[ids]).quantize(3)
    folder.mask("val", "1.png", image)
    # Otherwise the test would show nothing.
    assert not np.array_equal(np.asarray(image), ids)
    where, message = only(report_of(folder).errors, folder)
    assert where == "labels/val/1.png"
    assert "in the colour of" in message
    assert "adaptive palette" in message


def test_faithful_palettes_are_not_suspected(folder):
    ids = np.arange(5600).reshape(70, 80) % 4
    image = Image.fromarray(ids.astype("uint8")).convert("P")
    for palette in (COLORS, COLORS[::-1] // 2):
        image.putpalette(palette.reshape(-1).tolist())
        folder.mask("train", "1.png", image)
        assert report_of(folder).ok


def test_all_faults_at_once(folder):
    for index, split in ((0, "train"), (1, "train"), (2, "train"), (0, "val")):
        (folder.root / "images" / split / f"{index}.jpg").write_bytes(b"x")
        folder.mask(split, f"{index}.png", np.full((70, 80), 77))
    report = report_of(folder)
    # The ids are one cause, and the images are four files of one fault.
    assert len(report.errors) == 5
    text = report.to_text(limit=1)
    assert "error: and 1 more" in text
    assert text.endswith("5 errors: training on this would be wrong.")
    assert "0.jpg, 1.jpg, 2.jpg, 0.jpg: not an image that can be read" in report.to_text()
    assert json.loads(json.dumps(report.to_json()))["ok"] is False
    assert layout_error(folder).startswith(f"{folder.root}: 4 problems:")


def test_a_missing_folder_of_masks_is_told_once(folder):
    shutil.rmtree(folder.root / "labels" / "train")
    assert only(report_of(folder).errors, folder)[0] == "labels/train"
    assert "1 problem:" in layout_error(folder)


def test_long_lists_are_cut_short(folder):
    for index in range(30):
        folder.image("train", f"lonely{index}.png", np.zeros((2, 2, 3)))
    text = layout_error(folder)
    assert text.startswith(f"{folder.root}: 30 problems:\n  {folder.root}/labels/train/lonely0.png, lonely1.png, ")
    assert "lonely13.png and 24 more: missing: the mask of" in text
    for number, name in enumerate(f"{'x' * index}.png" for index in range(1, 31)):
        folder.image("train", name, np.zeros((2, 2, 3)))
        folder.mask("train", name, np.zeros((2, 3 + number)))
    assert layout_error(folder).endswith("\n  and 11 more")


def test_split_without_masks_cannot_be_trained_on(folder):
    with pytest.raises(ValueError, match="this split has no masks; only prediction can use it"):
        require_layout(open_dataset(folder.root), ["test"])


@pytest.mark.parametrize("split", ["train", "val"])
def test_empty_split(folder, split):
    for part in ("images", "labels"):
        shutil.rmtree(folder.root / part / split)
        (folder.root / part / split).mkdir()
    assert only(report_of(folder).errors, folder)[0] == f"images/{split}"
    assert "no images" in layout_error(folder)


def test_missing_splits(folder):
    for part in ("images", "labels"):
        (folder.root / part / "val").rename(folder.root / part / "valid")
    report = report_of(folder)
    assert report.ok
    assert "no val split to choose by and score; found train, test, valid." in only(report.warnings, folder)[1]
    for part in ("images", "labels"):
        (folder.root / part / "train").rename(folder.root / part / "training")
    assert "no train split; found test, training, valid." in only(report_of(folder).errors, folder)[1]


def test_one_file_in_two_splits(folder):
    shutil.copy(folder.root / "images" / "train" / "2.jpg", folder.root / "images" / "val" / "1.jpg")
    report = report_of(folder)
    assert report.ok
    where, message = only(report.warnings, folder)
    assert where == "images/train/2.jpg"
    assert message == f"in val too, the same file: {folder.root}/images/val/1.jpg."
    assert require_layout(open_dataset(folder.root)) == report.warnings
    # Of one length, and not the same.
    path = folder.root / "images" / "val" / "1.jpg"
    path.write_bytes(path.read_bytes()[:-3] + b"x" + path.read_bytes()[-2:])
    assert require_layout(open_dataset(folder.root)) == ()


def test_one_file_twice_in_a_split(folder):
    shutil.copy(folder.root / "images" / "train" / "2.jpg", folder.root / "images" / "train" / "1.jpg")
    [finding] = report_of(folder).findings
    assert (finding.level, finding.message[:30]) == ("note", "is there twice, the same file:")


def test_classes_that_never_occur(folder):
    text = (folder.root / "classes.txt").read_text() + "7 ship 1 2 3\n"
    (folder.root / "classes.txt").write_text(text)
    report = report_of(folder)
    assert report.ok
    assert only(report.warnings, folder) == ("train", "'ship' never occurs: it cannot be learnt.")
    assert "note: val: 'ship' never occurs: it has no score." in report.to_text()


def test_one_class_and_void(folder):
    (folder.root / "classes.txt").write_text("0 all 1 2 3\n1 void 0 0 0\n2 void 0 0 0\n3 void 0 0 0\n")
    assert "only one class" in only(report_of(folder).warnings, folder)[1]


def test_mask_of_void_alone(folder):
    folder.mask("train", "1.png", np.full((70, 80), 3))
    assert only(report_of(folder).warnings, folder)[1].startswith("all void")


def test_small_and_turned_images_are_noted(folder):
    exif = Image.Exif()
    exif[0x0112] = 8
    folder.image("train", "1.jpg", np.zeros((70, 40, 3)), exif=exif)
    folder.mask("train", "1.png", np.arange(2800).reshape(40, 70) % 3)
    report = report_of(folder)
    assert report.ok
    notes = [finding.message for finding in report.findings]
    assert notes == [
        f"EXIF turns {folder.root}/images/train/1.jpg; masks have to be turned too.",
        f"a side below 64 pixels: {folder.root}/images/train/1.jpg.",
    ]


def test_names_that_the_terminal_cannot_say(folder):
    """A Chinese name, and one that is no text at all, on a terminal of Windows: the report is whole."""
    names = ("\u4e2d", "\udcff")
    for name in names:
        folder.image("train", f"{name}.png", np.zeros((70, 80, 3)))
    command = [sys.executable, "-m", "keras_cacnet", "check", "--data", str(folder.root)]
    done = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "cp1252"}, check=False)
    assert done.returncode == 1, done.stderr
    printed = done.stdout.decode("cp1252").splitlines()
    errors = [line for line in printed if line.startswith("error")]
    assert len(errors) == 2
    for name, error in zip(names, errors, strict=True):
        assert f"{ascii(name)[1:-1]}.png: missing: the mask of" in error
    assert printed[-1] == "2 errors: training on this would be wrong."


def test_each_finding_is_one_line(folder):
    folder.image("train", "two\nlines.png", np.zeros((70, 80, 3)))
    text = report_of(folder).to_text()
    assert len([line for line in text.splitlines() if line.startswith("error")]) == 1
    assert "two lines.png: missing: the mask of" in text


def test_text_and_progress(folder, capsys):
    text = check_dataset(Folder(folder.root)).to_text()
    assert capsys.readouterr().out == "reading: 6 of 6 files\n"
    assert "train              3       3  80" in text
    assert "Nothing found that would make training wrong." in text
    assert "void" in text


def test_camvid(shared_data):
    report = check_dataset(open_dataset(shared_data / "camvid"), progress=False)
    assert report.ok
    assert report.findings == ()
    assert report.splits["train"].sizes == {(480, 360): 367}
    # Void of the whole training set, counted with NumPy and Pillow alone.
    paths = sorted((shared_data / "camvid" / "labels" / "train").iterdir())
    void = sum(int((np.asarray(Image.open(path)) == 11).sum()) for path in paths)
    assert report.to_json()["splits"]["train"]["void"] == void


@pytest.mark.parametrize(("highest", "is_black"), [(0, True), (1, True), (2, False)])
def test_images_that_were_divided_by_255(folder, highest, is_black):
    for name in ("1", "2"):
        (folder.root / "images" / "train" / f"{name}.jpg").unlink()
    black = np.zeros((70, 80, 3))
    black[0] = highest
    first = folder.image("train", "1.png", black)
    # One of three may be a photograph by night, two may not.
    folder.image("train", "2.png", 255 - black)
    assert report_of(folder).findings == ()
    folder.image("train", "2.png", black, optimize=True)  # another file
    where = f"2 images, {first} the first"
    text = f"warning: train: {where}: no value above 1. Were the images divided by 255? They have to be in 0..255."
    assert list(map(str, report_of(folder).findings)) == ([text] if is_black else [])


def test_one_training_image(folder):
    for split, name in (("train", "1"), ("train", "2"), ("val", "1")):
        (folder.root / "images" / split / f"{name}.jpg").unlink()
        (folder.root / "labels" / split / f"{name}.png").unlink()
    where, message = only(report_of(folder).findings, folder)
    assert (where, message[:51]) == ("train", "1 image, and the pooled branch needs 2: add images,")
