"""A backbone that costs next to nothing."""

import keras
import numpy as np
import pytest

from keras_cacnet.layers.normalization import ImageNormalization


def backbone_of_convolutions():
    keras.utils.set_random_seed(1)
    image = x = keras.Input((None, None, 3))
    x = ImageNormalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))(x)
    levels = {}
    for level, channels, stride in (("P3", 8, 8), ("P4", 8, 2), ("P5", 16, 2)):
        x = keras.layers.Conv2D(channels, 3, strides=stride, padding="same", activation="relu", name=level.lower())(x)
        levels[level] = x
    return keras.Model(image, levels)


@pytest.fixture(scope="session")
def small_backbone():
    """Three convolutions with the levels P3, P4 and P5; a network dilates a copy of its own."""
    return backbone_of_convolutions()


@pytest.fixture(scope="session")
def randomise_statistics():
    """Batch-norm statistics drawn anew, so that a forward pass shows them."""

    def randomise(model, seed=0):
        rng = np.random.default_rng(seed)
        for weight in model.non_trainable_variables:
            if weight.path.endswith(("moving_mean", "moving_variance")):
                low = 0.5 if weight.path.endswith("variance") else -0.5
                weight.assign(rng.uniform(low, low + 1, weight.shape))

    return randomise
