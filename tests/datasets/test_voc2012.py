"""VOC 2012 as it lies on disk: the splits, both forms of the augmented masks, and what is told of a wrong folder."""

import hashlib
import shutil
import unicodedata

import numpy as np
import pytest
from drawn_sets import SBD, write_pair, write_voc
from drawn_sets import VOC_TRAIN as TRAIN
from drawn_sets import VOC_VAL as VAL
from drawn_sets import voc_mask as mask_of
from PIL import Image

from keras_cacnet.datasets import VOID, check_dataset, open_dataset, read_example, require_layout
from keras_cacnet.datasets.example_checking import example_checksum
from keras_cacnet.datasets.unpacked import read_list


@pytest.fixture
def voc(tmp_path):
    return write_voc(tmp_path / "data")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_CACNET_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


def layout(folder):
    from keras_cacnet.datasets.voc2012 import VOC2012

    return VOC2012.layout(folder)


def names(found, split):
    return tuple(example.name for example in found.splits[split])


def test_val_is_not_in_trainaug_of_the_official_lists(shared_data, voc):
    lists = shared_data / "voc2012_sample" / "full_lists"
    official = {split: read_list(lists / f"{split}.txt") for split in ("train", "trainaug", "val", "test")}
    assert {split: len(ids) for split, ids in official.items()} == {
        "train": 1464,
        "trainaug": 10582,
        "val": 1449,
        "test": 1456,
    }
    for one in ("train", "trainaug", "val"):
        for other in ("val", "test"):
            assert one == other or not set(official[one]) & set(official[other])
    assert set(official["train"]) < set(official["trainaug"])
    target = voc / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation"
    for path in target.iterdir():
        path.unlink()
    for split in ("train", "val", "test"):
        shutil.copy(lists / f"{split}.txt", target)
    # SBD's own lists have images of VOC's val in both; none of them may come through.
    sbd = voc / "benchmark_RELEASE" / "dataset"
    (sbd / "train.txt").write_text("\n".join(sorted(set(official["trainaug"]) - set(official["train"]))))
    (sbd / "val.txt").write_text("\n".join(official["val"]))
    derived = layout(voc)
    assert set(names(derived, "trainaug")) == set(official["trainaug"])
    assert not derived.notes
    shutil.copy(lists / "trainaug.txt", target)
    assert names(layout(voc), "trainaug") == official["trainaug"]
    with (target / "trainaug.txt").open("a") as stream:
        stream.write(f"\n{official['val'][3]}\n")
    with pytest.raises(ValueError, match=f"1 id is in trainaug and in val, {official['val'][3]} the first"):
        layout(voc)


def test_sbd_masks_and_voc_masks(voc):
    found = layout(voc)
    assert tuple(found.splits) == ("train", "trainaug", "trainval", "val", "test")
    assert names(found, "trainaug") == ("a1", "a2", "s1", "s2", "s3")
    for example in found.splits["trainaug"]:
        # a1 has masks in both: VOC's own, with its void, counts.
        expected = mask_of(example.name)
        if example.name in SBD:
            expected = np.where(expected == 255, 0, expected)
        np.testing.assert_array_equal(found.read_mask(example.mask), expected)
    assert found.notes["val"] == "2 examples; the official split has 1449. Scores on it are not those of the whole set."


def test_png_masks_come_before_sbd(voc):
    root = voc / "VOCdevkit" / "VOC2012"
    (root / "SegmentationClassAug").mkdir()
    # Some hold SBD's images alone.
    for name in (*SBD[:2], "v1"):
        Image.fromarray(mask_of(name)).save(root / "SegmentationClassAug" / f"{name}.png")
    found = layout(voc)
    assert names(found, "trainaug") == ("a1", "a2", "s1", "s2")
    folders = [example.mask.parent.name for example in found.splits["trainaug"]]
    assert folders == ["SegmentationClass"] * 2 + ["SegmentationClassAug"] * 2
    assert found.form.endswith("SegmentationClassAug")


