"""The ResNets of keras-cv and KerasHub, by depth: the only module that imports these two libraries.

Both build the same layers with the same weights, but keras-cv's bottleneck blocks stride on their first 1x1
convolution and pad "same", KerasHub's stride on the 3x3 convolution and pad explicitly. So weights trained in
one graph are silently wrong in the other, and a network has to be built by the library of its weights.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, NamedTuple

import keras

KERAS_CV = "keras_cv"
KERAS_HUB = "keras_hub"

_HUB_BLOCKS = {"basic_block": "basic_block", "block": "bottleneck_block"}
_STRIDES = [1, 2, 2, 2]


class Architecture(NamedTuple):
    """What tells one ResNet v1 from another, in keras-cv's words."""

    block_type: str
    blocks: tuple[int, ...]
    filters: tuple[int, ...] = (64, 128, 256, 512)


ARCHITECTURES = {
    "resnet18": Architecture("basic_block", (2, 2, 2, 2)),
    "resnet34": Architecture("basic_block", (3, 4, 6, 3)),
    "resnet50": Architecture("block", (3, 4, 6, 3)),
    "resnet101": Architecture("block", (3, 4, 23, 3)),
    "resnet152": Architecture("block", (3, 8, 36, 3)),
    # Ours, in no paper: one bottleneck block a stage at half the width, 2.0M parameters, for CPUs and tests.
    "resnet14_narrow": Architecture("block", (1, 1, 1, 1), (32, 64, 128, 256)),
}

# keras-cv's own preset where it has one. The others are KerasHub's; nobody has ResNet-34 (v1).
IMAGENET_PRESETS = {
    "resnet18": (KERAS_HUB, "resnet_18_imagenet"),
    "resnet50": (KERAS_CV, "resnet50_imagenet"),
    "resnet101": (KERAS_HUB, "resnet_101_imagenet"),
    "resnet152": (KERAS_HUB, "resnet_152_imagenet"),
}


def architecture(name: str) -> Architecture:
    """Look an architecture up by name.

    Args:
        name: one of `ARCHITECTURES`.

    Returns:
        Its `Architecture`.

    Raises:
        ValueError: an unknown name; the message has the known ones and the nearest.

    Example:
        >>> architecture("resnet101").blocks
        (3, 4, 23, 3)
    """
    if name not in ARCHITECTURES:
        near = difflib.get_close_matches(str(name).lower(), ARCHITECTURES, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"There is no backbone {name!r}.{hint} The names are {', '.join(ARCHITECTURES)}.")
    return ARCHITECTURES[name]


def network(library: str, architecture: Architecture) -> keras.Model:
    """Build a ResNet with random weights, without its input's normalisation, for any image size.

    Args:
        library: `KERAS_CV` or `KERAS_HUB`: whose graph.
        architecture: which ResNet.

    Returns:
        The library's own `ResNetBackbone`.

    Raises:
        ImportError: the library is not installed.

    Example:
        >>> network(KERAS_CV, architecture("resnet14_narrow")).count_params()
        2030784
    """
    resnet = _backbone_class(library)
    if library == KERAS_CV:
        return resnet(
            stackwise_filters=list(architecture.filters),
            stackwise_blocks=list(architecture.blocks),
            stackwise_strides=_STRIDES,
            include_rescaling=False,
            block_type=architecture.block_type,
            name="backbone",
        )
    return resnet(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=list(architecture.filters),
        stackwise_num_blocks=list(architecture.blocks),
        stackwise_num_strides=_STRIDES,
        block_type=_HUB_BLOCKS[architecture.block_type],
        name="backbone",
    )


def identify(serialized: Mapping[str, Any]) -> tuple[str, Architecture | None]:
    """Tell from a preset's config.json whose network it is, and which.

    Args:
        serialized: the parsed config.json: a serialised Keras object.

    Returns:
        The library ("" where it is neither), and the architecture: None where it is no plain ResNet v1.

    Example:
        >>> identify({"registered_name": "keras_hub>BertBackbone", "class_name": "Bert", "config": {}})
        ('keras_hub', None)
    """
    package = str(serialized.get("registered_name") or serialized.get("module") or "")
    library = package.split(">")[0].split(".")[0]
    config = serialized.get("config")
    if library not in (KERAS_CV, KERAS_HUB) or not isinstance(config, Mapping):
        return "", None
    if serialized.get("class_name") != "ResNetBackbone":
        return library, None
    prefix = "stackwise_" if library == KERAS_CV else "stackwise_num_"
    plain = (
        config.get(f"{prefix}strides") == _STRIDES
        and config.get("input_conv_filters", [64]) == [64]
        and config.get("input_conv_kernel_sizes", [7]) == [7]
        and not config.get("use_pre_activation", False)
    )
    block_types = {"basic_block": "basic_block", "block": "block", "bottleneck_block": "block"}
    block_type = block_types.get(config.get("block_type", "block"))
    if not plain or block_type is None:
        return library, None
    return library, Architecture(block_type, tuple(config[f"{prefix}blocks"]), tuple(config[f"{prefix}filters"]))


def preset_handle(library: str, preset: str) -> str:
    """Where the library itself would download a preset from, as its own table says.

    Args:
        library: `KERAS_CV` or `KERAS_HUB`.
        preset: the preset's name there.

    Returns:
        The Kaggle handle, "owner/model/framework/variation/version".

    Raises:
        ImportError: the library is not installed.

    Example:
        >>> preset_handle(KERAS_CV, "resnet50_imagenet")
        'keras/resnetv1/keras/resnet50_imagenet/2'
    """
    return _backbone_class(library).presets[preset]["kaggle_handle"].removeprefix("kaggle://")


def from_preset(library: str, preset: str) -> keras.Model:
    """Download a preset, or take it from the library's cache.

    Args:
        library: `KERAS_CV` or `KERAS_HUB`.
        preset: the preset's name there.

    Returns:
        The library's network with its weights.

    Raises:
        Exception: whatever the library raises where it cannot download.
    """
    return _backbone_class(library).from_preset(preset)


def load_library(library: str) -> None:
    """Import a library, so that Keras can load what it saved.

    Args:
        library: `KERAS_CV` or `KERAS_HUB`.

    Raises:
        ImportError: it is not installed; the message says how to get it.
    """
    _backbone_class(library)


def _backbone_class(library: str) -> Any:
    if library == KERAS_CV:
        import keras_cv

        return keras_cv.models.ResNetBackbone
    try:
        import keras_hub
    except ImportError as cause:
        raise ImportError(
            "These weights are KerasHub's and need its graph: pip install 'keras-cacnet[hub]' (or keras-hub)."
        ) from cause
    return keras_hub.models.ResNetBackbone
