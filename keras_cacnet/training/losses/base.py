"""What all losses share: void, weights of classes and pixels, and a mean over the batch of all replicas."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
from keras import ops

from keras_cacnet.arguments import require_number
from keras_cacnet.labels import Pixels, pixel_weights, read_masks, void_id
from keras_cacnet.layers.replicas import sum_over_replicas


class Terms(NamedTuple):
    """What a loss averages: a value for every pixel, (B, H, W), or for every image, (B,).

    Attributes:
        values: the loss.
        weights: how much it weighs; 0 where all is void.
        counts: whether it has a class.
        wrong: whether a label is wrong; see `labels.Pixels`.
    """

    values: Any
    weights: Any
    counts: Any
    wrong: Any

    @property
    def losses(self) -> Any:
        """The weighted values, 0 where all is void and NaN where a label is wrong."""
        losses = ops.where(self.counts, self.weights * self.values, 0.0)
        return ops.where(self.wrong, float("nan"), losses)


class SegmentationLoss(keras.losses.Loss):
    """A loss of logits and masks, averaged over all pixels that are not void, or over all images that have some.

    The mean is taken over the whole batch: under a `tf.distribute` strategy its divisor is summed over the replicas,
    so the replicas' results add up to that of one device, however void is spread over them. Nothing but void gives 0.

    A label that is neither a class nor void is an error with its value, called directly and in `fit` and `evaluate`.
    Code compiled by JAX or XLA (`jit_compile=True`, Keras' choice on a GPU) cannot raise it: the loss is NaN there.

    Args:
        ignore_class: the void id; None where every pixel has a class. 255 is refused where it is a class as well.
        class_weights: a weight for each class, by its index; see `class_weights`.
        reduction: Keras' word for what is done with the values: `"mean_with_sample_weight"` divides their weighted sum
            by the sum of the weights, `"mean"` and `"sum_over_batch_size"` by their number, `"sum"` by nothing;
            `"none"` or None leaves them.
        name: name of the loss.
        dtype: `"float32"` or `"float64"`, in which the loss is computed; default: that of the logits, from float32 on.

    Raises:
        ValueError: arguments, masks, logits or weights of other shapes, types or values; the message has the value.
    """

    def __init__(
        self,
        ignore_class: int | None = 255,
        *,
        class_weights: Sequence[float] | None = None,
        reduction: str | None = "mean_with_sample_weight",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        if dtype is not None and self.dtype not in ("float32", "float64"):
            raise ValueError(f"dtype must be float32, float64 or None, got {self.dtype}: pixels are summed up")
        self.ignore_class = void_id(ignore_class)
        self.class_weights = None if class_weights is None else _weights_of_classes(class_weights)
        self._given_dtype = None if dtype is None else self.dtype

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None, divisor: Any = None) -> Any:
        """Compute the loss of a batch.

        Args:
            y_true: class ids, (B, H, W) or (B, H, W, 1), whole numbers of any type.
            y_pred: logits, (B, H, W, C).
            sample_weight: none, (), (B,) or (B, 1) for images, (B, H, W) or (B, H, W, 1) for pixels.
            divisor: of a mean, where this is a part of a larger batch; see `divisor`.
        """
        terms = self._terms(y_true, self._logits(y_pred), sample_weight)
        if self.reduction in (None, "none"):
            return terms.losses
        summed = ops.sum(terms.losses)
        if self.reduction == "sum":
            return summed
        if divisor is None:
            divisor = sum_over_replicas(self._divisor(terms))
        divisor = ops.cast(divisor, summed.dtype)
        return summed / ops.where(divisor == 0, ops.ones_like(divisor), divisor)

    def sums(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> tuple[Any, Any]:
        """Sum up the loss, and what a mean divides it by: the sum of the weights, or the number of pixels or images.

        Args:
            y_true, y_pred, sample_weight: as for the loss itself.

        Returns:
            Two scalars, of this replica only.
        """
        terms = self._terms(y_true, self._logits(y_pred), sample_weight)
        return ops.sum(terms.losses), self._divisor(terms)

    def divisor(self, y_true: Any, like: Any, sample_weight: Any = None) -> Any:
        """Find what a mean divides by, from masks and weights only.

        Added up over the parts of a batch, it makes the losses of the parts add up to that of the batch.

        Args:
            y_true, sample_weight: as for the loss itself.
            like: the logits, or a `keras.KerasTensor` of their shape and type.

        Returns:
            A scalar, of this replica only.

        Example:
            >>> import numpy as np
            >>> from keras_cacnet.training.losses import SegmentationCrossentropy
            >>> float(SegmentationCrossentropy().divisor(np.array([[[0, 1, 255]]]), keras.KerasTensor((1, 1, 3, 2))))
            2.0
        """
        logits = self._logits(like)
        return self._divisor(self._weights(read_masks(y_true, logits, self.ignore_class), logits, sample_weight))

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Compute the loss of every pixel, (B, H, W), or image, (B,); 0 where it is void."""
        return self._terms(y_true, self._logits(y_pred), None).losses

    def _terms(self, y_true: Any, logits: Any, sample_weight: Any) -> Terms:
        pixels = read_masks(y_true, logits, self.ignore_class)
        terms = self._weights(pixels, logits, sample_weight)
        return terms._replace(values=self._values(pixels, logits, sample_weight))

    def _weights(self, pixels: Pixels, logits: Any, sample_weight: Any) -> Terms:
        """The terms without their values."""
        raise NotImplementedError

    def _values(self, pixels: Pixels, logits: Any, sample_weight: Any) -> Any:
        """The values of the terms."""
        raise NotImplementedError

    def _logits(self, y_pred: Any) -> Any:
        symbolic = isinstance(y_pred, keras.KerasTensor)
        y_pred = y_pred if symbolic else ops.convert_to_tensor(y_pred)
        given = keras.backend.standardize_dtype(y_pred.dtype)
        dtype = self._given_dtype or (given if given in ("float32", "float64") else "float32")
        return keras.KerasTensor(y_pred.shape, dtype) if symbolic else ops.cast(y_pred, dtype)

    def _divisor(self, terms: Terms) -> Any:
        if self.reduction == "mean_with_sample_weight":
            return ops.sum(terms.weights)
        return ops.sum(ops.cast(terms.counts, terms.weights.dtype))

    def _weights_of_pixels(self, pixels: Pixels, logits: Any, sample_weight: Any) -> Any:
        """What `sample_weight` says of every pixel, (B, H, W), 0 where it is void."""
        weights = ops.cast(pixels.counts, logits.dtype)
        return weights if sample_weight is None else weights * pixel_weights(sample_weight, logits, logits.dtype)

    def _weights_by_class(self, logits: Any) -> Any:
        """The weight of each class, (C,)."""
        classes = logits.shape[-1]
        if self.class_weights is None:
            return ops.ones((classes,), dtype=logits.dtype)
        if len(self.class_weights) != classes:
            raise ValueError(f"class_weights has {len(self.class_weights)} numbers, and there are {classes} classes")
        return ops.convert_to_tensor(self.class_weights, dtype=logits.dtype)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "ignore_class": self.ignore_class,
            "class_weights": self.class_weights,
            "dtype": self._given_dtype,
        }


