"""Loss scaling for float16 that all replicas agree on."""

from typing import Any

import keras
from keras import ops

from keras_cacnet.layers.replicas import sum_over_replicas


@keras.saving.register_keras_serializable("keras_cacnet")
class LossScaleOptimizer(keras.optimizers.LossScaleOptimizer):
    """Keras' dynamic loss scaling, with a gradient that overflows on one replica seen by all.

    Keras' own asks the first replica alone whether its share of the gradient is finite: an overflow on another one
    goes into the weights of all, as NaN.

    Args:
        inner_optimizer: the optimizer whose loss is scaled, such as `keras_cacnet.optimizers.SGD`.
        initial_scale: the factor of the loss at first.
        dynamic_growth_steps: the number of steps without overflow after which the factor is doubled.
        name: name of the optimizer.

    Example:
        >>> optimizer = LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=8.0)
        >>> weight = keras.Variable([1.0])
        >>> optimizer.apply([ops.convert_to_tensor([float("inf")])], [weight])  # leaves the step out
        >>> float(weight.value[0]), float(optimizer.dynamic_scale.value)
        (1.0, 4.0)

    Reference:
        Micikevicius et al., "Mixed Precision Training", ICLR 2018, Section 3.2.
    """

    def check_finite(self, grads: Any) -> Any:
        """Whether the gradients are finite on all replicas."""
        return sum_over_replicas(ops.cast(ops.logical_not(super().check_finite(grads)), "int32")) == 0
