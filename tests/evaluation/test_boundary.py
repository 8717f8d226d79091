"""Boundary F-scores against all distances between all pixels, and on pairs whose score is known."""

import math

import numpy as np
import pytest

from keras_cacnet.evaluation import Report, boundary_counts


def slow_counts(ids, truth, classes, distance):
    """Written from the definition: neighbours one by one, and the distance of every pair of boundary pixels."""
    height, width = truth.shape

    def boundary(labels, index):
        found = []
        for y in range(height):
            for x in range(width):
                if truth[y, x] == 255 or labels[y, x] != index:
                    continue
                near = [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
                inside = [(a, b) for a, b in near if 0 <= a < height and 0 <= b < width and truth[a, b] != 255]
                if any(labels[place] != index for place in inside):
                    found.append((y, x))
        return found

    def near(places, others):
        return sum(any(math.dist(place, other) <= distance for other in others) for place in places)

    counts = []
    for index in range(classes):
        ours, theirs = boundary(ids, index), boundary(truth, index)
        counts.append([len(ours), near(ours, theirs), len(theirs), near(theirs, ours)])
    return np.array(counts)


@pytest.mark.parametrize("tolerance", [0.0, 0.03, 0.1])
def test_counts_follow_their_definition(tolerance):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, (4, 5)).repeat(5, axis=0).repeat(4, axis=1)
    ids = np.roll(truth, 1, axis=1)
    ids[3:9, 2:7] = 3
    truth[:4, 8:14] = 255
    # The tolerances make distances of 0, 0.8 and 2.8 pixels.
    expected = slow_counts(ids, truth, 5, tolerance * math.hypot(20, 20))
    np.testing.assert_array_equal(boundary_counts(ids, truth, 5, tolerance), expected)
    assert expected[:3, 1].any() == expected[:3, 3].any() is np.True_
    assert not expected[4].any()


def test_scores_of_known_outlines():
    truth = np.zeros((40, 40), "int64")
    truth[:, 20:] = 1
    truth[0, 0] = 2
    shifted = np.roll(truth, 1, axis=1)
    shifted[:, 0] = 0
    names = ("left", "right", "dot", "nowhere")
    found = {
        "itself": boundary_counts(truth, truth, 4),
        # 0.75 % of the diagonal are 0.4 pixels, so a shift by one loses all; 2 % are 1.1.
        "shifted": boundary_counts(shifted, truth, 4),
        "shifted, tolerant": boundary_counts(shifted, truth, 4, 0.02),
        "missed": boundary_counts(np.zeros_like(truth), truth, 4),
    }
    scores = {
        name: Report(np.eye(4, dtype="int64"), names, boundaries=counts).boundary_f for name, counts in found.items()
    }
    np.testing.assert_array_equal(scores["itself"], [1, 1, 1, np.nan])
    assert scores["shifted"][1] == 0
    assert scores["shifted, tolerant"][1] == 1
    np.testing.assert_array_equal(scores["missed"], [0, 0, 0, np.nan])
    # Void all around what is true: there is nothing to be met.
    ringed = Report(np.eye(1, dtype="int64"), ("one",), boundaries=np.array([[6, 0, 0, 0]]))
    np.testing.assert_array_equal(ringed.boundary_f, [np.nan])
    # A third of the predicted and half of the true outline: 2 * 1/3 * 1/2 / (1/3 + 1/2).
    part = Report(np.eye(1, dtype="int64"), ("one",), boundaries=np.array([[6, 2, 8, 4]]))
    np.testing.assert_allclose(part.boundary_f, [0.4], rtol=1e-15)
