"""Adam with decoupled weight decay."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_cacnet.training.optimizers.by_layer import ByLayer, after


@keras.saving.register_keras_serializable("keras_cacnet")
class AdamW(ByLayer, keras.optimizers.AdamW):
    """Keras' AdamW with learning-rate factors by layer, which the weight decay has too, as PyTorch's has by group.

    Args:
        learning_rate: a number or a schedule.
        weight_decay: w <- w - factor * learning_rate * weight_decay * w, None for 0; acts on every weight, batch-norm
            ones too, but those of `exclude_from_weight_decay`.
        beta_1, beta_2, epsilon, amsgrad: as for `keras.optimizers.AdamW`.
        multipliers, global_clipnorm: as for `SGD`.
        name: name of the optimizer.
        **kwargs: as for `SGD`.

    Raises:
        ValueError: as for `SGD`.

    Example:
        >>> optimizer = AdamW(0.1, weight_decay=0.0, multipliers=[("head", 10.0)])
        >>> weight = keras.Variable([2.0], name="head")
        >>> optimizer.apply([keras.ops.convert_to_tensor([0.5])], [weight])
        >>> round(float(weight.value[0]), 4)  # the first step is 10 * 0.1, whatever the gradient
        1.0

    Reference:
        Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float | None = 0.004,
        *,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        multipliers: Sequence[tuple[str, float]] = (),
        global_clipnorm: float | None = None,
        name: str = "adamw",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            learning_rate=learning_rate,
            weight_decay=weight_decay or 0.0,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            amsgrad=amsgrad,
            multipliers=multipliers,
            global_clipnorm=global_clipnorm,
            name=name,
            **kwargs,
        )

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        index = self._get_variable_index(variable)
        with after(gradient):
            rate = ops.cast(learning_rate, variable.dtype) * self.factors[index]
            self.assign_sub(variable, rate * self.decays[index] * ops.convert_to_tensor(variable))
            super().update_step(gradient, variable, rate)
