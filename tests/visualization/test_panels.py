"""Figures 3 and 4: what stands in their panels, and how the page shows it."""

import sys

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

import keras_cacnet as kc
from keras_cacnet.datasets import ClassTable
from keras_cacnet.visualization import (
    WeightedImage,
    channel_maps,
    choose_channels,
    comparison_figure,
    weighting_figure,
)
from keras_cacnet.visualization.panels import value_range


def shown(maps, channels, size=(48, 64), truth=None, seed=1):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (*size, 3)).astype("uint8")
    ids = rng.integers(0, 2, size).astype("uint8")
    return WeightedImage(image, ids, channel_maps(maps, channels), truth)


def rendered(figure):
    """The page as pixels, and where every panel stands on it: rows and columns."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    page = np.asarray(canvas.buffer_rgba())[..., :3]
    boxes = {}
    for axes in figure.axes:
        if axes.images:
            box = axes.get_window_extent()
            rows = slice(round(len(page) - box.y1) + 3, round(len(page) - box.y0) - 3)
            boxes[axes] = page[rows, round(box.x0) + 3 : round(box.x1) - 3]
    return page, boxes


def lines(figure, columns):
    """The axes by line and column."""
    return np.array(figure.axes, dtype=object).reshape(-1, columns)


def held(axes):
    """What a panel shows, before it is drawn."""
    return np.asarray(axes.images[0].get_array())


def colors_of(panel):
    return {tuple(color) for color in panel.reshape(-1, 3).tolist()}


def test_a_row_per_image_and_a_column_per_network(coast):
    rng = np.random.default_rng(0)
    sizes = [(30, 40), (50, 20)]
    images = [rng.integers(0, 256, (*size, 3)).astype("uint8") for size in sizes]
    columns = {
        title: [rng.choice([0, 1, 255], size).astype("uint8") for size in sizes] for title in ("Ground truth", "Ours")
    }
    grid = lines(comparison_figure(images, columns, coast), 3)
    assert [axes.get_title() for axes in grid[0]] == ["Image", "Ground truth", "Ours"]
    assert len(grid) == 2
    for index, row in enumerate(grid):
        np.testing.assert_array_equal(held(row[0]), images[index])
        for title, axes in zip(columns, row[1:], strict=True):
            ids = columns[title][index]
            for known in (0, 1):
                assert (held(axes)[ids == known] == (*coast.palette[known], 255)).all()
            assert (held(axes)[ids == 255][:, 3] == 0).all()


def test_columns_are_those_of_the_paper(make_maps, coast):
    maps, truth = make_maps(), np.full((48, 64), 255, "uint8")
    images = [shown(maps, {"head_2": (6, 0)}, truth=truth), shown(maps, {"head_2": (3,)}, truth=truth, seed=2)]
    grid = lines(weighting_figure(images, coast), 6)
    titles = [axes.get_title() for axes in grid[0]]
    assert titles == ["(a) Image", "(b) Ground truth", "(c) X", "(d) X*", "(e) W", "(f) Result"]
    assert len(grid) == 3
    tops = (0, 2)
    for top, image in zip(tops, images, strict=True):
        np.testing.assert_array_equal(held(grid[top, 0]), image.image)
        assert (held(grid[top, 1])[..., 3] == 0).all()
        np.testing.assert_array_equal(held(grid[top, 5])[..., :3], np.array(coast.palette)[image.ids])
        for line, one in zip(grid[top:], image.channels, strict=False):
            for part, axes in zip(("X", "X*", "W"), line[2:5], strict=True):
                values = maps["head_2"][part][0, ..., one.channel]
                np.testing.assert_array_equal(held(axes), values.astype("float32"))
                name, _, told = axes.get_xlabel().rpartition("\n")
                assert name == (f"channel {one.channel}" if part == "X" else "")
                # Three digits of the range.
                ends = [float(word) for word in told.split(" to ")]
                assert ends == pytest.approx([values.min(), values.max()], abs=0.005 * np.ptp(values))
    # The second channel of an image stands below the first, and nothing beside it.
    assert not any(axes.axison for axes in grid[1, [0, 1, 5]])


def test_without_ground_truth_its_column_is_left_out(make_maps, coast):
    grid = lines(weighting_figure([shown(make_maps(), {"head_1": (1,), "head_2": (1,)})], coast), 5)
    assert [axes.get_title() for axes in grid[0]] == ["(a) Image", "(b) X", "(c) X*", "(d) W", "(e) Result"]
    assert [line[1].get_xlabel().split("\n")[0] for line in grid] == ["head 1, channel 1", "head 2, channel 1"]


def test_darker_is_larger(coast):
    """Pixels of the page against the values that they show."""
    values = np.random.default_rng(0).normal(size=(6, 7)).astype("float16")
    parts = {part: values[None, ..., None] for part in ("X", "X*", "W")}
    image = np.zeros((48, 56, 3), "uint8")
    ids = np.zeros((48, 56), "uint8")
    figure = weighting_figure([WeightedImage(image, ids, channel_maps({"head_1": parts}, {"head_1": (0,)}))], coast)
    _, boxes = rendered(figure)
    for axes in lines(figure, 5)[0, 1:4]:
        panel = boxes[axes]
        at = [((np.arange(n) + 0.5) * side / n).astype(int) for n, side in zip((6, 7), panel.shape, strict=False)]
        cells = panel[np.ix_(*at)]
        assert (cells == cells[..., :1]).all()
        exact = values.astype("float64")
        exact = 255 * (exact.max() - exact) / (exact.max() - exact.min())
        # By a value's place in the range, to two of 255 grays: it is cut to one of 256 colours, and this to a byte.
        assert np.abs(cells[..., 0] - exact).max() <= 2
        assert cells.min() == 0
        assert cells.max() == 255


def test_weights_that_are_the_same_everywhere_say_so(coast):
    """SE-Net's weights: X* looks like X, and W has one light gray, neither large nor small."""
    model = kc.CaCNet(2, backbone="resnet14_narrow", head_channels=16, reweighting="se")
    image = np.random.default_rng(0).integers(0, 256, (33, 47, 3)).astype("uint8")
    maps = model.weighting_maps(image[None])
    channels = channel_maps(maps, choose_channels(maps, 1))
    figure = weighting_figure([WeightedImage(image, np.zeros((33, 47), "uint8"), channels)], coast)
    _, boxes = rendered(figure)
    for _, x, product, w, _ in lines(figure, 5):
        assert w.get_xlabel().endswith(" everywhere")
        assert np.unique(boxes[w]).tolist() == [191]
        wide = min(boxes[x].shape[1], boxes[product].shape[1])
        before, after = (boxes[axes][:, :wide].astype(int) for axes in (x, product))
        # Where X has an edge between two positions, the panels may differ by a pixel.
        assert (np.abs(before - after).max(axis=-1) <= 2).mean() > 0.9
    assert value_range(np.full((3, 4), 1.25)) == "1.25 everywhere"
    assert value_range(np.array([[-0.5, 17.0]])) == "-0.5 to 17.0"
    assert value_range(np.array([[0.0, 4321.0]])) == "0 to 4321"
    assert value_range(np.array([[1.5, 1.5 + 2.4e-4]])) == "1.500000 to 1.500240"


