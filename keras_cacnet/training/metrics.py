"""What `fit` and `evaluate` report: mean intersection over union, pixel accuracy, cross-entropy of a whole set."""

from typing import Any

import keras
from keras import ops

from keras_cacnet.labels import read_masks, require_void_apart, void_id, whole_number
from keras_cacnet.training.losses import SegmentationCrossentropy

__all__ = ["Crossentropy", "MeanIoU", "PixelAccuracy"]

_JAX = keras.backend.backend() == "jax"  # which has no 64 bits by default
_INT, _FLOAT = ("int32", "float32") if _JAX else ("int64", "float64")


class _SegmentationMetric(keras.metrics.Metric):
    """A metric that leaves void pixels out, computed in 64 bits where the backend has them."""

    default_name = "metric"
    # By which Keras' callbacks know in mode "auto" what an improvement is.
    _direction = "up"

    def __init__(self, ignore_class: int | None, name: str | None, dtype: Any) -> None:
        super().__init__(name=name or self.default_name, dtype=dtype or _FLOAT)
        self.ignore_class = void_id(ignore_class)
        self._given_dtype = None if dtype is None else self.dtype

    def _refuse_weights(self, sample_weight: Any) -> None:
        if sample_weight is not None:
            void = "void (ignore_class)" if self.ignore_class is None else self.ignore_class
            raise ValueError(
                f"{self.name} takes no sample weights: list it in metrics=[...], not in weighted_metrics=[...], and "
                f"mark pixels that shall not count as {void}"
            )

    def get_config(self) -> dict[str, Any]:
        return {"ignore_class": self.ignore_class, "name": self.name, "dtype": self._given_dtype}


