"""A small network of the library's form: images of any size in, logits of that size out."""

import keras
import pytest

from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.layers.resize import ResizeLike

NAMES = ("sky", "sea", "sand", "palm tree", "boat")


@keras.saving.register_keras_serializable("tests")
class Traced(keras.layers.Layer):
    """Counts how often Python runs it: once per trace of a compiled function."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.traces = 0

    def call(self, x):
        self.traces += 1
        return x


def build(num_classes=5, seed=0):
    images = keras.Input((None, None, 3))
    x = Traced(name="traced")(keras.layers.Rescaling(1 / 64)(images))
    init = keras.initializers.RandomNormal(stddev=1.0, seed=seed)
    x = keras.layers.Conv2D(num_classes, 3, strides=4, padding="same", kernel_initializer=init)(x)
    model = keras.Model(images, ResizeLike(4)([x, images]), name="small")
    model.get_layer("traced").traces = 0
    return model


@pytest.fixture
def classes():
    palette = ((90, 160, 220), (20, 60, 140), (230, 210, 150), (20, 140, 40), (200, 30, 30))
    return ClassTable(NAMES, palette, ids=(1, 2, 4, 7, 9), void_ids=(0,))


@pytest.fixture
def model():
    return build()


@pytest.fixture
def build_model():
    return build