def test_labels_have_the_colours_of_their_classes_and_void_is_striped(coast):
    ids = np.full((40, 60), 255, "uint8")
    ids[:, 30:] = 1
    image = np.zeros((40, 60, 3), "uint8")
    figure = comparison_figure([image], {"Ours": [ids]}, coast)
    page, boxes = rendered(figure)
    panel = boxes[figure.axes[1]]
    middle = panel.shape[1] // 2
    assert colors_of(panel[:, middle + 3 :]) == {coast.palette[1]}
    void = panel[:, : middle - 3].astype(int)
    assert (np.ptp(void, axis=-1) == 0).all()
    # White and gray wherever one looks: in no patch does it look like a class of one colour.
    for y in range(0, len(void) - 60, 60):
        for x in range(0, void.shape[1] - 60, 60):
            patch = void[y : y + 60, x : x + 60]
            assert patch.max() == 255
            assert patch.min() < 200
    # The legend has the class that occurs, and not the other.
    below = page[round(len(page) - figure.axes[1].get_window_extent().y0) + 3 :]
    assert coast.palette[1] in colors_of(below)
    assert coast.palette[0] not in colors_of(below)


def test_panels_stand_level_and_do_not_overlap(make_maps, coast):
    maps = make_maps()
    images = [shown(maps, {"head_1": (1, 2)}), shown(maps, {"head_1": (3,)}, (64, 48), seed=2)]
    figure = weighting_figure(images, coast)
    page, boxes = rendered(figure)
    legend = figure.legends[0].get_window_extent()
    grid = lines(figure, 5)
    for line in grid:
        tops = {round(axes.get_window_extent().y1, 3) for axes in line if axes.images}
        assert len(tops) == 1
    everything = [axes.get_tightbbox() for axes in boxes] + [legend]
    for index, one in enumerate(everything):
        assert 0 <= one.x0 < one.x1 <= page.shape[1]
        assert 0 <= one.y0 < one.y1 <= page.shape[0]
        for other in everything[:index]:
            assert one.x1 <= other.x0 or other.x1 <= one.x0 or one.y1 <= other.y0 or other.y1 <= one.y0


