"""Checks of constructor arguments: each returns the value as it is kept, or refuses it by name."""

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np


def require_count(name: str, value: Any, minimum: int = 1) -> int:
    """Require a whole number of at least `minimum`, of Python or NumPy.

    Raises:
        ValueError: a smaller number, or something else: a bool, a float or a string too.

    Example:
        >>> require_count("num_heads", np.int64(2))
        2
    """
    try:
        count = None if isinstance(value, bool | np.bool_) else operator.index(value)
    except TypeError:
        count = None
    if count is None or count < minimum:
        raise ValueError(f"{name} must be a whole number from {minimum} on, got {value!r}")
    return count


def require_counts(name: str, values: Any, minimum: int = 1) -> tuple[int, ...]:
    """Require a sequence of at least one whole number of at least `minimum`, and give it as a tuple.

    Raises:
        ValueError: an empty sequence, something that is none, or a number that `require_count` refuses.

    Example:
        >>> require_counts("pool_sizes", [1, 2, 3, 6])
        (1, 2, 3, 6)
    """
    if not isinstance(values, Sequence | np.ndarray) or isinstance(values, str) or len(values) == 0:
        raise ValueError(f"{name} must be a sequence of at least one whole number, got {values!r}")
    try:
        return tuple(require_count(name, value, minimum) for value in values)
    except ValueError:
        raise ValueError(f"{name} must be whole numbers from {minimum} on, got {tuple(values)!r}") from None


def require_number(name: str, value: Any, minimum: float = 0.0, below: float = math.inf) -> float:
    """Require a number from `minimum` up to but not including `below`, of Python or NumPy.

    Raises:
        ValueError: a number outside, NaN, or something else: a bool or a string too.

    Example:
        >>> require_number("dropout", 0.1, below=1)
        0.1
    """
    real = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not real or not minimum <= value < below:
        wanted = f"{minimum:g} or more and finite" if below == math.inf else f"in [{minimum:g}, {below:g})"
        raise ValueError(f"{name} must be {wanted}, got {value!r}")
    return float(value)


def require_flag(name: str, value: Any) -> bool:
    """Require True or False, of Python or NumPy.

    Raises:
        ValueError: something else; the text "False" would count as true.

    Example:
        >>> require_flag("synchronized", False)
        False
    """
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def require_classes(num_classes: Any) -> int:
    """Require a number of classes, at least 2, of Python or NumPy.

    Raises:
        ValueError: another number, or something else.

    Example:
        >>> require_classes(60)
        60
    """
    if not isinstance(num_classes, bool | str) and num_classes == 1:
        raise ValueError(
            "num_classes must be at least 2, got 1: the softmax over one class is always 1 and its loss 0; a binary "
            "task has num_classes=2, background and object"
        )
    return require_count("num_classes", num_classes, minimum=2)
