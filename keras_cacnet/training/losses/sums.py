"""Weighted sums of losses, and losses by name, as settings have them."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_cacnet.arguments import require_number
from keras_cacnet.training.losses.base import SegmentationLoss
from keras_cacnet.training.losses.crossentropy import FocalCrossentropy, OhemCrossentropy, SegmentationCrossentropy
from keras_cacnet.training.losses.regions import Dice, LovaszSoftmax, Tversky
from keras_cacnet.training.losses.words import SMOOTHED, loss_terms

LOSSES: dict[str, type[SegmentationLoss]] = {
    "crossentropy": SegmentationCrossentropy,
    "focal": FocalCrossentropy,
    "ohem": OhemCrossentropy,
    "dice": Dice,
    "tversky": Tversky,
    "lovasz": LovaszSoftmax,
}
"""The losses by the names that settings have for them."""


@keras.saving.register_keras_serializable("keras_cacnet")
class WeightedSum(keras.losses.Loss):
    """A weighted sum of losses of the same pixels.

    Args:
        losses: losses of `kc.losses`, with one void id and a mean or sum each.
        weights: the factor of each; 1 by default.
        name: name of the loss.

    Shapes:
        - y_true, y_pred, sample_weight: as for `SegmentationCrossentropy`
        - result: scalar

    Raises:
        ValueError: no loss, other losses, several void ids, a loss that is no number, or another number of weights.

    Example:
        >>> import numpy as np
        >>> loss = WeightedSum([SegmentationCrossentropy(), Dice()], [1.0, 2.0])
        >>> round(float(loss(np.array([[[0, 1, 255]]]), np.zeros((1, 1, 3, 2), "float32"))), 4)  # ln 2 + 2 / 2
        1.6931
    """

    def __init__(
        self, losses: Sequence[SegmentationLoss], weights: Sequence[float] | None = None, name: str = "weighted_sum"
    ) -> None:
        super().__init__(name=name, reduction="sum")
        self.losses = tuple(losses)
        for loss in self.losses:
            if not isinstance(loss, SegmentationLoss):
                raise ValueError(f"losses must be losses of kc.losses, got {loss!r}")
            if loss.reduction in (None, "none"):
                raise ValueError(
                    f"{loss.name} has reduction={loss.reduction!r}: a sum takes losses that are one number"
                )
        if len({loss.ignore_class for loss in self.losses}) != 1:
            found = [loss.ignore_class for loss in self.losses]
            raise ValueError(f"losses must be at least one, with one ignore_class; got {found}")
        self.weights = tuple(
            require_number("weights", weight) for weight in ([1.0] * len(self.losses) if weights is None else weights)
        )
        if len(self.weights) != len(self.losses):
            raise ValueError(f"weights has {len(self.weights)} numbers, and there are {len(self.losses)} losses")
        self.ignore_class = self.losses[0].ignore_class

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None, divisor: Any = None) -> Any:
        divisors = [None] * len(self.losses) if divisor is None else divisor
        return sum(
            weight * loss(y_true, y_pred, sample_weight, one)
            for weight, loss, one in zip(self.weights, self.losses, divisors, strict=True)
        )

    def divisor(self, y_true: Any, like: Any, sample_weight: Any = None) -> list[Any]:
        """Find what the mean of each loss divides by; see `SegmentationCrossentropy.divisor`."""
        return [loss.divisor(y_true, like, sample_weight) for loss in self.losses]

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Compute the sum, as of the losses themselves."""
        return self(y_true, y_pred)

    def get_config(self) -> dict[str, Any]:
        losses = [keras.losses.serialize(loss) for loss in self.losses]
        return {"losses": losses, "weights": self.weights, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "WeightedSum":
        losses = [keras.losses.deserialize(loss) for loss in config["losses"]]
        return cls(**{**config, "losses": losses})


def loss_named(
    text: str,
    class_weights: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
    ignore_class: int | None = 255,
) -> keras.losses.Loss:
    """Build a loss from its name, or a sum of several.

    Args:
        text: `crossentropy`, `focal`, `ohem`, `dice`, `tversky` or `lovasz`, or a sum such as `crossentropy+0.5*dice`.
        class_weights: a weight for each class, for all of them.
        label_smoothing: for those that take it.
        ignore_class: the void id.

    Raises:
        ValueError: a name that no loss has, with the nearest one; a factor that is none; or a label smoothing that
            none of them takes.

    Example:
        >>> loss_named("0.5*focal + dice").weights
        (0.5, 1.0)
    """
    losses, weights = [], []
    for weight, name in loss_terms(text, label_smoothing):
        settings: dict[str, Any] = {"label_smoothing": label_smoothing} if name in SMOOTHED else {}
        losses.append(LOSSES[name](ignore_class, class_weights=class_weights, **settings))
        weights.append(weight)
    return losses[0] if weights == [1.0] else WeightedSum(losses, weights)
