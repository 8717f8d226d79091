"""Losses of the overlap of regions, image by image: Dice, Tversky and Lovász-softmax."""

from typing import Any

import keras
from keras import ops

from keras_cacnet.arguments import require_number
from keras_cacnet.training.losses.base import ImageLoss


@keras.saving.register_keras_serializable("keras_cacnet")
class Tversky(ImageLoss):
    """One minus the Tversky index of every class that an image has, averaged over them and over the images.

    With the probabilities of a class as a soft region, TP, FP and FN are its sums inside the class, outside of it, and
    what it lacks inside; the index is TP / (TP + alpha FP + beta FN). A class that an image has not is left out: its
    probability counts as FN of those that are there.

    Args:
        ignore_class: the void id; None where every pixel has a class.
        alpha: the factor of false positives.
        beta: the factor of false negatives; above alpha it favours recall.
        class_weights: a weight for each class in the mean over the classes.
        reduction, name, dtype: as for `SegmentationCrossentropy`, over images.

    Shapes:
        - y_true, y_pred, sample_weight: as for `SegmentationCrossentropy`
        - result: scalar; (B,) with reduction None

    Raises:
        ValueError: as for `SegmentationCrossentropy`, or factors that are negative or both 0.

    Example:
        >>> import numpy as np
        >>> round(float(Tversky(alpha=1, beta=1)(np.array([[[0, 1, 255]]]), np.zeros((1, 1, 3, 2)))), 4)  # 1 - 1/3
        0.6667

    Reference:
        Salehi et al., "Tversky loss function for image segmentation using 3D fully convolutional deep networks",
        MLMI 2017, Equation 3; alpha and beta as in Keras' `Tversky`, which sums over the batch and knows no void.
    """

    def __init__(
        self,
        ignore_class: int | None = 255,
        *,
        alpha: float = 0.3,
        beta: float = 0.7,
        class_weights: Any = None,
        reduction: str | None = "mean_with_sample_weight",
        name: str | None = "tversky",
        dtype: Any = None,
    ) -> None:
        super().__init__(ignore_class, class_weights=class_weights, reduction=reduction, name=name, dtype=dtype)
        self.alpha = require_number("alpha", alpha)
        self.beta = require_number("beta", beta)
        if not self.alpha + self.beta:
            raise ValueError("alpha=0 and beta=0 leave nothing to lose: one of them must be above 0")

    def _loss_of_images(self, ids: Any, logits: Any, weights: Any) -> Any:
        probabilities = ops.softmax(logits, axis=-1) * weights[..., None]
        truth = ops.one_hot(ids, logits.shape[-1], dtype=logits.dtype)
        hits = ops.sum(probabilities * truth, axis=(1, 2))
        predicted = ops.sum(probabilities, axis=(1, 2))
        true = ops.sum(truth * weights[..., None], axis=(1, 2))
        whole = hits + self.alpha * (predicted - hits) + self.beta * (true - hits)
        present = true > 0
        return self._mean_over_classes(1 - hits / ops.where(present, whole, 1.0), present, logits)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "alpha": self.alpha, "beta": self.beta}


@keras.saving.register_keras_serializable("keras_cacnet")
class Dice(Tversky):
    """One minus the Dice coefficient (F1) of every class that an image has, averaged over them and over the images.

    It is `Tversky` with alpha = beta = 1/2.

    Args:
        ignore_class: the void id; None where every pixel has a class.
        class_weights: a weight for each class in the mean over the classes.
        reduction, name, dtype: as for `SegmentationCrossentropy`, over images.

    Shapes:
        - y_true, y_pred, sample_weight: as for `SegmentationCrossentropy`
        - result: scalar; (B,) with reduction None

    Raises:
        ValueError: as for `SegmentationCrossentropy`.

    Example:
        >>> import numpy as np
        >>> float(Dice()(np.array([[[0, 1, 255]]]), np.zeros((1, 1, 3, 2))))
        0.5

    Reference:
        Milletari et al., "V-Net: Fully Convolutional Neural Networks for Volumetric Medical Image Segmentation", 3DV
        2016; without the squares in the denominator, as in Keras' `Dice`.
    """

    def __init__(
        self,
        ignore_class: int | None = 255,
        *,
        class_weights: Any = None,
        reduction: str | None = "mean_with_sample_weight",
        name: str | None = "dice",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            ignore_class,
            alpha=0.5,
            beta=0.5,
            class_weights=class_weights,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {key: value for key, value in config.items() if key not in ("alpha", "beta")}


@keras.saving.register_keras_serializable("keras_cacnet")
class LovaszSoftmax(ImageLoss):
    """The Lovász extension of one minus IoU, of every class that an image has, averaged over them and over the images.

    It sorts the errors of all pixels class by class, and takes several times as long as cross-entropy.

    Args:
        ignore_class: the void id; None where every pixel has a class.
        class_weights: a weight for each class in the mean over the classes.
        reduction, name, dtype: as for `SegmentationCrossentropy`, over images.

    Shapes:
        - y_true, y_pred, sample_weight: as for `SegmentationCrossentropy`
        - result: scalar; (B,) with reduction None

    Raises:
        ValueError: as for `SegmentationCrossentropy`.

    Example:
        >>> import numpy as np
        >>> float(LovaszSoftmax()(np.array([[[0, 1, 255]]]), np.zeros((1, 1, 3, 2))))
        0.5

    Reference:
        Berman et al., "The Lovász-Softmax loss: A tractable surrogate for the optimization of the
        intersection-over-union measure in neural networks", CVPR 2018, Equation 8 and Algorithm 1, by image and over
        the classes present.
    """

    def __init__(
        self,
        ignore_class: int | None = 255,
        *,
        class_weights: Any = None,
        reduction: str | None = "mean_with_sample_weight",
        name: str | None = "lovasz_softmax",
        dtype: Any = None,
    ) -> None:
        super().__init__(ignore_class, class_weights=class_weights, reduction=reduction, name=name, dtype=dtype)

    def _loss_of_images(self, ids: Any, logits: Any, weights: Any) -> Any:
        classes, pixels = logits.shape[-1], ops.shape(ids)[1] * ops.shape(ids)[2]
        truth = ops.reshape(ops.one_hot(ids, classes, dtype=logits.dtype), (-1, pixels, classes))
        probabilities = ops.reshape(ops.softmax(logits, axis=-1), (-1, pixels, classes))
        weights = ops.reshape(weights, (-1, pixels, 1))
        # Pixels are the last axis, along which everything is sorted and added up. A pixel of weight 0 adds nothing.
        errors = ops.transpose(ops.where(weights > 0, ops.abs(truth - probabilities), 0.0), (0, 2, 1))
        inside = ops.transpose(truth * weights, (0, 2, 1))
        outside = ops.transpose((1 - truth) * weights, (0, 2, 1))
        order = ops.argsort(-errors, axis=-1)
        errors, inside, outside = (ops.take_along_axis(part, order, axis=-1) for part in (errors, inside, outside))
        true = ops.sum(inside, axis=-1)
        union = true[..., None] + ops.cumsum(outside, axis=-1)
        jaccard = 1 - (true[..., None] - ops.cumsum(inside, axis=-1)) / ops.where(union == 0, 1.0, union)
        steps = ops.concatenate([jaccard[..., :1], jaccard[..., 1:] - jaccard[..., :-1]], axis=-1)
        return self._mean_over_classes(ops.sum(errors * steps, axis=-1), true > 0, logits)
