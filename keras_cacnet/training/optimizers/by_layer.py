"""What the optimizers share: learning rates and weight decay by layer, and clipping over replicas."""

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
from keras import ops

from keras_cacnet.layers.replicas import sum_over_replicas
from keras_cacnet.wording import listed


class ByLayer(keras.optimizers.Optimizer):
    """A base before one of Keras' optimizers; the class of both has an `update_step` by `factors` and `decays`.

    Args:
        multipliers: (regex, factor) pairs; the first regex found in a weight's path gives its factor, 1 else.
        weight_decay: a number from 0 on, or None for 0.
        global_clipnorm: the greatest norm of the gradient of all weights together, over all replicas.
        **kwargs: what Keras' optimizer takes.
    """

    def __init__(
        self,
        *,
        multipliers: Sequence[tuple[str, float]],
        weight_decay: float | None,
        global_clipnorm: float | None,
        **kwargs: Any,
    ) -> None:
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
        super().__init__(weight_decay=weight_decay, global_clipnorm=global_clipnorm, **kwargs)
        self.multipliers = tuple((str(pattern), float(factor)) for pattern, factor in multipliers)
        for pattern, factor in self.multipliers:
            if not 0 <= factor < float("inf"):
                raise ValueError(f"the factor of {pattern!r} must be a number from 0 on, got {factor}")
            _check_regex("multipliers", pattern)
        self.exclude_from_weight_decay()

    def factor(self, path: str) -> float:
        """Give the learning-rate factor of the weight with this path."""
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
            >>> from keras_cacnet.training.optimizers import SGD
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
        if self.built:
            return
        strategy = getattr(self, "_distribution_strategy", None)
        for name in ("gradient_accumulation_steps", "ema_overwrite_frequency"):
            if getattr(self, name) and strategy is not None and strategy.num_replicas_in_sync > 1:
                raise ValueError(
                    f"{name}={getattr(self, name)} does not work on {strategy.num_replicas_in_sync} replicas, nor does "
                    "it in Keras: leave it out, or train on one device"
                )
        self._add_state(variables)
        paths = [variable.path for variable in variables]
        self.factors = [self.factor(path) for path in paths]
        undecayed = {_only(excluded, paths) for excluded in self.undecayed_paths}
        undecayed |= {path for path in paths for pattern in self.undecayed_names if re.search(pattern, path)}
        self.decays = [0.0 if path in undecayed else self.weight_decay or 0.0 for path in paths]

    def _add_state(self, variables: Any) -> None:
        super().build(variables)

    def _update_model_variables_moving_average(self, trainable_variables: Any) -> None:
        """Keras' rule, on every replica by itself: Keras' own cannot be run on several."""
        if not self.use_ema:
            return
        if keras.backend.backend() != "tensorflow":
            super()._update_model_variables_moving_average(trainable_variables)
            return
        import tensorflow as tf

        # The first step has the weights themselves.
        momentum = tf.where(self.iterations.value == 0, 0.0, self.ema_momentum)

        def update(average: Any, variable: Any) -> None:
            value = tf.convert_to_tensor(variable)
            with after(value):
                share = tf.cast(momentum, average.dtype)
                average.assign(share * average + (1 - share) * value)

        def on_all(strategy: Any, variables: Any, averages: Any) -> None:
            for variable, average in zip(variables, averages, strict=True):
                strategy.extended.update(average, update, args=(variable,), group=False)

        values = [variable.value for variable in trainable_variables]
        averages = [average.value for average in self._model_variables_moving_average]
        tf.__internal__.distribute.interim.maybe_merge_call(on_all, self._distribution_strategy, values, averages)

    def _apply_weight_decay(self, variables: Any) -> None:
        """Nothing: Keras would decay all weights at one rate, `update_step` does by layer."""

    def _clip_gradients(self, grads: list[Any]) -> list[Any]:
        """The replica's share of the gradients, scaled by what the norm of their sum over the replicas asks for."""
        if self.global_clipnorm is None:
            return grads
        norm = ops.sqrt(sum(ops.sum(ops.square(gradient)) for gradient in sum_over_replicas(list(grads))))
        factor = self.global_clipnorm / ops.maximum(norm, self.global_clipnorm)
        return [gradient * ops.cast(factor, gradient.dtype) for gradient in grads]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "multipliers": self.multipliers,
            "undecayed_paths": self.undecayed_paths,
            "undecayed_names": self.undecayed_names,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        config = dict(config)
        paths, names = config.pop("undecayed_paths", ()), config.pop("undecayed_names", ())
        optimizer = super().from_config(config, custom_objects=custom_objects)
        optimizer.exclude_from_weight_decay(var_names=names)
        optimizer.undecayed_paths = tuple(paths)
        return optimizer


def after(value: Any) -> AbstractContextManager[Any]:
    """Let what is computed in this scope wait for a value.

    What an update makes of a weight and its buffers alone, such as their decay, TensorFlow would compute for all
    weights when a step begins, and hold until their gradients come: as much again as the weights, at its peak.

    Example:
        >>> with after(ops.ones(3)):
        ...     decayed = 0.9 * ops.ones(3)
    """
    if keras.backend.backend() != "tensorflow":
        return nullcontext()
    import tensorflow as tf

    return tf.control_dependencies([value])


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
