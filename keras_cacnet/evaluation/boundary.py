"""How well the outlines of classes are met: boundary pixels of prediction and truth, matched within a tolerance."""

import math

import numpy as np
from scipy.spatial import cKDTree

from keras_cacnet.datasets.classes import VOID

TOLERANCE = 0.0075
"""How far apart two boundary pixels may be, as a share of the image's diagonal (Csurka et al.)."""


def boundary_counts(ids: np.ndarray, truth: np.ndarray, classes: int, tolerance: float = TOLERANCE) -> np.ndarray:
    """Count the boundary pixels of every class, and those that have one of the other side near.

    A pixel of a class is on its boundary where one of its four neighbours is of another class. Void pixels are left
    out of both sides: they are on no boundary, and make none.

    Args:
        ids: predicted class indices.
        truth: the class indices of the mask, and `VOID`.
        classes: the number of classes.
        tolerance: the largest distance between pixel centres, as a share of the image's diagonal.

    Shapes:
        - ids, truth: (H, W)
        - result: (classes, 4)

    Returns:
        int64: the boundary pixels of the prediction, those of them near the truth's, the boundary pixels of the truth,
        and those of them near the prediction's. The counts of several images are summed.

    Example:
        >>> truth = np.array([[0, 0, 0, 1, 1, 1]])
        >>> boundary_counts(np.array([[0, 0, 1, 1, 1, 1]]), truth, 2, tolerance=0.2).tolist()
        [[1, 1, 1, 1], [1, 1, 1, 1]]
        >>> boundary_counts(np.array([[0, 1, 1, 1, 1, 1]]), truth, 2, tolerance=0.2).tolist()
        [[1, 0, 1, 0], [1, 0, 1, 0]]

    Reference:
        Csurka et al., "What is a good evaluation measure for semantic segmentation?", BMVC 2013. They average the score
        over images; here pixels are counted over all of them, as for the intersection over union.
    """
    known = truth != VOID
    distance = tolerance * math.hypot(*truth.shape)
    counts = np.zeros((classes, 4), "int64")
    predicted, wanted = (_by_class(np.where(known, labels, VOID)) for labels in (ids, truth))
    for index in range(classes):
        ours, theirs = predicted.get(index), wanted.get(index)
        for column, side in ((0, ours), (2, theirs)):
            counts[index, column] = 0 if side is None else len(side)
        if ours is not None and theirs is not None:
            counts[index, 1] = _near(ours, theirs, distance)
            counts[index, 3] = _near(theirs, ours, distance)
    return counts


def _by_class(labels: np.ndarray) -> dict[int, np.ndarray]:
    """The places of boundary pixels by class; `VOID` makes no boundary."""
    edges = np.zeros(labels.shape, bool)
    for one, other in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        differs = (labels[one] != labels[other]) & (labels[one] != VOID) & (labels[other] != VOID)
        edges[one] |= differs
        edges[other] |= differs
    places = np.argwhere(edges)
    found = labels[edges]
    return {int(index): places[found == index] for index in np.unique(found)}


def _near(places: np.ndarray, others: np.ndarray, distance: float) -> int:
    # The bound, which excludes itself, is for speed.
    found, _ = cKDTree(others).query(places, distance_upper_bound=distance + 1)
    return int((found <= distance).sum())
