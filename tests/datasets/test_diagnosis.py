"""Whole splits that are wrong in one way: one cause, first, with the command that mends it, and the command does."""

import re
import shlex
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from keras_cacnet.cli import main
from keras_cacnet.datasets import (
    check_dataset,
    import_folder,
    open_dataset,
    read_example,
    require_labels,
    require_layout,
)

COLORS = np.array([[90, 160, 220], [20, 60, 140], [90, 140, 60], [0, 0, 0]], "uint8")


@pytest.fixture
def expected(folder):
    data = open_dataset(folder.root)
    return masks_of(data)


def change(folder, convert):
    for path in sorted((folder.root / "labels").rglob("*.png")):
        Image.fromarray(convert(np.asarray(Image.open(path)))).save(path)
    return open_dataset(folder.root)


def only_error(data):
    report = check_dataset(data, progress=False)
    (error,) = report.errors
    assert report.warnings == ()
    assert sum(line.startswith("error: ") for line in report.to_text().splitlines()) == 1
    return error.message


def run_command(message, target, *more):
    """Run the command that a message has between backticks."""
    words = shlex.split(re.search("`(keras-cacnet [^`]*)`", message)[1])
    assert main([str(target) if word == "NEW_FOLDER" else word for word in [*words[1:], *more]]) == 0
    data = open_dataset(target)
    assert check_dataset(data, progress=False).ok
    return data


def masks_of(data):
    return [read_example(e, data.classes)[1] for split in ("train", "val") for e in data.source(split)]


def test_masks_with_an_ending(folder, expected, tmp_path):
    for path in sorted((folder.root / "labels").rglob("*.png")):
        path.rename(path.with_name(f"{path.stem}_mask.png"))
    data = open_dataset(folder.root)
    message = only_error(data)
    assert message.startswith("5 masks have another name or format, such as 1_mask.png where 1.png is expected.")
    with pytest.raises(ValueError, match="1 problem:\n  .*labels: 5 masks have another name or format"):
        require_layout(data)
    mended = run_command(message, tmp_path / "new")
    # classes.txt says void of id 3, so masks come out as they were.
    assert Counter(map(bytes, masks_of(mended))) == Counter(map(bytes, expected))


@pytest.mark.parametrize("suffix", [".bmp", ".TIF"])
def test_masks_of_another_format(folder, expected, tmp_path, suffix):
    for path in sorted((folder.root / "labels").rglob("*.png")):
        Image.open(path).save(path.with_suffix(suffix))
        path.unlink()
    message = only_error(open_dataset(folder.root))
    assert message.startswith(f"5 masks have another name or format, such as 1{suffix} where 1.png is expected.")
    mended = run_command(message, tmp_path / "new")
    assert Counter(map(bytes, masks_of(mended))) == Counter(map(bytes, expected))


@pytest.mark.parametrize(("suffix", "form"), [(".jpg", "JPEG"), (".JPEG", "JPEG"), (".webp", "WEBP")])
def test_masks_as_photographs(folder, suffix, form):
    for path in sorted((folder.root / "labels").rglob("*.png")):
        Image.open(path).save(path.with_suffix(suffix))
        path.unlink()
    data = open_dataset(folder.root)
    message = only_error(data)
    assert message.startswith(f"5 masks are there as {form}, such as 0{suffix} where 0.png is expected. {form} changes")
    assert "export masks as PNG" in message
    assert "missing" not in message
    with pytest.raises(ValueError, match=f"1 problem:\n  .*labels: 5 masks are there as {form}"):
        require_layout(data)


def test_black_and_white_masks_as_photographs(folder, tmp_path):
    (folder.root / "classes.txt").write_text("0 rest 0 0 0\n1 land 255 255 255\n")
    expected = []
    for split in ("train", "val"):
        for path in sorted((folder.root / "labels" / split).glob("*.png")):
            # Whole blocks of JPEG: what is between black and white is cut elsewhere.
            expected.append(np.indices((70, 80))[1] >= 24 + 8 * len(expected))
            Image.fromarray(expected[-1].astype("uint8") * 255).save(path.with_suffix(".jpg"), quality=95)
            path.unlink()
    mended = run_command(only_error(open_dataset(folder.root)), tmp_path / "new")
    assert Counter(map(bytes, masks_of(mended))) == Counter(mask.astype("uint8").tobytes() for mask in expected)


def test_one_mask_as_a_photograph_beside_others_of_another_name(folder):
    one, *others = sorted((folder.root / "labels").rglob("*.png"))
    Image.open(one).save(one.with_suffix(".jpg"))
    one.unlink()
    for path in others:
        path.rename(path.with_name(f"{path.stem}_gt.png"))
    report = check_dataset(open_dataset(folder.root), progress=False)
    assert [(error.kind, error.message.split(",")[0]) for error in report.errors] == [
        ("photographs", "1 mask is there as JPEG"),
        ("names", "4 masks have another name or format"),
    ]


