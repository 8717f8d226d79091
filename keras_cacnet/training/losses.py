"""The training loss: cross-entropy over the pixels that are not void."""

from typing import Any

import keras
from keras import ops

from keras_cacnet.labels import pixel_weights, read_masks, void_id
from keras_cacnet.layers.replicas import sum_over_replicas

__all__ = ["SegmentationCrossentropy"]


@keras.saving.register_keras_serializable("keras_cacnet")
class SegmentationCrossentropy(keras.losses.Loss):
    """Softmax cross-entropy of logits and class ids, averaged over all pixels that are not void.

    The average is taken over the whole batch: under a `tf.distribute` strategy the number of valid pixels is
    summed over the replicas, so the result does not depend on how void is spread over them. A batch without
    a valid pixel gives 0.

    A label that is neither a class nor void is an error with its value, called directly and in `fit` and `evaluate`.
    Code compiled by JAX or XLA (`jit_compile=True`, Keras' choice on a GPU) cannot raise it: the loss is NaN there.

    Args:
        ignore_class: the void id; None where every pixel has a class. 255 is refused where it is a class as well.
        reduction: Keras' word for what is done with the losses of the pixels, weighted by `sample_weight`:
            `"mean_with_sample_weight"` divides their sum by the sum of the weights, `"mean"` and
            `"sum_over_batch_size"` by the number of valid pixels, `"sum"` by nothing; `"none"` or None leaves them.
        name: name of the loss.
        dtype: `"float32"` or `"float64"`, in which the loss is computed; default: that of the logits, from float32 on.

    Shapes:
        - y_true: (B, H, W) or (B, H, W, 1), class ids, whole numbers of any type
        - y_pred: (B, H, W, C), logits
        - sample_weight: none, (), (B,) or (B, 1) for images, (B, H, W) or (B, H, W, 1) for pixels
        - result: scalar, in nats per pixel; (B, H, W) with reduction None

    Raises:
        ValueError: masks, logits or weights of other shapes, types or values; the message has the value.

    Example:
        >>> import numpy as np
        >>> logits = np.zeros((1, 1, 3, 2), "float32")
        >>> round(float(SegmentationCrossentropy()(np.array([[[0, 1, 255]]]), logits)), 4)  # ln 2
        0.6931

    Reference:
        Section 4.1 of the CaC-Net paper; averaging over valid pixels follows PyTorch-Encoding.
    """

    def __init__(
        self,
        ignore_class: int | None = 255,
        *,
        reduction: str | None = "mean_with_sample_weight",
        name: str | None = "segmentation_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        if dtype is not None and self.dtype not in ("float32", "float64"):
            raise ValueError(f"dtype must be float32, float64 or None, got {self.dtype}: pixels are summed up")
        self.ignore_class = void_id(ignore_class)
        self._given_dtype = None if dtype is None else self.dtype

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        if self.reduction in (None, "none"):
            return self._weighted(y_true, y_pred, sample_weight)[0]
        summed, count = self.sums(y_true, y_pred, sample_weight)
        if self.reduction == "sum":
            return summed
        count = sum_over_replicas(count)
        return summed / ops.where(count == 0, ops.ones_like(count), count)

    def sums(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> tuple[Any, Any]:
        """The summed loss and what a mean divides it by: the sum of the weights, or the number of valid pixels.

        Args:
            y_true, y_pred, sample_weight: as for the loss itself.

        Returns:
            Two scalars, of this replica only.
        """
        losses, weights, counts = self._weighted(y_true, y_pred, sample_weight)
        by_weights = self.reduction == "mean_with_sample_weight"
        return ops.sum(losses), ops.sum(weights if by_weights else ops.cast(counts, losses.dtype))

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of every pixel, (B, H, W), 0 where it is void."""
        return self._weighted(y_true, y_pred, None)[0]

    def _weighted(self, y_true: Any, y_pred: Any, sample_weight: Any) -> tuple[Any, Any, Any]:
        """By pixel: the weighted loss, the weight, and whether it counts."""
        y_pred = ops.convert_to_tensor(y_pred)
        given = keras.backend.standardize_dtype(y_pred.dtype)
        y_pred = ops.cast(y_pred, self._given_dtype or (given if given in ("float32", "float64") else "float32"))
        ids, counts, wrong = read_masks(y_true, y_pred, self.ignore_class)
        weights = ops.cast(counts, y_pred.dtype)
        if sample_weight is not None:
            weights = weights * pixel_weights(sample_weight, y_pred, y_pred.dtype)
        losses = weights * ops.sparse_categorical_crossentropy(ids, y_pred, from_logits=True)
        return ops.where(wrong, float("nan"), ops.where(counts, losses, 0.0)), weights, counts

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "ignore_class": self.ignore_class, "dtype": self._given_dtype}


def __dir__() -> list[str]:
    return sorted(__all__)
