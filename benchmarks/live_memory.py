"""How much memory a traced step of training holds at once: the sizes of its tensors, and when they are last read."""

import math
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

# What gives its input under another name or shape.
_VIEWS = {"Identity", "IdentityN", "Reshape", "Squeeze", "ExpandDims", "StopGradient", "PreventGradient", "Snapshot"}
# What TensorFlow writes over an input that nobody reads any more.
_IN_PLACE = {
    *("Add", "AddV2", "AddN", "Sub", "Mul", "RealDiv", "Maximum", "Minimum", "SquaredDifference", "BiasAdd"),
    *("Neg", "Square", "Sqrt", "Rsqrt", "Relu", "Relu6", "Sigmoid", "Softmax", "LogSoftmax", "Exp", "Log"),
    *("ReluGrad", "Relu6Grad", "SigmoidGrad", "RsqrtGrad", "Select", "SelectV2"),
}
# What takes no memory of its own: variables lie where they are, and what is filled with one number is folded away.
_NOWHERE = {"ReadVariableOp", "Const", "VarHandleOp", "NoOp", "Shape", "ShapeN", "Fill"}


def traced(model: Any, batch: int, size: Sequence[int]) -> tf.Graph:
    """Trace a whole step of a compiled network: forward, losses, gradients, update."""

    def step(images: Any, masks: Any) -> Any:
        return model.train_step((images, masks))

    images = tf.TensorSpec((batch, *size, 3), tf.uint8)
    masks = tf.TensorSpec((batch, *size), tf.uint8)
    return tf.function(step, autograph=False).get_concrete_function(images, masks).graph


def live_bytes(graph: tf.Graph) -> int:
    """Run through the operations in the order of TensorFlow's executor, and find the most that is held at once.

    A tensor is held from the operation that makes it to the last one that reads it. Tensors of unknown shape count
    nothing: in a step of training they are scalars and shapes.
    """
    plan = []
    buffers: dict[str, str] = {}
    readers: Counter[str] = Counter()
    for operation in executed(graph):
        inputs = [buffers[tensor.name] for tensor in operation.inputs if tensor.name in buffers]
        if operation.type in _VIEWS:
            for before, after in zip(operation.inputs, operation.outputs, strict=False):
                if before.name in buffers:
                    buffers[after.name] = buffers[before.name]
            continue
        made = {}
        if operation.type not in _NOWHERE:
            made = {tensor.name: size for tensor in operation.outputs if (size := _bytes(tensor))}
        buffers.update({name: name for name in made})
        readers.update(inputs)
        plan.append((operation.type in _IN_PLACE, inputs, made))
    held: dict[str, int] = {}
    now = most = 0
    for in_place, inputs, made in plan:
        for name, size in made.items():
            over = next((old for old in inputs if in_place and readers[old] == 1 and held.get(old) == size), None)
            if over is not None:
                now -= held.pop(over)
            held[name] = size
            now += size
        most = max(most, now)
        readers.subtract(inputs)
        for name in {*inputs, *made}:
            if readers[name] <= 0 and name in held:
                now -= held.pop(name)
    return most


def executed(graph: tf.Graph) -> Iterator[Any]:
    """The operations of a graph in the order in which they become ready, as the executor begins them.

    What waits for nothing but weights is computed first, however late it is read.
    """
    waits: dict[str, int] = {}
    followers: dict[str, list[Any]] = defaultdict(list)
    for operation in graph.get_operations():
        before = {tensor.op.name for tensor in operation.inputs} | {other.name for other in operation.control_inputs}
        waits[operation.name] = len(before)
        for name in before:
            followers[name].append(operation)
    ready = deque(operation for operation in graph.get_operations() if not waits[operation.name])
    while ready:
        operation = ready.popleft()
        yield operation
        for follower in followers[operation.name]:
            waits[follower.name] -= 1
            if not waits[follower.name]:
                ready.append(follower)


def _bytes(tensor: Any) -> int:
    shape = tensor.shape.as_list() if tensor.shape.rank is not None else [None]
    if None in shape or tensor.dtype in (tf.resource, tf.variant, tf.string):
        return 0
    return int(math.prod(shape) * tensor.dtype.size)