@pytest.mark.parametrize("size", [(64, 64), (3, 900), (900, 3), (480, 640), (375, 500)])
def test_any_shape_of_image_fits_a_page_and_keeps_its_shape(make_maps, coast, size):
    maps = make_maps(size=(-(-size[0] // 8), -(-size[1] // 8)))
    figure = weighting_figure([shown(maps, choose_channels(maps, 1), size)], coast)
    page, boxes = rendered(figure)
    # 17 cm at 300 dots an inch.
    assert page.shape[1] <= 2010
    assert page.shape[0] < 2010
    for axes in boxes:
        box = axes.get_window_extent()
        assert box.height / box.width == pytest.approx(size[0] / size[1], rel=1e-6)


def test_many_classes_and_long_names_leave_room_for_the_panels():
    table = ClassTable(
        tuple(f"class of a very long name {number}" for number in range(150)),
        tuple((number, 9, 9) for number in range(150)),
        tuple(range(150)),
    )
    ids = np.arange(150, dtype="uint8").repeat(4).reshape(20, 30)
    figure = comparison_figure([np.zeros((20, 30, 3), "uint8")], {"word " * 12: [ids]}, table)
    page, boxes = rendered(figure)
    for panel in boxes.values():
        assert panel.shape[1] > 380
    legend = figure.legends[0].get_window_extent()
    assert 0 <= legend.x0 < legend.x1 <= page.shape[1]


def test_the_file_says_how_large_it_is_in_print(make_maps, coast, tmp_path):
    weighting_figure([shown(make_maps(), {"head_1": (0,)})], coast).savefig(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as file:
        # PNG counts in pixels a metre.
        assert file.width / file.info["dpi"][0] * 2.54 == pytest.approx(17, abs=0.05)


def test_no_window_and_no_global_state(make_maps, coast):
    pyplot = sys.modules.get("matplotlib.pyplot")
    figures = pyplot.get_fignums() if pyplot else []
    weighting_figure([shown(make_maps(), {"head_1": (0,)})], coast)
    assert (sys.modules["matplotlib.pyplot"].get_fignums() if "matplotlib.pyplot" in sys.modules else []) == figures


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


def test_columns_that_do_not_fit_are_refused(coast):
    image, ids = np.zeros((8, 9, 3), "uint8"), np.zeros((8, 9), "uint8")
    with pytest.raises(ValueError, match="got 0 images and 1 columns"):
        comparison_figure([], {"Ours": []}, coast)
    with pytest.raises(ValueError, match="got 1 images and 0 columns"):
        comparison_figure([image], {}, coast)
    with pytest.raises(ValueError, match="the column 'Ours' has 2 rows for 1 images"):
        comparison_figure([image], {"Ours": [ids, ids]}, coast)
    with pytest.raises(ValueError, match=r"image is \(8, 9\) and its class indices \(9, 8\)"):
        comparison_figure([image], {"Ours": [ids.T]}, coast)
    with pytest.raises(ValueError, match="received 2"):
        comparison_figure([image], {"Ours": [ids + 2]}, coast)
