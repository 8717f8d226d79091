"""Labels that are no class: masks of 0 and 255, divided, renumbered, of other types; told before training."""

import shutil

import numpy as np
import pytest
from PIL import Image

from keras_cacnet.datasets import ClassTable, check_dataset, label_findings, open_dataset, require_labels
from keras_cacnet.datasets.records import Records

BINARY = "0 background 0 0 0\n1 object 255 255 255\n"


def relabel(folder, change, classes=None, splits=("train", "val")):
    """Rewrite all masks of a folder."""
    for split in splits:
        for path in sorted((folder.root / "labels" / split).iterdir()):
            Image.fromarray(change(np.asarray(Image.open(path)))).save(path)
    if classes:
        (folder.root / "classes.txt").write_text(classes)
    return open_dataset(folder.root)


def texts(findings):
    return [str(finding) for finding in findings]


def test_nothing_wrong(folder):
    data = open_dataset(folder.root)
    assert label_findings(data, "train") == label_findings(data, "val") == ()
    assert require_labels(data, "train", "val") == ()


@pytest.mark.parametrize("form", ["uint8", "uint16", "palette"])
def test_masks_of_0_and_255(folder, form):
    def black_and_white(ids):
        mask = ((ids > 1) * 255).astype("uint8")
        return np.asarray(Image.fromarray(mask).convert("P")) if form == "palette" else mask.astype(form)

    data = relabel(folder, black_and_white, BINARY)
    (finding,) = label_findings(data, "train")
    assert (finding.level, finding.where) == ("error", "train")
    assert finding.message.startswith("masks hold only 0 and 255, and 255 is void (")
    assert f"most in {folder.root}/labels/train/" in finding.message
    assert finding.message.endswith(
        "'object' never occurs: it cannot be learnt; write the ids that classes.txt gives to the classes."
    )
    with pytest.raises(ValueError, match="1 problem:\n  train: masks hold only 0 and 255"):
        require_labels(data, "train", "val")
    report = check_dataset(data, progress=False)
    (cause,) = report.errors
    assert cause.message.startswith(finding.message)
    assert f"`keras-cacnet import {folder.root} --output NEW_FOLDER` reads black and white" in cause.message
    assert report.warnings == ()
    # What is only scored is told, and is no error: a small split may lack a class.
    assert [f.level for f in label_findings(data, "val", trained=False)] == ["warning"]


def test_one_mask_of_0_and_255_among_others_is_told(folder):
    """Both are ids that mean something, a class and void, so that it is no error."""
    path = folder.root / "labels" / "train" / "1.png"
    ids = np.asarray(Image.open(path))
    Image.fromarray(((ids > 1) * 255).astype("uint8")).save(path)
    report = check_dataset(open_dataset(folder.root), progress=False)
    assert report.ok
    assert [(one.where, one.message.split(",")[0]) for one in report.warnings] == [(str(path), "holds only 0 and 255")]
    # With two classes a mask may have the background and void only.
    (folder.root / "classes.txt").write_text(BINARY)
    assert "holds only 0" not in check_dataset(open_dataset(folder.root), progress=False).to_text()