def test_masks_in_folders_of_another_name(folder, expected, tmp_path):
    (folder.root / "labels").rename(folder.root / "ground_truth")
    data = open_dataset(folder.root)
    errors = check_dataset(data, progress=False).errors
    assert [error.kind for error in errors] == ["no masks", "no masks"]
    mended = run_command(errors[0].message, tmp_path / "new")
    assert Counter(map(bytes, masks_of(mended))) == Counter(map(bytes, expected))


@pytest.mark.parametrize("line", ["{name}", "{i},{name},{r},{g},{b}"])
def test_a_list_of_classes_in_another_form(folder, expected, tmp_path, line):
    path = folder.root / "classes.txt"
    rows = enumerate(zip(("sky", "sea", "land", "void"), COLORS.tolist(), strict=True))
    path.write_text("".join(line.format(i=i, name=name, r=r, g=g, b=b) + "\n" for i, (name, (r, g, b)) in rows))
    with pytest.raises(ValueError, match=r"line 1: '.*sky.*' is not a class; .* reads other lists, such as") as raised:
        open_dataset(folder.root)
    mended = run_command(str(raised.value), tmp_path / "new")
    assert mended.classes.names == ("sky", "sea", "land")
    assert Counter(map(bytes, masks_of(mended))) == Counter(map(bytes, expected))
    # One line that is not like those before it is a fault in it.
    path.write_text("0 sky 90 160 220\nsea\n")
    with pytest.raises(ValueError, match="line 2: 'sea' is not a class") as raised:
        open_dataset(folder.root)
    assert "import" not in str(raised.value)


def test_folders_of_another_layout_name_the_command(folder, expected, tmp_path):
    (folder.root / "images").rename(folder.root / "photographs of a beach")
    with pytest.raises(ValueError, match="images is missing; expected .* reads other layouts") as raised:
        open_dataset(folder.root)
    mended = run_command(str(raised.value), tmp_path / "new", "--format", "masks")
    assert Counter(map(bytes, masks_of(mended))) == Counter(map(bytes, expected))


def test_one_missing_mask_stays_with_the_cause(folder):
    for path in sorted((folder.root / "labels").rglob("*.png")):
        path.rename(path.with_name(f"{path.stem}_gt.png"))
    (folder.root / "labels" / "train" / "1_gt.png").unlink()
    report = check_dataset(open_dataset(folder.root), progress=False)
    assert [error.kind for error in report.errors] == ["names", "missing mask"]


