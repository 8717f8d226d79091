"""CaCLayer against a float64 NumPy rendering of Eq. 1 and Eq. 2, finite differences and identities."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from cac_oracle import cac_oracle, parameters_of, reference_kernels, reference_weighting
from harness import assert_close, check_layer, elsewhere, features, random_weights, weights_of
from keras_cacnet import CaCLayer


def random_layer(channels, dtype="float64", **settings):
    layer = CaCLayer(dtype=dtype, **settings)
    layer.build((None, None, None, channels))
    return random_weights(layer)


SHAPES = [(2, 7, 5, 3), (1, 1, 1, 4), (3, 1, 6, 2), (1, 9, 2, 1)]


def test_it_is_what_the_equations_say(tmp_path):
    """c^2 + s^2 c parameters for the prediction, 2c for the batch norm; synchronised ones load under JAX."""
    check_layer(
        lambda **options: CaCLayer(synchronized=True, **options),
        [(2, 7, 5, 3), (1, 1, 1, 3), (3, 1, 6, 3), (1, 9, 2, 3)],
        cac_oracle,
        parameters=3**2 + 9 * 3 + 2 * 3,
        folder=tmp_path,
    )


@pytest.mark.parametrize("kernel_size", [1, 3, 5, 7])
@pytest.mark.parametrize("rates", [(1,), (1, 2, 3), (2, 5)])
def test_kernels_and_weights_equal_the_equations(kernel_size, rates):
    for shape in SHAPES:
        layer = random_layer(shape[-1], kernel_size=kernel_size, dilation_rates=rates)
        x = features(*shape)
        kernels = reference_kernels(x, *parameters_of(weights_of(layer)))
        # Sums of at most 45 products of order 1.
        assert np.allclose(layer.predict_kernels(x), kernels, rtol=1e-10, atol=1e-10)
        assert np.allclose(layer.weighting(x), reference_weighting(x, kernels, rates), rtol=1e-10, atol=1e-10)


def test_training_normalises_by_the_batch_and_moves_the_statistics():
    layer = random_layer(3)
    x = features(4, 5, 6, 3)
    query, key, gamma, beta, mean, variance = parameters_of(weights_of(layer))
    raw = reference_kernels(x, query, key, 1.0, 0.0, 0.0, 1.0, epsilon=0.0)
    batch_mean, batch_variance = raw.mean(axis=(0, 1, 2)), raw.var(axis=(0, 1, 2))
    expected = (raw - batch_mean) / np.sqrt(batch_variance + 1e-5) * gamma + beta
    assert np.allclose(layer.predict_kernels(x, training=True), expected, rtol=0, atol=1e-10)
    moved = parameters_of(weights_of(layer))[4:]
    assert np.allclose(moved[0], 0.9 * mean + 0.1 * batch_mean, rtol=0, atol=1e-12)
    assert np.allclose(moved[1], 0.9 * variance + 0.1 * batch_variance, rtol=0, atol=1e-12)


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


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float16"])
def test_half_precision_predicts_kernels_in_float32_and_does_not_overflow(policy):
    layer = random_layer(8, policy)
    x = tf.cast(features(2, 16, 16, 8), layer.compute_dtype)
    kernels = layer.predict_kernels(x)
    assert kernels.dtype == "float32"
    expected = reference_kernels(np.asarray(tf.cast(x, "float64")), *parameters_of(weights_of(layer)))
    # Sums of 256 products of order 1 in float32.
    assert np.allclose(kernels, expected, rtol=1e-5, atol=1e-5)
    large = tf.cast(1e4 * np.sign(features(1, 8, 8, 8)), layer.compute_dtype)
    assert np.all(np.isfinite(tf.cast(layer(large), "float32")))


def test_it_learns_from_batches_of_unknown_size():
    images = keras.Input((None, None, 3))
    model = keras.Model(images, CaCLayer(kernel_size=5)(images))
    model.compile("sgd", "mse")
    x = features(5, 6, 7, 3).astype("float32")
    data = tf.data.Dataset.from_tensor_slices((x, 0 * x)).batch(2)
    assert data.element_spec[0].shape[0] is None
    losses = model.fit(data, epochs=3, verbose=0, shuffle=False).history["loss"]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_without_onednn_it_gives_the_same(tmp_path, dtype):
    """TensorFlow's own kernels of the native convolution know no dilation."""
    layer, x = random_layer(4, dtype), features(2, 7, 6, 4).astype(dtype)
    inputs = keras.Input((None, None, 4), dtype=dtype)
    found = elsewhere("tensorflow", TF_ENABLE_ONEDNN_OPTS="0")(keras.Model(inputs, layer(inputs)), [x], tmp_path)()
    tolerance = 1e-11 if dtype == "float64" else 1e-5
    for kind in ("outputs", "training"):
        expected = cac_oracle(weights_of(layer), x.astype("float64"), training=kind == "training")
        assert_close(found[kind], expected, tolerance, kind)


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
