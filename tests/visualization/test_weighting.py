"""Figure 4: its columns, and what stands in them."""

import sys

import numpy as np
import pytest

import keras_cacnet as kc
from keras_cacnet.visualization import WeightedImage, channel_maps, choose_channels, weighting, weighting_figure
from keras_cacnet.visualization.panels import gray_map, label_map, panel_size


@pytest.fixture
def drawn(monkeypatch):
    """Titles and rows of the figures that are put together."""
    calls = []
    figure = weighting.figure
    monkeypatch.setattr(weighting, "figure", lambda *arguments: calls.append(arguments) or figure(*arguments))
    return calls


def shown(maps, channels, size=(48, 64), truth=None, seed=1):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (*size, 3)).astype("uint8")
    ids = rng.integers(0, 2, size).astype("uint8")
    return WeightedImage(image, ids, channel_maps(maps, channels), truth)


def test_columns_are_those_of_the_paper(make_maps, coast, drawn):
    maps, truth = make_maps(), np.full((48, 64), 255, "uint8")
    images = [shown(maps, {"head_2": (6, 0)}, truth=truth), shown(maps, {"head_2": (3,)}, truth=truth, seed=2)]
    page = weighting_figure(images, coast)
    titles, rows, labels, _ = drawn[0]
    assert titles == ["(a) Image", "(b) Ground truth", "(c) X", "(d) X*", "(e) W", "(f) Result"]
    assert page.dtype == np.uint8
    size = panel_size(48, 64, 6)
    for row, image in zip(rows, images, strict=True):
        photo, expected, x, product, w, result = row
        assert photo[0].picture.shape == (*size, 3)
        np.testing.assert_array_equal(expected[0].picture, label_map(truth, coast, size))
        np.testing.assert_array_equal(result[0].picture, label_map(image.ids, coast, size))
        for part, panels in (("X", x), ("X*", product), ("W", w)):
            for panel, one in zip(panels, image.channels, strict=True):
                values = maps["head_2"][part][0, ..., one.channel]
                np.testing.assert_array_equal(panel.picture, gray_map(values.astype("float32"), size))
                words = panel.caption.removeprefix(f"channel {one.channel}: " if part == "X" else "")
                told = [float(word) for word in words.split(" to ")]
                # Three digits of the range.
                assert told == pytest.approx([values.min(), values.max()], abs=0.005 * np.ptp(values))
    assert {id(ids) for ids in labels} == {id(truth), *(id(image.ids) for image in images)}


def test_without_ground_truth_its_column_is_left_out(make_maps, coast, drawn):
    weighting_figure([shown(make_maps(), {"head_1": (1,), "head_2": (1,)})], coast)
    titles, rows, _, _ = drawn[0]
    assert titles == ["(a) Image", "(b) X", "(c) X*", "(d) W", "(e) Result"]
    assert [panel.caption.split(":")[0] for panel in rows[0][1]] == ["head 1, channel 1", "head 2, channel 1"]


def test_weights_that_are_the_same_everywhere_say_so(coast, drawn):
    """SE-Net's weights: X* looks like X, and W has one gray."""
    model = kc.CaCNet(2, backbone="resnet14_narrow", head_channels=16, reweighting="se")
    image = np.random.default_rng(0).integers(0, 256, (33, 47, 3)).astype("uint8")
    maps = model.weighting_maps(image[None])
    channels = channel_maps(maps, choose_channels(maps, 1))
    weighting_figure([WeightedImage(image, np.zeros((33, 47), "uint8"), channels)], coast)
    _, rows, _, _ = drawn[0]
    for x, product, w in zip(*rows[0][1:4], strict=True):
        assert w.caption.endswith(" everywhere")
        assert len(np.unique(w.picture)) == 1
        # One level: X and X* are rounded apart.
        assert np.abs(x.picture.astype(int) - product.picture).max() <= 1


@pytest.mark.parametrize("size", [(64, 64), (3, 900), (900, 3), (480, 640)])
def test_any_shape_of_image(make_maps, coast, size):
    maps = make_maps(size=(-(-size[0] // 8), -(-size[1] // 8)))
    page = weighting_figure([shown(maps, choose_channels(maps, 1), size)], coast)
    assert page.shape[0] < 2000
    assert page.shape[1] <= 2000


def test_no_window_and_no_global_state(make_maps, coast):
    figures = sys.modules["matplotlib.pyplot"].get_fignums() if "matplotlib.pyplot" in sys.modules else []
    weighting_figure([shown(make_maps(), {"head_1": (0,)})], coast)
    if "matplotlib.pyplot" in sys.modules:
        assert sys.modules["matplotlib.pyplot"].get_fignums() == figures


def test_what_does_not_fit_is_refused(make_maps, coast):
    maps = make_maps()
    one = shown(maps, {"head_1": (0,)})
    with pytest.raises(ValueError, match="at least one image"):
        weighting_figure([], coast)
    with pytest.raises(ValueError, match="no channels to show"):
        weighting_figure([WeightedImage(one.image, one.ids, [])], coast)
    with pytest.raises(ValueError, match="1 of 2 images have a ground truth"):
        weighting_figure([one, shown(maps, {"head_1": (0,)}, truth=one.ids)], coast)
    with pytest.raises(ValueError, match=r"image is \(48, 64\) and its class indices \(8, 9\)"):
        weighting_figure([WeightedImage(one.image, np.zeros((8, 9), "uint8"), one.channels)], coast)
    with pytest.raises(ValueError, match="received 7"):
        weighting_figure([WeightedImage(one.image, np.full((48, 64), 7), one.channels)], coast)
