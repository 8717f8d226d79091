"""Predictions of an evaluation, kept as one id PNG per image."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.datasets.source import Source
from keras_cacnet.files import write_atomically
from keras_cacnet.visualization import save_ids


def prediction_writer(source: Source, output: str | Path, classes: ClassTable) -> Callable[[int, np.ndarray], None]:
    """Make what `evaluate` calls to keep its predictions: `output/NAME.png` for every example.

    The files hold the ids of the data set's own masks (see `save_ids`). Those of an earlier evaluation are
    replaced, images and masks of the data set never.

    Args:
        source: the examples, in the order in which they are scored.
        output: the folder; made where it is not there.
        classes: the classes.

    Returns:
        A function of an example's number and its class indices, (H, W). It raises a ValueError where it would
        overwrite the data set.

    Raises:
        ValueError: `output` is a file.

    Example:
        >>> import tempfile
        >>> from keras_cacnet.datasets import Example
        >>> folder = Path(tempfile.mkdtemp())
        >>> classes = ClassTable(("sky", "sea"), ((90, 160, 220), (20, 60, 140)), ids=(0, 1))
        >>> write = prediction_writer([Example("beach", folder / "beach.jpg", None)], folder / "ids", classes)
        >>> write(0, np.zeros((4, 6), "uint8"))
        >>> [path.name for path in (folder / "ids").iterdir()]
        ['beach.png']
    """
    output = Path(output)
    if output.exists() and not output.is_dir():
        raise ValueError(f"{output} is a file; the predictions need a folder")

    def write(index: int, ids: np.ndarray) -> None:
        example = source[index]
        path = output / f"{example.name}.png"
        for file in (example.image, example.mask):
            if isinstance(file, Path) and file.resolve() == path.resolve():
                raise ValueError(f"the prediction would overwrite {file}: choose another folder than the data set's")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, partial(save_ids, ids, classes=classes))

    return write
