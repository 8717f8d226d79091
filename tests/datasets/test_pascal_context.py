"""PASCAL Context: three forms of masks that all come out in the official order, and never mixed."""

import shutil

import numpy as np
import pytest
from drawn_sets import CONTEXT_TRAIN as TRAIN
from drawn_sets import CONTEXT_VAL as VAL
from drawn_sets import context_mask as mask_of
from drawn_sets import write_alphabetical, write_context, write_context_png, write_label_maps, write_official
from PIL import Image
from scipy.io import savemat

from keras_cacnet.datasets import VOID, check_dataset, open_dataset, read_example
from keras_cacnet.datasets.unpacked import CONTEXT_NAMES


def layout(folder):
    from keras_cacnet.datasets.pascal_context import PascalContext

    return PascalContext.layout(folder)


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """Images and lists, no masks."""
    monkeypatch.setenv("KERAS_CACNET_DATA", str(tmp_path / "cache"))
    return write_context(tmp_path / "data")


FORMS = {
    "GroundTruth_trainval_png": (write_official, "PNG masks in the official order"),
    "SegmentationClassContext": (write_alphabetical, "PNG masks in alphabetical order"),
    "trainval": (write_label_maps, "the 459-class LabelMap"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_comes_out_in_the_official_order(bare, form):
    write, said = FORMS[form]
    write(bare)
    data = open_dataset("pascal_context/60", bare.parents[1])
    assert data.name == "pascal_context/60"
    assert data.splits == ("train", "val")
    assert said in data.form
    assert form in data.form
    assert [example.name[-11:] for example in data.source("train")] == list(TRAIN)
    # The records are what was read: their checksums agree.
    assert check_dataset(data, progress=False).ok
    for split in data.splits:
        for example in data.source(split):
            _, ids = read_example(example, data.classes)
            np.testing.assert_array_equal(ids, mask_of(example.name[-11:]))
        assert any(said in finding.message for finding in data.layout(split))


def test_59_classes_have_void_for_background(bare):
    write_official(bare)
    data = open_dataset("pascal_context/59", bare.parents[1])
    assert (data.name, len(data.classes)) == ("pascal_context/59", 59)
    assert data.classes.names[14] == "person"
    assert data.classes.palette[14] == (192, 128, 128)
    for example in data.source("val"):
        _, ids = read_example(example, data.classes)
        mask = mask_of(example.name[-11:])
        assert (ids[mask == 0] == VOID).all()
        np.testing.assert_array_equal(ids[mask > 0], mask[mask > 0] - 1)
    report = check_dataset(data, progress=False)
    assert report.ok, report.to_text()


def test_loads_with_tensorflow_datasets(bare, tmp_path):
    import tensorflow_datasets as tfds

    import keras_cacnet.datasets.pascal_context  # noqa: F401

    write_alphabetical(bare)
    settings = tfds.download.DownloadConfig(manual_dir=bare.parents[1], try_download_gcs=False)
    arguments = {"data_dir": tmp_path / "tfds", "download_and_prepare_kwargs": {"download_config": settings}}
    for config, count in (("60", 60), ("59", 59)):
        loaded, info = tfds.load(f"pascal_context/{config}", split="train", with_info=True, **arguments)
        first = next(loaded.as_numpy_iterator())
        np.testing.assert_array_equal(first["mask"][..., 0], mask_of(TRAIN[0]))
        assert len(info.metadata["classes"]) == count


def test_several_forms_are_not_mixed(bare):
    write_official(bare)
    write_alphabetical(bare)
    found = layout(bare)
    assert {example.mask.parent.name for s in found.splits.values() for example in s} == {"GroundTruth_trainval_png"}
    # A mask missing in one form is not taken from the other.
    (bare / "GroundTruth_trainval_png" / f"{VAL[0]}.png").unlink()
    with pytest.raises(ValueError, match=rf"1 mask is missing; .*\n.*GroundTruth_trainval_png.{VAL[0]}.png"):
        open_dataset("pascal_context/60", bare)
    write_label_maps(bare)
    assert "LabelMap" in layout(bare.parents[1]).form


def test_the_lists_of_other_distributions(bare):
    write_official(bare)
    lists = bare / "ImageSets" / "SegmentationContext"
    expected = layout(bare).splits
    for split, names in (("train", TRAIN), ("val", VAL)):
        (bare / f"pascal_context_{split}.txt").write_text(
            "".join(f"JPEGImages/{n}.jpg GroundTruth_trainval_png/{n}.png\n" for n in names)
        )
    lists.rename(bare / "ImageSets" / "elsewhere")
    assert layout(bare).splits == expected
    for split in ("train", "val"):
        (bare / f"pascal_context_{split}.txt").unlink()
    (bare / "ImageSets" / "elsewhere").rename(bare / "ImageSets" / "Main")
    assert layout(bare).splits == expected
    (bare / "ImageSets" / "Main" / "val.txt").write_text(f"{VAL[0]}\n{TRAIN[1]}\n")
    with pytest.raises(ValueError, match=f"1 id is in train and in val, {TRAIN[1]} the first"):
        layout(bare)
    shutil.rmtree(bare / "ImageSets")
    with pytest.raises(ValueError, match=r"SegmentationContext.train.txt is missing; expected VOCdevkit/VOC2010"):
        layout(bare)


def test_unknown_ids(bare):
    write_alphabetical(bare)
    Image.fromarray(np.full((70, 81), 60, "uint8")).save(bare / "SegmentationClassContext" / f"{TRAIN[0]}.png")
    with pytest.raises(ValueError, match=r"000001.png: id 60 is none of PASCAL Context's 0-59 \(5670 pixels"):
        open_dataset("pascal_context/60", bare)
    place = write_label_maps(bare)
    savemat(place / "trainval" / f"{VAL[1]}.mat", {"LabelMap": np.full((70, 84), 5, "uint16")})
    savemat(place / "trainval" / f"{VAL[0]}.mat", {"something": np.full((70, 83), 3, "uint16")})
    (place / "trainval" / f"{TRAIN[1]}.mat").write_bytes(b"")
    with pytest.raises(ValueError, match="pascal_context: 3 problems") as raised:
        open_dataset("pascal_context/60", bare.parents[1])
    assert f"{VAL[1]}.mat: id 5 is none of the 459 labels" in str(raised.value)
    assert f"{VAL[0]}.mat: no LabelMap in it" in str(raised.value)
    assert f"{TRAIN[1]}.mat: not a MATLAB file" in str(raised.value)


def test_void_stays_void(bare):
    def with_void(mask):
        mask[3:5] = 255
        return mask

    write_context_png(bare / "GroundTruth_trainval_png", with_void)
    found = layout(bare)
    ids = found.read_mask(found.splits["val"][0].mask)
    assert (ids[3:5] == VOID).all()
    assert (ids == VOID).sum() == 2 * ids.shape[1]


def test_lists_of_labels_have_to_be_the_official_ones(bare):
    place = write_label_maps(bare)
    small = place / "59_labels.txt"
    text = small.read_text()
    small.write_text(text.replace("2: bicycle\n3: bird", "2: bird\n3: bicycle"))
    with pytest.raises(ValueError, match="2 is 'bird' there and should be 'bicycle'"):
        layout(bare.parents[1])
    small.write_text(text + "sixty: more\n")
    with pytest.raises(ValueError, match="59_labels.txt, line 60: 'sixty: more'; expected `number: name`"):
        layout(bare.parents[1])
    small.unlink()
    with pytest.raises(ValueError, match="59_labels.txt: the list of labels cannot be read"):
        layout(bare.parents[1])
    small.write_text(text)
    labels = place / "labels.txt"
    labels.write_text(labels.read_text().replace("sidewalk", "side walk"))
    with pytest.raises(ValueError, match="1 of the 59 classes are not in it, 'sidewalk' the first"):
        layout(bare.parents[1])
    (place / "trainval").rename(bare / "trainval")
    with pytest.raises(ValueError, match="LabelMap files without .*labels.txt, which says"):
        layout(bare)


def test_60_or_59_has_to_be_said(bare):
    with pytest.raises(ValueError, match="pascal_context/59 has it void: choose one"):
        open_dataset("pascal_context", bare)


def test_no_masks(bare):
    with pytest.raises(ValueError, match="GroundTruth_trainval_png is missing; expected VOCdevkit/VOC2010"):
        layout(bare)


def test_real_sample(shared_data):
    """Two renderings of the same labels, made by others, agree after renumbering; so do the lists of names."""
    from keras_cacnet.datasets.pascal_context import alphabetical_to_official, read_numbered

    sample = shared_data / "pascal_context"
    found = layout(sample)
    assert {split: len(examples) for split, examples in found.splits.items()} == {"train": 40, "val": 10}
    assert "official order" in found.form
    for file, expected in (("official", CONTEXT_NAMES), ("mmseg", sorted(CONTEXT_NAMES))):
        lines = (found.root / f"59_labels_{file}_order.txt").read_text().splitlines()
        assert lines == [f"{i}: {name}" for i, name in enumerate(expected, 1)]
    seen = set()
    for example in found.splits["train"]:
        other = found.root / "SegmentationClassContext" / example.mask.name
        official = found.read_mask(example.mask)
        np.testing.assert_array_equal(official, read_numbered(other, alphabetical_to_official(), "0-59"))
        seen |= set(np.unique(official).tolist())
    assert len(seen) > 40
