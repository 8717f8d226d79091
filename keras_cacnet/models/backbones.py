"""The backbones that `CaCNet` takes by name: a ResNet, dilated, with its input normalisation inside."""

from __future__ import annotations

import os

import keras

from keras_cacnet.layers.normalization import ImageNormalization
from keras_cacnet.models.dilation import check_output_stride, rebuild
from keras_cacnet.models.pretrained import IMAGENET_NORMALIZATION, UNIT_NORMALIZATION, read_weights
from keras_cacnet.models.resnets import KERAS_CV, architecture, network
from keras_cacnet.models.transfer import assign_weights

# ImageNet's channel means and standard deviations for RGB in 0..1, as torchvision and KerasHub use them.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def backbone(
    name: str,
    weights: str | os.PathLike[str] | None = None,
    output_stride: int = 8,
    synchronized: bool = False,
) -> keras.Model:
    """Build a ResNet v1 by name, dilated, with the normalisation of its input as its first layer.

    The graph is keras-cv's (the stride of a bottleneck block stands on its first 1x1 convolution), or
    KerasHub's where the weights are KerasHub's. The normalisation follows the weights: x/255 for keras-cv's
    preset, ImageNet's mean and deviation for KerasHub's and for a network without weights.

    Args:
        name: "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", or "resnet14_narrow", which is
            ours: one bottleneck block a stage at half the width, 2.0M parameters, for CPUs and tests.
        weights: None for random weights; "imagenet" for keras-cv's preset where it has one (resnet50), else
            KerasHub's (resnet18, resnet101, resnet152; there is none for resnet34); or a path:
            a preset folder as Kaggle delivers it (config.json and model.weights.h5, of keras-cv or
            KerasHub) or the .h5 in it, a .weights.h5 that such a backbone saved, or a .keras model (a
            backbone, or a CaCNet, whose backbone is taken).
        output_stride: pixels between neighbouring positions of P5: 8 (the paper), 16 or 32.
        synchronized: whether batch norms average their statistics over all replicas.

    Shapes:
        - input: (B, H, W, 3), RGB in 0..255; any B, H, W.
        - output: a dict, "P2" (stride 4), "P3" (8), "P4" and "P5" (`output_stride` at most).

    Returns:
        A plain functional `keras.Model` called "backbone", of plain Keras layers: a saved model loads
        without keras-cv.

    Raises:
        ValueError: an unknown name (with the nearest), an output stride that is none of 8, 16 and 32, no
            ImageNet weights for this depth, or a file that does not fit (with the layers and their shapes).
        FileNotFoundError: no such file, or the preset cannot be downloaded; says what to fetch by hand.
        ImportError: KerasHub's weights without KerasHub.

    Example:
        >>> from keras_cacnet.models.backbones import backbone
        >>> features = backbone("resnet14_narrow")(keras.ops.zeros((1, 64, 96, 3)))
        >>> {level: tuple(x.shape) for level, x in features.items()}
        {'P2': (1, 16, 24, 128), 'P3': (1, 8, 12, 256), 'P4': (1, 8, 12, 512), 'P5': (1, 8, 12, 1024)}

    Reference:
        The paper's section 4.1. The plain 7x7 stem is ours: the paper does not say.
    """
    wanted = architecture(name)
    check_output_stride(output_stride)
    if weights is None:
        resnet, normalization = network(KERAS_CV, wanted), IMAGENET_NORMALIZATION
    else:
        pretrained = read_weights(weights, name)
        resnet, normalization = network(pretrained.library, wanted), pretrained.normalization
        assign_weights(resnet, pretrained, name)
    return rebuild(resnet, output_stride, synchronized, "backbone", _normalization_layer(normalization))


def _normalization_layer(name: str) -> keras.layers.Layer:
    """The layer tells by its name what it does, since a weights file keeps the name but not the factors."""
    # Half precision would round the images before the first convolution sees them.
    dtype = None if keras.config.dtype_policy().compute_dtype == "float64" else "float32"
    if name == UNIT_NORMALIZATION:
        return ImageNormalization(mean=(0, 0, 0), std=(1, 1, 1), name=name, dtype=dtype)
    return ImageNormalization(IMAGENET_MEAN, IMAGENET_STD, name=name, dtype=dtype)
