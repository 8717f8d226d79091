"""MATLAB's `.mat` files, in which SBD and PASCAL Context publish their masks."""

from pathlib import Path

import numpy as np

from keras_cacnet.datasets.reading import one_line
from keras_cacnet.files import user_path


def read_mat(path: Path, *fields: str) -> np.ndarray:
    """Read one matrix of class ids from a `.mat` file.

    Args:
        path: the file.
        fields: the variable, and the fields within it.

    Returns:
        Integers (height, width).

    Raises:
        ValueError: the file is missing or not such a file, or what it holds is not a matrix of ids; it names
            the file.

    Example:
        >>> read_mat(Path("nowhere.mat"), "LabelMap")
        Traceback (most recent call last):
        ValueError: nowhere.mat: no such file.
    """
    path = user_path(path)
    # SciPy loads slowly, and few need it.
    from scipy.io import loadmat

    try:
        with path.open("rb") as stream:
            value = loadmat(stream, variable_names=[fields[0]])
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file.") from None
    except Exception as error:
        # Foreign input: the reader raises whatever its parsing trips over.
        raise ValueError(f"{path}: not a MATLAB file that can be read ({one_line(error)}).") from error
    for name in fields:
        try:
            value = value[name]
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
