"""CaCLayer against a float64 NumPy rendering of Eq. 1 and Eq. 2, finite differences and identities."""

import itertools
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_cacnet import CaCLayer


def reference_kernels(x, query, key, gamma, beta, mean, variance, epsilon=1e-5):
    """Eq. 1, divided by the number of positions, and inference batch norm; plain loops in float64."""
    batch, height, width, channels = x.shape
    s = round(query.shape[-1] ** 0.5)
    kernels = np.zeros((batch, s * s, channels))
    for b in range(batch):
        for i, j in itertools.product(range(height), range(width)):
            kernels[b] += np.outer(x[b, i, j] @ query, x[b, i, j] @ key)
    kernels = kernels.reshape(batch, s, s, channels) / (height * width)
    return (kernels - mean) / np.sqrt(variance + epsilon) * gamma + beta


def reference_weighting(x, kernels, rates):
    """Eq. 2, position by position and tap by tap, zeros beyond the border."""
    _, height, width, _ = x.shape
    s = kernels.shape[1]
    weights = np.zeros_like(x)
    for rate in rates:
        response = np.zeros_like(x)
        for i, j, di, dj in itertools.product(range(height), range(width), range(s), range(s)):
            y, z = i + (di - s // 2) * rate, j + (dj - s // 2) * rate
            if 0 <= y < height and 0 <= z < width:
                response[:, i, j] += x[:, y, z] * kernels[:, di, dj]
        weights += 1 / (1 + np.exp(-response))
    return weights


def random_layer(channels, dtype="float64", seed=0, **kwargs):
    """A built layer whose weights and batch-norm statistics are all random."""
    layer = CaCLayer(dtype=dtype, **kwargs)
    layer.build((None, None, None, channels))
    rng = np.random.default_rng(seed)
    for weight in layer.variables:
        low = 0.5 if "variance" in weight.path else -1.0
        weight.assign(rng.uniform(low, 1.5, weight.shape))
    return layer


def weights_of(layer):
    values = {weight.path.split("/", 1)[1]: np.asarray(weight, "float64") for weight in layer.variables}
    return (
        values["query/kernel"][0, 0],
        values["key/kernel"][0, 0],
        values["norm/gamma"],
        values["norm/beta"],
        values["norm/moving_mean"],
        values["norm/moving_variance"],
    )


def features(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape)


SHAPES = [(2, 7, 5, 3), (1, 1, 1, 4), (3, 1, 6, 2), (1, 9, 2, 1)]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-5)])
@pytest.mark.parametrize("kernel_size", [1, 3, 5, 7])
@pytest.mark.parametrize("rates", [(1,), (1, 2, 3), (2, 5)])
def test_equals_the_equations(dtype, tolerance, kernel_size, rates):
    for shape in SHAPES:
        layer = random_layer(shape[-1], dtype, kernel_size=kernel_size, dilation_rates=rates)
        x = features(*shape)
        kernels = reference_kernels(x, *weights_of(layer))
        weights = reference_weighting(x, kernels, rates)
        # Sums of at most 45 products of order 1: float32 rounds them to about 1e-6, float64 to 1e-15.
        assert np.allclose(layer.predict_kernels(x), kernels, rtol=tolerance, atol=tolerance)
        assert np.allclose(layer.weighting(x), weights, rtol=tolerance, atol=tolerance)
        assert np.allclose(layer(x), x * weights, rtol=tolerance, atol=tolerance)


def test_training_normalises_by_the_batch_and_moves_the_statistics():
    layer = random_layer(3)
    x = features(4, 5, 6, 3)
    query, key, gamma, beta, mean, variance = weights_of(layer)
    raw = reference_kernels(x, query, key, 1.0, 0.0, 0.0, 1.0, epsilon=0.0)
    batch_mean, batch_variance = raw.mean(axis=(0, 1, 2)), raw.var(axis=(0, 1, 2))
    expected = (raw - batch_mean) / np.sqrt(batch_variance + 1e-5) * gamma + beta
    assert np.allclose(layer.predict_kernels(x, training=True), expected, rtol=0, atol=1e-10)
    assert np.allclose(weights_of(layer)[4], 0.9 * mean + 0.1 * batch_mean, rtol=0, atol=1e-12)
    assert np.allclose(weights_of(layer)[5], 0.9 * variance + 0.1 * batch_variance, rtol=0, atol=1e-12)


