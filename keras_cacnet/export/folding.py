"""Batch norms folded into the convolutions before them: the same function in fewer passes over the features."""

from collections import Counter
from typing import Any, NamedTuple

import keras
import numpy as np
from keras.src.models.functional import Functional

from keras_cacnet.models.blocks import computed
from keras_cacnet.models.network import SegmentationNetwork

# Models of another class may compute something else than their graph says.
_AS_DRAWN = (Functional.call, SegmentationNetwork.call)


def folded(model: keras.Model) -> keras.Model:
    """Fold batch norms that follow a convolution into its kernel and bias, for inference.

    Where a batch norm is the only reader of a convolution that has no activation, in the graph of a functional model or
    of one inside it, both become one convolution. With factor = gamma / sqrt(variance + epsilon), its kernel is the
    kernel times the factor of the output channel, and its bias beta + (bias - mean) factor, worked out in float64.
    Convolutions that compute in another type than their weights have are left.

    Args:
        model: it is not changed.

    Returns:
        A model that gives the same to rounding in inference, and does not train; `model` itself where nothing can be
        folded. It uses the other layers of `model` with their weights.

    Example:
        >>> layers = [keras.layers.Conv2D(4, 3, use_bias=False), keras.layers.BatchNormalization()]
        >>> image = keras.Input((None, None, 3))
        >>> model = keras.Model(image, layers[1](layers[0](image)))
        >>> type(folded(model)).__name__, folded(layers[0]) is layers[0]
        ('Folded', True)
    """
    if getattr(type(model), "call", None) not in _AS_DRAWN or not isinstance(model.input, keras.KerasTensor):
        return model
    steps, count = _steps(model)
    return Folded(model, steps) if count else model


class Folded(keras.Model):
    """A functional model in other steps than those of its graph.

    Args:
        model: the functional model, of one input.
        steps: what `blocks.computed` calls, in order.
    """

    def __init__(self, model: keras.Model, steps: list["_Step"]) -> None:
        super().__init__(name=model.name, autocast=False)
        # Not the model itself: its batch norms would count as layers of this one.
        self._input, self._outputs = model.input, model.output
        self._steps = steps

    def call(self, inputs: Any, training: bool = False, mask: Any = None) -> Any:
        if training:
            raise ValueError(f"model {self.name!r} has its batch norms folded into convolutions and cannot be trained")
        values = computed(self._steps, {id(self._input): inputs}, training=False)
        return keras.tree.map_structure(lambda tensor: values[id(tensor)], self._outputs)


class _Step(NamedTuple):
    """What `computed` reads of a node."""

    operation: Any
    arguments: Any
    outputs: list[Any]


def _steps(model: keras.Model) -> tuple[list[_Step], int]:
    """What to call in the place of a model's nodes, and how many of the steps are folded."""
    by_depth = model._nodes_by_depth
    nodes = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth] if not node.is_input]
    readers = Counter(id(tensor) for node in nodes for tensor in node.input_tensors)
    readers.update(map(id, model.outputs))
    makers = {id(tensor): node for node in nodes for tensor in node.outputs}
    steps: dict[int, _Step] = {}
    count = 0
    for node in nodes:
        operation, arguments = node.operation, node.arguments
        before = makers.get(id(node.input_tensors[0]))
        if before and readers[id(node.input_tensors[0])] == 1 and _can_fold(before.operation, operation):
            del steps[id(before)]
            operation, arguments = _convolution(before.operation, operation), before.arguments
        else:
            operation = folded(operation)
        count += operation is not node.operation
        steps[id(node)] = _Step(operation, arguments, node.outputs)
    return list(steps.values()), count


def _can_fold(convolution: Any, norm: Any) -> bool:
    return (
        type(convolution) in (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
        and type(norm) is keras.layers.BatchNormalization
        and convolution.activation is keras.activations.linear
        and convolution.data_format == "channels_last"
        and norm.axis in (-1, 3)
        and len({layer.compute_dtype for layer in (convolution, norm)} | {convolution.variable_dtype}) == 1
    )


def _convolution(convolution: Any, norm: Any) -> Any:
    """A copy of a convolution that gives what the batch norm makes of it."""
    weights = [convolution.kernel, convolution.bias, norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance]
    absent = (None, 0, 1, 0, None, None)
    kernel, bias, gamma, beta, mean, variance = (
        np.asarray(other if weight is None else keras.ops.convert_to_numpy(weight), "float64")
        for weight, other in zip(weights, absent, strict=True)
    )
    factor = gamma / np.sqrt(variance + norm.epsilon)
    depthwise = isinstance(convolution, keras.layers.DepthwiseConv2D)
    copy = type(convolution).from_config({**convolution.get_config(), "use_bias": True})
    copy.build((None, None, None, kernel.shape[2] * (1 if depthwise else convolution.groups)))
    copy.set_weights(
        [kernel * (factor.reshape(kernel.shape[2:]) if depthwise else factor), beta + (bias - mean) * factor]
    )
    return copy
