"""Examples read inside `tf.data`, and what an error says of the one that cannot be read."""

import re

import numpy as np
import tensorflow as tf

from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.datasets.reading import read_example
from keras_cacnet.datasets.source import Source
from keras_cacnet.pipeline.calls import call


def read(source: Source, classes: ClassTable, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Read an example inside `tf.data`: the image, uint8 (height, width, 3), and the mask, uint8 (height, width)."""

    def example(index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        try:
            return read_example(source[int(index)], classes)
        except ValueError as error:
            line = " ".join(str(error).splitlines())
            # TensorFlow drops a message that is not UTF-8, as names of files need not be.
            raise ReadingError(line.encode("utf-8", "backslashreplace").decode()) from None

    image, mask = call(example, [index], (tf.uint8, tf.uint8))
    return tf.ensure_shape(image, (None, None, 3)), tf.ensure_shape(mask, (None, None))


class ReadingError(ValueError):
    """An example that cannot be read. TensorFlow turns it into an error of its own; see `reading_error`."""


def reading_error(error: BaseException) -> str | None:
    """Recover the reader's message from the exception that TensorFlow makes of it.

    Whatever is raised while `tf.data` reads arrives in `fit` as an `InvalidArgumentError` whose text holds
    the message among node names and a traceback.

    Args:
        error: what `fit`, `evaluate` or an iteration over the batches raised.

    Returns:
        The message, one line that names the file; None where the error is not the reader's.

    Example:
        >>> from pathlib import Path
        >>> from keras_cacnet.pipeline import evaluation_batches
        >>> from keras_cacnet.datasets import Example
        >>> classes = ClassTable(("sky",), ((90, 160, 220),), ids=(0,))
        >>> batches = evaluation_batches([Example("beach", Path("beach.jpg"), Path("beach.png"))], classes)
        >>> try:
        ...     next(iter(batches))
        ... except tf.errors.InvalidArgumentError as error:
        ...     print(reading_error(error))
        beach.jpg: no such file.
    """
    match = re.search(rf"\b{ReadingError.__name__}: (.*)", str(error))
    return match[1].strip() if match else None


def count_of(source: Source) -> int:
    """Count the examples of a source; a ValueError where it has none."""
    if len(source) == 0:
        raise ValueError("The source has no examples; `keras-cacnet check` shows what the data set has.")
    return len(source)