def test_gradients_equal_finite_differences():
    layer = random_layer(2, kernel_size=3, dilation_rates=(1, 2))
    x = tf.Variable(features(2, 4, 3, 2))
    direction = features(2, 4, 3, 2, seed=5)

    def objective():
        return float(tf.reduce_sum(layer(x, training=True) * direction))

    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x, training=True) * direction)
    variables = [x, *(weight.value for weight in layer.trainable_variables)]
    assert len(variables) == 5
    step = 1e-5
    for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
        numeric = np.zeros(variable.shape)
        before = variable.numpy()
        for index in np.ndindex(*variable.shape):
            moved = before.copy()
            moved[index] += step
            variable.assign(moved)
            above = objective()
            moved[index] -= 2 * step
            variable.assign(moved)
            numeric[index] = (above - objective()) / (2 * step)
            variable.assign(before)
        # Central differences err by step^2 times the third derivative, and by 1e-15 / step in rounding.
        assert np.allclose(gradient, numeric, rtol=1e-6, atol=1e-7), variable.name


def test_a_batch_equals_its_images_in_inference():
    layer = random_layer(3)
    x = features(4, 6, 5, 3)
    single = np.concatenate([layer(x[i : i + 1]) for i in range(4)])
    assert np.allclose(layer(x), single, rtol=0, atol=1e-12)


def test_translation_shifts_the_weighting_away_from_the_borders():
    layer = random_layer(2, dilation_rates=(1, 2, 3))
    x = features(1, 20, 22, 2)
    kernels = layer.predict_kernels(x)
    moved = np.roll(x, (2, 3), axis=(1, 2))
    still, shifted = np.asarray(layer.weighting(x, kernels)), np.asarray(layer.weighting(moved, kernels))
    # Kernels reach 3 positions, and np.roll brings 2 rows and 3 columns around.
    assert np.array_equal(shifted[:, 5:-3, 6:-3], still[:, 3:-5, 3:-6])
    assert not np.allclose(layer.predict_kernels(moved[:, 2:, 3:]), kernels)


def test_the_scale_of_the_kernels_does_not_grow_with_the_image():
    layer = random_layer(3)
    x = features(1, 4, 6, 3)
    assert np.allclose(layer.predict_kernels(np.tile(x, (1, 3, 2, 1))), layer.predict_kernels(x), atol=1e-12)


def test_weights_lie_between_zero_and_the_number_of_rates():
    layer = random_layer(3, dilation_rates=(1, 2, 3, 4))
    weights = np.asarray(layer.weighting(100 * features(1, 8, 8, 3)))
    assert weights.min() >= 0
    assert weights.max() <= 4
    assert weights.max() > 2


@pytest.mark.parametrize(("kernel_size", "channels"), [(3, 8), (5, 3)])
def test_number_of_parameters(kernel_size, channels):
    layer = random_layer(channels, kernel_size=kernel_size)
    trainable = sum(int(np.prod(weight.shape)) for weight in layer.trainable_variables)
    assert trainable == channels**2 + kernel_size**2 * channels + 2 * channels


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "bfloat16", "float16"])
def test_half_precision_accumulates_in_float32(policy):
    layer = CaCLayer(dtype=policy)
    x = tf.cast(features(2, 16, 16, 8), layer.compute_dtype)
    layer.build(x.shape)
    assert layer.predict_kernels(x).dtype == tf.float32
    wide = CaCLayer(dtype="float64")
    wide.build(x.shape)
    wide.set_weights([np.asarray(weight, "float64") for weight in layer.get_weights()])
    exact = np.asarray(wide(tf.cast(x, tf.float64)))
    unit = float(np.finfo("float16").eps) if layer.compute_dtype == "float16" else 2.0**-7
    # Two roundings to half precision remain: W, and the product of X and W.
    assert np.all(np.abs(tf.cast(layer(x), tf.float64) - exact) <= 1.1 * unit * np.abs(exact) + 1e-6)
    assert layer(x).dtype == layer.compute_dtype
    large = tf.cast(1e4 * np.sign(features(1, 8, 8, 8)), x.dtype)
    assert np.all(np.isfinite(tf.cast(layer(large), tf.float32)))


