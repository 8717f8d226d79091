"""What a model takes and gives, held against what it does; nothing is computed to know it."""

import keras
import numpy as np
import pytest

import keras_cacnet as kc
from keras_cacnet.models import SegmentationNetwork
from keras_cacnet.models.heads import CaCHead
from keras_cacnet.models.interface import class_count, image_size, require_class_count, require_image_size


class Subclassed(keras.Model):
    """No functional graph; it counts the images that it is shown."""

    def __init__(self):
        super().__init__()
        self.conv = keras.layers.Conv2D(7, 1)
        self.seen = []

    def call(self, x):
        self.seen.append(isinstance(x, np.ndarray) or keras.ops.is_tensor(x))
        return self.conv(x)


def functional(shape=(None, None, 3)):
    images = keras.Input(shape)
    return keras.Model(images, keras.layers.Conv2D(5, 1)(images))


def test_classes_are_counted_without_an_image(small_backbone):
    assert class_count(kc.CaCNet(4, backbone=small_backbone, head_channels=8)) == 4
    assert class_count(functional()) == class_count(functional((32, 48, 3))) == 5
    unbuilt = keras.Sequential([keras.layers.Conv2D(6, 1)])
    assert class_count(unbuilt) == 6
    assert image_size(unbuilt) == (None, None)
    model = Subclassed()
    assert class_count(model) == 7
    assert model(np.zeros((2, 9, 11, 3), "float32")).shape == (2, 9, 11, 7)
    with pytest.raises(ValueError, match="predicts 5 classes, the class table has 4"):
        require_class_count(functional(), 4)


def test_what_is_no_logits_is_refused():
    images = keras.Input((None, None, 3))
    two = keras.Model(images, [images, images])
    with pytest.raises(ValueError, match="gives 2 outputs.*wrap the output that counts"):
        class_count(two)
    with pytest.raises(ValueError, match=r"gives an output of shape \(None, 3\)"):
        class_count(keras.Model(images, keras.layers.GlobalAveragePooling2D()(images)))


def test_one_size_is_known_from_the_head_and_refused_otherwise(small_backbone):
    network = SegmentationNetwork(3, CaCHead(8, reweighting="fc", positions=(4, 5)), backbone=small_backbone)
    assert image_size(network) == network.input_size == (32, 40)
    require_image_size(network, 25, 33)  # rounds up to 32x40
    assert network(np.zeros((1, 25, 33, 3))).shape == (1, 25, 33, 3)
    for size in ((40, 32), (33, 40), (24, 40)):
        with pytest.raises(ValueError, match=f"only images of 32x40 pixels.*got {size[0]}x{size[1]}"):
            require_image_size(network, *size)
        with pytest.raises(ValueError, match="4x5 positions"):
            network(np.zeros((1, *size, 3)))
    uneven = kc.CaCNet(3, backbone=small_backbone, head_channels=8, reweighting="fc", input_size=(30, 33))
    assert image_size(uneven) == (30, 33)
    require_image_size(uneven, 32, 40)


def test_a_fixed_input_is_known_and_refused_otherwise():
    model = functional((32, None, 3))
    assert image_size(model) == (32, None)
    require_image_size(model, 32, 17)
    with pytest.raises(ValueError, match=r"takes \(None, 32, None, 3\), not an image of 33x17"):
        require_image_size(model, 33, 17)
    assert image_size(Subclassed()) == (None, None)
    require_image_size(Subclassed(), 33, 17)
    with pytest.raises(ValueError, match="one batch of RGB images"):
        image_size(functional((None, None, 4)))
