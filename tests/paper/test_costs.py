"""Counted costs against the closed formulas of every part."""

import math

import numpy as np
import pytest

import keras_cacnet as kc
from keras_cacnet.paper.costs import costs


@pytest.mark.parametrize("kernel_sizes", [(3, 3), (5, 3)])
def test_parts_equal_their_formulas(kernel_sizes):
    c, classes, deep, middle = 24, 7, 1024, 512
    model = kc.CaCNet(
        classes, backbone="resnet14_narrow", head_channels=c, kernel_sizes=kernel_sizes, dilation_rates=(1, 2)
    )
    counted = costs(model, 64, 96)
    n = 8 * 12
    norm = 2 * c
    assert counted["reduction"] == (9 * deep * c + norm, 9 * deep * c * n)
    heads = sum(9 * c * c + norm + c * c + s * s * c + 2 * c for s in kernel_sizes)
    # 3x3 convolution, key, query, D, and s*s taps per channel and rate; 8x12 positions divide by both rates.
    products = sum((9 * c * c + c * c + s * s * c + s * s * c + 2 * s * s * c) * n for s in kernel_sizes)
    assert counted["heads"] == (heads, products)
    assert counted["pooling"] == (c * c + norm, c * c)
    assert counted["classifier"] == (3 * c * classes + classes, 3 * c * classes * n)
    quarter = middle // 4
    auxiliary = 9 * middle * quarter + quarter * classes
    assert counted["auxiliary"] == (auxiliary + 2 * quarter + classes, auxiliary * n)
    assert counted["imagenet_fc"] == (deep * 1000 + 1000, deep * 1000)
    total = sum(math.prod(np.shape(weight)) for weight in model.trainable_variables)
    assert sum(counted[part].parameters for part in counted if part != "imagenet_fc") == total


def test_no_image_is_refused():
    with pytest.raises(ValueError, match="0x5"):
        costs(kc.CaCNet(3, backbone="resnet14_narrow", head_channels=8), 0, 5)
