"""The networks of keras-cv and KerasHub, by name: the only module that imports these two libraries.

Both build the same ResNets with the same weights, but keras-cv's bottleneck blocks stride on their first 1x1
convolution and pad "same", KerasHub's stride on the 3x3 convolution and pad explicitly. So weights trained in
one graph are silently wrong in the other, and a network has to be built by the library of its weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import keras

KERAS_CV = "keras_cv"
KERAS_HUB = "keras_hub"

_HUB_BLOCKS = {"basic_block": "basic_block", "block": "bottleneck_block"}
_STRIDES = [1, 2, 2, 2]
_LITE_REPEATS = (1, 2, 2, 3, 3, 4, 1)


class ResNet(NamedTuple):
    """What tells one ResNet v1 from another, in keras-cv's words."""

    block_type: str
    blocks: tuple[int, ...]
    filters: tuple[int, ...] = (64, 128, 256, 512)


class EfficientNetLite(NamedTuple):
    """What tells one EfficientNet-Lite from another: factors of its channels and of its blocks a stage."""

    width: float
    depth: float

    def block_names(self) -> list[str]:
        """List what keras-cv's layers begin with, block by block: the first and the last stage are never deepened."""
        stages = list(enumerate(_LITE_REPEATS, start=1))
        repeats = [n if stage in (1, 7) else math.ceil(n * self.depth) for stage, n in stages]
        return [f"block{stage}{'abcdef'[i]}_" for (stage, _), n in zip(stages, repeats, strict=True) for i in range(n)]


ARCHITECTURES: dict[str, ResNet | EfficientNetLite] = {
    "resnet18": ResNet("basic_block", (2, 2, 2, 2)),
    "resnet34": ResNet("basic_block", (3, 4, 6, 3)),
    "resnet50": ResNet("block", (3, 4, 6, 3)),
    "resnet101": ResNet("block", (3, 4, 23, 3)),
    "resnet152": ResNet("block", (3, 8, 36, 3)),
    # Ours, in no paper: one bottleneck block a stage at half the width, 2.0M parameters, for CPUs and tests.
    "resnet14_narrow": ResNet("block", (1, 1, 1, 1), (32, 64, 128, 256)),
    "efficientnet_lite0": EfficientNetLite(1.0, 1.0),
    "efficientnet_lite1": EfficientNetLite(1.0, 1.1),
    "efficientnet_lite2": EfficientNetLite(1.1, 1.2),
}

# keras-cv's own preset where it has one. The others are KerasHub's; nobody has ResNet-34 (v1).
IMAGENET_PRESETS = {
    "resnet18": (KERAS_HUB, "resnet_18_imagenet"),
    "resnet50": (KERAS_CV, "resnet50_imagenet"),
    "resnet101": (KERAS_HUB, "resnet_101_imagenet"),
    "resnet152": (KERAS_HUB, "resnet_152_imagenet"),
}


def network(library: str, architecture: ResNet | EfficientNetLite) -> keras.Model:
    """Build a network with random weights, without its input's normalisation, for any image size.

    Args:
        library: `KERAS_CV` or `KERAS_HUB`: whose graph; EfficientNet-Lites are only in keras-cv.
        architecture: which network.

    Returns:
        The library's own `ResNetBackbone`, or a model of the levels of its `EfficientNetLiteBackbone`.

    Raises:
        ImportError: the library is not installed.

    Example:
        >>> network(KERAS_CV, ARCHITECTURES["resnet14_narrow"]).count_params()
        2030784
    """
    if isinstance(architecture, EfficientNetLite):
        return _efficientnet_lite(architecture)
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


def _efficientnet_lite(architecture: EfficientNetLite) -> keras.Model:
    import keras_cv

    lite = keras_cv.models.EfficientNetLiteBackbone(
        width_coefficient=architecture.width,
        depth_coefficient=architecture.depth,
        stackwise_kernel_sizes=[3, 3, 5, 3, 5, 5, 3],
        stackwise_num_repeats=list(_LITE_REPEATS),
        stackwise_input_filters=[32, 16, 24, 40, 80, 112, 192],
        stackwise_output_filters=[16, 24, 40, 80, 112, 192, 320],
        stackwise_expansion_ratios=[1, 6, 6, 6, 6, 6, 6],
        stackwise_strides=[1, 2, 2, 2, 1, 2, 1],
        include_rescaling=False,
        # Of the original's training alone; the random state of a backbone's dropout would have to be saved.
        drop_connect_rate=0.0,
    )
    levels = {level: lite.get_layer(lite.pyramid_level_inputs[level]).output for level in ("P2", "P3", "P4")}
    # keras-cv's P5 is the 1x1 convolution to 1280 channels, which belongs to the classifier.
    return keras.Model(lite.input, {**levels, "P5": lite.get_layer("block7a_project_bn").output}, name="backbone")


def identify(serialized: Mapping[str, Any]) -> tuple[str, ResNet | None]:
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
    return library, ResNet(block_type, tuple(config[f"{prefix}blocks"]), tuple(config[f"{prefix}filters"]))


def preset_handle(library: str, preset: str) -> str:
    """Tell where the library itself would download a preset from, as its own table says.

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