def test_records(voc, cache):
    data = open_dataset("voc2012", voc)
    assert data.name == "voc2012"
    assert data.splits == ("train", "trainaug", "trainval", "val", "test")
    assert data.classes.names[15] == "person"
    assert data.classes.palette[15] == (192, 128, 128)
    example = data.source("val")[1]
    assert example.name == "voc2012/val/v2"
    assert example.image == (voc / "VOCdevkit/VOC2012/JPEGImages/v2.jpg").read_bytes()
    _, ids = read_example(example, data.classes)
    np.testing.assert_array_equal(ids, mask_of("v2"))
    assert data.source("test")[0].mask is None
    report = check_dataset(data, progress=False)
    assert report.ok, report.to_text()
    assert not any("same file" in finding.message for finding in report.findings)
    require_layout(data)
    # The checksum of the records' metadata is that of the files, written out here.
    digests = [
        example_checksum(name, (voc / f"VOCdevkit/VOC2012/JPEGImages/{name}.jpg").read_bytes(), mask_of(name))
        for name in VAL
    ]
    assert data._builder.info.metadata["sha256"]["val"] == hashlib.sha256(b"".join(digests)).hexdigest()
    assert not list(cache.rglob("*partial*"))


def test_loads_with_tensorflow_datasets(voc, tmp_path):
    import tensorflow_datasets as tfds

    import keras_cacnet.datasets.voc2012  # noqa: F401

    settings = tfds.download.DownloadConfig(manual_dir=voc, try_download_gcs=False)
    loaded, info = tfds.load(
        "voc2012",
        split="val",
        data_dir=tmp_path / "tfds",
        download_and_prepare_kwargs={"download_config": settings},
        with_info=True,
    )
    (_, second) = loaded.as_numpy_iterator()
    assert second["name"] == b"v2"
    assert second["image"].shape == (66, 70, 3)
    np.testing.assert_array_equal(second["mask"][..., 0], mask_of("v2"))
    assert info.metadata["classes"][1]["name"] == "aeroplane"
    assert info.splits["trainaug"].num_examples == 5


def test_a_changed_folder_gets_new_records(voc):
    before = open_dataset("voc2012", voc).source("val")[0].image
    write_pair(voc / "VOCdevkit/VOC2012/JPEGImages/v1.jpg", mask_of("v1"), seed=99)
    assert open_dataset("voc2012", voc).source("val")[0].image != before


def test_broken_records_are_found(voc):
    data = open_dataset("voc2012", voc)
    assert check_dataset(data, ["val"], progress=False).ok
    data._builder.info.metadata["sha256"]["val"] = "0" * 64
    (finding,) = check_dataset(data, ["val"], progress=False).errors
    assert "changed since they were made" in finding.message


class Counted:
    def __init__(self, total):
        self.total, self.steps = total, 0

    def add(self, count):
        self.steps += count


def test_preparation_goes_on_after_a_break(voc, monkeypatch):
    from keras_cacnet.datasets import builder

    monkeypatch.setattr(builder, "SHARD", 1)
    examined, read = [], []
    mask, examine = builder._mask, builder.examine

    def failing(found, example):
        read.append(example.name)
        if len(read) == 4:
            raise OSError("no space left")
        return mask(found, example)

    monkeypatch.setattr(builder, "_mask", failing)
    monkeypatch.setattr(builder, "examine", lambda found: examined.append(1) or examine(found, False))
    bars = []
    monkeypatch.setattr(builder, "progress_bar", lambda total: bars.append(Counted(total)) or bars[-1])
    with pytest.raises(ValueError, match="no space left"):
        open_dataset("voc2012", voc)
    data = open_dataset("voc2012", voc)
    # What the first try has written counts in the second one's bar, which ends full.
    assert [(bar.total, bar.steps) for bar in bars] == [(14, 3), (14, 14)]
    # train (2), trainaug (5), trainval (4), val (2), test (1): each example is written once, the fourth tried twice.
    assert len(read) == 14 + 1
    assert read[3] == read[4]
    assert examined == [1]
    assert [e.name for e in data.source("trainaug")] == [f"voc2012/trainaug/{n}" for n in (*TRAIN, *SBD)]
    assert check_dataset(data, progress=False).ok


