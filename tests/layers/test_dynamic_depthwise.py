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


@pytest.mark.parametrize(("size", "rate"), [(1, 1), (3, 1), (3, 2), (5, 1)])
def test_gradients_of_shifted_products_equal_those_of_the_folded_convolution(size, rate):
    # The native operation has a gradient of its own; sums of 2 x 7 x 5 products in float64.
    x, kernels = tf.constant(features(2, 7, 5, 3)), tf.constant(features(2, size, size, 3, seed=2))
    upstream = tf.constant(features(2, 7, 5, 3, seed=3))
    found = []
    for convolve in (dynamic_depthwise_conv, _shifted_products):
        with tf.GradientTape() as tape:
            tape.watch((x, kernels))
            result = convolve(x, kernels, rate)
        found.append(tape.gradient(result, (x, kernels), upstream))
    for own, other in zip(*found, strict=True):
        assert np.allclose(own, other, rtol=0, atol=1e-12)


def test_a_second_derivative_of_shifted_products_is_that_of_finite_differences():
    x, kernels = tf.constant(features(1, 4, 3, 2)), tf.constant(features(1, 3, 3, 2, seed=2))

    def slope(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = tf.reduce_sum(_shifted_products(x, kernels, 1) ** 3)
        return tape.gradient(value, x)

    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(slope(x) ** 2)
    direction = tf.constant(features(1, 4, 3, 2, seed=4))
    expected = sum(sign * tf.reduce_sum(slope(x + sign * 1e-5 * direction) ** 2) for sign in (1, -1)) / 2e-5
    found = tf.reduce_sum(tape.gradient(total, x) * direction)
    assert np.isclose(found, expected, rtol=1e-7, atol=0)  # the step's square, 1e-10, times the third derivative


@pytest.mark.parametrize("size", [(6, 5), (None, None)])
def test_xla_gets_the_shifted_products(size):
    def operations(**options):
        function = tf.function(lambda x, kernels: dynamic_depthwise_conv(x, kernels, 2), **options)
        shapes = tf.TensorSpec((None, *size, 3), "float32"), tf.TensorSpec((None, 3, 3, 3), "float32")
        return {node.type for node in function.get_concrete_function(*shapes).graph.get_operations()}

    assert "DepthwiseConv2dNative" in operations()
    assert "DepthwiseConv2dNative" not in operations(jit_compile=True)


def test_xla_gives_what_plain_graphs_give():
    x, kernels = features(2, 6, 5, 3).astype("float32"), features(2, 3, 3, 3, seed=2).astype("float32")
    compiled = tf.function(lambda x, kernels: dynamic_depthwise_conv(x, kernels, 2), jit_compile=True)
    # Nine products in float32, added in another order.
    assert np.allclose(compiled(x, kernels), dynamic_depthwise_conv(x, kernels, 2), rtol=0, atol=1e-5)


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
