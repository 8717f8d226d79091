"""Weights of classes from how frequent they are, or as they are given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_cacnet.arguments import require_number
from keras_cacnet.wording import did_you_mean

if TYPE_CHECKING:
    from keras_cacnet.datasets import ClassTable
    from keras_cacnet.datasets.check_report import SplitFacts


def _balanced(pixels: np.ndarray, _: np.ndarray) -> np.ndarray:
    return pixels.sum() / (len(pixels) * pixels)


def _median_frequency(pixels: np.ndarray, beside: np.ndarray) -> np.ndarray:
    frequencies = pixels / beside
    return np.median(frequencies) / frequencies


def _enet(pixels: np.ndarray, _: np.ndarray) -> np.ndarray:
    return 1 / np.log(1.02 + pixels / pixels.sum())


CLASS_WEIGHTS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "balanced": _balanced,
    "median_frequency": _median_frequency,
    "enet": _enet,
}
"""The rules by name: from the pixels of each class, and all pixels in the images that have it, to weights."""


def class_weights(how: str | Mapping[str, float] | Sequence[float], facts: SplitFacts | ClassTable) -> list[float]:
    """Weigh the classes of a data set, for `class_weights` of the losses.

    With n_c the pixels of class c, n those of all C classes, and m_c those in the images that have c, void left out
    everywhere:

    - `"balanced"`: n / (C n_c), scikit-learn's rule;
    - `"median_frequency"`: the median of n_c / m_c over all classes, divided by that of c;
    - `"enet"`: 1 / ln(1.02 + n_c / n), between 1.4 and 50.

    A class without a pixel has the weight 0, and is none of the C classes. The losses divide by the sum of the weights,
    so only their relation matters.

    Args:
        how: one of these words; a number for each class, in order; or numbers by name, where the others weigh 1. As
            text `"1,2,0.5"` and `"car:2,pole:3.5"`.
        facts: the counts, `check_dataset(dataset).splits["train"]`; where the numbers are given, `dataset.classes` will
            do.

    Returns:
        A weight for each class, in order.

    Raises:
        ValueError: a word, a class or a number that is none, with the nearest one; or counts are missing.

    Example:
        >>> from keras_cacnet.datasets import ClassTable
        >>> classes = ClassTable(("road", "car"), ((0, 0, 0), (9, 9, 9)), (0, 1))
        >>> class_weights("car:2", classes)
        [1.0, 2.0]
        >>> class_weights("ballanced", classes)
        Traceback (most recent call last):
        ValueError: class_weights='ballanced' is none of balanced, median_frequency, enet, ...; did you mean balanced?

    Reference:
        Eigen and Fergus, "Predicting depth, surface normals and semantic labels with a common multi-scale convolutional
        architecture", ICCV 2015, Section 4.3; Paszke et al., "ENet", 2016, Section 4.
    """
    counts: Any = facts if hasattr(facts, "pixels") else None
    classes: Any = getattr(facts, "classes", facts)
    names = classes.names
    if isinstance(how, str) and how in CLASS_WEIGHTS:
        if counts is None:
            raise ValueError(f"class_weights={how!r} needs counts: check_dataset(dataset).splits['train']")
        ids = list(classes.ids)
        pixels, beside = counts.pixels[ids].astype("float64"), counts.pixels_beside[ids].astype("float64")
        there = pixels > 0
        if not there.any():
            raise ValueError(f"class_weights={how!r}: no pixel of the split has a class")
        weights = np.zeros(len(ids))
        weights[there] = CLASS_WEIGHTS[how](pixels[there], beside[there])
        return [float(weight) for weight in weights]
    given = numbers_in(how) if isinstance(how, str) else how
    if isinstance(given, Mapping):
        if unknown := [name for name in given if name not in names]:
            raise ValueError(f"class_weights: no class is called {unknown[0]!r}{did_you_mean(unknown[0], names)}")
        given = [given.get(name, 1.0) for name in names]
    if len(given) != len(names):
        raise ValueError(
            f"class_weights has {len(given)} numbers, and there are {len(names)} classes: {', '.join(names)}"
        )
    return [require_number("class_weights", weight) for weight in given]


def numbers_in(text: str) -> dict[str, float] | list[float]:
    """Read weights of classes that are written as `1,2,0.5` or `car:2,pole:3.5`.

    Raises:
        ValueError: neither, with the nearest rule.

    Example:
        >>> numbers_in("1, 2"), numbers_in("car:2")
        ([1.0, 2.0], {'car': 2.0})
    """
    parts: list[Any] = [part.rpartition(":") for part in text.split(",")]
    try:
        numbers = {name.strip(): float(number) for name, _, number in parts}
        if all(colon for _, colon, _ in parts):
            return numbers
        if not any(colon for _, colon, _ in parts):
            return [float(number) for _, _, number in parts]
    except ValueError:
        pass
    raise ValueError(
        f"class_weights={text!r} is none of {', '.join(CLASS_WEIGHTS)}, and no numbers such as 1,2,0.5 or "
        f"car:2,pole:3.5{did_you_mean(text, CLASS_WEIGHTS)}"
    )


def require_class_weights(text: str) -> str:
    """Check the name of a rule, or the text of numbers that `class_weights` reads.

    Raises:
        ValueError: neither, with the nearest rule.
    """
    if text not in CLASS_WEIGHTS:
        numbers_in(text)
    return text
