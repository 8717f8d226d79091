"""Scores of a model over a data set: on whole images at their own size, or under a protocol."""

from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np

from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.evaluation.confusion import ConfusionCounter
from keras_cacnet.evaluation.protocol import Protocol
from keras_cacnet.evaluation.report import Report, require_absent_rule


def evaluate(
    model: keras.Model,
    batches: Iterable[tuple[Any, Any]],
    classes: ClassTable,
    absent: str = "ignore",
    progress: bool = True,
    count: int | None = None,
    protocol: Protocol | None = None,
    on_prediction: Callable[[int, np.ndarray], Any] | None = None,
) -> Report:
    """Score a model: pixel accuracy, mean IoU and the IoU of every class.

    Without a protocol every image goes through the network whole and at its own size: one scale, no flip, no
    windows. All pixels of all images are counted in one confusion matrix, and the scores are taken from it at the
    end. Images are used one batch at a time, so memory is that of the largest batch whatever their number.

    Args:
        model: takes RGB in 0..255 and gives logits of the size of its input.
        batches: a `tf.data.Dataset` or another iterable of (images, masks); sizes may change between batches.
        classes: the classes the masks are numbered by.
        absent: how the mean treats a class absent from prediction and truth: "ignore" or "zero", see `Report`.
        progress: show Keras' progress bar.
        count: number of batches, for the progress bar; by default what the dataset itself knows.
        protocol: scales, mirror images and windows, see `Protocol`; None shows every image whole, in one pass.
        on_prediction: called with the index of every image and its class indices, uint8 (H, W), as they are
            predicted, such as `prediction_writer` makes it.

    Shapes:
        - images: (B, H, W, 3), uint8 or float
        - masks: (B, H, W), class indices and `VOID`

    Returns:
        The scores.

    Raises:
        ValueError: a model of another number of classes than the table, no data, a mask with ids outside the
            classes, logits of another size than the mask, logits that are not finite, an unknown rule, or Keras
            on another backend than TensorFlow; errors about an image name its index.

    Example:
        >>> import numpy as np
        >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 1)])
        >>> classes = ClassTable(("sky", "sea"), ((90, 160, 220), (20, 60, 140)), ids=(0, 1))
        >>> batches = [(np.zeros((1, 2, 3, 3)), np.zeros((1, 2, 3), "uint8"))]
        >>> evaluate(model, batches, classes, progress=False).pixels
        6

    Reference:
        Section 4.1 of the CaC-Net paper, "Evaluation Metrics".
    """
    require_absent_rule(absent)
    counter = ConfusionCounter(model, len(classes), protocol)
    if count is None and hasattr(batches, "cardinality"):
        # tf.data has negative numbers for "unknown" and "infinite".
        known = int(batches.cardinality())
        count = known if known >= 0 else None
    bar = keras.utils.Progbar(count, unit_name="batch") if progress else None
    seen = 0
    for seen, (images, masks) in enumerate(batches, 1):
        first = counter.images
        for index, ids in enumerate(counter.add(images, masks), first):
            if on_prediction is not None:
                on_prediction(index, ids.astype("uint8"))
        if bar is not None:
            bar.update(seen, finalize=False)
    if not seen:
        raise ValueError("there are no images to evaluate: the data set is empty")
    if bar is not None:
        bar.update(seen, finalize=True)
    return Report(counter.matrix(), classes.names, absent, counter.images, counter.void_pixels)
