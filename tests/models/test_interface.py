"""What a model takes and gives, known before anything is computed."""

import keras
import numpy as np
import pytest

import keras_cacnet as kc
from keras_cacnet.models.interface import class_count, image_size, require_class_count, require_image_size


class Subclassed(keras.Model):
    def __init__(self, channels):
        super().__init__(name="subclassed")
        self.convolution = keras.layers.Conv2D(channels, 1)

    def call(self, images):
        return self.convolution(images)


def test_another_number_of_classes_is_refused_without_computing(model):
    require_class_count(model, 5)
    with pytest.raises(ValueError, match="'small' predicts 5 classes, the class table has 4"):
        require_class_count(model, 4)
    assert model.get_layer("traced").traces == 0


@pytest.mark.parametrize("build", [lambda: Subclassed(3), lambda: keras.Sequential([keras.layers.Conv2D(3, 1)])])
def test_models_without_a_graph_are_known_too(build):
    model = build()
    assert class_count(model) == 3
    assert image_size(model) == (None, None)
    require_image_size(model, 7, 9)
    assert model(np.zeros((1, 7, 9, 3), "float32")).shape == (1, 7, 9, 3)


def test_what_is_no_segmentation_network_is_refused():
    images = keras.Input((None, None, 3))
    pooled = keras.Sequential([images, keras.layers.GlobalAveragePooling2D()], name="pooled")
    with pytest.raises(ValueError, match=r"'pooled' gives an output of shape \(None, 3\)"):
        class_count(pooled)
    with pytest.raises(ValueError, match="'two' gives 2 outputs"):
        class_count(keras.Model(images, [images, images], name="two"))
    gray = keras.Sequential([keras.Input((None, None, 1)), keras.layers.Conv2D(2, 1)], name="gray")
    with pytest.raises(ValueError, match="'gray' takes .*; one batch of RGB images is needed"):
        image_size(gray)


def test_a_model_for_one_size_takes_no_other():
    fixed = keras.Sequential([keras.Input((32, None, 3)), keras.layers.Conv2D(2, 1)], name="fixed")
    require_image_size(fixed, 32, 50)
    with pytest.raises(ValueError, match=r"'fixed' takes \(None, 32, None, 3\), not an image of 40x50"):
        require_image_size(fixed, 40, 50)
    network = kc.CaCNet(3, backbone="resnet14_narrow", head_channels=8, reweighting="fc", input_size=(32, 48))
    assert image_size(network) == (32, 48)
    require_image_size(network, 32, 48)
    with pytest.raises(ValueError, match="takes images of 32x48 pixels"):
        require_image_size(network, 48, 32)
