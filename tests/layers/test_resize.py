"""Padding, resizing and means over grids of regions, position by position, in every size and precision."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from harness import check_layer
from keras_cacnet.layers import AdaptiveAveragePooling, PadToMultiple, ResizeLike, ResizeTo


def means_over_regions(x, size):
    """By the bounds that PyTorch documents."""
    _, height, width, channels = x.shape
    result = np.zeros((len(x), size, size, channels))
    for i, j in np.ndindex(size, size):
        rows = range(math.floor(i * height / size), math.ceil((i + 1) * height / size))
        columns = range(math.floor(j * width / size), math.ceil((j + 1) * width / size))
        result[:, i, j] = x[:, rows][:, :, columns].mean(axis=(1, 2))
    return result


def enlarged(x, height, width):
    """Bilinear, half-pixel centres, position by position."""
    result = np.zeros((len(x), height, width, x.shape[-1]))
    for p, q in np.ndindex(height, width):
        for i, a in taps(p, height, x.shape[1]):
            for j, b in taps(q, width, x.shape[2]):
                result[:, p, q] += a * b * x[:, i, j]
    return result


def taps(position, size, length):
    centre = min(max((position + 0.5) * length / size - 0.5, 0), length - 1)
    low = min(int(centre), length - 1)
    return [(low, 1 - (centre - low)), (min(low + 1, length - 1), centre - low)]


@pytest.mark.parametrize("size", [1, 3])
def test_regions_are_those_of_pytorch(tmp_path, size):
    check_layer(
        lambda **settings: AdaptiveAveragePooling(size, **settings),
        [(2, 7, 5, 2), (1, 12, 6, 2), (1, 4, 1, 2)],
        lambda values, x, training: means_over_regions(x, size),
        parameters=0,
        folder=tmp_path,
        roundings=1,
    )


def test_means_of_many_half_precision_values_are_exact():
    """In bfloat16 a sum of 4096 ones ends at 256."""
    ones = tf.ones((1, 64, 64, 1), tf.bfloat16)
    assert float(AdaptiveAveragePooling(1, dtype="bfloat16")(ones)[0, 0, 0, 0]) == 1
    large = tf.fill((1, 64, 64, 1), tf.constant(60000, tf.float16))
    assert float(AdaptiveAveragePooling(1, dtype="float16")(large)[0, 0, 0, 0]) == 60000


def test_a_map_is_resized_to_another(tmp_path):
    shapes = [((2, 3, 2, 4), (2, 7, 5, 1)), ((1, 3, 2, 4), (1, 3, 2, 1)), ((1, 4, 5, 4), (1, 2, 9, 1))]
    check_layer(
        ResizeTo,
        shapes,
        lambda values, x, other, training: enlarged(x, *other.shape[1:3]),
        parameters=0,
        folder=tmp_path,
        roundings=1,
    )


def test_a_map_is_enlarged_by_its_stride_and_cut_to_the_image(tmp_path):
    shapes = [((2, 2, 3, 4), (2, 7, 11, 1)), ((1, 2, 1, 4), (1, 8, 1, 1)), ((1, 3, 1, 4), (1, 5, 4, 1))]
    check_layer(
        lambda **settings: ResizeLike(4, **settings),
        shapes,
        lambda values, x, image, training: enlarged(x, 4 * x.shape[1], 4 * x.shape[2])[
            :, : image.shape[1], : image.shape[2]
        ],
        parameters=0,
        folder=tmp_path,
        roundings=1,
    )


def test_a_map_that_is_too_small_for_its_image_is_refused():
    """Cut to no more than it has, the logits would be of another size than the image."""
    small, image = keras.Input((12, None, 5)), keras.Input((104, None, 3))
    told = "stride of 8: one of 12x.* does not reach over an image of 104x"
    with pytest.raises(ValueError, match=told):
        ResizeLike(8)([small, image])
    with pytest.raises(ValueError, match=told):
        ResizeLike(8)([np.zeros((1, 12, 2, 5)), np.zeros((1, 104, 16, 3))])


def test_borders_are_repeated_up_to_a_multiple(tmp_path):
    def oracle(values, x, training):
        return np.pad(x, ((0, 0), (0, -x.shape[1] % 4), (0, -x.shape[2] % 4), (0, 0)), "edge")

    shapes = [(2, 7, 5, 3), (1, 4, 8, 3), (1, 1, 1, 3)]
    make = lambda **settings: PadToMultiple(4, **settings)  # noqa: E731
    check_layer(make, shapes, oracle, parameters=0, folder=tmp_path, roundings=0)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: AdaptiveAveragePooling(0), "from 1 on, got 0"),
        (lambda: AdaptiveAveragePooling(1.5), "from 1 on, got 1.5"),
        (lambda: AdaptiveAveragePooling(True), "from 1 on, got True"),
        (lambda: AdaptiveAveragePooling((2, 2)), r"from 1 on, got \(2, 2\)"),
        (lambda: PadToMultiple(0), "multiple must be .* from 1 on, got 0"),
        (lambda: ResizeLike(float("nan")), "stride must be .* from 1 on, got nan"),
        (lambda: PadToMultiple(4)(np.zeros((7, 5, 3))), r"expected ndim=4.*\(7, 5, 3\)"),
        (lambda: AdaptiveAveragePooling(1)(np.zeros((7, 5, 3))), r"expected ndim=4.*\(7, 5, 3\)"),
        (lambda: ResizeTo()([np.zeros((1, 7, 5, 3)), np.zeros((7, 5))]), r"expected ndim=4.*\(7, 5\)"),
        (lambda: ResizeLike(2)([np.zeros((7, 5, 3)), np.zeros((1, 7, 5, 3))]), r"expected ndim=4.*\(7, 5, 3\)"),
    ],
)
def test_bad_input_is_named(make, told):
    with pytest.raises(ValueError, match=told):
        make()
