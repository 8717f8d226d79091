"""Put weights into a network, layer by layer, or say exactly why they do not fit.

Every layer is matched by its name and every shape compared. Keras' own `load_weights` goes by the order of
the layers, and takes KerasHub's ResNet-101 for keras-cv's without a word, though the graphs differ.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import keras
import numpy as np

from keras_cacnet.models.architectures import ARCHITECTURES, ResNet
from keras_cacnet.wording import listed

Arrays = dict[str, list[np.ndarray]]

_BLOCK = re.compile(r"(v2_)?stack_?(\d)_block(\d+)_1_conv")


class Pretrained(NamedTuple):
    """Weights by layer name, with what has to go with them."""

    library: str  # whose graph they were trained in
    normalization: str  # what they expect at the input
    arrays: Arrays
    origin: str  # the file or preset, for messages


def arrays_of(model: keras.Model) -> Arrays:
    """List the weights of a model by layer name.

    Args:
        model: a flat model; the layers of models inside it are not looked at.

    Returns:
        Layer name -> its arrays, in the order of `layer.get_weights()`.

    Example:
        >>> arrays_of(keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="dense")]))["dense"][1]
        array([0., 0., 0.], dtype=float32)
    """
    return {layer.name: layer.get_weights() for layer in model.layers if layer.weights}


def assign_weights(resnet: keras.Model, pretrained: Pretrained, name: str) -> None:
    """Put weights into a network, all of them or none.

    Args:
        resnet: the network; its layers are matched by name.
        pretrained: the weights.
        name: the backbone's name, for messages.

    Raises:
        ValueError: a layer is missing on either side, has another shape, or holds values that are not
            finite; the message names the file, the layers and both shapes.
    """
    wanted = {layer.name: [tuple(v.shape) for v in layer.weights] for layer in resnet.layers if layer.weights}
    given = {layer: [array.shape for array in arrays] for layer, arrays in pretrained.arrays.items()}
    problems = []
    for layer in [*wanted, *sorted(given.keys() - wanted)]:
        ours, theirs = wanted.get(layer), given.get(layer)
        if ours != theirs:
            problems.append(f"layer {layer}: the network has {_shapes(ours)}, the file {_shapes(theirs)}")
    if problems:
        guess = _resembles(pretrained.arrays)
        hint = f" The file looks like {guess}." if guess and guess != name else ""
        raise ValueError(f"{pretrained.origin} does not fit {name}: {listed(problems, 3, '; ')}.{hint}")
    for layer, arrays in pretrained.arrays.items():
        if not all(np.isfinite(array).all() for array in arrays):
            raise ValueError(f"{pretrained.origin}: layer {layer} holds values that are not finite.")
    for layer, arrays in pretrained.arrays.items():
        resnet.get_layer(layer).set_weights(arrays)


def _shapes(shapes: list[tuple[int, ...]] | None) -> str:
    return "no such layer" if shapes is None else ", ".join(str(shape) for shape in shapes)


def _resembles(arrays: Arrays) -> str | None:
    """The name of the architecture whose blocks these layers count up to."""
    blocks = [0, 0, 0, 0]
    for layer in arrays:
        if match := _BLOCK.fullmatch(layer):
            blocks[int(match[2]) % 4] += 1
    block_type = "block" if any(layer.endswith("block1_3_conv") for layer in arrays) else "basic_block"
    for name, candidate in ARCHITECTURES.items():
        if isinstance(candidate, ResNet) and (candidate.block_type, candidate.blocks) == (block_type, tuple(blocks)):
            return name
    return None
