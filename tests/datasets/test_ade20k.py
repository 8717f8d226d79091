"""ADE20K: ids shifted by one and back, and a folder that is the whole set or says that it is not."""

import csv
import os
import shutil

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat

from keras_cacnet.datasets import VOID, check_dataset, open_dataset, read_example

TRAIN, VAL = ("ADE_train_00000003", "ADE_train_00000001"), ("ADE_val_00000002",)


def mask_of(name):
    mask = np.random.default_rng(int(name[-1])).integers(0, 151, (80, 90 + int(name[-1])), dtype="uint8")
    mask.flat[:151] = np.arange(151)
    return mask


def write(root, name, place):
    for part in ("images", "annotations"):
        (root / part / place).mkdir(parents=True, exist_ok=True)
    mask = mask_of(name)
    image = np.random.default_rng(int(name[-1])).integers(0, 256, mask.shape, dtype="uint8")
    # Some photographs of the set are grayscale.
    Image.fromarray(image).save(root / "images" / place / f"{name}.jpg")
    Image.fromarray(mask).save(root / "annotations" / place / f"{name}.png")


@pytest.fixture
def part(tmp_path, monkeypatch):
    """A part of the set, with the lists that say so."""
    monkeypatch.setenv("KERAS_CACNET_DATA", str(tmp_path / "cache"))
    root = tmp_path / "data" / "ADEChallengeData2016"
    (root / "ImageSets").mkdir(parents=True)
    for place, names in (("training", TRAIN), ("validation", VAL)):
        for name in names:
            write(root, name, place)
        (root / "ImageSets" / f"{place}.txt").write_text("\n".join(names))
    return root


def layout(folder):
    from keras_cacnet.datasets.ade20k import ADE20K

    return ADE20K.layout(folder)


def test_ids_are_shifted_by_one_and_back(part):
    data = open_dataset("ade20k", part.parent)
    assert (data.name, data.splits, len(data.classes)) == ("ade20k", ("train", "val"), 150)
    assert [example.name for example in data.source("train")] == [f"ade20k/train/{name}" for name in TRAIN]
    for example in data.source("train"):
        mask = mask_of(example.name)
        image, ids = read_example(example, data.classes)
        assert image.shape == (*mask.shape, 3)
        np.testing.assert_array_equal(ids, np.where(mask == 0, VOID, mask.astype(int) - 1))
        np.testing.assert_array_equal(data.classes.to_file(ids), np.where(mask == 0, VOID, mask))
    report = check_dataset(data, progress=False)
    assert report.ok, report.to_text()
    assert "the official split has 20210" in report.to_text()


def test_loads_with_tensorflow_datasets(part, tmp_path):
    import tensorflow_datasets as tfds

    import keras_cacnet.datasets.ade20k  # noqa: F401

    settings = tfds.download.DownloadConfig(manual_dir=part.parent, try_download_gcs=False)
    loaded, info = tfds.load(
        "ade20k",
        split="val",
        data_dir=tmp_path / "tfds",
        download_and_prepare_kwargs={"download_config": settings},
        with_info=True,
    )
    (only,) = loaded.as_numpy_iterator()
    assert only["image"].shape == (80, 92, 3)
    np.testing.assert_array_equal(only["mask"][..., 0], mask_of(VAL[0]))
    assert info.metadata["void_ids"] == [0]


def test_test_images_have_no_masks(part):
    place = part.parent / "release_test" / "testing"
    place.mkdir(parents=True)
    shutil.copy(part / "images" / "validation" / f"{VAL[0]}.jpg", place / "ADE_test_00000001.jpg")
    data = open_dataset("ade20k", part.parent)
    assert data.splits == ("train", "val", "test")
    assert data.source("test")[0].mask is None
    assert check_dataset(data, ["test"], progress=False).ok


def test_without_lists_the_whole_set_is_expected(part):
    shutil.rmtree(part / "ImageSets")
    with pytest.raises(ValueError, match="training has 2 images and 2 masks, expected 20210 of each") as raised:
        open_dataset("ade20k", part.parent)
    first = part / "images" / "training" / "ADE_train_00000002.jpg"
    assert f"images missing: 20208, {first} the first" in str(raised.value)
    assert f"list its ids in {part / 'ImageSets' / 'training.txt'}" in str(raised.value)