def test_one_odd_pixel_does_not_hide_that_half_is_void(folder):
    def change(ids):
        mask = np.full(ids.shape, 255, "uint8")
        mask[: len(mask) // 3] = 0
        mask[0, 0] = 1
        return mask

    data = relabel(folder, change)
    (finding,) = label_findings(data, "train")
    assert finding.level == "error"
    assert finding.message.startswith("67% of the pixels are void (id 255, most in ")
    assert "'land' never occurs" in finding.message


def test_void_pixels_are_no_fault_where_all_classes_occur(folder):
    def sparse(ids):
        mask = np.full(ids.shape, 255, "uint8")
        mask[:5] = ids[:5]
        return mask

    assert require_labels(relabel(folder, sparse), "train", "val") == ()


@pytest.mark.parametrize(
    ("divided", "highest"), [(lambda ids: ids // 255, 0), (lambda ids: (ids > 0).astype("uint8"), 1)]
)
def test_masks_that_were_divided(folder, divided, highest):
    """All class 0, or 0 and 1 of three: the loss would be perfect; it is told, with the likely reason first."""
    data = relabel(folder, divided)
    (finding,) = require_labels(data, "train")
    assert finding.level == "warning"
    assert finding.message.startswith(f"no id is above {highest}; were the masks divided by 255")
    assert "'land' never" in finding.message
    assert str(finding) in texts(check_dataset(data, progress=False).warnings)


def test_a_class_that_never_occurs_is_a_warning(folder):
    data = relabel(folder, lambda ids: np.where(ids == 1, 2, ids).astype("uint8"), splits=("train",))
    (finding,) = require_labels(data, "train", "val")
    assert str(finding) == "warning: train: 'sea' never occurs: it cannot be learnt."
    assert texts(label_findings(data, "train", trained=False)) == ["note: train: 'sea' never occurs: it has no score."]


def test_ids_that_are_no_class_name_their_file(folder):
    path = folder.mask("train", "1.png", np.full((70, 80), 200))
    deep = folder.root / "labels" / "val" / "1.png"
    Image.fromarray(np.full((70, 80), 300, "uint16")).save(deep)
    with pytest.raises(ValueError, match="2 problems") as raised:
        require_labels(open_dataset(folder.root), "train", "val")
    assert f"{path}: id 200 (5600 pixels) is not in the class table, which knows 0-2 and void 3, 255" in str(
        raised.value
    )
    assert f"{deep}: id 300 in a I;16 mask; ids are 0..255" in str(raised.value)


def test_renumbered_palettes_are_told_before_training(folder):
    colors = np.array([[90, 160, 220], [20, 60, 140], [90, 140, 60]], "uint8")
    ids = np.zeros((70, 80), int)
    ids[:20], ids[20:30] = 2, 1
    folder.mask("train", "1.png", Image.fromarray(colors[ids]).quantize(3))
    with pytest.raises(ValueError, match=r"train/1.png: its palette shows id .* save indices, not colours"):
        require_labels(open_dataset(folder.root), "train")


def test_published_sets_have_their_counts_in_their_records(voc_tree, monkeypatch):
    """No mask is read again, no file hashed again; the counts are those of the files."""
    data = open_dataset("voc2012", voc_tree)
    counts = np.zeros(256, int)
    for example in data.source("train"):
        from keras_cacnet.datasets import read_mask

        counts += np.bincount(read_mask(example.mask).ravel(), minlength=256)
    np.testing.assert_array_equal(data.pixels("train"), counts)
    monkeypatch.setattr(Records, "source", None)
    assert label_findings(data, "train") == ()
    from keras_cacnet.datasets import fingerprint

    assert fingerprint(data, "train") == data.checksum("train") != fingerprint(data, "val")
    assert len(data.checksum("train")) == 64


def test_missing_masks_are_told(folder):
    shutil.rmtree(folder.root / "labels" / "val")
    with pytest.raises(ValueError, match="2 problems:\n  .*labels/val/0.png: no such file"):
        require_labels(open_dataset(folder.root), "train", "val")


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int64", "uint16", "bool"])
def test_ids_of_any_type_are_held_against_the_table(dtype):
    table = ClassTable(("a", "b"), ((0, 0, 0), (9, 9, 9)), (0, 1))
    mask = np.array([[[0], [1]]], dtype)
    np.testing.assert_array_equal(table.to_training(mask, "m"), [[[0], [1]]])
    if dtype.startswith("int"):
        with pytest.raises(ValueError, match=r"m: id -1 \(1 pixel\) is not in the class table"):
            table.to_training(np.array([0, -1], dtype), "m")
    if dtype in ("int16", "int64", "uint16"):
        with pytest.raises(ValueError, match=r"m: ids 256 \(2 pixels\), 300 \(1 pixel\) are not in"):
            table.to_training(np.array([256, 300, 256, 255], dtype), "m")


def test_ids_that_are_not_whole_numbers():
    table = ClassTable(("a", "b"), ((0, 0, 0), (9, 9, 9)), (0, 1))
    with pytest.raises(ValueError, match="m: the mask is float32; ids are whole numbers"):
        table.to_training(np.zeros((2, 2), "float32"), "m")
