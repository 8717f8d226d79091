"""Scores of a model over a data set: on whole images at their own size, or under a protocol."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import keras
import numpy as np

from keras_cacnet.datasets.classes import VOID, ClassTable
from keras_cacnet.datasets.source import Example, SegmentationDataset, Source
from keras_cacnet.evaluation.boundary import boundary_counts
from keras_cacnet.evaluation.inference import require_tensorflow
from keras_cacnet.evaluation.prediction import ids
from keras_cacnet.evaluation.protocol import Protocol
from keras_cacnet.evaluation.report import Report, require_absent_rule
from keras_cacnet.models.interface import require_class_count
from keras_cacnet.pipeline.batches import evaluation_batches
from keras_cacnet.progress import ProgressBar
from keras_cacnet.wording import listed


def evaluate(
    model: keras.Model,
    data: SegmentationDataset | Source | Iterable[tuple[Any, Any]],
    classes: ClassTable | None = None,
    *,
    split: str = "val",
    protocol: Protocol | None = None,
    absent: str = "ignore",
    progress: bool = True,
    count: int | None = None,
    origin: Callable[[int], str] = "image {}".format,
    on_prediction: Callable[[int, np.ndarray], Any] | None = None,
    boundary: bool = False,
) -> Report:
    """Score a model: pixel accuracy, mean IoU and the IoU of every class.

    Every image is predicted by `ids`. All pixels of all images are counted in one confusion matrix of whole numbers,
    and the scores are taken from it at the end: they do not depend on how images are batched, nor on their order.
    Images are used one at a time, so memory is that of the largest whatever their number.

    Args:
        model: takes RGB in 0..255 and gives logits of the size of its input.
        data: a data set, whose split is scored; or the examples of one; or batches, a `tf.data.Dataset` or another
            iterable of (images, masks), whose sizes may change from one to the next.
        classes: the classes the masks are numbered by; a data set knows its own.
        split: the split of a data set.
        protocol: scales, mirror images and windows; by default every image is shown whole, once, at the working size
            of a model that was trained at one (`Protocol.of`).
        absent: how the mean treats a class absent from prediction and truth: "ignore" or "zero", see `Report`.
        progress: show how far it has come.
        count: number of batches, to show how far it has come; by default what the dataset itself knows.
        origin: how errors call the image of an index, such as its file.
        on_prediction: called with the index of every image and its class indices, uint8 (H, W), as they are
            predicted, such as `prediction_writer` makes it.
        boundary: also compare the outlines of the classes, see `boundary_counts`: some milliseconds an image.

    Shapes:
        - images: (B, H, W, 3), uint8 or float
        - masks: (B, H, W) or (B, H, W, 1), class indices and `VOID`

    Returns:
        The scores.

    Raises:
        ValueError: a model of another number of classes than the table, no data, a mask with ids that are neither a
            class nor void, logits of another size than the image, logits that are not finite, an unknown rule, or
            Keras on another backend than TensorFlow; errors about an image name it.

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
    require_tensorflow("evaluation")
    require_absent_rule(absent)
    batches: Any = data
    if hasattr(batches, "source"):
        classes, batches = classes or batches.classes, batches.source(split)
    if classes is None:
        raise ValueError("classes is missing: give the ClassTable of the masks, or a data set, which knows its own")
    if _are_examples(batches):
        origin, count = partial(_origin, batches), len(batches)
        batches = evaluation_batches(batches, classes)
    require_class_count(model, len(classes))
    # One cell per pair of truth and prediction, and a last one for void.
    cells = np.zeros(len(classes) ** 2 + 1, "int64")
    if count is None and hasattr(batches, "cardinality"):
        # tf.data has negative numbers for "unknown" and "infinite".
        known = int(batches.cardinality())
        count = known if known >= 0 else None
    bar = ProgressBar("scoring", count, "batches") if progress else None
    boundaries = np.zeros((len(classes), 4), "int64") if boundary else None
    scored = 0
    for batch in batches:
        try:
            images, masks = _arrays(batch)
        except ValueError as error:
            raise ValueError(f"{origin(scored)}: {error}") from error
        for image, mask in zip(images, masks, strict=True):
            try:
                truth = _known(mask, len(classes))
                found = ids(model, image, protocol)
            except ValueError as error:
                raise ValueError(f"{origin(scored)}: {error}") from error
            pairs = np.where(truth == VOID, len(cells) - 1, truth * len(classes) + found)
            cells += np.bincount(pairs.ravel(), minlength=len(cells))
            if boundaries is not None:
                boundaries += boundary_counts(found, truth, len(classes))
            if on_prediction is not None:
                on_prediction(scored, found)
            scored += 1
        if bar is not None:
            bar.add()
    if not scored:
        raise ValueError("there are no images to evaluate: the data set is empty")
    if bar is not None:
        bar.close()
    confusion = cells[:-1].reshape(len(classes), len(classes))
    return Report(confusion, classes.names, absent, scored, int(cells[-1]), boundaries)


def _are_examples(data: Any) -> bool:
    return hasattr(data, "__getitem__") and len(data) > 0 and isinstance(data[0], Example)


def _origin(source: Source, index: int) -> str:
    return source[index].image_origin


def _arrays(batch: Any) -> tuple[np.ndarray, np.ndarray]:
    """The images of a batch and their masks, (B, H, W, 3) and (B, H, W)."""
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        what = f"{len(batch)} values" if isinstance(batch, tuple | list) else type(batch).__name__
        raise ValueError(
            f"batches are (images, masks), got {what}; sample weights are not taken: mark pixels that shall "
            f"not be scored as {VOID} in the mask"
        )
    images, masks = map(np.asarray, batch)
    if masks.ndim == 4 and masks.shape[-1] == 1:
        masks = masks[..., 0]
    if images.ndim != 4 or images.shape[-1] != 3 or masks.ndim != 3 or 0 in images.shape:
        raise ValueError(f"batches are images (B, H, W, 3) and masks (B, H, W), got {images.shape} and {masks.shape}")
    if images.shape[:3] != masks.shape:
        raise ValueError(f"images are {images.shape}, masks {masks.shape}; a mask must have its image's size")
    return images, masks


def _known(mask: np.ndarray, classes: int) -> np.ndarray:
    """A mask as int64; ValueError where a value in it is neither a class nor void."""
    if not (np.issubdtype(mask.dtype, np.integer) or np.issubdtype(mask.dtype, np.floating) or mask.dtype == bool):
        raise ValueError(f"its mask is of {mask.dtype}; masks hold class indices, such as uint8")
    with np.errstate(invalid="ignore"):  # NaN is told below
        truth = mask.astype("int64")
    wrong = (truth != mask) | ((truth != VOID) & ((truth < 0) | (truth >= classes)))
    if wrong.any():
        values, counts = np.unique(mask[wrong], return_counts=True)
        told = listed(f"{value} ({n:,} pixel{'s' if n > 1 else ''})" for value, n in zip(values, counts, strict=True))
        raise ValueError(
            f"its mask has {told}; classes are the whole numbers 0 to {classes - 1}, and void is {VOID}: "
            "renumber the mask (ClassTable.to_training does for ids of files), or evaluate with the table that it was "
            "made for"
        )
    return truth