class _ConfusionMetric(_SegmentationMetric):
    def __init__(
        self, num_classes: int, ignore_class: int | None = 255, name: str | None = None, dtype: Any = None
    ) -> None:
        super().__init__(ignore_class, name, dtype)
        self.num_classes = whole_number("num_classes", num_classes)
        require_void_apart(self.num_classes, self.ignore_class)
        # Whole numbers stay exact: floats would lose single pixels beyond 2^24 of them. 32 bits bound a cell to 2^31.
        self.confusion = self.add_variable((self.num_classes,) * 2, "zeros", dtype=_INT, name="confusion")
        self.invalid = self.add_variable((), "zeros", dtype=_INT, name="invalid")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch.

        Args:
            y_true: class ids, (B, H, W) or (B, H, W, 1).
            y_pred: logits or probabilities, (B, H, W, num_classes).
            sample_weight: refused; pixels are left out by the void id.
        """
        self._refuse_weights(sample_weight)
        y_pred = ops.convert_to_tensor(y_pred)
        if len(y_pred.shape) != 4 or y_pred.shape[-1] != self.num_classes:
            raise ValueError(f"{self.name} takes logits (B, H, W, {self.num_classes}), got {tuple(y_pred.shape)}")
        ids, counts, wrong = read_masks(y_true, y_pred, self.ignore_class)
        no_answer = ops.logical_and(counts, ops.any(ops.isnan(y_pred), axis=-1))
        cells = self.num_classes**2
        cell = ids * self.num_classes + _largest(y_pred)
        cell = ops.reshape(ops.where(counts, cell, cells), (-1,))
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            # As Keras' bincount, but of a size that XLA knows; several times as fast as a sum by segments.
            found = tf.raw_ops.DenseBincount(input=cell, size=cells + 1, weights=tf.constant([], _INT))[:cells]
        else:
            found = ops.segment_sum(ops.ones_like(cell, dtype=_INT), cell, num_segments=cells + 1)[:cells]
        self.confusion.assign_add(ops.reshape(found, self.confusion.shape))
        self.invalid.assign_add(ops.cast(ops.any(ops.logical_or(wrong, no_answer)), _INT))

    def result(self) -> Any:
        """Give the score of what was counted: 0 of nothing, NaN where logits were, or a label was no class."""
        score = self._score(ops.cast(self.confusion, _FLOAT))
        return ops.cast(ops.where(ops.convert_to_tensor(self.invalid) > 0, float("nan"), score), self.dtype)

    def _score(self, confusion: Any) -> Any:
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return {"num_classes": self.num_classes, **super().get_config()}


def _largest(logits: Any) -> Any:
    """The class of the largest logit, int32; of equal ones the first, as in predictions."""
    if keras.backend.backend() != "tensorflow":
        return ops.cast(ops.argmax(logits, axis=-1), "int32")
    import tensorflow as tf

    # Keras' own tells -0.0 from 0.0, by several arrays of the size of the logits.
    return tf.argmax(logits, axis=-1, output_type=tf.int32)


@keras.saving.register_keras_serializable("keras_cacnet")
class MeanIoU(_ConfusionMetric):
    """Mean over the classes of intersection over union, from logits and masks with void.

    Unlike `keras.metrics.MeanIoU` it takes logits as they come from the network, and its void pixels count
    neither as truth nor as prediction. A class that occurs in neither is left out of the mean (Keras' rule); of no
    pixel at all the result is 0. A label that is no class is an error as in `SegmentationCrossentropy`, or NaN in code
    compiled by JAX or XLA; logits that are NaN give NaN.

    Args:
        num_classes: number of classes.
        ignore_class: the void id; None where every pixel has a class.
        name: name of the metric.
        dtype: of the result; default: float64, in which it is computed, and float32 under JAX.

    Shapes:
        - y_true: (B, H, W) or (B, H, W, 1), class ids, whole numbers of any type
        - y_pred: (B, H, W, num_classes), logits

    Raises:
        ValueError: fewer than two classes, a void id of 255 that is also a class, logits of another number of
            classes, masks of other shapes, types or values than the loss takes, or sample weights.

    Example:
        >>> import numpy as np
        >>> metric = MeanIoU(2)
        >>> logits = np.array([[[[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]]])
        >>> metric.update_state(np.array([[[0, 1, 255]]]), logits)
        >>> float(metric.result())
        1.0

    Reference:
        Section 4.1 of the CaC-Net paper, "Evaluation Metrics".
    """

    default_name = "mean_iou"

    def _score(self, confusion: Any) -> Any:
        hits = ops.diagonal(confusion)
        union = ops.sum(confusion, axis=0) + ops.sum(confusion, axis=1) - hits
        present = ops.cast(union > 0, confusion.dtype)
        iou = hits / ops.maximum(union, 1)
        return ops.sum(iou * present) / ops.maximum(ops.sum(present), 1)


@keras.saving.register_keras_serializable("keras_cacnet")
class PixelAccuracy(_ConfusionMetric):
    """Share of the pixels that are not void whose class is right.

    Of no pixel at all the result is 0. A label that is no class is an error as in `SegmentationCrossentropy`, or NaN in
    code compiled by JAX or XLA; logits that are NaN give NaN.

    Args:
        num_classes: number of classes.
        ignore_class: the void id; None where every pixel has a class.
        name: name of the metric.
        dtype: of the result; default: float64, in which it is computed, and float32 under JAX.

    Shapes:
        - y_true: (B, H, W) or (B, H, W, 1), class ids, whole numbers of any type
        - y_pred: (B, H, W, num_classes), logits

    Raises:
        ValueError: fewer than two classes, a void id of 255 that is also a class, logits of another number of
            classes, masks of other shapes, types or values than the loss takes, or sample weights.

    Example:
        >>> import numpy as np
        >>> metric = PixelAccuracy(2)
        >>> metric.update_state(np.array([[[0, 1]]]), np.array([[[[1.0, 0.0], [1.0, 0.0]]]]))
        >>> float(metric.result())
        0.5

    Reference:
        Section 4.1 of the CaC-Net paper, "Evaluation Metrics".
    """

    default_name = "pixel_accuracy"

    def _score(self, confusion: Any) -> Any:
        return ops.sum(ops.diagonal(confusion)) / ops.maximum(ops.sum(confusion), 1)


@keras.saving.register_keras_serializable("keras_cacnet")
class Crossentropy(_SegmentationMetric):
    """Cross-entropy averaged over all pixels of a set that are not void.

    The `loss` that Keras reports is the mean of the batches' means, each weighted by its images: it depends on the
    batch size and on images that fill up the last batch. This does not, nor on the number of replicas. Of no pixel at
    all the result is 0; labels that are no class and logits that are NaN are as in `SegmentationCrossentropy`.

    Args:
        ignore_class: the void id; None where every pixel has a class.
        name: name of the metric.
        dtype: of the result; default: float64, in which it is computed, and float32 under JAX.

    Shapes:
        - y_true: (B, H, W) or (B, H, W, 1), class ids, whole numbers of any type
        - y_pred: (B, H, W, C), logits

    Raises:
        ValueError: masks of other shapes, types or values than the loss takes, or sample weights.

    Example:
        >>> import numpy as np
        >>> metric = Crossentropy()
        >>> metric.update_state(np.array([[[0, 1, 255]]]), np.zeros((1, 1, 3, 2)))
        >>> round(float(metric.result()), 4)  # ln 2
        0.6931

    Reference:
        Section 4.1 of the CaC-Net paper.
    """

    default_name = "crossentropy"
    _direction = "down"

    def __init__(self, ignore_class: int | None = 255, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(ignore_class, name, dtype)
        self.loss = SegmentationCrossentropy(ignore_class)
        self.summed = self.add_variable((), "zeros", dtype=_FLOAT, name="summed")
        self.pixels = self.add_variable((), "zeros", dtype=_INT, name="pixels")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch.

        Args:
            y_true: class ids, (B, H, W) or (B, H, W, 1).
            y_pred: logits, (B, H, W, C).
            sample_weight: refused; pixels are left out by the void id.
        """
        self._refuse_weights(sample_weight)
        summed, pixels = self.loss.sums(y_true, y_pred)
        self.summed.assign_add(ops.cast(summed, _FLOAT))
        self.pixels.assign_add(ops.cast(pixels, _INT))

    def result(self) -> Any:
        """Give the mean over what was counted: 0 of nothing, NaN where logits were, or a label was no class."""
        return ops.cast(self.summed / ops.cast(ops.maximum(self.pixels, 1), _FLOAT), self.dtype)


def __dir__() -> list[str]:
    return sorted(__all__)