def test_wrong_files_are_named_and_counted_before_anything_is_written(voc, cache):
    root = voc / "VOCdevkit" / "VOC2012"
    (root / "JPEGImages" / "a1.jpg").write_bytes(b"")
    Image.fromarray(np.full((10, 12), 3, "uint8")).save(root / "SegmentationClass" / "a2.png")
    Image.fromarray(np.full((66, 70), 77, "uint8")).save(root / "SegmentationClass" / "v1.png")
    (voc / "benchmark_RELEASE/dataset/cls/s3.mat").write_bytes(b"no MATLAB file")
    with pytest.raises(ValueError, match="voc2012: 4 problems") as raised:
        open_dataset("voc2012", voc)
    lines = str(raised.value).splitlines()
    assert len(lines) == 5
    for part in (
        "a1.jpg: the file is empty",
        "a2.png: the mask is 12x10 pixels, the image",
        "v1.png: id 77 (4620 pixels): not of voc2012, whose ids are 0-20",
        "s3.mat: not a MATLAB file",
    ):
        assert any(part in line for line in lines), part
    assert not list(cache.rglob("*array_record*"))


def test_missing_files_are_counted(voc):
    root = voc / "VOCdevkit" / "VOC2012"
    (root / "SegmentationClass" / "v2.png").unlink()
    (root / "JPEGImages" / "s1.jpg").unlink()
    (root / "JPEGImages" / "t1.jpg").unlink()
    with pytest.raises(ValueError, match="2 images and 1 mask are missing; expected 15 files, found 12") as raised:
        open_dataset("voc2012", voc)
    assert str(raised.value).splitlines()[1] == f"  {root / 'JPEGImages' / 's1.jpg'}: no such file."


@pytest.mark.parametrize(
    "gone", ["JPEGImages", "SegmentationClass", "ImageSets/Segmentation/train.txt", "ImageSets/Segmentation/val.txt"]
)
def test_a_wrong_folder(voc, gone):
    root = voc / "VOCdevkit" / "VOC2012"
    (root / gone).rename(root / "elsewhere")
    with pytest.raises(ValueError, match="is missing; expected VOCdevkit/VOC2012 with JPEGImages") as raised:
        open_dataset("voc2012", voc)
    assert str(root / gone) in str(raised.value)


def test_hidden_files_are_no_masks(voc):
    """macOS' ._NAME files beside the real ones."""
    root = voc / "VOCdevkit" / "VOC2012"
    (root / "SegmentationClassAug").mkdir()
    for name in SBD:
        Image.fromarray(mask_of(name)).save(root / "SegmentationClassAug" / f"{name}.png")
        (root / "SegmentationClassAug" / f"._{name}.png").write_bytes(b"Mac OS X")
    assert names(layout(voc), "trainaug") == ("a1", "a2", *SBD)
    shutil.rmtree(root / "SegmentationClassAug")
    sbd = voc / "benchmark_RELEASE" / "dataset"
    for path in (sbd / "train.txt", sbd / "val.txt"):
        path.unlink()
    (sbd / "cls" / "._s1.mat").write_bytes(b"Mac OS X")
    assert names(layout(voc), "trainaug") == ("a1", "a2", *SBD)


def test_ids_in_another_form_of_unicode(voc):
    """A list with composed names, an image that is decomposed on disk and a mask that is not."""
    root = voc / "VOCdevkit" / "VOC2012"
    composed, decomposed = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    write_pair(root / "JPEGImages" / f"{decomposed}.jpg", mask_of("v1"), root / "SegmentationClass" / f"{composed}.png")
    for list_name, name in (("val", composed), ("trainval", decomposed)):
        with (root / "ImageSets/Segmentation" / f"{list_name}.txt").open("a") as stream:
            stream.write(f"{name}\n")
    found = layout(voc).splits
    for split in ("val", "trainval"):
        assert found[split][-1].name == composed
        assert found[split][-1].image.is_file()
        assert found[split][-1].mask.is_file()
    (root / "ImageSets/Segmentation/train.txt").write_text(f"{decomposed}\n")
    with pytest.raises(ValueError, match="1 id is in train and in val"):
        layout(voc)


