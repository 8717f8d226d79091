"""Masks in MATLAB files."""

from pathlib import Path

import numpy as np


def read_mat(path: Path, *fields: str) -> np.ndarray:
    """Reads one matrix of class ids from a `.mat` file.

    Args:
        path: The file.
        fields: The variable, and the fields within it.

    Returns:
        Integers (height, width).

    Raises:
        ValueError: The file is missing or not such a file, or what stands there is not a matrix of ids; it names
            the file.

    Example:

    >>> read_mat(Path("nowhere.mat"), "LabelMap")
    Traceback (most recent call last):
    ValueError: nowhere.mat: no such file.
    """
    # SciPy loads slowly, and only SBD and PASCAL Context need it.
    from scipy.io import loadmat

    try:
        with path.open("rb") as stream:
            value = loadmat(stream, variable_names=[fields[0]])
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file.") from None
    except Exception as error:
        # Foreign input: the reader raises whatever its parsing trips over.
        raise ValueError(f"{path}: not a MATLAB file that can be read ({type(error).__name__}: {error}).") from error
    for field in fields:
        try:
            value = value[field]
        except (KeyError, ValueError, IndexError):
            found = ", ".join(n for n in value if not n.startswith("__")) if isinstance(value, dict) else value.dtype
            raise ValueError(f"{path}: no {'.'.join(fields)} in it; found {found}.") from None
        # A structure is an array with one element.
        while isinstance(value, np.ndarray) and value.dtype == object and value.size == 1:
            value = value.item()
    ids = np.asarray(value)
    if ids.ndim != 2 or ids.dtype.kind not in "ui":
        raise ValueError(f"{path}: {'.'.join(fields)} is no matrix of ids: {ids.dtype}, shape {ids.shape}.")
    return ids
