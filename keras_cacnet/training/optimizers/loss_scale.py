"""Loss scaling for float16."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_cacnet.layers.replicas import sum_over_replicas


@keras.saving.register_keras_serializable("keras_cacnet")
class LossScaleOptimizer(keras.optimizers.LossScaleOptimizer):
    """Keras' dynamic loss scaling, with a gradient that overflows on one replica seen by all.

    Keras' own asks only the first replica whether its share of the gradient is finite: an overflow on another one
    goes into the weights of all, as NaN.

    Args:
        inner_optimizer: the optimizer whose loss is scaled, such as `keras_cacnet.optimizers.SGD`.
        initial_scale: the factor of the loss at first.
        dynamic_growth_steps: the number of steps without overflow after which the factor is doubled.
        name: name of the optimizer.
        **kwargs: none but what Keras once saved; all else is set on the inner optimizer.

    Raises:
        ValueError: a scale that is not positive, no steps, or an inner optimizer with a `loss_scale_factor`.

    Example:
        >>> optimizer = LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=8.0)
        >>> weight = keras.Variable([1.0])
        >>> optimizer.apply([ops.convert_to_tensor([float("inf")])], [weight])  # leaves the step out
        >>> float(weight.value[0]), float(optimizer.dynamic_scale.value)
        (1.0, 4.0)

    Reference:
        Micikevicius et al., "Mixed Precision Training", ICLR 2018, Section 3.2.
    """

    def __init__(
        self,
        inner_optimizer: keras.optimizers.Optimizer,
        initial_scale: float = 2.0**15,
        dynamic_growth_steps: int = 2000,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        if not 0 < initial_scale < float("inf"):
            raise ValueError(f"initial_scale must be a positive number, got {initial_scale!r}")
        if not dynamic_growth_steps >= 1:
            raise ValueError(f"dynamic_growth_steps must be at least 1, got {dynamic_growth_steps!r}")
        if inner_optimizer.loss_scale_factor is not None:
            raise ValueError(
                f"the inner optimizer has loss_scale_factor={inner_optimizer.loss_scale_factor}, which a scale that "
                "adapts itself would replace: leave it out, or use the optimizer as it is"
            )
        super().__init__(inner_optimizer, initial_scale, dynamic_growth_steps, name=name, **kwargs)

    def exclude_from_weight_decay(
        self, var_list: Sequence[Any] | None = None, var_names: Sequence[str] | None = None
    ) -> None:
        """Leave weights out of the weight decay of the inner optimizer."""
        self.inner_optimizer.exclude_from_weight_decay(var_list, var_names)

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set the values of `variables`, those of the inner optimizer too, which Keras leaves out."""
        own = len(self.variables) - len(self.inner_optimizer.variables)
        super().set_weights(weights[:own])
        self.inner_optimizer.set_weights(weights[own:])

    def check_finite(self, grads: Any) -> Any:
        """Tell whether the gradients are finite on all replicas."""
        return sum_over_replicas(ops.cast(ops.logical_not(super().check_finite(grads)), "int32")) == 0