def test_home_is_found(voc, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_CACNET_DATA", "~/records")
    assert len(open_dataset("voc2012", "~/data").source("val")) == 2
    assert (tmp_path / "records" / "native").is_dir()


def test_a_cache_that_cannot_be_written_names_what_moves_it(voc, cache):
    cache.write_text("a file")
    with pytest.raises(
        ValueError, match="records cannot be written .*another folder with the variable KERAS_CACNET_DATA"
    ):
        open_dataset("voc2012", voc)


def test_no_folder(tmp_path):
    with pytest.raises(ValueError, match="voc2012: data_dir \\(--data-dir\\) is missing: the folder with VOCdevkit"):
        open_dataset("voc2012")
    with pytest.raises(ValueError, match="nowhere: does not exist; expected VOCdevkit"):
        open_dataset("voc2012", tmp_path / "nowhere")


def test_a_list_without_masks(voc):
    shutil.rmtree(voc / "benchmark_RELEASE")
    assert "trainaug" not in layout(voc).splits
    (voc / "VOCdevkit/VOC2012/ImageSets/Segmentation/trainaug.txt").write_text("s1\n")
    with pytest.raises(ValueError, match=r"trainaug.txt is there, but no masks for it"):
        layout(voc)


def test_train_and_val_apart(voc):
    (voc / "VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt").write_text("a1\nv2\n")
    with pytest.raises(ValueError, match="1 id is in train and in val, v2 the first"):
        layout(voc)


def test_real_sample(shared_data):
    sample = shared_data / "voc2012_sample"
    found = layout(sample)
    assert {split: len(examples) for split, examples in found.splits.items()} == {
        "train": 30,
        "trainaug": 70,
        "trainval": 60,
        "val": 30,
    }
    # The files' own palette is the one that is written into this module.
    with Image.open(found.splits["train"][0].mask) as mask:
        palette = mask.getpalette()
    assert [tuple(palette[3 * i : 3 * i + 3]) for i in range(21)] == list(found.classes.palette)
    # SBD's .mat of an image and its SegmentationClassAug are the same labels.
    from keras_cacnet.datasets.voc2012 import read_voc_mask

    mats = sorted((sample / "sbd_derived" / "cls").glob("*.mat"))
    assert len(mats) == 5
    for mat in mats:
        png = found.root / "SegmentationClassAug" / f"{mat.stem}.png"
        np.testing.assert_array_equal(read_voc_mask(mat), read_voc_mask(png))
    few = [found.read_mask(example.mask) for example in found.splits["val"][:3]]
    assert all(VOID in ids and ids[ids != VOID].max() <= 20 for ids in few)


def test_check_by_the_command_line(voc, capsys):
    from keras_cacnet.cli import main

    assert main(["check", "--data", "voc2012", "--data-dir", str(voc)]) == 0
    assert "the official split has 1464" in capsys.readouterr().out


@pytest.mark.slow
def test_training_by_the_command_line(voc, tmp_path, capsys):
    from keras_cacnet.cli import main

    data = ["--data", "voc2012", "--data-dir", str(voc)]
    network = "backbone=resnet14_narrow head_channels=8 crop_size=32 batch_size=2 epochs=1".split()
    small = ["--set", *network, "--verbose", "0"]
    assert main(["train", *data, "--output", str(tmp_path / "run"), *small]) == 0
    assert main(["evaluate", str(tmp_path / "run"), *data, "--split", "val"]) == 0
    assert main(["evaluate", str(tmp_path / "run"), *data, "--split", "test"]) == 2
    assert "this split has no masks" in capsys.readouterr().err
