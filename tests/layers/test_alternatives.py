"""The alternatives of Table 6 but EncNet's, against float64 NumPy and the paper's parameter counts."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from harness import check_layer, features, normalised, random_weights, sigmoid, weights_of
from keras_cacnet.layers import (
    FixedKernelLayer,
    FullyConnectedKernelLayer,
    PooledKernelLayer,
    SqueezeExcitationLayer,
)

SIZE, CHANNELS = (5, 4), 3
SQUARED = 9
MAKERS = {
    "fixed": FixedKernelLayer,
    "fc": lambda **settings: FullyConnectedKernelLayer(SIZE, **settings),
    "gap": PooledKernelLayer,
    "se": lambda **settings: SqueezeExcitationLayer(reduction=1, **settings),
}
# Section 4.2: h w s^2 c for FC and s^2 c^2 for GAP, each with a batch norm of 2c; s^2 c for fixed kernels.
PARAMETERS = {
    "fixed": SQUARED * CHANNELS,
    "fc": 5 * 4 * SQUARED * CHANNELS + 2 * CHANNELS,
    "gap": SQUARED * CHANNELS**2 + 2 * CHANNELS,
    "se": 2 * CHANNELS**2 + 2 * CHANNELS,
}
KERNELS = ("fixed", "fc", "gap")
every = pytest.mark.parametrize("name", MAKERS)


def random_layer(name, channels, **settings):
    layer = MAKERS[name](dtype="float64", **settings)
    layer.build((None, None, None, channels))
    return random_weights(layer)


def reference_kernels(name, values, x, batch=False, s=3):
    """D of every sample, value by value."""
    size, height, width, channels = x.shape
    kernels = np.zeros((size, s, s, channels))
    for b, i, j, c in np.ndindex(kernels.shape):
        if name == "fixed":
            kernels[b, i, j, c] = values["kernel"][i, j, c]
        elif name == "fc":
            weights = values["kernel"][c, :, i * s + j].reshape(height, width)
            kernels[b, i, j, c] = sum(weights[p, q] * x[b, p, q, c] for p, q in np.ndindex(height, width))
        else:
            weights = values["dense/kernel"][:, (i * s + j) * channels + c]
            kernels[b, i, j, c] = np.dot(x[b].mean(axis=(0, 1)), weights)
    return kernels if name == "fixed" else normalised(kernels, values, "norm", batch)


def reference_weighting(name, values, x, batch=False, s=3, rates=(1, 2, 3)):
    """W of every sample, from Eq. 2 with the reference kernels, or from SE-Net's own equations."""
    _, height, width, channels = x.shape
    weights = np.zeros_like(x)
    if name in KERNELS:
        kernels = reference_kernels(name, values, x, batch, s)
        for rate in rates:
            border = s // 2 * rate
            padded = np.pad(x, ((0, 0), (border, border), (border, border), (0, 0)))
            response = np.zeros_like(x)
            for p, q, i, j in np.ndindex(height, width, s, s):
                response[:, p, q] += padded[:, p + i * rate, q + j * rate] * kernels[:, i, j]
            weights += sigmoid(response)
        return weights
    for b, image in enumerate(x):
        squeezed = np.array([image[..., c].mean() for c in range(channels)])
        hidden = np.maximum(squeezed @ values["squeeze/kernel"] + values["squeeze/bias"], 0)
        weights[b] = sigmoid(hidden @ values["excite/kernel"] + values["excite/bias"])
    return weights


@every
def test_it_is_what_the_equations_say(name, tmp_path):
    shapes = (
        [(2, *SIZE, CHANNELS)] if name == "fc" else [(2, *SIZE, CHANNELS), (1, 6, 9, CHANNELS), (3, 1, 1, CHANNELS)]
    )
    check_layer(
        MAKERS[name],
        shapes,
        lambda values, x, training: x * reference_weighting(name, values, x, training),
        parameters=PARAMETERS[name],
        folder=tmp_path,
        half_gain=8 if name == "gap" else 1,
    )


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_of_other_sizes_and_one_rate(name):
    layer = random_layer(name, 1, kernel_size=5, dilation_rates=(2,))
    x, values = features(1, *SIZE, 1), weights_of(layer)
    # Some 80 products of order 1 and a normalisation.
    assert np.allclose(layer.predict_kernels(x), reference_kernels(name, values, x, s=5), rtol=1e-11, atol=1e-11)
    expected = reference_weighting(name, values, x, s=5, rates=(2,))
    assert np.allclose(layer.weighting(x), expected, rtol=1e-11, atol=1e-11)


