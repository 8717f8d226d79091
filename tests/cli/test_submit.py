"""`keras-cacnet submit` on a tiny VOC 2012, with a run that was not trained."""

import io
import json
import shutil
import tarfile

import numpy as np
import pytest
from PIL import Image

import keras_cacnet as kc
from keras_cacnet import evaluation
from keras_cacnet.cli import main
from keras_cacnet.datasets.voc2012 import CLASSES as VOC_CLASSES

SPLITS = {"train": ["a1"], "val": ["v1"], "test": ["t2", "t1"]}
SIZES = {"a1": (40, 44), "v1": (40, 44), "t1": (33, 47), "t2": (50, 36)}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A VOC whose test split has images alone, and a run."""
    root = tmp_path_factory.mktemp("submit")
    voc = root / "data" / "VOCdevkit" / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (voc / folder).mkdir(parents=True)
    for split, names in SPLITS.items():
        (voc / "ImageSets" / "Segmentation" / f"{split}.txt").write_text("\n".join(names))
        for name in names:
            pixels = np.random.default_rng(ord(name[0])).integers(0, 256, (*SIZES[name], 3))
            Image.fromarray(pixels.astype("uint8")).save(voc / "JPEGImages" / f"{name}.jpg")
            if split != "test":
                Image.fromarray(np.zeros(SIZES[name], "uint8")).save(voc / "SegmentationClass" / f"{name}.png")
    run = root / "run"
    run.mkdir()
    (run / "config.json").write_text(json.dumps({"recipe": {"split": "trainaug", "weights": None}}))
    (run / "classes.json").write_text(json.dumps(VOC_CLASSES.to_json()))
    kc.CaCNet(21, backbone="resnet14_narrow", head_channels=8).save(run / "best.keras")
    return root


@pytest.fixture(autouse=True)
def cache(place, monkeypatch):
    monkeypatch.setenv("KERAS_CACNET_DATA", str(place / "cache"))


def words(place, *more, data="voc2012", output="new/results.tgz"):
    folder = ["--data-dir", str(place / "data"), "--output", str(place / output)]
    return ["submit", data, str(place / "run"), *folder, *more]


def test_a_split_without_masks_goes_into_the_archive(place, capsys):
    assert main(words(place)) == 0
    printed = capsys.readouterr().out
    assert f"written and read back: {place / 'new/results.tgz'}, 2 images (best checkpoint; scale 1.0" in printed
    assert "warning: voc2012/test: 2 examples; the official split has 1456." in printed
    model = kc.training.run.Run(place / "run").load_model()
    with tarfile.open(place / "new" / "results.tgz") as archive:
        names = archive.getnames()
        pictures = [np.asarray(Image.open(io.BytesIO(archive.extractfile(name).read()))) for name in names]
    assert names == [f"results/VOC2012/Segmentation/comp6_test_cls/{name}.png" for name in SPLITS["test"]]
    for name, picture in zip(SPLITS["test"], pictures, strict=True):
        with Image.open(place / "data" / "VOCdevkit" / "VOC2012" / "JPEGImages" / f"{name}.jpg") as image:
            np.testing.assert_array_equal(picture, evaluation.ids(model, np.asarray(image)))


def test_the_home_folder_is_meant_by_a_tilde(place, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main([*words(place), "--output", "~/new/results.tgz"]) == 0
    assert f"written and read back: {tmp_path / 'new/results.tgz'}, 2 images" in capsys.readouterr().out


def test_the_competition_and_the_split_are_chosen(place, capsys):
    more = "--split val --competition comp5 --scales 0.5,1.0 --crop-size 32".split()
    assert main(words(place, *more, output="val.tar.gz")) == 0
    printed = capsys.readouterr().out
    assert "note: comp5 is for networks that saw only VOC 2012" in printed
    assert "SBD's masks (split=trainaug)" in printed
    assert "scales 0.5, 1.0 of the image, not mirrored, windows of 32 pixels" in printed
    with tarfile.open(place / "val.tar.gz") as archive:
        assert archive.getnames() == ["results/VOC2012/Segmentation/comp5_val_cls/v1.png"]


def test_where_the_test_images_are_looked_for(place, tmp_path, capsys):
    shutil.copytree(place / "data", tmp_path / "data")
    (tmp_path / "data" / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation" / "test.txt").unlink()
    assert main([*words(place, output="a.tgz"), "--data-dir", str(tmp_path / "data")]) == 2
    assert "data has no test images; expected VOCdevkit/VOC2012/ImageSets/Segmentation/test" in capsys.readouterr().err


def test_bad_input_gives_one_line_and_no_archive(place, capsys):
    for line, told in (
        (words(place, data="cityscapes"), "there is a test server for voc2012 and ade20k, not for 'cityscapes'"),
        (words(place, output="a.zip"), "a.zip does not end so"),
        (words(place, "--split", "train", output="a.tgz"), "the split must be 'test' or 'val', got 'train'"),
        (words(place, "--competition", "comp1", output="a.tgz"), "the competition must be comp6 or comp5"),
        (words(place, "--stride", "1/2", output="a.tgz"), "--crop-size"),
        (words(place, data="ade20k", output="a.zip"), "class 0 is 'background' there and 'wall' here"),
    ):
        assert main(line) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert error.count("\n") == 1
        assert told in error
    assert not [path for path in place.iterdir() if path.name.startswith((".a", "a."))]
