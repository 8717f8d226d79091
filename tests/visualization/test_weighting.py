import sys

import numpy as np
import pytest

import keras_cacnet as kc
from keras_cacnet.datasets import ClassTable
from keras_cacnet.visualization import choose_channels, weighting_figure

CLASSES = ClassTable(("sky", "sea"), ((90, 160, 220), (20, 60, 140)), ids=(0, 1))


def maps_of(channels=8, heads=2, size=(4, 5)):
    rng = np.random.default_rng(0)
    maps = {}
    for head in range(1, heads + 1):
        x, w = rng.normal(size=(1, *size, channels)), rng.uniform(0, 3, (1, *size, channels))
        maps[f"head_{head}"] = {"X": x, "W": w, "X*": x * w}
    return maps


def drawn(figure):
    """The maps that a figure shows, by their titles."""
    return [(axes.get_title(), axes.get_images()[0]) for axes in figure.axes]


def test_channels_are_drawn_by_the_seed():
    maps = maps_of(channels=64)
    first = choose_channels(maps, 4, seed=1)
    assert first == choose_channels(maps, 4, seed=1)
    assert first != choose_channels(maps, 4, seed=2)
    assert first["head_1"] != first["head_2"]
    for channels in first.values():
        assert list(channels) == sorted(set(channels))
        assert len(channels) == 4
        assert max(channels) < 64


def test_every_channel_can_be_drawn():
    maps = maps_of(channels=6, heads=1)
    seen = {channel for seed in range(50) for channel in choose_channels(maps, 1, seed)["head_1"]}
    assert seen == set(range(6))


def test_channels_that_show_nothing_come_last():
    maps = maps_of(channels=6, heads=1)
    maps["head_1"]["X"][..., [0, 2, 3, 5]] = 0
    for seed in range(10):
        assert choose_channels(maps, 2, seed)["head_1"] == (1, 4)
        assert {1, 4} < set(choose_channels(maps, 3, seed)["head_1"])
    assert choose_channels(maps, 9)["head_1"] == (0, 1, 2, 3, 4, 5)


def test_the_figure_shows_image_result_and_the_maps_of_each_channel_darker_where_larger():
    maps = maps_of()
    image = np.random.default_rng(1).integers(0, 256, (480, 640, 3)).astype("uint8")
    figure = weighting_figure(image, np.zeros((480, 640), "uint8"), maps, CLASSES, {"head_2": (6,), "head_1": (0, 3)})
    panels = drawn(figure)
    assert len(panels) == 2 + 3 * 3
    assert panels[0][0] == "image"
    np.testing.assert_array_equal(panels[0][1].get_array(), image)
    assert panels[1][0] == "result"
    order = [("head_2", 6), ("head_1", 0), ("head_1", 3)]
    for (title, panel), (head, channel, part) in zip(
        panels[2:], [(*row, part) for row in order for part in ("X", "W", "X*")], strict=True
    ):
        values = maps[head][part][0, ..., channel]
        np.testing.assert_allclose(panel.get_array(), values, rtol=1e-6)
        assert title.endswith(f"{part}   {values.min():.3g} to {values.max():.3g}")
        assert (f"{head}, channel {channel}" in title) == (part == "X")
        darkness = 1 - panel.to_rgba(panel.get_array())[..., :3].mean(axis=-1)
        # Of 256 shades the darkest may have company, but nothing darker.
        assert darkness.flat[values.argmax()] == darkness.max() > 0.9
        assert darkness.flat[values.argmin()] == darkness.min() < 0.1
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["sky 100.0 %"]


@pytest.mark.parametrize("size", [(64, 64), (3, 900), (900, 3), (480, 640)])
def test_no_text_is_cut_and_no_picture_distorted(size, tmp_path):
    image, ids = np.zeros((*size, 3), "uint8"), np.zeros(size, "uint8")
    maps = maps_of(size=(-(-size[0] // 8), -(-size[1] // 8)))
    figure = weighting_figure(image, ids, maps, CLASSES, choose_channels(maps))
    figure.savefig(tmp_path / "figure.png")
    assert figure.get_figheight() < 40
    page = figure.bbox
    texts = [axes.title for axes in figure.axes] + figure.legends[0].get_texts()
    for text in texts:
        box = text.get_window_extent()
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= page.x1
        assert box.y1 <= page.y1
    for axes in figure.axes:
        box = axes.get_window_extent()
        # One pixel is the precision of the layout.
        assert abs(box.height / size[0] - box.width / size[1]) <= 2 / min(size)


def test_half_precision_and_tensors_are_taken():
    import tensorflow as tf

    maps = {head: {part: tf.cast(x, tf.bfloat16) for part, x in parts.items()} for head, parts in maps_of().items()}
    figure = weighting_figure(
        np.zeros((8, 8, 3), "uint8"), np.zeros((8, 8), "uint8"), maps, CLASSES, choose_channels(maps)
    )
    assert len(figure.axes) == 2 + 6 * 3


def test_maps_of_a_cacnet_are_taken():
    model = kc.CaCNet(2, backbone="resnet14_narrow", head_channels=8)
    image = np.random.default_rng(0).integers(0, 256, (33, 47, 3)).astype("uint8")
    maps = model.weighting_maps(image[None])
    figure = weighting_figure(image, np.zeros((33, 47), "uint8"), maps, CLASSES, choose_channels(maps, 1))
    for _, panel in drawn(figure)[2:]:
        assert panel.get_array().shape == (5, 6)
    # W is a sum of three sigmoids (Eq. 2).
    weights = drawn(figure)[3][1].get_array()
    assert weights.min() > 0
    assert weights.max() < 3


def test_no_window_and_no_global_state():
    figures = sys.modules["matplotlib.pyplot"].get_fignums() if "matplotlib.pyplot" in sys.modules else []
    maps = maps_of()
    weighting_figure(np.zeros((8, 8, 3), "uint8"), np.zeros((8, 8), "uint8"), maps, CLASSES, choose_channels(maps))
    if "matplotlib.pyplot" in sys.modules:
        assert sys.modules["matplotlib.pyplot"].get_fignums() == figures


def test_what_does_not_fit_is_refused():
    maps, image, ids = maps_of(), np.zeros((8, 8, 3), "uint8"), np.zeros((8, 8), "uint8")
    with pytest.raises(ValueError, match="no weighting maps of 'head_3'; there are head_1, head_2"):
        weighting_figure(image, ids, maps, CLASSES, {"head_3": (0,)})
    with pytest.raises(ValueError, match="head_1 has the channels 0 to 7, not 8"):
        weighting_figure(image, ids, maps, CLASSES, {"head_1": (8,)})
    with pytest.raises(ValueError, match="no channels to show"):
        weighting_figure(image, ids, maps, CLASSES, {"head_1": ()})
    with pytest.raises(ValueError, match=r"the maps of head_1 must have one shape \(1, h, w, c\)"):
        choose_channels({"head_1": {part: np.zeros((2, 4, 4, 8)) for part in ("X", "W", "X*")}})
    with pytest.raises(ValueError, match=r"the maps of head_1 lack W, X\*"):
        choose_channels({"head_1": {"X": np.zeros((1, 4, 4, 8))}})
    with pytest.raises(ValueError, match="at least 1, got 0"):
        choose_channels(maps, 0)
    with pytest.raises(ValueError, match="the model has no CaC head"):
        choose_channels({})
