"""A folder of one's own: pairing, order, and what it says of a wrong one."""

import os
import sys
import unicodedata

import numpy as np
import pytest
from PIL import Image
from written_images import deep_png, deep_tiff

from keras_cacnet.datasets import Folder, check_dataset, import_folder, open_dataset, read_example, require_layout

SUFFIXES = ".jpg, .jpeg, .png, .tif, .tiff, .bmp, .webp"


def messages(data, split):
    return {os.path.basename(finding.where): f"{finding.level}: {finding.message}" for finding in data.layout(split)}


def test_pairs_and_order(folder):
    data = open_dataset(folder.root)
    assert data.splits == ("train", "val", "test")
    assert [example.name for example in data.source("train")] == ["0", "1", "2"]
    counts = ", ".join(f"{split} {len(data.source(split))}" for split in data.splits)
    assert repr(data).startswith(f"<{folder.root}: {len(data.classes)} classes ({data.classes.names[0]}, ")
    assert repr(data).endswith(f"); {counts} images>")
    first = data.source("train")[0]
    assert first.image == folder.root / "images" / "train" / "0.jpg"
    assert first.mask == folder.root / "labels" / "train" / "0.png"
    assert data.source("test")[0].mask is None
    assert all(not data.layout(split) for split in data.splits)


def test_suffixes_in_any_case_and_odd_names(folder):
    for name, mask in (("A b.JPG", "A b.PNG"), ("ü.v2.Jpeg", "ü.v2.png"), ("c.PNG", "c.png")):
        folder.image("val", name, [[[0, 0, 0]]], format="PNG")
        folder.mask("val", mask, [[0]], format="PNG")
    data = Folder(str(folder.root))
    assert [(e.name, e.mask.name) for e in data.source("val")[2:]] == [
        ("A b", "A b.PNG"),
        ("c", "c.png"),
        ("ü.v2", "ü.v2.png"),
    ]
    assert not data.layout("val")


def test_home_and_relative_paths(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.root.parent))
    assert len(Folder("~/data").source("train")) == 3
    monkeypatch.chdir(folder.root.parent)
    assert len(Folder("data").source("train")) == 3


def test_links_are_followed(folder):
    (folder.root / "images" / "val" / "far.jpg").symlink_to(folder.root / "images" / "train" / "0.jpg")
    (folder.root / "labels" / "val" / "far.png").symlink_to(folder.root / "labels" / "train" / "0.png")
    assert [example.name for example in Folder(folder.root).source("val")] == ["0", "1", "far"]


def test_test_split_may_have_masks(folder):
    folder.mask("test", "0.png", [[0]])
    assert Folder(folder.root).source("test")[0].mask.name == "0.png"


def test_other_splits_come_after_the_known(folder):
    folder.image("dusk", "0.png", [[[0, 0, 0]]])
    assert Folder(folder.root).splits == ("train", "val", "test", "dusk")


def test_unknown_split_names_those_that_exist(folder):
    data = Folder(folder.root)
    for ask in (data.source, data.layout):
        with pytest.raises(ValueError, match="has no split 'dev'; it has train, val, test"):
            ask("dev")


@pytest.mark.parametrize("missing", ["images", "classes.txt"])
def test_wrong_folder_says_what_is_missing_and_found(folder, missing):
    (folder.root / missing).rename(folder.root / "elsewhere")
    with pytest.raises(ValueError, match="not a data set") as raised:
        Folder(folder.root)
    text = str(raised.value)
    assert f"{folder.root / missing} is missing" in text
    assert "expected images/train/NAME.jpg" in text
    assert "found" in text.split("expected")[1]
    assert "elsewhere" in text.split("found")[1]


def test_no_splits(folder, tmp_path):
    for split in ("train", "val", "test"):
        (folder.root / "images" / split).rename(tmp_path / split)
    with pytest.raises(ValueError, match="no split: .*images/train is missing, .* found nothing in images"):
        Folder(folder.root)


def test_a_file_or_nothing(folder):
    with pytest.raises(ValueError, match=r"classes\.txt: is a file; expected images/train"):
        Folder(folder.root / "classes.txt")
    with pytest.raises(ValueError, match="nowhere: does not exist; expected images/train"):
        Folder(folder.root / "nowhere")


def test_a_folder_has_no_data_dir(folder, tmp_path):
    with pytest.raises(ValueError, match=r"\(--data-dir\) goes with a data set that is known by name"):
        open_dataset(folder.root, tmp_path)


def test_missing_partners_both_ways(folder):
    (folder.root / "labels" / "train" / "1.png").unlink()
    folder.mask("train", "orphan.png", [[0]])
    found = messages(Folder(folder.root), "train")
    assert found.keys() == {"1.png", "orphan.png"}
    assert found["1.png"].startswith("error: missing: the mask of")
    assert "images/train/1.jpg" in found["1.png"]
    assert f"images/train/orphan ({SUFFIXES}) is missing" in found["orphan.png"]


def test_missing_folder_of_masks_is_told_once(folder, tmp_path):
    (folder.root / "labels" / "train").rename(tmp_path / "gone")
    assert messages(Folder(folder.root), "train") == {"train": "error: missing: the folder with the masks of 3 images."}


