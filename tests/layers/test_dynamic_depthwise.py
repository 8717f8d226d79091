"""The two ways of the depthwise convolution against each other, and what it refuses."""

import numpy as np
import pytest
import tensorflow as tf

from harness import features
from keras_cacnet.layers import dynamic_depthwise_conv
from keras_cacnet.layers.dynamic_depthwise import _shifted_products


@pytest.mark.parametrize("shape", [(2, 7, 5, 3), (1, 4, 9, 2), (0, 4, 4, 2)])
@pytest.mark.parametrize(("size", "rate"), [(1, 2), (3, 1), (3, 3), (5, 2)])
def test_shifted_products_equal_the_folded_convolution(shape, size, rate):
    x, kernels = features(*shape), features(shape[0], size, size, shape[3], seed=2)
    expected = _shifted_products(tf.constant(x), tf.constant(kernels), rate)
    assert np.allclose(dynamic_depthwise_conv(x, kernels, rate), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("x", "kernels", "rate", "told"),
    [
        ((2, 4, 4), (2, 3, 3, 4), 1, r"features of shape \(2, 4, 4\)"),
        ((2, 4, 4, 3), (2, 3, 3), 1, r"kernels of shape \(2, 3, 3\)"),
        ((2, 4, 4, 3), (2, 3, 5, 3), 1, r"square.*\(2, 3, 5, 3\)"),
        ((2, 4, 4, 3), (2, 2, 2, 3), 1, r"odd size.*\(2, 2, 2, 3\)"),
        # Broadcasting would take one kernel for all samples under one backend, and fail under another.
        ((2, 4, 4, 3), (1, 3, 3, 3), 1, r"one kernel per sample.*\(1, 3, 3, 3\)"),
        ((2, 4, 4, 3), (2, 3, 3, 1), 1, r"one kernel per sample and channel.*\(2, 3, 3, 1\)"),
        ((2, 4, 4, 3), (2, 3, 3, 3), 0, "dilation_rate must be .* from 1 on, got 0"),
        ((2, 4, 4, 3), (2, 3, 3, 3), (1, 2), r"dilation_rate .* got \(1, 2\)"),
    ],
)
def test_bad_input_is_named(x, kernels, rate, told):
    with pytest.raises(ValueError, match=told):
        dynamic_depthwise_conv(np.zeros(x), np.zeros(kernels), rate)


def test_other_dtypes_are_named():
    with pytest.raises(ValueError, match="float32 and float64"):
        dynamic_depthwise_conv(np.zeros((1, 2, 2, 1), "float32"), np.zeros((1, 3, 3, 1)))
    with pytest.raises(ValueError, match="int32 and int32"):
        dynamic_depthwise_conv(np.zeros((1, 2, 2, 1), "int32"), np.zeros((1, 3, 3, 1), "int32"))
