import numpy as np
import pytest

from keras_cacnet.datasets import VOID, ClassTable
from keras_cacnet.visualization.legend import legend_entries, legend_strip

CLASSES = ClassTable(
    ("sky", "sea", "a class with a name that no legend of any size has room for"),
    ((90, 160, 220), (20, 60, 140), (230, 210, 150)),
    ids=(0, 1, 2),
)


def test_the_legend_names_the_classes_that_occur_the_largest_first():
    ids = np.zeros((100, 100), "uint8")
    ids[:60] = 1
    ids[0, 0] = 2
    ids[99, :50] = VOID
    entries = legend_entries(ids, CLASSES)
    assert [text for text, _ in entries[:3]] == ["sea 60.0 %", "sky 39.5 %", "void 0.5 %"]
    assert [color for _, color in entries[:3]] == [(20, 60, 140), (90, 160, 220), None]
    assert entries[3][0] == "a class with a name that no legend of a… <0.1 %"
    assert len(entries) == 4
    assert len(legend_entries(np.full((3, 3), 1), CLASSES)) == 1


def inked(picture):
    """First and last row and column that are not white."""
    rows, columns = (np.flatnonzero((picture < 255).any(axis=axes)) for axes in ((1, 2), (0, 2)))
    return rows[0], rows[-1], columns[0], columns[-1]


@pytest.mark.parametrize("width", [301, 481, 1919])
@pytest.mark.parametrize("size", [14, 37])
def test_the_strip_is_as_wide_as_wanted_and_nothing_is_cut(width, size):
    strip = legend_strip([(f"class {number}", (9 * number, 0, 0)) for number in range(9)], width, size)
    assert strip.shape[1] == width
    assert strip.dtype == np.uint8
    top, bottom, left, right = inked(strip)
    assert top > 0
    assert bottom < len(strip) - 1
    assert left > 0
    assert right < width - 1


def test_a_strip_is_widened_for_an_entry_that_does_not_fit():
    entries = legend_entries(np.full((4, 4), 2), CLASSES)
    narrow, wide = (legend_strip(entries, width, size=14) for width in (1, 2000))
    assert wide.shape[1] == 2000
    # Swatch and text at the same place, and a margin where the narrow one ends.
    right = inked(wide)[3]
    assert 200 < right < narrow.shape[1] - 2
    np.testing.assert_array_equal(narrow, wide[:, : narrow.shape[1]])


def test_many_classes_go_into_columns():
    entries = [(f"class {number} 0.7 %", (number, 0, 0)) for number in range(150)]
    strip = legend_strip(entries, width=1920, size=14)
    assert strip.shape[1] == 1920
    assert len(strip) < 600
    reds = {tuple(color) for color in strip.reshape(-1, 3).tolist()}
    assert {(number, 0, 0) for number in range(150)} <= reds


def test_void_is_striped_as_no_class_is():
    strip = legend_strip([("void", None)], width=100, size=40)
    _, _, left, _ = inked(strip)
    swatch = strip[20:40, left + 4 : left + 40]
    assert (swatch > 240).all(axis=-1).any()
    assert (swatch < 200).all(axis=-1).any()


@pytest.mark.parametrize("name", ["$a_b$", "_name", "$"])
def test_names_are_shown_as_they_are(name):
    """Matplotlib would read a formula between dollars, and leave out what begins with an underscore."""
    strip = legend_strip([(name, (9, 9, 9))], width=300, size=20)
    plain = legend_strip([(name.replace("$", "S").replace("_", "-"), (9, 9, 9))], width=300, size=20)
    # As many letters of about the same widths.
    assert inked(strip)[3] == pytest.approx(inked(plain)[3], abs=10)