def test_unknown_sizes_in_a_function_a_model_and_fit(tmp_path):
    images = keras.Input((None, None, 3))
    model = keras.Model(images, CaCLayer(kernel_size=5)(images))
    assert model.output.shape == (None, None, None, 3)
    function = tf.function(lambda x: model(x), input_signature=[tf.TensorSpec((None, None, None, 3))])
    for shape in [(1, 1, 1, 3), (2, 5, 8, 3), (3, 4, 4, 3)]:
        x = features(*shape).astype("float32")
        assert np.allclose(function(x), model.layers[-1](x), rtol=1e-6, atol=1e-6)
    model.compile("sgd", "mse")
    x = features(5, 6, 7, 3).astype("float32")
    data = tf.data.Dataset.from_tensor_slices((x, 0 * x)).batch(2)
    assert data.element_spec[0].shape[0] is None
    losses = model.fit(data, epochs=3, verbose=0, shuffle=False).history["loss"]
    assert losses[-1] < losses[0]
    model.save(tmp_path / "layer.keras")
    restored = keras.models.load_model(tmp_path / "layer.keras")
    assert np.array_equal(restored(x), model(x))
    assert restored.layers[-1].get_config() == model.layers[-1].get_config()


ELSEWHERE = """
import sys
import numpy as np
from keras_cacnet import CaCLayer
from keras import ops
data = np.load(sys.argv[1])
layer = CaCLayer(kernel_size=3, dilation_rates=(1, 2, 3), dtype=sys.argv[2])
layer.build(data["x"].shape)
layer.set_weights([data[f"weight_{i}"] for i in range(6)])
error = np.abs(ops.convert_to_numpy(layer(data["x"])) - data["y"]).max()
assert error <= float(sys.argv[3]), error
print("backend", sys.modules["keras"].backend.backend(), "tensorflow" in sys.modules)
"""


@pytest.mark.parametrize(
    ("setting", "dtype", "tolerance"),
    [
        ({"TF_ENABLE_ONEDNN_OPTS": "0"}, "float32", 1e-5),
        ({"TF_ENABLE_ONEDNN_OPTS": "1"}, "float32", 1e-5),
        ({"KERAS_BACKEND": "jax"}, "float32", 1e-5),
    ],
)
def test_another_process_gives_the_same(tmp_path, setting, dtype, tolerance):
    layer = random_layer(4)
    x = features(2, 7, 6, 4)
    weights = {f"weight_{i}": value for i, value in enumerate(layer.get_weights())}
    np.savez(tmp_path / "case.npz", x=x, y=layer(x), **weights)
    command = [sys.executable, "-c", ELSEWHERE, str(tmp_path / "case.npz"), dtype, str(tolerance)]
    result = subprocess.run(command, env={**os.environ, **setting}, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    backend = setting.get("KERAS_BACKEND", "tensorflow")
    assert f"backend {backend} {backend == 'tensorflow'}" in result.stdout


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: CaCLayer(kernel_size=4), "4"),
        (lambda: CaCLayer(kernel_size=9), "9"),
        (lambda: CaCLayer(kernel_size=0), "0"),
        (lambda: CaCLayer(kernel_size=3.5), "3.5"),
        (lambda: CaCLayer(dilation_rates=()), r"\(\)"),
        (lambda: CaCLayer(dilation_rates=(1, 0)), r"\(1, 0\)"),
        (lambda: CaCLayer(dilation_rates=(1, 1.5)), r"\(1, 1.5\)"),
        (lambda: CaCLayer(dilation_rates=2), "2"),
        (lambda: CaCLayer()(np.zeros((2, 3, 4))), r"\(2, 3, 4\)"),
        (lambda: CaCLayer()(keras.Input((4, 4, None))), r"\(None, 4, 4, None\)"),
        (lambda: random_layer(3)(np.zeros((1, 4, 4, 5))), r"\(1, 4, 4, 5\)"),
        (lambda: random_layer(3).predict_kernels(np.zeros((1, 4, 4, 5))), r"\(1, 4, 4, 5\)"),
        (
            lambda: random_layer(3).weighting(np.zeros((1, 4, 4, 3)), np.zeros((1, 5, 5, 3))),
            r"\(1, 5, 5, 3\)",
        ),
    ],
)
def test_bad_input_is_named(make, told):
    with pytest.raises(ValueError, match=told):
        make()
