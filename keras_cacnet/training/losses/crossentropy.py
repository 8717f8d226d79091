"""Cross-entropy, the focal loss, and cross-entropy of the hard pixels only."""

import math
from typing import Any

import keras
from keras import ops

from keras_cacnet.arguments import require_number
from keras_cacnet.training.losses.base import ImageLoss, PixelLoss


@keras.saving.register_keras_serializable("keras_cacnet")
class SegmentationCrossentropy(PixelLoss):
    """Softmax cross-entropy of logits and class ids, averaged over all pixels that are not void.

    The average is taken over the whole batch: under a `tf.distribute` strategy the number of valid pixels is
    summed over the replicas, so the result does not depend on how void is spread over them. A batch without
    a valid pixel gives 0.

    A label that is neither a class nor void is an error with its value, called directly and in `fit` and `evaluate`.
    Code compiled by JAX or XLA (`jit_compile=True`, Keras' choice on a GPU) cannot raise it: the loss is NaN there.

    Args:
        ignore_class: the void id; None where every pixel has a class. 255 is refused where it is a class as well.
        class_weights: a weight for each class; a pixel weighs what its class does, in the divisor of the mean too.
        label_smoothing: the share of the target that is spread over all classes evenly.
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
        class_weights: Any = None,
        label_smoothing: float = 0.0,
        reduction: str | None = "mean_with_sample_weight",
        name: str | None = "segmentation_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(ignore_class, class_weights=class_weights, reduction=reduction, name=name, dtype=dtype)
        self.label_smoothing = require_number("label_smoothing", label_smoothing, below=1)

    def _loss_of_pixels(self, ids: Any, logits: Any) -> Any:
        return smoothed(ids, logits, self.label_smoothing)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


@keras.saving.register_keras_serializable("keras_cacnet")
class FocalCrossentropy(PixelLoss):
    """The focal loss, -(1 - p)^gamma log p, by the probability p of the right class: what is easy hardly counts.

    Args:
        ignore_class: the void id; None where every pixel has a class.
        gamma: the exponent, 0 (cross-entropy) or from 1 on; between them the gradient has no bound.
        class_weights: a weight for each class, the paper's alpha; they are in the divisor of the mean too.
        reduction, name, dtype: as for `SegmentationCrossentropy`.

    Shapes:
        - as for `SegmentationCrossentropy`

    Raises:
        ValueError: as for `SegmentationCrossentropy`, or another gamma.

    Example:
        >>> import numpy as np
        >>> logits = np.zeros((1, 1, 3, 2), "float32")
        >>> round(float(FocalCrossentropy()(np.array([[[0, 1, 255]]]), logits)), 4)  # ln 2 / 4
        0.1733

    Reference:
        Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, Equation 5.
    """

    def __init__(
        self,
        ignore_class: int | None = 255,
        *,
        gamma: float = 2.0,
        class_weights: Any = None,
        reduction: str | None = "mean_with_sample_weight",
        name: str | None = "focal_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(ignore_class, class_weights=class_weights, reduction=reduction, name=name, dtype=dtype)
        self.gamma = require_number("gamma", gamma)
        if 0 < self.gamma < 1:
            raise ValueError(f"gamma must be 0 or from 1 on, got {gamma}: between them the gradient has no bound")

    def _loss_of_pixels(self, ids: Any, logits: Any) -> Any:
        entropies = ops.sparse_categorical_crossentropy(ids, logits, from_logits=True)
        # 1 - p without cancellation. A power of 0 would have NaN for its gradient where p is 1.
        return entropies * ops.power(-ops.expm1(-entropies), self.gamma) if self.gamma else entropies

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "gamma": self.gamma}


@keras.saving.register_keras_serializable("keras_cacnet")
class OhemCrossentropy(ImageLoss):
    """Cross-entropy of the hard pixels of every image, averaged over its hard pixels and then over the images.

    Hard are the pixels whose class has a probability below `threshold`, and never fewer than the hardest `min_share`
    of an image. Which they are is decided image by image, so neither the batch nor the number of replicas changes it.

    Args:
        ignore_class: the void id; None where every pixel has a class.
        threshold: of the probability, above 0 and up to 1.
        min_share: the share of the pixels with a class that is kept at least, above 0 and up to 1.
        class_weights: a weight for each class; it weighs the hard pixels and does not decide which they are.
        label_smoothing: as for `SegmentationCrossentropy`; likewise.
        reduction, name, dtype: as for `SegmentationCrossentropy`, over images.

    Shapes:
        - y_true, y_pred, sample_weight: as for `SegmentationCrossentropy`
        - result: scalar; (B,) with reduction None

    Raises:
        ValueError: as for `SegmentationCrossentropy`, or a threshold or share outside its range.

    Example:
        >>> import numpy as np
        >>> logits = np.array([[[[9.0, 0.0], [9.0, 0.0], [0.0, 0.0]]]], "float32")
        >>> round(float(OhemCrossentropy(min_share=0.1)(np.array([[[0, 0, 1]]]), logits)), 4)  # of the last pixel, ln 2
        0.6931

    Reference:
        Shrivastava et al., "Training Region-based Object Detectors with Online Hard Example Mining", CVPR 2016; the
        threshold and a least number of pixels follow mmsegmentation, which counts them by batch.
    """

    def __init__(
        self,
        ignore_class: int | None = 255,
        *,
        threshold: float = 0.7,
        min_share: float = 0.1,
        class_weights: Any = None,
        label_smoothing: float = 0.0,
        reduction: str | None = "mean_with_sample_weight",
        name: str | None = "ohem_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(ignore_class, class_weights=class_weights, reduction=reduction, name=name, dtype=dtype)
        self.threshold = require_number("threshold", threshold)
        self.min_share = require_number("min_share", min_share)
        for what, value in (("threshold", self.threshold), ("min_share", self.min_share)):
            if not 0 < value <= 1:
                raise ValueError(f"{what} must be above 0 and at most 1, got {value}")
        self.label_smoothing = require_number("label_smoothing", label_smoothing, below=1)

    def _loss_of_images(self, ids: Any, logits: Any, weights: Any) -> Any:
        pixels = ops.shape(ids)[1] * ops.shape(ids)[2]
        hardness = ops.stop_gradient(ops.sparse_categorical_crossentropy(ids, logits, from_logits=True))
        hardness = ops.reshape(ops.where(weights > 0, hardness, -1.0), (-1, pixels))
        valid = ops.sum(ops.cast(hardness >= 0, "int32"), axis=1, keepdims=True)
        # In float64 a share of a number of pixels is exact enough for its ceiling on every backend.
        least = ops.cast(ops.ceil(ops.cast(valid, logits.dtype) * self.min_share), "int32")
        hardest = -ops.sort(-hardness, axis=1)
        last = ops.take_along_axis(hardest, ops.clip(least - 1, 0, pixels - 1), axis=1)
        kept = ops.logical_and(hardness >= 0, hardness >= ops.minimum(last, -math.log(self.threshold)))
        kept_weights = ops.cast(kept, logits.dtype) * ops.reshape(weights, (-1, pixels))
        if self.class_weights is not None:
            kept_weights = kept_weights * ops.take(self._weights_by_class(logits), ops.reshape(ids, (-1, pixels)))
        losses = ops.reshape(smoothed(ids, logits, self.label_smoothing), (-1, pixels))
        total = ops.sum(kept_weights, axis=1)
        return ops.sum(ops.where(kept, kept_weights * losses, 0.0), axis=1) / ops.where(total == 0, 1.0, total)

    def get_config(self) -> dict[str, Any]:
        settings = {"threshold": self.threshold, "min_share": self.min_share, "label_smoothing": self.label_smoothing}
        return {**super().get_config(), **settings}


def smoothed(ids: Any, logits: Any, label_smoothing: float) -> Any:
    """Compute cross-entropy with a share of the target spread over all classes, (B, H, W)."""
    entropies = ops.sparse_categorical_crossentropy(ids, logits, from_logits=True)
    if not label_smoothing:
        return entropies
    others = ops.logsumexp(logits, axis=-1) - ops.mean(logits, axis=-1)
    return (1 - label_smoothing) * entropies + label_smoothing * others
