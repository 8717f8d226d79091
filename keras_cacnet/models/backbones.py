"""The backbones that `CaCNet` takes by name.

Their architecture is keras-cv's ResNet v1 (bottleneck blocks that stride on the first 1x1 convolution, "same"
padding), built from its explicit configuration, so that nothing is downloaded. keras-cv is imported here
alone, and only when a backbone is built.
"""

from __future__ import annotations

import difflib
from typing import Any, NamedTuple

import keras

from keras_cacnet.models.dilation import rebuild

# ImageNet's channel means and standard deviations on RGB in 0..1, as torchvision and KerasHub use them.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Architecture(NamedTuple):
    """What tells one of the ResNets from another."""

    block_type: str
    blocks: tuple[int, ...]
    filters: tuple[int, ...] = (64, 128, 256, 512)


ARCHITECTURES = {
    "resnet18": Architecture("basic_block", (2, 2, 2, 2)),
    "resnet34": Architecture("basic_block", (3, 4, 6, 3)),
    "resnet50": Architecture("block", (3, 4, 6, 3)),
    "resnet101": Architecture("block", (3, 4, 23, 3)),
    "resnet152": Architecture("block", (3, 8, 36, 3)),
    # Ours, in no paper: one bottleneck block a stage at half the width, for CPUs and tests.
    "resnet14_narrow": Architecture("block", (1, 1, 1, 1), (32, 64, 128, 256)),
}


def backbone(
    name: str, weights: Any = None, output_stride: int = 8, synchronized: bool = False
) -> keras.Model:
    """Build a ResNet backbone by name, dilated, with its input normalisation inside."""
    architecture = _architecture(name)
    if weights is not None:
        raise ValueError(f"weights={weights!r} is not known; the only choice is None.")
    return rebuild(
        _keras_cv_network(architecture), output_stride, synchronized, "backbone", imagenet_normalization()
    )


def imagenet_normalization() -> keras.layers.Rescaling:
    """RGB 0..255 to zero mean and unit deviation on ImageNet."""
    return keras.layers.Rescaling(
        scale=[1 / (255 * deviation) for deviation in IMAGENET_STD],
        offset=[-mean / deviation for mean, deviation in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)],
        name="normalization",
    )


def _architecture(name: str) -> Architecture:
    if name not in ARCHITECTURES:
        near = difflib.get_close_matches(str(name).lower(), ARCHITECTURES, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"There is no backbone {name!r}.{hint} The names are {', '.join(ARCHITECTURES)}.")
    return ARCHITECTURES[name]


def _keras_cv_network(architecture: Architecture) -> keras.Model:
    import keras_cv

    return keras_cv.models.ResNetBackbone(
        stackwise_filters=list(architecture.filters),
        stackwise_blocks=list(architecture.blocks),
        stackwise_strides=[1, 2, 2, 2],
        include_rescaling=False,
        block_type=architecture.block_type,
        name="backbone",
    )
