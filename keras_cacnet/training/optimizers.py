"""Stochastic gradient descent as PyTorch defines it, the poly learning-rate policy, and loss scaling for float16."""

import re
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_cacnet.layers.replicas import sum_over_replicas
from keras_cacnet.wording import listed

__all__ = ["SGD", "LossScaleOptimizer", "PolyDecay", "poly"]


@keras.saving.register_keras_serializable("keras_cacnet")
class SGD(keras.optimizers.SGD):
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
        if kwargs.pop("decay", None) is not None:
            raise ValueError("decay is no argument of Keras 3: give a schedule as learning_rate, such as poly(...)")
        for clipping in ("clipnorm", "clipvalue"):
            if kwargs.get(clipping) is not None:
                raise ValueError(
                    f"{clipping}={kwargs[clipping]} is not supported: Keras clips the share of every replica "
                    "before they are summed, so the result depends on their number; use global_clipnorm"
                )
        if weight_decay is not None and not 0 <= weight_decay < float("inf"):
            raise ValueError(f"weight_decay must be a number from 0 on, or None, got {weight_decay!r}")
        if global_clipnorm is not None:
            if not 0 < global_clipnorm < float("inf"):
                raise ValueError(f"global_clipnorm must be a positive number or None, got {global_clipnorm!r}")
            if kwargs.get("gradient_accumulation_steps") is not None:
                raise ValueError(
                    f"global_clipnorm={global_clipnorm} clips the gradient of one batch: it does not go with "
                    f"gradient_accumulation_steps={kwargs['gradient_accumulation_steps']}; leave one of them out"
                )
        super().__init__(
            learning_rate=learning_rate,
            momentum=momentum,
            weight_decay=weight_decay,
            global_clipnorm=global_clipnorm,
            name=name,
            **kwargs,
        )
        self.multipliers = tuple((str(pattern), float(factor)) for pattern, factor in multipliers)
        for pattern, factor in self.multipliers:
            if not 0 <= factor < float("inf"):
                raise ValueError(f"the factor of {pattern!r} must be a number from 0 on, got {factor}")
            _check_regex("multipliers", pattern)
        self.exclude_from_weight_decay()

    def factor(self, path: str) -> float:
        """The learning-rate factor of the weight with this path."""
        return next((factor for pattern, factor in self.multipliers if re.search(pattern, path)), 1.0)

    def exclude_from_weight_decay(
        self, var_list: Sequence[Any] | None = None, var_names: Sequence[str] | None = None
    ) -> None:
        """Leave weights out of weight decay. Unlike Keras' exclusions they are saved with the optimizer.

        Args:
            var_list: the weights.
            var_names: regexes; a weight is left out where one is found in its path.

        Raises:
            ValueError: the optimizer is built already, or a regex is none.

        Example:
            >>> optimizer = SGD(1.0, weight_decay=0.5)
            >>> optimizer.exclude_from_weight_decay(var_names=["gamma", "bias"])
            >>> kernel, bias = keras.Variable([1.0], name="kernel"), keras.Variable([1.0], name="bias")
            >>> optimizer.apply([ops.zeros(1), ops.zeros(1)], [kernel, bias])
            >>> float(kernel.value[0]), float(bias.value[0])
            (0.5, 1.0)
        """
        if self.built:
            raise ValueError("exclude_from_weight_decay comes too late: the optimizer is built, or has made a step")
        if isinstance(var_names, str):
            raise ValueError(f"var_names must be a list, got {var_names!r}: give [{var_names!r}]")
        self.undecayed_paths = tuple(variable.path for variable in var_list or ())
        self.undecayed_names = tuple(var_names or ())
        for pattern in self.undecayed_names:
            _check_regex("var_names", pattern)

    def build(self, variables: Any) -> None:
        # Keras leaves the buffers out where momentum is 0; this update always has them.
        if self.built:
            return
        strategy = getattr(self, "_distribution_strategy", None)
        for name in ("gradient_accumulation_steps", "ema_overwrite_frequency"):
            if getattr(self, name) and strategy is not None and strategy.num_replicas_in_sync > 1:
                raise ValueError(
                    f"{name}={getattr(self, name)} does not work on {strategy.num_replicas_in_sync} replicas, nor does "
                    "it in Keras: leave it out, or train on one device"
                )
        keras.optimizers.Optimizer.build(self, variables)
        self.momentums = self.add_optimizer_variables(variables, "momentum")
        paths = [variable.path for variable in variables]
        self.factors = [self.factor(path) for path in paths]
        undecayed = {_only(excluded, paths) for excluded in self.undecayed_paths}
        undecayed |= {path for path in paths for pattern in self.undecayed_names if re.search(pattern, path)}
        self.decays = [0.0 if path in undecayed else self.weight_decay or 0.0 for path in paths]

    def _apply_weight_decay(self, variables: Any) -> None:
        """Nothing: Keras would decay outside of the momentum, `update_step` does inside."""

    def _clip_gradients(self, grads: list[Any]) -> list[Any]:
        """The replica's share of the gradients, scaled by what the norm of their sum over the replicas asks for."""
        if self.global_clipnorm is None:
            return grads
        norm = ops.sqrt(sum(ops.sum(ops.square(gradient)) for gradient in sum_over_replicas(list(grads))))
        factor = self.global_clipnorm / ops.maximum(norm, self.global_clipnorm)
        return [gradient * ops.cast(factor, gradient.dtype) for gradient in grads]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        index = self._get_variable_index(variable)
        rate = ops.cast(learning_rate, variable.dtype) * self.factors[index]
        gradient = ops.cast(gradient, variable.dtype) + self.decays[index] * ops.convert_to_tensor(variable)
        buffer = self.momentums[index]
        updated = self.momentum * ops.convert_to_tensor(buffer) + gradient
        self.assign(buffer, updated)
        self.assign_sub(variable, rate * updated)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "multipliers": self.multipliers,
            "undecayed_paths": self.undecayed_paths,
            "undecayed_names": self.undecayed_names,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "SGD":
        config = dict(config)
        paths, names = config.pop("undecayed_paths", ()), config.pop("undecayed_names", ())
        optimizer = super().from_config(config, custom_objects=custom_objects)
        optimizer.exclude_from_weight_decay(var_names=names)
        optimizer.undecayed_paths = tuple(paths)
        return optimizer


def _only(path: str, paths: list[str]) -> str | None:
    """The path of the same weight, None where it is not trained; Keras may leave the model's name out after loading."""
    same = [other for other in paths if other == path] or [
        other for other in paths if other.endswith(f"/{path}") or path.endswith(f"/{other}")
    ]
    if len(same) > 1:
        raise ValueError(
            f"exclude_from_weight_decay: {path} may be any of the weights {listed(same)}; name layers differently"
        )
    return same[0] if same else None


def _check_regex(what: str, pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{what}: {pattern!r} is not a regular expression: {error}") from error


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
    """The poly policy: learning_rate * (1 - step / total_steps) ** power.

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
class LossScaleOptimizer(keras.optimizers.LossScaleOptimizer):
    """Keras' dynamic loss scaling, with a gradient that overflows on one replica seen by all.

    Keras' own asks the first replica alone whether its share of the gradient is finite: an overflow on another one
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
        """Whether the gradients are finite on all replicas."""
        return sum_over_replicas(ops.cast(ops.logical_not(super().check_finite(grads)), "int32")) == 0


def __dir__() -> list[str]:
    return sorted(__all__)
