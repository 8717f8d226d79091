"""The moving average of the weights: what is scored and saved, while the weights themselves are trained on."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

import keras

_AVERAGED: WeakSet[keras.Model] = WeakSet()
"""The networks whose averages are in the place of their weights."""


def swap_averages(model: keras.Model) -> None:
    """Let weights and their averages change places; a network whose optimizer has none stays as it is.

    The values are exchanged as they are: Keras' `SwapEMAWeights` adds and subtracts them, and what comes back differs
    in the last bits.

    Args:
        model: a compiled network, its optimizer with `use_ema`.

    Example:
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
        >>> model.compile(keras.optimizers.SGD(1.0, use_ema=True, ema_momentum=0.5), "mse")
        >>> _ = model.train_on_batch(keras.ops.ones((1, 1)), keras.ops.ones((1, 1)))
        >>> before = float(model.weights[0].value[0, 0])
        >>> with averaged(model):
        ...     pass
        >>> float(model.weights[0].value[0, 0]) == before
        True
    """
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if not getattr(optimizer, "use_ema", False):
        return
    strategy = model.distribute_strategy

    def swap(weight: Any, average: Any) -> None:
        former = weight.read_value()
        weight.assign(average)
        average.assign(former)

    for weight, average in zip(model.trainable_variables, optimizer._model_variables_moving_average, strict=True):
        strategy.extended.update(weight.value, swap, args=(average.value,))


@contextmanager
def averaged(model: keras.Model) -> Iterator[None]:
    """Have the averages in the place of the weights, for a while; within such a while they stay there."""
    if model in _AVERAGED:
        yield
        return
    swap_averages(model)
    _AVERAGED.add(model)
    try:
        yield
    finally:
        _AVERAGED.discard(model)
        swap_averages(model)
