"""Stochastic gradient descent as PyTorch defines it, and the poly learning-rate policy."""

import re
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


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
        name: name of the optimizer.
        **kwargs: as for `keras.optimizers.Optimizer`.

    Raises:
        ValueError: a regex that is none, a negative factor, or `nesterov=True`.

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
        name: str = "sgd",
        **kwargs: Any,
    ) -> None:
        if kwargs.pop("nesterov", False):
            raise ValueError("nesterov=True is not supported: the paper trains with plain momentum")
        super().__init__(learning_rate=learning_rate, momentum=momentum, name=name, **kwargs)
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

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        index = self._get_variable_index(variable)
        rate = ops.cast(learning_rate, variable.dtype) * self.factors[index]
        gradient = ops.cast(gradient, variable.dtype) + self.l2 * ops.convert_to_tensor(variable)
        buffer = self.momentums[index]
        updated = self.momentum * ops.convert_to_tensor(buffer) + gradient
        self.assign(buffer, updated)
        self.assign_sub(variable, rate * updated)

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "weight_decay": self.l2, "multipliers": self.multipliers}
        del config["nesterov"]
        return config


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
    return keras.optimizers.schedules.PolynomialDecay(learning_rate, total_steps, end_learning_rate=0.0, power=power)
