"""A backbone taken apart into blocks, between which everything passes through one tensor."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import keras

from keras_cacnet.layers.recompute import Recomputed


class Block(keras.layers.Layer):
    """A part of a functional model, with the layers and weights of that model.

    Args:
        nodes: the calls of layers that it consists of, in order.
        start: the symbolic tensor that it begins with.
        end: that which it ends with.
        levels: the symbolic tensors in it that are feature levels, by name.
    """

    def __init__(self, nodes: list[Any], start: Any, end: Any, levels: dict[str, Any]) -> None:
        super().__init__(autocast=False)
        self.nodes = nodes
        self.parts = [node.operation for node in nodes if isinstance(node.operation, keras.layers.Layer)]
        self.start, self.end = start, end
        self.levels = levels

    def call(self, x: Any, training: bool = False) -> list[Any]:
        """What it ends with, and the levels that are not that, in order."""
        values = computed(self.nodes, {id(self.start): x}, training)
        return [values[id(tensor)] for tensor in (self.end, *self.levels.values())]


def computed(nodes: Iterable[Any], values: Mapping[int, Any], training: bool) -> dict[int, Any]:
    """Call what the nodes of a functional model call.

    Args:
        nodes: in order; each has an operation, its arguments and its symbolic outputs.
        values: of the symbolic tensors that the nodes begin with, by the tensors' id.
        training: whether batch norms and dropouts train.

    Returns:
        The values of all tensors, by the tensors' id.
    """
    found = dict(values)
    for node in nodes:
        args, kwargs = node.arguments.fill_in(found)
        if "training" in kwargs:  # as it was when the graph was built
            kwargs["training"] = training
        outputs = keras.tree.flatten(node.operation(*args, **kwargs))
        found.update(zip(map(id, node.outputs), outputs, strict=True))
    return found


def blocks(backbone: keras.Model, names: Collection[str]) -> list[Block]:
    """Take a backbone apart where all that it has computed so far is in one tensor, from which several ways go on.

    In a ResNet that is where its residual blocks begin.

    Args:
        backbone: a functional model from an image to levels by name.
        names: of the levels that are needed.

    Returns:
        The blocks in order; the last ends with the last level.

    Example:
        >>> from keras_cacnet.models.backbones import backbone
        >>> [list(block.levels) for block in blocks(backbone("resnet14_narrow"), ("P4", "P5"))]
        [[], [], [], ['P4'], ['P5']]
    """
    by_depth = backbone._nodes_by_depth
    nodes = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth] if not node.is_input]
    levels = {id(backbone.output[name]): name for name in names}
    consumers = Counter(id(tensor) for node in nodes for tensor in {id(x): x for x in node.input_tensors}.values())
    found, part, start = [], [], backbone.input
    # Whatever is computed and not consumed everywhere yet.
    left = Counter({id(start): consumers[id(start)]})
    for node in nodes:
        part.append(node)
        left.subtract({id(tensor) for tensor in node.input_tensors})
        left.update({id(tensor): consumers[id(tensor)] for tensor in node.outputs})
        alive = [key for key, count in left.items() if count > 0]
        end = node.outputs[0]
        if node is nodes[-1] or (alive == [id(end)] and (consumers[id(end)] > 1 or id(end) in levels)):
            inside = {levels[id(x)]: x for one in part for x in one.outputs if id(x) in levels}
            found.append(Block(part, start, end, inside))
            part, start = [], end
    return found


def recomputed_levels(backbone: keras.Model, images: Any, names: Collection[str]) -> dict[str, Any]:
    """Compute levels of a backbone in training, and keep only what its blocks begin with for the backward pass.

    Args:
        backbone: as for `blocks`.
        images: what it takes.
        names: of the levels.

    Returns:
        The levels by name.
    """
    found: dict[str, Any] = {}
    x = images
    for block in blocks(backbone, names):
        x, *levels = keras.tree.flatten(Recomputed(block)(x))
        found.update(zip(block.levels, levels, strict=True))
    return found
