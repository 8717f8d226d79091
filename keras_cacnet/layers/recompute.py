"""Activations computed a second time in the backward pass instead of being kept for it: less memory, more time."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops


class Recomputed(keras.layers.Layer):
    """Calls a part of a network in training, and keeps only its input for the backward pass.

    There the part is computed once more. What it updates, such as moving statistics, is updated once; what it draws,
    such as dropout, is the same both times. It belongs to no model: make it where it is called.

    Args:
        part: the layer that has the weights.
        function: what to compute with them, from one tensor to a tensor or a list of tensors; by default the layer's
            own call, in training.

    Shapes:
        - as `function`

    Example:
        >>> import numpy as np
        >>> norm = keras.layers.BatchNormalization(momentum=0.0, epsilon=0.0)
        >>> norm.build((None, 1))
        >>> Recomputed(norm)(np.array([[1.0], [3.0]], "float32")).numpy().tolist()
        [[-1.0], [1.0]]
        >>> float(norm.moving_mean[0])
        2.0

    Reference:
        Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016.
    """

    def __init__(self, part: keras.layers.Layer, function: Callable[[Any], Any] | None = None) -> None:
        # Without it the weights would be read as half precision casts them.
        super().__init__(autocast=False)
        self.part = part
        self.function = function or (lambda x: part(x, training=True))

    def call(self, x: Any) -> Any:
        trainable, state = self.part.trainable_variables, self.part.non_trainable_variables
        # Copies, as variables would be read again in the backward pass, after their updates.
        before = [ops.copy(variable) for variable in state]
        changed: list[int] = []

        def outputs_and_changes(x: Any, *weights: Any) -> list[Any]:
            given = [*zip(trainable, weights, strict=True), *zip(state, before, strict=True)]
            with keras.StatelessScope(given) as scope:
                outputs = keras.tree.flatten(self.function(x))
            after = [scope.get_current_value(variable) for variable in state]
            changed[:] = [i for i, value in enumerate(after) if value is not before[i]]
            return [*outputs, *(ops.stop_gradient(after[i]) for i in changed)]

        weights = [ops.copy(variable) for variable in trainable]
        found = keras.remat(outputs_and_changes)(x, *weights)
        count = len(found) - len(changed)
        for i, value in zip(changed, found[count:], strict=True):
            state[i].assign(value)
        return found[0] if count == 1 else found[:count]