def test_two_images_of_one_name(folder):
    folder.image("train", "1.png", [[[0, 0, 0]]])
    data = Folder(folder.root)
    assert messages(data, "train") == {"1.jpg": "error: 1.jpg and 1.png have one name, '1'; keep one of them."}


def test_what_is_left_out_is_told(folder):
    images = folder.root / "images" / "train"
    (images / "old.jpg").mkdir()
    (images / "notes.txt").write_bytes(b"x")
    data = Folder(folder.root)
    assert messages(data, "train") == {"train": f"warning: left out, not {SUFFIXES}: notes.txt, old.jpg/."}
    assert len(data.source("train")) == 3


def test_what_file_managers_leave_is_ignored(folder):
    for split in ("train", "val"):
        for part in ("images", "labels"):
            for name in (".DS_Store", "._0.jpg", "._0.png", "Thumbs.db", "desktop.ini", "Icon\r"):
                (folder.root / part / split / name).write_bytes(b"x")
            (folder.root / part / split / "@eaDir").mkdir()
    for name in (".Spotlight-V100", "@eaDir", "__MACOSX"):
        (folder.root / "images" / name).mkdir()
    data = Folder(folder.root)
    assert data.splits == ("train", "val", "test")
    for split, count in (("train", 3), ("val", 2)):
        assert len(data.source(split)) == count
        assert not data.layout(split)


def test_names_pair_up_in_either_form_of_unicode(folder):
    """The mask's name composed and the image's decomposed, as an archive from macOS has it; and the other way."""
    for name in ("été", "가"):
        composed, decomposed = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
        assert composed != decomposed
        folder.image("val", f"{decomposed}.png", [[[0, 0, 0]]])
        folder.mask("val", f"{composed}.png", [[0]])
        folder.image("train", f"{composed}.png", [[[0, 0, 0]]])
        folder.mask("train", f"{decomposed}.png", [[0]])
    data = Folder(folder.root)
    for split in ("train", "val"):
        assert not data.layout(split)
        for example in data.source(split)[-2:]:
            assert example.image.is_file()
            assert example.mask.is_file()
            assert example.name == unicodedata.normalize("NFC", example.name)


def test_two_names_that_look_the_same_are_told_apart(folder):
    for form in ("NFC", "NFD"):
        folder.image("train", f"{unicodedata.normalize(form, 'é')}.png", [[[0, 0, 0]]])
    folder.mask("train", "é.png", [[0]])
    (finding,) = Folder(folder.root).layout("train")
    assert finding.message == r"'e\u0301.png' and '\xe9.png' have one name, 'é'; keep one of them."


def test_images_in_subfolders_are_counted_and_the_way_to_them_is_told(folder, tmp_path):
    for part in ("images", "labels"):
        train = folder.root / part / "train"
        (train / "north" / "1").mkdir(parents=True)
        for path in train.glob("[12].*"):
            path.rename(train / "north" / "1" / path.name)
        (train / "north" / "notes.txt").write_bytes(b"x")
        (train / "north" / "._0.png").write_bytes(b"x")
    command = f"`keras-cacnet import {folder.root} --output NEW_FOLDER`"
    data = Folder(folder.root)
    images, masks = data.layout("train")
    assert len(data.source("train")) == 1
    assert (
        images.message
        == f"left out, not {SUFFIXES}: north/ (2 images). Subfolders are not read: {command} reads them too."
    )
    assert masks.message.startswith("left out, not .png: north/ (2 masks).")
    assert require_layout(data) == (images, masks)
    for part, name in (("images", "0.jpg"), ("labels", "0.png")):
        (folder.root / part / "train" / name).rename(folder.root / part / "train" / "north" / name)
    (error,) = check_dataset(Folder(folder.root), progress=False).errors
    assert error.message == f"no images ({SUFFIXES}), but 3 in subfolders: {command} reads those."
    import_folder(folder.root, tmp_path / "new", progress=False)
    assert len(Folder(tmp_path / "new").source("train")) == 3


@pytest.mark.parametrize(("split", "level"), [("val", "error"), ("test", "warning")])
def test_empty_split(folder, split, level):
    for part in ("images", "labels"):
        for path in (folder.root / part / split).glob("*"):
            path.unlink()
    assert messages(Folder(folder.root), split) == {split: f"{level}: no images ({SUFFIXES})."}


def test_camvid(shared_data):
    data = Folder(shared_data / "camvid")
    assert {split: len(data.source(split)) for split in data.splits} == {"train": 367, "val": 101}
    assert not data.layout("train")
    assert not data.layout("val")


def test_a_foreign_layout(voc_tree):
    with pytest.raises(ValueError, match="images is missing; expected .* found ImageSets, JPEGImages, Segmentation"):
        Folder(voc_tree / "VOCdevkit" / "VOC2012")