class PixelLoss(SegmentationLoss):
    """A loss with a value for every pixel; a pixel weighs what its class does."""

    def _weights(self, pixels: Pixels, logits: Any, sample_weight: Any) -> Terms:
        weights = self._weights_of_pixels(pixels, logits, sample_weight)
        if self.class_weights is not None:
            weights = weights * ops.take(self._weights_by_class(logits), pixels.ids)
        return Terms(None, weights, pixels.counts, pixels.wrong)

    def _values(self, pixels: Pixels, logits: Any, sample_weight: Any) -> Any:
        return self._loss_of_pixels(pixels.ids, logits)

    def _loss_of_pixels(self, ids: Any, logits: Any) -> Any:
        """The loss of class ids, (B, H, W), without any weight."""
        raise NotImplementedError


class ImageLoss(SegmentationLoss):
    """A loss with a value for every image; an image weighs the mean of its pixels' weights.

    Within it only the relation between the weights of pixels counts: a weight for a whole image is the same as that
    weight for each of its pixels.
    """

    def _weights(self, pixels: Pixels, logits: Any, sample_weight: Any) -> Terms:
        weights = self._weights_of_pixels(pixels, logits, sample_weight)
        valid = ops.sum(ops.cast(pixels.counts, weights.dtype), axis=(1, 2))
        means = ops.sum(weights, axis=(1, 2)) / ops.maximum(valid, 1)
        return Terms(None, means, valid > 0, ops.any(pixels.wrong, axis=(1, 2)))

    def _values(self, pixels: Pixels, logits: Any, sample_weight: Any) -> Any:
        weights = self._weights_of_pixels(pixels, logits, sample_weight)
        return self._loss_of_images(pixels.ids, logits, weights)

    def _loss_of_images(self, ids: Any, logits: Any, weights: Any) -> Any:
        """The loss of every image, (B,), by the weights of its pixels, (B, H, W), whatever they add up to."""
        raise NotImplementedError

    def _mean_over_classes(self, values: Any, present: Any, logits: Any) -> Any:
        """The weighted mean of (B, C) over the classes that an image has."""
        weights = self._weights_by_class(logits) * ops.cast(present, logits.dtype)
        total = ops.sum(weights, axis=-1)
        return ops.sum(weights * ops.where(present, values, 0.0), axis=-1) / ops.where(total == 0, 1.0, total)


def _weights_of_classes(class_weights: Any) -> tuple[float, ...]:
    if isinstance(class_weights, str) or not hasattr(class_weights, "__len__") or hasattr(class_weights, "keys"):
        raise ValueError(
            f"class_weights must be a number for each class, got {class_weights!r}: "
            "kc.losses.class_weights makes them of a word, or of a dict by name"
        )
    weights = tuple(require_number("class_weights", float(weight)) for weight in class_weights)
    if not any(weights):
        raise ValueError(f"class_weights must have a weight above 0, got {weights}")
    return weights
