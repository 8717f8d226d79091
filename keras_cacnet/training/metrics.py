"""What `fit` and `evaluate` report: mean intersection over union, pixel accuracy, cross-entropy of a whole set."""

from typing import Any

import keras
from keras import ops

from keras_cacnet.training.losses import SegmentationCrossentropy


class _ConfusionMetric(keras.metrics.Metric):
    default_name = "confusion"

    def __init__(self, num_classes: int, ignore_class: int = 255, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(name=name or self.default_name, dtype=dtype)
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {num_classes!r}")
        self.num_classes = num_classes
        self.ignore_class = ignore_class
        # Whole numbers stay exact: floats would lose single pixels beyond 2^24 of them. JAX has no 64 bits by
        # default, which bounds a cell to 2^31 pixels there.
        self.confusion = self.add_variable(
            (num_classes, num_classes),
            initializer="zeros",
            dtype="int32" if keras.backend.backend() == "jax" else "int64",
            name="confusion",
        )

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch.

        Args:
            y_true: class ids, (B, H, W) or (B, H, W, 1).
            y_pred: logits or probabilities, (B, H, W, num_classes).
            sample_weight: refused; pixels are left out by the void id.
        """
        if sample_weight is not None:
            raise ValueError(f"{self.name} takes no sample weights; mark pixels as {self.ignore_class} instead")
        y_pred = ops.convert_to_tensor(y_pred)
        if len(y_pred.shape) != 4 or y_pred.shape[-1] != self.num_classes:
            raise ValueError(f"{self.name} takes logits (B, H, W, {self.num_classes}), got {tuple(y_pred.shape)}")
        truth = ops.reshape(ops.cast(y_true, "int32"), (-1,))
        guess = ops.reshape(ops.cast(ops.argmax(y_pred, axis=-1), "int32"), (-1,))
        valid = truth != self.ignore_class
        cells = self.num_classes**2
        cell = ops.where(valid, truth * self.num_classes + guess, cells)
        if keras.backend.backend() == "jax":  # whose bincount cannot be compiled
            counts = ops.segment_sum(ops.ones_like(cell), cell, num_segments=cells + 1)[:cells]
        else:
            counts = ops.cast(ops.bincount(cell, minlength=cells + 1)[:cells], self.confusion.dtype)
        self.confusion.assign_add(ops.reshape(counts, (self.num_classes, self.num_classes)))

    def get_config(self) -> dict[str, Any]:
        return {"num_classes": self.num_classes, "ignore_class": self.ignore_class, "name": self.name}


@keras.saving.register_keras_serializable("keras_cacnet")
class MeanIoU(_ConfusionMetric):
    """Mean over the classes of intersection over union, from logits and masks with void.

    Unlike `keras.metrics.MeanIoU` it takes logits as they come from the network, and its void pixels count
    neither as truth nor as prediction. A class that occurs in neither is left out of the mean (Keras' rule).

    Args:
        num_classes: number of classes.
        ignore_class: the void id.
        name: name of the metric.
        dtype: dtype of the result.

    Shapes:
        - y_true: (B, H, W), class ids
        - y_pred: (B, H, W, num_classes), logits

    Raises:
        ValueError: logits of another number of classes, or sample weights.

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

    def result(self) -> Any:
        confusion = ops.cast(self.confusion, "float32" if self.dtype != "float64" else "float64")
        hits = ops.diagonal(confusion)
        union = ops.sum(confusion, axis=0) + ops.sum(confusion, axis=1) - hits
        present = ops.cast(union > 0, confusion.dtype)
        iou = hits / ops.maximum(union, 1)
        return ops.sum(iou * present) / ops.maximum(ops.sum(present), 1)


@keras.saving.register_keras_serializable("keras_cacnet")
class PixelAccuracy(_ConfusionMetric):
    """Share of the pixels that are not void whose class is right.

    Args:
        num_classes: number of classes.
        ignore_class: the void id.
        name: name of the metric.
        dtype: dtype of the result.

    Shapes:
        - y_true: (B, H, W), class ids
        - y_pred: (B, H, W, num_classes), logits

    Raises:
        ValueError: logits of another number of classes, or sample weights.

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

    def result(self) -> Any:
        confusion = ops.cast(self.confusion, "float32" if self.dtype != "float64" else "float64")
        return ops.sum(ops.diagonal(confusion)) / ops.maximum(ops.sum(confusion), 1)


@keras.saving.register_keras_serializable("keras_cacnet")
class Crossentropy(keras.metrics.Metric):
    """Cross-entropy averaged over all pixels of a set that are not void.

    The `loss` that Keras reports is the mean of the batches' means, each weighted by its images: it depends on the
    batch size and on images that fill up the last batch. This does not, nor on the number of replicas.

    Args:
        ignore_class: the void id.
        name: name of the metric.
        dtype: dtype of the result.

    Shapes:
        - y_true: (B, H, W), class ids
        - y_pred: (B, H, W, C), logits

    Raises:
        ValueError: logits and mask of different sizes, or sample weights.

    Example:
        >>> import numpy as np
        >>> metric = Crossentropy()
        >>> metric.update_state(np.array([[[0, 1, 255]]]), np.zeros((1, 1, 3, 2)))
        >>> round(float(metric.result()), 4)  # ln 2
        0.6931

    Reference:
        Section 4.1 of the CaC-Net paper.
    """

    def __init__(self, ignore_class: int = 255, name: str = "crossentropy", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.ignore_class = ignore_class
        self.loss = SegmentationCrossentropy(ignore_class)
        jax = keras.backend.backend() == "jax"  # without 64 bits by default
        self.summed = self.add_variable((), "zeros", dtype="float32" if jax else "float64", name="summed")
        self.pixels = self.add_variable((), "zeros", dtype="int32" if jax else "int64", name="pixels")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch.

        Args:
            y_true: class ids, (B, H, W).
            y_pred: logits, (B, H, W, C).
            sample_weight: refused; pixels are left out by the void id.
        """
        if sample_weight is not None:
            raise ValueError(f"{self.name} takes no sample weights; mark pixels as {self.ignore_class} instead")
        summed, pixels = self.loss.sums(y_true, y_pred)
        self.summed.assign_add(ops.cast(summed, self.summed.dtype))
        self.pixels.assign_add(ops.cast(pixels, self.pixels.dtype))

    def result(self) -> Any:
        return self.summed / ops.cast(ops.maximum(self.pixels, 1), self.summed.dtype)

    def get_config(self) -> dict[str, Any]:
        return {"ignore_class": self.ignore_class, "name": self.name}
