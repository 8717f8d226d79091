"""The pictures of the paper's figures, pixel by pixel against NumPy."""

import numpy as np
import pytest
from PIL import Image

from keras_cacnet.datasets.ade20k import CLASSES as ADE_CLASSES
from keras_cacnet.datasets.voc2012 import CLASSES as VOC_CLASSES
from keras_cacnet.visualization.panels import (
    PAGE,
    Panel,
    figure,
    gray_map,
    label_map,
    panel_size,
    photograph,
    save_figure,
    value_range,
)


def positions(page, picture):
    """Where a picture stands on a page, pixel by pixel."""
    high, wide = picture.shape[:2]
    rows, columns = page.shape[0] - high + 1, page.shape[1] - wide + 1
    here = np.ones((rows, columns), bool)
    for y, x in np.random.default_rng(0).integers(0, (high, wide), (60, 2)):
        here &= (page[y : y + rows, x : x + columns] == picture[y, x]).all(axis=-1)
    return [(y, x) for y, x in np.argwhere(here) if (page[y : y + high, x : x + wide] == picture).all()]


def test_darker_is_larger():
    values = np.random.default_rng(0).normal(size=(6, 7)).astype("float16")
    picture = gray_map(values, (60, 91))
    assert (picture == picture[..., :1]).all()
    cells = picture[5::10, 6::13, 0].astype(int)
    order = np.argsort(values.ravel())
    # Never lighter where larger, and by the value's place in the range to within half a level.
    assert (np.diff(cells.ravel()[order]) <= 0).all()
    exact = np.asarray(values, "float64")
    exact = 255 * (exact.max() - exact) / (exact.max() - exact.min())
    assert np.abs(cells - exact).max() <= 0.5
    assert cells.min() == 0
    assert cells.max() == 255
    assert (picture[:, :, 0] == np.repeat(np.repeat(cells, 10, axis=0), 13, axis=1)).all()


def test_a_map_of_one_value_is_neither_large_nor_small():
    assert np.unique(gray_map(np.full((3, 4), 1.25), (30, 40))).tolist() == [200]
    assert value_range(np.full((3, 4), 1.25)) == "1.25 everywhere"
    assert value_range(np.array([[-0.5, 17.0]])) == "-0.5 to 17.0"
    assert value_range(np.array([[0.0, 4321.0]])) == "0 to 4321"
    assert value_range(np.array([[1.5, 1.5 + 2.4e-4]])) == "1.500000 to 1.500240"


@pytest.mark.parametrize("size", [(9, 12), (18, 36), (5, 7), (31, 17)])
def test_labels_have_the_colours_of_their_classes_and_no_others(size):
    ids = np.random.default_rng(1).integers(0, 21, (9, 12)).astype("uint8")
    picture = label_map(ids, VOC_CLASSES, size)
    for y in range(size[0]):
        for x in range(size[1]):
            nearest = ids[int((y + 0.5) * 9 / size[0]), int((x + 0.5) * 12 / size[1])]
            assert tuple(picture[y, x]) == VOC_CLASSES.palette[nearest]


def test_void_is_striped_as_no_class_is():
    ids = np.full((40, 60), 255, "uint8")
    ids[:, 30:] = 4
    picture = label_map(ids, ADE_CLASSES, (40, 60))
    assert (picture[:, 30:] == ADE_CLASSES.palette[4]).all()
    colors = {tuple(color) for color in picture[:, :30].reshape(-1, 3).tolist()}
    assert colors == {(255, 255, 255), (150, 150, 150)}
    # Both colours wherever one looks: in no patch as wide as a period does it look like a class of one colour.
    for y in range(0, 40, 12):
        for x in range(0, 18, 6):
            assert len(np.unique(picture[y : y + 12, x : x + 12, 0])) == 2
    assert not colors <= set(ADE_CLASSES.palette)
    assert not colors <= set(VOC_CLASSES.palette)


def test_an_image_of_the_size_is_left_as_it_is():
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3)).astype("uint8")
    assert photograph(image, (30, 40)) is image
    assert photograph(image, (60, 20)).shape == (60, 20, 3)


@pytest.mark.parametrize("size", [(375, 500), (500, 375), (64, 64), (3, 900), (900, 3), (3000, 4000)])
@pytest.mark.parametrize("columns", [2, 3, 4, 6])
def test_panels_keep_the_shape_of_their_image(size, columns):
    height, width = panel_size(*size, columns)
    assert columns * width <= PAGE
    assert height <= 600
    # Both sides are rounded to pixels, and no side to 0.
    assert abs(height / size[0] - width / size[1]) <= 1 / min(size)


def test_panels_stand_in_rows_and_columns(coast):
    rng = np.random.default_rng(0)

    def noise(*size):
        return rng.integers(0, 256, (*size, 3)).astype("uint8")

    rows = [
        [[Panel(noise(90, 120))], [Panel(noise(90, 120), "a"), Panel(noise(90, 120), "b")]],
        [[Panel(noise(150, 100))], [Panel(noise(150, 100))]],
    ]
    labels = [np.array([[0, 0, 255]]), np.array([[1]])]
    page = figure(["one", "two"], rows, labels, coast)
    assert page.shape[1] <= PAGE
    ((y0, x0),), ((y1, x1),), ((y2, x2),) = (positions(page, p.picture) for p in (*rows[0][0], *rows[0][1]))
    ((y3, x3),), ((y4, x4),) = (positions(page, column[0].picture) for column in rows[1])
    assert y0 == y1 < y1 + 90 < y2 < y2 + 90 < y3 == y4
    assert x0 < x0 + 120 < x1 == x2
    # Narrower panels stand in the middle of their column.
    assert (x3 - x0, x4 - x1) == (10, 10)
    # Titles above, captions and a legend below.
    for band in (page[:y0], page[y1 + 91 : y2 - 1], page[y4 + 151 :]):
        assert (band < 100).any()
    legend = page[y4 + 151 :].reshape(-1, 3)
    for color in coast.palette:
        assert (legend == color).all(axis=-1).any()


def test_long_words_do_not_leave_their_column(coast):
    panel = np.full((50, 60, 3), 9, "uint8")
    page = figure(["word " * 12, "b"], [[[Panel(panel, "long " * 10)], [Panel(panel)]]], [np.zeros((2, 2), int)], coast)
    first, second = (x for _, x in positions(page, panel))
    middle = (first + second + 60) // 2
    assert (page[:150, middle - 3 : middle + 3] == 255).all()


def test_the_file_says_how_large_it_is_in_print(tmp_path):
    save_figure(np.zeros((20, 2000, 3), "uint8"), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as file:
        # PNG counts in pixels a metre.
        assert file.width / file.info["dpi"][0] * 2.54 == pytest.approx(16.9, abs=0.05)
