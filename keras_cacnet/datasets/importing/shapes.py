"""What forms with labelled shapes share: filling polygons, and the ids of labels."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from keras_cacnet.datasets.classes import VOID, ClassTable
from keras_cacnet.datasets.importing.class_lists import BACKGROUND_NAMES, NamedClass, classes_of_labels
from keras_cacnet.datasets.source import Finding
from keras_cacnet.wording import listed


@dataclass(frozen=True)
class Labels:
    """The ids of labels.

    Args:
        classes: background, id 0, and the labels that are classes.
        ids: by label; those that are neither class nor void are background.
        findings: labels that are background because a list of classes has them not.
    """

    classes: ClassTable
    ids: dict[str, int]
    findings: tuple[Finding, ...]


def number_labels(counts: Counter[str], order: Iterable[str], wanted: Sequence[NamedClass] | None) -> Labels:
    """Number the labels of a set.

    Args:
        counts: shapes by label.
        order: the labels, in the order in which they become classes.
        wanted: the classes that a user has listed; None for all labels.

    Returns:
        The classes and the ids.

    Raises:
        ValueError: no label is wanted, or there are too many.

    Example:
        >>> number_labels(Counter(cat=2, __ignore__=1), ["cat", "__ignore__"], None).ids
        {'cat': 1, '__ignore__': 255}
    """
    labels = list(dict.fromkeys(order))
    classes = classes_of_labels(labels, wanted)
    of_class = dict(zip([" ".join(name.split()) for name in classes.names], classes.ids, strict=True))
    ids, others = {}, []
    for label in labels:
        clean = " ".join(label.replace("#", " ").split())
        if NamedClass(label).is_void:
            ids[label] = VOID
        elif clean in of_class or label.lower() in BACKGROUND_NAMES:
            ids[label] = of_class.get(clean, 0)
        else:
            ids[label] = 0
            others.append(f"{label} ({counts[label]})")
    text = f"labels that are not in the list of classes are background, with their numbers of shapes: {listed(others)}."
    return Labels(classes, ids, (Finding("warning", "labels", text),) if others else ())


def fill_polygon(ids: np.ndarray, points: np.ndarray, value: int) -> None:
    """Write a value into the pixels whose centre is in a polygon, in place.

    Coordinates are those of the image's area: the first pixel reaches from 0 to 1, its centre is at 0.5. Where the
    polygon crosses itself, what is inside is decided by the even-odd rule. Pillow cuts coordinates to whole numbers
    and draws the outline besides, which makes small shapes a pixel too large.

    Args:
        ids: (height, width).
        points: x and y, (n, 2), n at least 3; what is outside of the image is cut off.
        value: the id.

    Example:
        >>> ids = np.zeros((3, 4), "uint8")
        >>> fill_polygon(ids, np.array([[1, 0], [3, 0], [3, 2], [1, 2]]), 7)
        >>> ids.tolist()
        [[0, 7, 7, 0], [0, 7, 7, 0], [0, 0, 0, 0]]
    """
    height, width = ids.shape
    x0, y0 = np.asarray(points, "float64").T
    x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
    # The rows whose centre an edge passes; a row that ends one edge and begins the next belongs to one of them.
    first = np.clip(np.ceil(np.minimum(y0, y1) - 0.5), 0, height).astype(int)
    last = np.clip(np.ceil(np.maximum(y0, y1) - 0.5), 0, height).astype(int)
    counts = last - first
    edge = np.repeat(np.arange(len(x0)), counts)
    if not len(edge):
        return
    row = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
    crossing = x0[edge] + (row + 0.5 - y0[edge]) * (x1 - x0)[edge] / (y1 - y0)[edge]
    column = np.clip(np.ceil(crossing - 0.5), 0, width).astype(int)
    top, left, bottom, right = row.min(), column.min(), row.max() + 1, column.max()
    crossed = np.zeros((bottom - top, right - left + 1), "int32")
    np.add.at(crossed, (row - top, column - left), 1)
    inside = np.cumsum(crossed, axis=1)[:, :-1] % 2 == 1
    ids[top:bottom, left:right][inside] = value
