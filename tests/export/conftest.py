"""A small network of the library's form: images of any size in, logits of that size out."""

import keras
import pytest

from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.layers.resize import ResizeLike


@pytest.fixture
def classes():
    palette = ((90, 160, 220), (20, 60, 140), (230, 210, 150))
    return ClassTable(("sky", "sea", "palm tree"), palette, ids=(1, 2, 4), void_ids=(0,))


@pytest.fixture
def model():
    images = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 64)(images)
    x = keras.layers.Conv2D(3, 3, strides=4, padding="same", kernel_initializer="orthogonal")(x)
    return keras.Model(images, ResizeLike(4)([x, images]), name="small")