@pytest.fixture
def flat(folder):
    """The same set without folders of splits: three lists say which image is where."""
    for part in ("images", "labels"):
        for split in ("train", "val", "test"):
            for path in sorted((folder.root / part / split).glob("*")):
                path.rename(folder.root / part / f"{split}{path.name}")
            if (folder.root / part / split).is_dir():
                (folder.root / part / split).rmdir()
    for split, count in (("train", 3), ("val", 2), ("test", 1)):
        (folder.root / f"{split}.txt").write_text("".join(f"{split}{index}\n" for index in range(count)))
    return folder


def test_lists_of_names_split_a_flat_folder(flat):
    data = open_dataset(flat.root)
    assert data.splits == ("train", "val", "test")
    assert [example.name for example in data.source("train")] == ["train0", "train1", "train2"]
    assert data.source("val")[0].mask == flat.root / "labels" / "val0.png"
    assert data.source("test")[0].mask is None
    assert check_dataset(data, progress=False).findings == ()


def test_faults_of_lists_are_told(flat):
    (flat.root / "val.txt").write_text("val0.jpg\nval7\n")
    (flat.root / "labels" / "train1.png").unlink()
    data = open_dataset(flat.root)
    assert messages(data, "val") == {"val.txt": f"error: val7 has no image in {flat.root / 'images'}."}
    assert list(messages(data, "train")) == ["train1.png"]
    assert [example.name for example in data.source("val")] == ["val0"]
    (flat.root / "val.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"val\.txt: cannot be read as a list of names"):
        open_dataset(flat.root).source("val")


@pytest.mark.parametrize("suffix", [".tif", ".TIFF", ".bmp", ".webp"])
def test_images_of_other_formats(folder, suffix):
    pixels = np.random.default_rng(0).integers(0, 256, (70, 80, 3))
    folder.image("train", f"other{suffix}", pixels, **({"lossless": True} if suffix == ".webp" else {}))
    folder.mask("train", "other.png", np.zeros((70, 80)))
    data = open_dataset(folder.root)
    (example,) = [e for e in data.source("train") if e.name == "other"]
    np.testing.assert_array_equal(read_example(example, data.classes)[0], pixels)
    assert check_dataset(data, progress=False).findings == ()


@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_deep_images_are_read_by_their_upper_byte(folder, suffix):
    deep = np.random.default_rng(0).integers(0, 65536, (70, 80)).astype("uint16")
    folder.mask("train", "deep.png", np.zeros((70, 80)))
    folder.image("train", f"deep{suffix}", Image.fromarray(deep))
    data = open_dataset(folder.root)
    (example,) = [e for e in data.source("train") if e.name == "deep"]
    np.testing.assert_array_equal(read_example(example, data.classes)[0], np.repeat((deep >> 8)[..., None], 3, -1))
    assert check_dataset(data, progress=False).findings == ()
    folder.image("train", f"deep{suffix}", Image.fromarray(deep >> 4))
    (warning,) = check_dataset(data, progress=False).findings
    assert warning.message.startswith("16 bits, of which only the lower 12 are used: it is read nearly black")


@pytest.mark.parametrize(("suffix", "written"), [(".png", deep_png), (".tif", deep_tiff)])
@pytest.mark.parametrize(
    ("shift", "message"),
    [
        (0, None),
        (4, "only the lower 12 are used: it is read nearly black"),
        (8, "only the lower 8 are used: it is read black"),
    ],
)
def test_deep_color_that_is_read_black(folder, suffix, written, shift, message):
    deep = np.random.default_rng(0).integers(0, 65536, (70, 80, 3)).astype("uint16") >> shift
    folder.mask("train", "deep.png", np.zeros((70, 80)))
    path = folder.root / "images" / "train" / f"deep{suffix}"
    path.write_bytes(written(deep))
    data = open_dataset(folder.root)
    (example,) = [e for e in data.source("train") if e.name == "deep"]
    np.testing.assert_array_equal(read_example(example, data.classes)[0], deep >> 8)
    findings = check_dataset(data, progress=False).findings
    assert [(one.level, one.where) for one in findings] == ([("warning", str(path))] if message else [])
    assert all(message in one.message for one in findings)


def test_a_notebook_shows_a_table_a_figure_and_a_data_frame(write_coast, tmp_path, monkeypatch):
    data = Folder(write_coast(tmp_path / "coast"))
    shown = data._repr_html_()
    for row in ("train</td><td>4", "val</td><td>2", "sky</td><td>0</td><td>#5aa0dc", "sea</td><td>1</td><td>#143c8c"):
        assert row in shown
    figure = data.plot("val", count=5)  # it has two images
    pictures = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    assert len(pictures) == 4
    with Image.open(data.source("val")[1].image) as image:
        np.testing.assert_array_equal(pictures[2], np.asarray(image))
    with pytest.raises(ValueError, match="no split 'dev'"):
        data.plot("dev")
    frames = []
    monkeypatch.setitem(sys.modules, "pandas", type("pandas", (), {"DataFrame": frames.append}))
    data.to_dataframe()
    ((first, *_, last),) = frames
    assert first == {"split": "train", "name": "0", "image": str(data.path / "images/train/0.png")} | {
        "mask": str(data.path / "labels/train/0.png")
    }
    assert (last["split"], last["name"]) == ("val", "1")
