"""Which images a figure shows, and where their ground truth is."""

import pytest
from PIL import Image

from keras_cacnet.datasets import Example
from keras_cacnet.paper.figure_images import file_examples, named_examples


@pytest.fixture
def photos(tmp_path):
    for split, names in (("val", ("dune", "cliff")), ("test", ("bay",))):
        for part in ("images", "labels"):
            (tmp_path / "images" / part / split).mkdir(parents=True, exist_ok=True)
        for name in names:
            Image.new("RGB", (8, 6)).save(tmp_path / "images" / "images" / split / f"{name}.jpg")
            if split == "val":
                Image.new("L", (8, 6)).save(tmp_path / "images" / "labels" / split / f"{name}.png")
    return tmp_path / "images"


def test_the_ground_truth_is_looked_for_beside_the_images(photos, monkeypatch):
    """The innermost folder called images counts; a relative path is as good."""
    cliff, dune = file_examples([photos / "images" / "val"])
    assert [example.name for example in (cliff, dune)] == ["cliff", "dune"]
    assert cliff.mask == photos / "labels" / "val" / "cliff.png"
    assert file_examples([photos / "images" / "test" / "bay.jpg"])[0].mask is None
    monkeypatch.chdir(photos / "images" / "val")
    assert file_examples(["dune.jpg"])[0].mask == photos / "labels" / "val" / "dune.png"
    Image.new("RGB", (8, 6)).save(photos.parent / "elsewhere.png")
    assert file_examples([photos.parent / "elsewhere.png"])[0].mask is None


def test_the_ground_truth_is_named(photos):
    images = [photos / "images" / "val" / f"{name}.jpg" for name in ("dune", "cliff")]
    labels = photos / "labels" / "val"
    assert [example.mask for example in file_examples(images, labels)] == [labels / "dune.png", labels / "cliff.png"]
    assert file_examples(images[:1], labels / "cliff.png")[0].mask == labels / "cliff.png"
    for given, where, told in (
        (images, labels / "dune.png", r"dune.png is one mask for 2 images: give the folder"),
        (images, photos / "nowhere", r"nowhere: no such file or folder of masks"),
        (
            [*images, photos / "images" / "test" / "bay.jpg"],
            labels,
            r"bay.png is missing: the ground truth of .*bay.jpg",
        ),
        (["nowhere.jpg"], None, r"nowhere.jpg: no such file"),
    ):
        with pytest.raises(ValueError, match=told):
            file_examples(given, where)


def test_a_whole_data_set_is_no_figure(tmp_path):
    for index in range(21):
        Image.new("L", (2, 2)).save(tmp_path / f"{index}.png")
    with pytest.raises(ValueError, match="21 images for one figure, which has at most 20 rows"):
        file_examples([tmp_path])


def test_examples_are_found_by_name():
    split = [Example(f"voc2012/val/2007_0000{index}", b"", None) for index in (32, 39, 63, 68)]
    found = named_examples(split, ["2007_000063", "voc2012/val/2007_000032", "2007_000063"], "voc2012 val")
    assert [example.name[-2:] for example in found] == ["63", "32", "63"]
    with pytest.raises(ValueError, match="voc2012 val has no example '2007_00064.jpg'; the nearest are 2007_0000"):
        named_examples(split, ["2007_000063", "2007_00064.jpg"], "voc2012 val")
    with pytest.raises(ValueError, match="no example 'x'; it has 2007_000032, 2007_000039, 2007_000063 and so on"):
        named_examples(split, ["x"], "voc2012 val")
