"""Figures 3 and 4 of networks: which images they show; predictions, maps and channels are those of the networks."""

import numpy as np
import pytest
from PIL import Image

import keras_cacnet as kc
from keras_cacnet.datasets import Example, read_image
from keras_cacnet.paper import figures
from keras_cacnet.paper.figures import context_figure, file_examples, named_examples, predictions_figure
from keras_cacnet.visualization import channel_changes
from small_networks import small_network

SIZES = ((40, 44), (33, 47))


@pytest.fixture(scope="module")
def cacnet():
    """On three convolutions instead of a ResNet."""
    return small_network(5)


@pytest.fixture
def pairs(classes, tmp_path):
    """Two photographs with masks of the data set's ids, one pixel of each void."""
    made = []
    for seed, size in enumerate(SIZES):
        rng = np.random.default_rng(seed)
        Image.fromarray(rng.integers(0, 256, (*size, 3)).astype("uint8")).save(tmp_path / f"{seed}.png")
        mask = rng.choice(classes.ids, size).astype("uint8")
        mask[0, 0] = 0
        Image.fromarray(mask).save(tmp_path / f"{seed}_mask.png")
        made.append(Example(str(seed), tmp_path / f"{seed}.png", tmp_path / f"{seed}_mask.png"))
    return made


@pytest.fixture
def drawn(monkeypatch):
    """What is handed over to be drawn."""
    calls = []
    for name in ("comparison_figure", "weighting_figure"):
        draw = getattr(figures, name)
        monkeypatch.setattr(figures, name, lambda *arguments, draw=draw: calls.append(arguments) or draw(*arguments))
    return calls


def test_figure_3_has_the_truth_and_every_network(cacnet, model, classes, pairs, drawn):
    picture = predictions_figure({"Baseline": model, "Ours": cacnet}, pairs, classes)
    assert [axes.get_title() for axes in picture.axes[:4]] == ["Image", "Ground truth", "Baseline", "Ours"]
    images, columns, _ = drawn[0]
    assert list(columns) == ["Ground truth", "Baseline", "Ours"]
    for index, example in enumerate(pairs):
        image = read_image(example.image)
        np.testing.assert_array_equal(images[index], image)
        np.testing.assert_array_equal(columns["Baseline"][index], kc.evaluation.ids(model, image))
        np.testing.assert_array_equal(columns["Ours"][index], kc.evaluation.ids(cacnet, image))
        with Image.open(example.mask) as mask:
            expected = [255 if i == 0 else classes.ids.index(i) for i in np.asarray(mask).ravel()]
        assert columns["Ground truth"][index].ravel().tolist() == expected
    predictions_figure({"Ours": model}, [Example(p.name, p.image, None) for p in pairs], classes)
    assert list(drawn[1][1]) == ["Ours"]


def test_figure_4_has_the_maps_of_the_network(cacnet, classes, pairs, drawn):
    _, chosen = context_figure(cacnet, pairs, classes, head=2, count=2, seed=3)
    assert chosen[0] == chosen[1]
    assert list(chosen[0]) == ["head_2"]
    for shown, example in zip(drawn[0][0], pairs, strict=True):
        image = read_image(example.image)
        expected = cacnet.weighting_maps(image[None])["head_2"]
        np.testing.assert_array_equal(shown.ids, kc.evaluation.ids(cacnet, image))
        assert [one.channel for one in shown.channels] == list(chosen[0]["head_2"])
        for one in shown.channels:
            for part in ("X", "X*", "W"):
                # Compiled and eager sums in float32.
                values = np.asarray(expected[part])[0, ..., one.channel]
                np.testing.assert_allclose(one.maps[part], values, rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(one.maps["X*"], one.maps["X"] * one.maps["W"], rtol=1e-6)
    assert context_figure(cacnet, pairs, classes, by=(5, 0))[1] == [{"head_1": (5, 0)}] * 2


def test_the_largest_change_is_that_of_every_image(cacnet, classes, pairs):
    _, chosen = context_figure(cacnet, pairs, classes, by="largest-change")
    for example, channels in zip(pairs, chosen, strict=True):
        changes = channel_changes(cacnet.weighting_maps(read_image(example.image)[None]))["head_1"]
        assert changes[channels["head_1"][0]] == pytest.approx(changes.max(), rel=1e-3)


def test_bad_input_is_named(cacnet, model, classes, pairs, tmp_path):
    without = Example("bare", pairs[0].image, None)
    with pytest.raises(ValueError, match=r"0.png has no ground truth, .*1.png has .*1_mask.png: .*--labels"):
        predictions_figure({"Ours": model}, [without, pairs[1]], classes)
    with pytest.raises(ValueError, match="no images for the figure"):
        predictions_figure({"Ours": model}, [], classes)
    broken = tmp_path / "broken.jpg"
    broken.write_text("no image")
    with pytest.raises(ValueError, match=r"broken.jpg: "):
        predictions_figure({"Ours": model}, [Example("broken", broken, None)], classes)
    with pytest.raises(ValueError, match=r"1_mask.png: the mask is 47x33 pixels, the image .*0.png 44x40"):
        predictions_figure({"Ours": model}, [Example("0", pairs[0].image, pairs[1].mask)], classes)
    with pytest.raises(ValueError, match="has no head 3; it has head_1, head_2"):
        context_figure(cacnet, pairs, classes, head=3)
    with pytest.raises(ValueError, match="head_1 has the channels 0 to 7, not 17"):
        context_figure(cacnet, pairs, classes, by=(17,))
    with pytest.raises(ValueError, match="'small' has no weighting_maps"):
        context_figure(model, pairs, classes)


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
    with pytest.raises(ValueError, match="voc2012 val has no example '2007_00064.jpg'; did you mean 2007_0000"):
        named_examples(split, ["2007_000063", "2007_00064.jpg"], "voc2012 val")
    with pytest.raises(ValueError, match="no example 'x'; it has 2007_000032, 2007_000039, 2007_000063 and 1 more"):
        named_examples(split, ["x"], "voc2012 val")
