"""Stochastic gradient descent as PyTorch defines it, and the poly learning-rate policy."""

import re
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_cacnet.layers.replicas import sum_over_replicas
from keras_cacnet.training.loss_scaling import LossScaleOptimizer as LossScaleOptimizer


@keras.saving.register_keras_serializable("keras_cacnet")
class SGD(keras.optimizers.SGD):
    """SGD with momentum, L2 weight decay and learning-rate factors by layer, with PyTorch's semantics.

    For every weight w with gradient g: g <- g + weight_decay * w; m <- momentum * m + g;
    w <- w - factor * learning_rate * m. Keras' own SGD decays weights outside the momentum, about ten times
    weaker at momentum 0.9, and keeps the learning rate inside the buffer, which differs under a schedule.

    Args:
        learning_rate: a number or a schedule.
        momentum: factor of the buffer.
        weight_decay: factor of the L2 term; acts on every weight, batch-norm ones too.
        multipliers: (regex, factor) pairs; the first regex found in a weight's path gives its factor, 1 else.
        global_clipnorm: the greatest norm of the gradient of all weights together, before weight decay; a longer one
            is scaled down to it. Under a `tf.distribute` strategy it is the gradient of the whole batch, where Keras
            clips each replica's share by itself; the gradients then go over the wire twice.
        name: name of the optimizer.
        **kwargs: as for `keras.optimizers.Optimizer`, but `nesterov`, `clipnorm` and `clipvalue`.

    Raises:
        ValueError: a regex that is none, a negative factor, `nesterov=True`, a `global_clipnorm` that is not
            positive or comes with accumulated gradients, or a clipping that would depend on the replicas.

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
        weight_decay: float = 1e-4,
        multipliers: Sequence[tuple[str, float]] = (),
        global_clipnorm: float | None = None,
        name: str = "sgd",
        **kwargs: Any,
    ) -> None:
        if kwargs.pop("nesterov", False):
            raise ValueError("nesterov=True is not supported: the paper trains with plain momentum")
        for clipping in ("clipnorm", "clipvalue"):
            if kwargs.get(clipping) is not None:
                raise ValueError(
                    f"{clipping}={kwargs[clipping]} is not supported: Keras clips the share of every replica "
                    "before they are summed, so the result depends on their number; use global_clipnorm"
                )
        if global_clipnorm is not None:
            if not 0 < global_clipnorm < float("inf"):
                raise ValueError(f"global_clipnorm must be a positive number or None, got {global_clipnorm!r}")
            if kwargs.get("gradient_accumulation_steps") is not None:
                raise ValueError(
                    f"global_clipnorm={global_clipnorm} clips the gradient of one batch: it does not go with "
                    f"gradient_accumulation_steps={kwargs['gradient_accumulation_steps']}; leave one of them out"
                )
        super().__init__(learning_rate=learning_rate, momentum=momentum, name=name, **kwargs)
        # Not the attribute of this name, by which Keras would clip the replicas' shares.
        self.max_norm = global_clipnorm
        self.l2 = float(weight_decay)
        self.multipliers = tuple((str(pattern), float(factor)) for pattern, factor in multipliers)
        for pattern, factor in self.multipliers:
            if factor < 0:
                raise ValueError(f"the factor of {pattern!r} must be at least 0, got {factor}")
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"multipliers: {pattern!r} is not a regular expression: {error}") from error

    def factor(self, path: str) -> float:
        """The learning-rate factor of the weight with this path."""
        return next((factor for pattern, factor in self.multipliers if re.search(pattern, path)), 1.0)

    def build(self, variables: Any) -> None:
        # Keras leaves the buffers out where momentum is 0; this update always has them.
        if self.built:
            return
        keras.optimizers.Optimizer.build(self, variables)
        (self.momentums,) = self.add_optimizer_variables(variables, ["momentum"])
        self.factors = [self.factor(variable.path) for variable in variables]

    def apply(self, grads: Any, trainable_variables: Any = None) -> Any:
        if self.max_norm is not None:
            grads = self._clipped(list(grads))
        return super().apply(grads, trainable_variables)

    def _clipped(self, grads: list[Any]) -> list[Any]:
        """The replica's share of the gradients, scaled by what the norm of their sum over the replicas asks for."""
        summed = sum_over_replicas([gradient for gradient in grads if gradient is not None])
        norm = ops.sqrt(sum(ops.sum(ops.square(gradient)) for gradient in summed))
        factor = self.max_norm / ops.maximum(norm, self.max_norm)
        return [gradient if gradient is None else gradient * ops.cast(factor, gradient.dtype) for gradient in grads]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        index = self._get_variable_index(variable)
        rate = ops.cast(learning_rate, variable.dtype) * self.factors[index]
        gradient = ops.cast(gradient, variable.dtype) + self.l2 * ops.convert_to_tensor(variable)
        buffer = self.momentums[index]
        updated = self.momentum * ops.convert_to_tensor(buffer) + gradient
        self.assign(buffer, updated)
        self.assign_sub(variable, rate * updated)

    def get_config(self) -> dict[str, Any]:
        config = {
            **super().get_config(),
            "weight_decay": self.l2,
            "multipliers": self.multipliers,
            "global_clipnorm": self.max_norm,
        }
        del config["nesterov"]
        return config


@keras.saving.register_keras_serializable("keras_cacnet")
class PolyDecay(keras.optimizers.schedules.PolynomialDecay):
    """Keras' polynomial decay, which stays at its end where XLA rounds step / total_steps above 1.

    A power of the negative rest would be NaN, in the weights too from the last step on.

    Args:
        initial_learning_rate, decay_steps, end_learning_rate, power, cycle, name: as there.

    Example:
        >>> float(PolyDecay(1.0, 10, end_learning_rate=0.0)(12))
        0.0
    """

    def __call__(self, step: Any) -> Any:
        return ops.where(ops.cast(step, "float32") < self.decay_steps, super().__call__(step), self.end_learning_rate)


def poly(learning_rate: float, total_steps: int, power: float = 0.9) -> Any:
    """The poly policy: learning_rate * (1 - step / total_steps) ** power.

    Args:
        learning_rate: the initial learning rate.
        total_steps: the number of steps after which it is 0.
        power: the exponent.

    Returns:
        A Keras learning-rate schedule.

    Raises:
        ValueError: fewer than one step, or a learning rate that is not positive.

    Example:
        >>> round(float(poly(1.0, 10)(5)), 4)
        0.5359

    Reference:
        Section 4.1 of the CaC-Net paper, "Training Setting".
    """
    if total_steps < 1 or not learning_rate > 0:
        raise ValueError(f"poly needs learning_rate > 0 and total_steps >= 1, got {learning_rate}, {total_steps}")
    return PolyDecay(learning_rate, total_steps, end_learning_rate=0.0, power=power)
