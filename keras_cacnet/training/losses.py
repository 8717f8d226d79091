"""The training loss: cross-entropy over the pixels that are not void."""

from typing import Any

import keras
from keras import ops

from keras_cacnet.layers.replicas import sum_over_replicas


@keras.saving.register_keras_serializable("keras_cacnet")
class SegmentationCrossentropy(keras.losses.Loss):
    """Softmax cross-entropy of logits and class ids, averaged over all pixels that are not void.

    The average is taken over the whole batch: under a `tf.distribute` strategy the number of valid pixels is
    summed over the replicas, so the result does not depend on how void is spread over them. A batch without
    a valid pixel gives 0. An id that is neither a class nor void gives NaN, never a silently wrong loss.

    Args:
        ignore_class: the void id.
        name: name of the loss.

    Shapes:
        - y_true: (B, H, W), class ids of any integer type
        - y_pred: (B, H, W, C), logits
        - sample_weight: none, (B,) or (B, H, W); weighs the numerator and the denominator
        - result: scalar, in nats per pixel

    Raises:
        ValueError: logits and mask of different sizes.

    Example:
        >>> import numpy as np
        >>> logits = np.zeros((1, 1, 3, 2), "float32")
        >>> round(float(SegmentationCrossentropy()(np.array([[[0, 1, 255]]]), logits)), 4)  # ln 2
        0.6931

    Reference:
        Section 4.1 of the CaC-Net paper; averaging over valid pixels follows PyTorch-Encoding.
    """

    def __init__(self, ignore_class: int = 255, name: str = "segmentation_crossentropy", **kwargs: Any) -> None:
        kwargs.setdefault("reduction", "sum")
        super().__init__(name=name, **kwargs)
        self.ignore_class = ignore_class

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        summed, count = self.sums(y_true, y_pred, sample_weight)
        count = sum_over_replicas(count)
        return summed / ops.where(count == 0, ops.ones_like(count), count)

    def sums(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> tuple[Any, Any]:
        """The summed loss and the number of pixels that are not void, weighted where there are weights.

        Args:
            y_true, y_pred, sample_weight: as for the loss itself.

        Returns:
            Two scalars, of this replica alone.
        """
        y_pred = ops.convert_to_tensor(y_pred)
        if keras.backend.standardize_dtype(y_pred.dtype) not in ("float32", "float64"):
            y_pred = ops.cast(y_pred, "float32")
        labels = ops.cast(y_true, "int32")
        if len(labels.shape) == 4 and labels.shape[-1] == 1:
            labels = ops.squeeze(labels, axis=-1)
        if len(labels.shape) != 3 or len(y_pred.shape) != 4 or not _agree(labels.shape, y_pred.shape[:3]):
            raise ValueError(
                f"the loss takes masks (B, H, W) and logits (B, H, W, C), got {tuple(labels.shape)} "
                f"and {tuple(y_pred.shape)}"
            )
        valid = labels != self.ignore_class
        weights = ops.cast(valid, y_pred.dtype)
        if sample_weight is not None:
            sample_weight = ops.cast(sample_weight, y_pred.dtype)
            if len(sample_weight.shape) == 1:
                sample_weight = ops.reshape(sample_weight, (-1, 1, 1))
            weights = weights * sample_weight
        pixels = self.call(labels, y_pred)
        summed = ops.sum(ops.where(valid, pixels * weights, 0.0))
        return summed, ops.sum(weights)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        classes = y_pred.shape[-1]
        known = ops.logical_and(y_true >= 0, y_true < classes)
        pixels = ops.sparse_categorical_crossentropy(ops.where(known, y_true, 0), y_pred, from_logits=True)
        return ops.where(known, pixels, float("nan"))

    def get_config(self) -> dict[str, Any]:
        return {"ignore_class": self.ignore_class, "name": self.name}


def _agree(shape: Any, other: Any) -> bool:
    return all(a is None or b is None or a == b for a, b in zip(shape, other, strict=True))
