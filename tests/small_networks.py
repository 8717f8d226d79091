"""Networks that cost next to nothing, for tests under every backend: nothing here needs TensorFlow."""

from contextlib import contextmanager

import keras
import numpy as np
import pytest

import keras_cacnet as kc
from keras_cacnet.layers import ImageNormalization
from keras_cacnet.models.dilation import dilate


def small_backbone(seed=1, batch_norm=False, dtype=None):
    """Three convolutions with the levels P3, P4 and P5, and a batch norm behind each where one is asked for."""
    if seed is not None:
        keras.utils.set_random_seed(seed)
    image = x = keras.Input((None, None, 3))
    x = ImageNormalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), dtype=dtype)(x)
    levels = {}
    for level, channels, stride in (("p3", 8, 8), ("p4", 8, 2), ("p5", 16, 2)):
        x = keras.layers.Conv2D(channels, 3, strides=stride, padding="same", name=level, dtype=dtype)(x)
        if batch_norm:
            x = keras.layers.BatchNormalization(name=f"{level}_norm", dtype=dtype)(x)
        x = levels[level.upper()] = keras.layers.ReLU(name=f"{level}_relu", dtype=dtype)(x)
    return keras.Model(image, levels)


def small_network(num_classes=4, seed=1, **settings):
    """A CaCNet of 8 channels on `small_backbone`, with the batch-norm statistics of a trained one."""
    network = kc.CaCNet(num_classes, backbone=small_backbone(seed), **{"head_channels": 8, **settings})
    return random_statistics(network)


@contextmanager
def small_networks():
    """Let every backbone that is asked for by its name be a small one; what is written still has the name."""

    def small(name, weights, output_stride, synchronized):
        return dilate(small_backbone(seed=None), output_stride, synchronized)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("keras_cacnet.models.network.named_backbone", small)
        yield


def random_statistics(model, seed=0, smallest=0.5):
    """Draw the batch-norm statistics of a model anew, so that a forward pass shows them.

    Means lie within 0.5 of 0, variances between `smallest` and `smallest` + 1.
    """
    rng = np.random.default_rng(seed)
    for weight in model.non_trainable_variables:
        if weight.path.endswith(("moving_mean", "moving_variance")):
            low = smallest if weight.path.endswith("variance") else -0.5
            weight.assign(rng.uniform(low, low + 1, weight.shape))
    return model
