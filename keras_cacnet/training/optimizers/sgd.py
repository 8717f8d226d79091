"""Stochastic gradient descent as PyTorch defines it."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_cacnet.training.optimizers.by_layer import ByLayer, after


@keras.saving.register_keras_serializable("keras_cacnet")
class SGD(ByLayer, keras.optimizers.SGD):
    """SGD with momentum, L2 weight decay and learning-rate factors by layer, with PyTorch's semantics.

    For every weight w with gradient g: g <- g + weight_decay * w; m <- momentum * m + g;
    w <- w - factor * learning_rate * m. Keras' own SGD decays weights outside the momentum, about ten times
    weaker at momentum 0.9, and keeps the learning rate inside the buffer, which differs under a schedule.

    Args:
        learning_rate: a number or a schedule.
        momentum: factor of the buffer.
        weight_decay: factor of the L2 term, None for 0; acts on every weight, batch-norm ones too, but those of
            `exclude_from_weight_decay`.
        multipliers: (regex, factor) pairs; the first regex found in a weight's path gives its factor, 1 else.
        global_clipnorm: the greatest norm of the gradient of all weights together, before weight decay; a longer one
            is scaled down to it. Under a `tf.distribute` strategy it is the gradient of the whole batch, where Keras
            clips each replica's share by itself; the gradients then go over the wire twice.
        name: name of the optimizer.
        **kwargs: `use_ema`, `ema_momentum`, `ema_overwrite_frequency`, `loss_scale_factor` and
            `gradient_accumulation_steps`, as for `keras.optimizers.Optimizer`.

    Raises:
        ValueError: a regex that is none, a negative factor or weight decay, `nesterov=True`, a `global_clipnorm` that
            is not positive or comes with accumulated gradients, or a clipping that would depend on the replicas.

    Example:
        >>> optimizer = SGD(0.1, weight_decay=0.0, multipliers=[("head", 10.0)])
        >>> weight = keras.Variable([1.0], name="head")
        >>> optimizer.apply([keras.ops.convert_to_tensor([0.5])], [weight])
        >>> float(weight.value[0])  # 1 - 10 * 0.1 * 0.5
        0.5

    Reference:
        Section 4.1 of the CaC-Net paper (momentum 0.9, weight decay 1e-4); the factor 10 of the head is
        PyTorch-Encoding's.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        momentum: float = 0.9,
        *,
        weight_decay: float | None = 1e-4,
        multipliers: Sequence[tuple[str, float]] = (),
        global_clipnorm: float | None = None,
        name: str = "sgd",
        **kwargs: Any,
    ) -> None:
        if kwargs.pop("nesterov", False):
            raise ValueError("nesterov=True is not supported: the paper trains with plain momentum")
        super().__init__(
            learning_rate=learning_rate,
            momentum=momentum,
            weight_decay=weight_decay,
            multipliers=multipliers,
            global_clipnorm=global_clipnorm,
            name=name,
            **kwargs,
        )

    def _add_state(self, variables: Any) -> None:
        # Keras leaves the buffers out where momentum is 0; this update always has them.
        keras.optimizers.Optimizer.build(self, variables)
        self.momentums = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        index = self._get_variable_index(variable)
        buffer = self.momentums[index]
        with after(gradient):
            rate = ops.cast(learning_rate, variable.dtype) * self.factors[index]
            gradient = ops.cast(gradient, variable.dtype) + self.decays[index] * ops.convert_to_tensor(variable)
            if keras.backend.backend() == "tensorflow":
                _update_in_place(variable, buffer.value, gradient, rate, self.momentum)
            else:
                updated = self.momentum * ops.convert_to_tensor(buffer) + gradient
                self.assign(buffer, updated)
                self.assign_sub(variable, rate * updated)


def _update_in_place(variable: Any, buffer: Any, gradient: Any, rate: Any, momentum: float) -> None:
    """m <- momentum * m + g; w <- w - rate * m, without a second buffer and a second weight beside the old ones."""
    import tensorflow as tf

    tf.raw_ops.ResourceApplyMomentum(
        var=variable.handle,
        accum=buffer.handle,
        lr=rate,
        grad=gradient,
        momentum=tf.constant(momentum, gradient.dtype),
    )
