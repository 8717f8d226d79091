"""KerasHub's segmentation networks as they are, with random weights: for comparisons of time and memory.

DeepLabV3+ has ResNet-50 at output stride 32, which KerasHub does not dilate, and its decoder at stride 4, after the
example of `DeepLabV3Backbone`; SegFormer has MiT-B0 at strides 4 to 32, after that of `SegFormerBackbone`. Both take
images of one size here, since SegFormer takes no others.
"""

from collections.abc import Callable
from typing import Any

import keras
import keras_hub
import numpy as np


def deeplab_v3_plus(size: int, classes: int) -> keras.Model:
    models = keras_hub.models
    encoder = models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 128, 256, 512],
        stackwise_num_blocks=[3, 4, 6, 3],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="bottleneck_block",
        image_shape=(size, size, 3),
    )
    backbone = models.DeepLabV3Backbone(
        image_encoder=encoder,
        projection_filters=48,
        low_level_feature_key="P2",
        spatial_pyramid_pooling_key="P5",
        upsampling_size=8,
        dilation_rates=[6, 12, 18],
        image_shape=(size, size, 3),
    )
    return models.DeepLabV3ImageSegmenter(backbone, num_classes=classes)


def segformer(size: int, classes: int) -> keras.Model:
    models = keras_hub.models
    encoder = models.MiTBackbone(
        image_shape=(size, size, 3),
        num_layers=4,
        hidden_dims=[32, 64, 160, 256],
        layerwise_depths=[2, 2, 2, 2],
        layerwise_num_heads=[1, 2, 5, 8],
        layerwise_sr_ratios=[8, 4, 2, 1],
        layerwise_patch_sizes=[7, 3, 3, 3],
        layerwise_strides=[4, 2, 2, 2],
        max_drop_path_rate=0.1,
    )
    backbone = models.SegFormerBackbone(image_encoder=encoder, projection_filters=256)
    return models.SegFormerImageSegmenter(backbone, num_classes=classes)


NETWORKS = {"deeplab_v3_plus": deeplab_v3_plus, "segformer": segformer}


def predict(network: str, size: int, batch: int, classes: int) -> tuple[Callable[[], Any], int]:
    """Class ids of a batch; its images are not normalised, which would cost next to nothing."""
    model = NETWORKS[network](size, classes)
    images = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3)).astype("uint8")

    def run() -> Any:
        return keras.ops.convert_to_numpy(keras.ops.argmax(model.predict_on_batch(images), axis=-1))

    return run, model.count_params()


def train(network: str, size: int, batch: int, classes: int) -> tuple[Callable[[], Any], int]:
    """One step of stochastic gradient descent."""
    model = NETWORKS[network](size, classes)
    optimizer = keras.optimizers.SGD(1e-3, momentum=0.9, weight_decay=1e-4)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=[])
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, size, size, 3)).astype("uint8")
    masks = rng.integers(0, classes, (batch, size, size)).astype("uint8")
    return lambda: model.train_on_batch(images, masks), model.count_params()