def test_masks_that_are_not_turned_as_their_images_are(folder, expected, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned to the right
    # Two of five: others were not taken upright.
    for name in ("0", "1"):
        path = folder.root / "images" / "train" / f"{name}.jpg"
        Image.open(path).save(path, exif=exif)
    data = open_dataset(folder.root)
    message = only_error(data)
    assert message.startswith(
        "2 masks are not turned as EXIF turns their images. In 0.png the mask is 80x70 pixels, the image "
        f"{folder.root}/images/train/0.jpg 70x80. Turn these masks too, or let `keras-cacnet import "
    )
    with pytest.raises(ValueError, match="1 problem:\n  .*labels: 2 masks are not turned"):
        require_layout(data)
    mended = run_command(message, tmp_path / "new")
    turned = [np.rot90(mask, -1) if place < 2 else mask for place, mask in enumerate(expected)]
    assert Counter(mask.tobytes() for mask in masks_of(mended)) == Counter(mask.tobytes() for mask in turned)
    # Of a mask on its side beside an image that EXIF does not turn, nothing is known.
    for name in ("0", "1"):
        path = folder.root / "images" / "train" / f"{name}.jpg"
        Image.open(path).transpose(Image.Transpose.ROTATE_90).save(path)
    assert len(check_dataset(open_dataset(folder.root), progress=False).errors) == 2


def test_colours_that_another_file_lists(folder, expected, tmp_path):
    # None of them a colour of classes.txt.
    data = change(folder, lambda ids: COLORS[ids] + np.uint8(5))
    message = only_error(data)
    assert message.startswith("5 masks have colours that are not those of classes.txt. In 0.png ")
    (error,) = check_dataset(data, ["val"], progress=False).errors
    assert error.message.startswith("2 masks have colours")
    with pytest.raises(ValueError, match="1 problem:\n  .*labels: 5 masks have colours"):
        require_labels(data, "train", "val")
    rows = zip(("sky", "sea", "land", "void"), (COLORS + np.uint8(5)).tolist(), strict=True)
    (tmp_path / "colors.txt").write_text("".join(f"{name} {r} {g} {b}\n" for name, (r, g, b) in rows))
    mended = run_command(message, tmp_path / "new", "--classes", str(tmp_path / "colors.txt"))
    assert mended.classes.names == ("sky", "sea", "land")
    assert Counter(map(bytes, masks_of(mended))) == Counter(map(bytes, expected))


def test_black_and_white(folder, tmp_path):
    (folder.root / "classes.txt").write_text("0 rest 0 0 0\n1 land 255 255 255\n")
    data = change(folder, lambda ids: (ids > 1).astype("uint8") * 255)
    message = only_error(data)
    assert message.startswith("masks hold only 0 and 255, and 255 is void (5")
    mended = run_command(message, tmp_path / "new")
    assert mended.classes.names == ("rest", "land")
    assert set(np.unique(masks_of(mended))) == {0, 1}


def test_ids_from_one_on(folder, expected, tmp_path):
    data = change(folder, lambda ids: np.where(ids == 3, 255, ids + 1).astype("uint8"))
    (folder.root / "classes.txt").write_text("0 sky 90 160 220\n1 sea 20 60 140\n2 land 90 140 60\n")
    data = open_dataset(folder.root)
    message = only_error(data)
    assert message.startswith(
        "5 masks have ids that classes.txt lacks: the masks have 1, 2, 3. They count from 1, and classes.txt from 0: "
    )
    mended = run_command(message, tmp_path / "new")
    assert (mended.classes.names, mended.classes.ids) == (("sky", "sea", "land"), (1, 2, 3))
    assert Counter(map(bytes, masks_of(mended))) == Counter(map(bytes, expected))


def test_other_numberings(folder):
    classes = "0 sky 90 160 220\n1 sea 20 60 140\n2 land 90 140 60\n"
    (folder.root / "classes.txt").write_text(classes)
    assert "gray levels: move classes.txt away" in only_error(change(folder, lambda ids: ids * np.uint8(60)))
    assert "Write the index that the masks have" in only_error(change(folder, lambda ids: ids // np.uint8(60) + 7))


def test_one_id_more_than_the_list_has(folder, expected):
    complete = (folder.root / "classes.txt").read_text()
    (folder.root / "classes.txt").write_text(complete.replace("3 void 0 0 0\n", ""))
    message = only_error(open_dataset(folder.root))
    pixels = np.bincount(np.concatenate([mask.ravel() for mask in expected]), minlength=256) / (5 * 70 * 80)
    assert f" 3 ({pixels[255]:.1%} of the pixels) follows the last index: add it to classes.txt as `3 void" in message
    # The other cause looks the same, and its mend would shift every class here.
    assert f"Only if 0 ({pixels[0]:.1%}) is not 'sky' but the rest" in message
    assert message.index("`3 void 0 0 0`") < message.index("then add 1 to each index there instead")
    (folder.root / "classes.txt").write_text(complete)
    data = open_dataset(folder.root)
    assert check_dataset(data, progress=False).ok
    assert Counter(map(bytes, masks_of(data))) == Counter(map(bytes, expected))


def test_ids_from_one_on_beside_the_rest(folder):
    # 1 and 3 are not listed, and each follows a listed one: no single forgotten line.
    (folder.root / "classes.txt").write_text("0 sky 90 160 220\n2 land 90 140 60\n")
    message = only_error(change(folder, lambda ids: np.where(ids == 2, 3, ids).astype("uint8")))
    assert "They seem to count classes from 1, with 0 for the rest" in message


def test_what_few_masks_have_stays_a_fault_of_theirs(folder):
    path = folder.mask("train", "1.png", np.full((70, 80), 77))
    (error,) = check_dataset(open_dataset(folder.root), progress=False).errors
    assert (error.where, error.kind) == (str(path), "unknown id")


def test_report_as_json(folder, tmp_path, capsys):
    import json

    path = folder.mask("train", "1.png", np.full((70, 80), 77))
    assert main(["check", "--data", str(folder.root), "--json", str(tmp_path / "check.json")]) == 1
    (finding,) = json.loads((tmp_path / "check.json").read_text())["findings"]
    assert finding["where"] == str(path)
    capsys.readouterr()


def test_importing_the_standard_folder_changes_nothing(folder, expected, tmp_path):
    import_folder(folder.root, tmp_path / "new", progress=False)
    data = open_dataset(tmp_path / "new")
    assert data.splits == ("train", "val", "test")
    assert Counter(map(bytes, masks_of(data))) == Counter(map(bytes, expected))