def test_the_whole_set(part):
    """Names alone, as links to one file: what is missing is told before anything is read."""
    shutil.rmtree(part)
    (part / "real").mkdir(parents=True)
    for split, place, count in (("train", "training", 20210), ("val", "validation", 2000)):
        for folder, ending in (("images", "jpg"), ("annotations", "png")):
            (part / folder / place).mkdir(parents=True)
            for number in range(1, count + 1):
                os.symlink("nothing", part / folder / place / f"ADE_{split}_{number:08d}.{ending}")
    found = layout(part)
    assert {split: len(examples) for split, examples in found.splits.items()} == {"train": 20210, "val": 2000}
    assert found.splits["val"][-1].name == "ADE_val_00002000"
    assert not found.notes
    (part / "annotations" / "validation" / "ADE_val_00000007.png").unlink()
    (part / "images" / "validation" / "ADE_val_00001999.jpg").unlink()
    os.symlink("nothing", part / "images" / "validation" / "holiday.jpg")
    with pytest.raises(ValueError, match="validation has 2000 images and 1999 masks") as raised:
        layout(part)
    for said in (
        f"images missing: 1, {part / 'images' / 'validation' / 'ADE_val_00001999.jpg'} the first",
        f"images that are not of the official set: 1, {part / 'images' / 'validation' / 'holiday.jpg'} the first",
        f"masks missing: 1, {part / 'annotations' / 'validation' / 'ADE_val_00000007.png'} the first",
        "images without a mask: 2, ADE_val_00000007 the first",
        "masks without an image: 1, ADE_val_00001999 the first",
    ):
        assert said in str(raised.value), said


def test_wrong_files(part):
    Image.fromarray(np.full((80, 93), 151, "uint8")).save(part / "annotations" / "training" / f"{TRAIN[0]}.png")
    (part / "images" / "validation" / f"{VAL[0]}.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(ValueError, match="ade20k: 2 problems") as raised:
        open_dataset("ade20k", part)
    assert "id 151 (7440 pixels): not of ade20k, whose ids are 1-150" in str(raised.value)
    assert f"{VAL[0]}.jpg: " in str(raised.value)
    (part / "images" / "validation" / f"{VAL[0]}.jpg").unlink()
    with pytest.raises(ValueError, match="1 image is missing; expected 6 files, found 5"):
        open_dataset("ade20k", part)


def test_hidden_files_are_no_photographs(part):
    for place in ("images/training/._ADE_train_00000001.jpg", "annotations/validation/._ADE_val_00000002.png"):
        (part / place).write_bytes(b"Mac OS X")
    place = part / "images" / "testing"
    place.mkdir()
    (place / "._ADE_test_00000001.jpg").write_bytes(b"Mac OS X")
    assert tuple(layout(part.parent).splits) == ("train", "val")
    shutil.rmtree(part / "ImageSets")
    with pytest.raises(ValueError, match="training has 2 images and 2 masks, expected 20210 of each"):
        layout(part.parent)


def test_another_folder(tmp_path):
    (tmp_path / "ADE20K_2021_17_01").mkdir()
    with pytest.raises(ValueError, match="images is missing; expected ADEChallengeData2016 .* found ADE20K_2021_17_01"):
        open_dataset("ade20k", tmp_path)


def test_real_sample(shared_data, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_CACNET_DATA", str(tmp_path / "cache"))
    sample = shared_data / "ade20k"
    with pytest.raises(ValueError, match="expected 20210 of each"):
        open_dataset("ade20k", sample)
    root = tmp_path / "ADEChallengeData2016"
    shutil.copytree(sample / "ADEChallengeData2016", root)
    for folder in (tmp_path, root, *root.rglob("*")):
        folder.chmod(0o755)
    (root / "ImageSets").mkdir()
    for place in ("training", "validation"):
        names = sorted(path.stem for path in (root / "images" / place).iterdir())
        (root / "ImageSets" / f"{place}.txt").write_text("\n".join(names))
    data = open_dataset("ade20k", tmp_path)
    assert [len(data.source(split)) for split in data.splits] == [1, 3]
    for split in data.splits:
        for example in data.source(split):
            _, ids = read_example(example, data.classes)
            assert (ids != VOID).mean() > 0.5


def test_names_and_colors_are_the_published_ones(shared_data):
    from keras_cacnet.datasets.ade20k import CLASSES

    sample = shared_data / "ade20k"
    assert list(CLASSES.names) == (sample / "ade20k_names.txt").read_text().split("\n")[:150]
    np.testing.assert_array_equal(CLASSES.palette, loadmat(str(sample / "color150.mat"))["colors"])
    with (sample / "ADEChallengeData2016" / "objectInfo150.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    for number, (name, row) in enumerate(zip(CLASSES.names, rows, strict=True), 1):
        assert int(row["Idx"]) == number
        # There a name of two words ends at the first space.
        assert name.split()[0] == row["Name"].split(";")[0].split()[0]
