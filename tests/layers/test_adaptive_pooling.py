"""Means over grids of regions, and maps resized to others, in every size and precision."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_cacnet.layers.resize import AdaptiveAveragePooling, ResizeTo


@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_regions_are_those_of_pytorch(size):
    layer = AdaptiveAveragePooling(size, dtype="float64")
    function = tf.function(layer, input_signature=[tf.TensorSpec((None, None, None, 2), tf.float64)])
    for height, width in ((12, 6), (7, 5), (4, 1)):
        x = np.random.default_rng(0).normal(size=(2, height, width, 2))
        expected = np.zeros((2, size, size, 2))
        for i, j in np.ndindex(size, size):
            rows = range(math.floor(i * height / size), math.ceil((i + 1) * height / size))
            columns = range(math.floor(j * width / size), math.ceil((j + 1) * width / size))
            expected[:, i, j] = x[:, rows][:, :, columns].mean(axis=(1, 2))
        # Means of means in float64.
        assert np.allclose(layer(x), expected, rtol=0, atol=1e-14)
        assert np.allclose(function(x), expected, rtol=0, atol=1e-14)
    assert function.experimental_get_tracing_count() == 1
    assert layer(keras.Input((None, None, 5))).shape == (None, size, size, 5)
    assert AdaptiveAveragePooling.from_config(layer.get_config()).size == size


def test_means_of_many_half_precision_values_are_exact():
    """In bfloat16 a sum of 4096 ones ends at 256."""
    ones = tf.ones((1, 64, 64, 1), tf.bfloat16)
    assert float(AdaptiveAveragePooling(1, dtype="bfloat16")(ones)[0, 0, 0, 0]) == 1
    large = tf.fill((1, 64, 64, 1), tf.constant(60000, tf.float16))
    assert float(AdaptiveAveragePooling(1, dtype="float16")(large)[0, 0, 0, 0]) == 60000


@pytest.mark.parametrize("size", [0, 1.5, True])
def test_a_grid_without_regions_is_refused(size):
    with pytest.raises(ValueError, match=f"from 1 on, got {size}"):
        AdaptiveAveragePooling(size)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-14), ("float32", 1e-6), ("bfloat16", 0.02)])
def test_maps_are_resized_between_the_centres(dtype, tolerance):
    """A plane stays a plane where no border is in the way; the border's value goes on beyond its centre."""
    rows, columns = np.arange(3.0), np.arange(2.0)
    grid = (rows[:, None] + 10 * columns)[None, :, :, None] / 8
    for height, width in ((7, 5), (3, 2), (2, 9)):
        down = np.clip((np.arange(height) + 0.5) * 3 / height - 0.5, 0, 2)
        right = np.clip((np.arange(width) + 0.5) * 2 / width - 0.5, 0, 1)
        resized = ResizeTo(dtype=dtype)([tf.cast(grid, dtype), tf.zeros((1, height, width, 1))])
        assert resized.dtype == dtype
        assert resized.shape == (1, height, width, 1)
        expected = (down[:, None] + 10 * right) / 8
        assert np.allclose(tf.cast(resized, tf.float64)[0, :, :, 0], expected, rtol=0, atol=tolerance)