@every
def test_statistics_are_those_of_the_batch_in_training_alone(name):
    layer = random_layer(name, CHANNELS)
    x, before = features(4, *SIZE, CHANNELS), weights_of(layer)
    # Outside of a call of the layer nothing but the argument tells that this is training.
    expected = reference_weighting(name, before, x, batch=True)
    assert np.allclose(x * layer.weighting(x, training=True), x * expected, rtol=0, atol=1e-9)
    moved = {path for path, value in weights_of(layer).items() if not np.array_equal(value, before[path])}
    assert moved == (set() if name in ("fixed", "se") else {"norm/moving_mean", "norm/moving_variance"})


def test_se_takes_the_mean_in_float32_under_half_precision():
    layer, x = SqueezeExcitationLayer(reduction=2, dtype="bfloat16"), tf.cast(1 + features(8, *SIZE, 16), "bfloat16")
    layer(x)
    # Large weights that cancel: a mean that is rounded to bfloat16 shows 90 times as much as the rounding of W.
    layer.set_weights([10 * weight for weight in layer.get_weights()])
    exact = reference_weighting("se", weights_of(layer), np.asarray(tf.cast(x, "float64")))[:, :1, :1]
    # Half a unit of bfloat16.
    assert np.all(np.abs(tf.cast(layer.weighting(x), "float64") - exact) <= 2.0**-8 * exact + 1e-5)


def test_se_has_a_bottleneck_of_one_channel_at_least():
    layer = SqueezeExcitationLayer()
    layer.build((None, None, None, 8))
    assert layer.count_params() == 2 * 8 * 1 + 1 + 8


def test_fc_takes_the_size_it_was_first_built_with_and_no_other():
    layer = FullyConnectedKernelLayer()
    layer(np.ones((1, 4, 6, 2), "float32"))
    assert FullyConnectedKernelLayer.from_config(layer.get_config()).input_size == (4, 6)
    # As many positions, but not the same: without a check the wrong weights would be taken in silence.
    for size in ((6, 4), (4, 5)):
        x = np.ones((1, *size, 2), "float32")
        told = f"4x6 positions .*got features of {size[0]}x{size[1]}"
        with pytest.raises(ValueError, match=told):
            layer(x)
        with pytest.raises(ValueError, match=told):
            layer(keras.Input((*size, 2)))
        function = tf.function(layer, input_signature=[tf.TensorSpec((None, None, None, 2))])
        function(np.ones((1, 4, 6, 2), "float32"))
        with pytest.raises(tf.errors.InvalidArgumentError) as error:
            function(x)
        assert "4x6 positions" in str(error.value)
        assert f"[{size[0]} {size[1]}]" in str(error.value)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: FixedKernelLayer(kernel_size=4), "4"),
        (lambda: FixedKernelLayer(synchronized=True), "no batch norm"),
        (lambda: PooledKernelLayer(dilation_rates=()), r"\(\)"),
        (lambda: FullyConnectedKernelLayer(input_size=(4, 0)), r"\(4, 0\)"),
        (lambda: FullyConnectedKernelLayer(input_size=(4, None)), r"\(4, None\)"),
        (lambda: FullyConnectedKernelLayer(input_size=(4, 5, 6)), "a height and a width"),
        (lambda: FullyConnectedKernelLayer(input_size=4), "got 4"),
        (lambda: FullyConnectedKernelLayer()(keras.Input((None, 4, 2))), r"\(None, None, 4, 2\)"),
        (lambda: SqueezeExcitationLayer(reduction=0), "got 0"),
        *((lambda name=name: MAKERS[name]()(np.zeros((2, 3, 4))), r"\(2, 3, 4\)") for name in MAKERS),
        *(
            (lambda name=name: random_layer(name, 3).weighting(np.zeros((1, *SIZE, 5))), "built for 3")
            for name in MAKERS
        ),
    ],
)
def test_bad_input_is_named(make, told):
    with pytest.raises(ValueError, match=told):
        make()
