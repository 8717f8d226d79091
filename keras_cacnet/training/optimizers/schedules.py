"""Learning rates over the steps of a run: poly, cosine, and a warm-up before either."""

from typing import Any

import keras
from keras import ops

from keras_cacnet.arguments import require_count, require_number


@keras.saving.register_keras_serializable("keras_cacnet")
class PolyDecay(keras.optimizers.schedules.PolynomialDecay):
    """Keras' polynomial decay, which stays at its end where XLA rounds step / total_steps above 1.

    A power of the negative rest would be NaN, in the weights too from the last step on.

    Args:
        initial_learning_rate, decay_steps, end_learning_rate, power, name: as there.
        cycle: False, or no end is ever reached.

    Raises:
        ValueError: `cycle=True`, or no step to decay in.

    Example:
        >>> float(PolyDecay(1.0, 10, end_learning_rate=0.0)(12))
        0.0
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str = "PolyDecay",
    ) -> None:
        if cycle:
            raise ValueError("cycle=True is not supported: use keras.optimizers.schedules.PolynomialDecay")
        if not decay_steps >= 1:
            raise ValueError(f"decay_steps must be at least 1, got {decay_steps!r}")
        super().__init__(initial_learning_rate, decay_steps, end_learning_rate, power, name=name)

    def __call__(self, step: Any) -> Any:
        return ops.where(ops.cast(step, "float32") < self.decay_steps, super().__call__(step), self.end_learning_rate)


def poly(learning_rate: float, total_steps: int, power: float = 0.9) -> Any:
    """Follow the poly policy: learning_rate * (1 - step / total_steps) ** power.

    Args:
        learning_rate: the initial learning rate.
        total_steps: the number of steps after which it is 0.
        power: the exponent.

    Returns:
        A Keras learning-rate schedule.

    Raises:
        ValueError: fewer than one step, a learning rate that is not positive, or a negative power.

    Example:
        >>> round(float(poly(1.0, 10)(5)), 4)
        0.5359

    Reference:
        Section 4.1 of the CaC-Net paper, "Training Setting".
    """
    if total_steps < 1 or not 0 < learning_rate < float("inf") or not power >= 0:
        raise ValueError(
            "poly needs learning_rate > 0, total_steps >= 1 and power >= 0, "
            f"got {learning_rate}, {total_steps} and {power}"
        )
    return PolyDecay(learning_rate, total_steps, end_learning_rate=0.0, power=power)


@keras.saving.register_keras_serializable("keras_cacnet")
class Warmup(keras.optimizers.schedules.LearningRateSchedule):
    """A linear rise over some steps to where another schedule begins, which then has its own steps.

    Step i of the first `steps` has (i + 1) / steps of the first rate of the schedule. Keras' `CosineDecay` has a
    warm-up of its own, whose first step has a rate of 0, and `PolynomialDecay` has none.

    Args:
        schedule: what follows, a schedule or a number.
        steps: the number of steps of the rise.
        name: name of the schedule.

    Raises:
        ValueError: fewer than one step, or something else than a schedule or a positive number.

    Example:
        >>> rate = Warmup(poly(1.0, 10), steps=4)
        >>> [round(float(rate(step)), 4) for step in (0, 1, 3, 4, 9)]
        [0.25, 0.5, 1.0, 1.0, 0.5359]
    """

    def __init__(self, schedule: Any, steps: int, name: str = "Warmup") -> None:
        super().__init__()
        if not isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
            schedule = require_number("schedule", schedule)
        self.schedule = schedule
        self.steps = require_count("steps", steps)
        self.name = name

    def __call__(self, step: Any) -> Any:
        step = ops.cast(step, "float32")
        share = ops.minimum((step + 1) / self.steps, 1.0)
        if isinstance(self.schedule, float):
            return share * self.schedule
        return share * self.schedule(ops.maximum(step - self.steps, 0.0))

    def get_config(self) -> dict[str, Any]:
        schedule = self.schedule
        if not isinstance(schedule, float):
            schedule = keras.optimizers.schedules.serialize(schedule)
        return {"schedule": schedule, "steps": self.steps, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Warmup":
        schedule = config["schedule"]
        if not isinstance(schedule, float):
            schedule = keras.optimizers.schedules.deserialize(schedule)
        return cls(**{**config, "schedule": schedule})


def cosine(learning_rate: float, total_steps: int) -> Any:
    """Follow half a cosine: learning_rate * (1 + cos(pi * step / total_steps)) / 2, by Keras' `CosineDecay`.

    Args:
        learning_rate: the initial learning rate.
        total_steps: the number of steps after which it is 0.

    Returns:
        A Keras learning-rate schedule.

    Raises:
        ValueError: fewer than one step, or a learning rate that is not positive.

    Example:
        >>> round(float(cosine(1.0, 10)(5)), 4)
        0.5

    Reference:
        Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017, Equation 5.
    """
    if total_steps < 1 or not 0 < learning_rate < float("inf"):
        raise ValueError(f"cosine needs learning_rate > 0 and total_steps >= 1, got {learning_rate} and {total_steps}")
    return keras.optimizers.schedules.CosineDecay(learning_rate, total_steps)
