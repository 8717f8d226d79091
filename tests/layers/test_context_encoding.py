"""ContextEncodingLayer against a float64 NumPy rendering of EncNet's equations."""

import keras
import numpy as np
import pytest

from harness import check_layer, features, normalised, random_weights, sigmoid, weights_of
from keras_cacnet.layers import ContextEncodingLayer

CHANNELS, CODEWORDS = 3, 4
SHAPES = [(2, 5, 4, CHANNELS), (1, 1, 7, CHANNELS), (3, 1, 1, CHANNELS)]
# Convolution and FC with its bias, two batch norms, dictionary and smoothing factors.
PARAMETERS = 2 * CHANNELS**2 + 3 * CHANNELS + CODEWORDS * CHANNELS + 3 * CODEWORDS


def reference_encoding(values, x, batch):
    descriptors = np.maximum(normalised(x @ values["conv/kernel"][0, 0], values, "norm", batch), 0)
    codes = np.zeros((len(x), CODEWORDS, CHANNELS))
    for b, p, q in np.ndindex(x.shape[:3]):
        residuals = [descriptors[b, p, q] - word for word in values["dictionary"]]
        shares = np.exp([f * (r @ r) for f, r in zip(values["smoothing"], residuals, strict=True)])
        codes[b] += (shares / shares.sum())[:, None] * residuals / (x.shape[1] * x.shape[2])
    return np.maximum(normalised(codes, values, "code_norm", batch, axis=1), 0).mean(axis=1)


def reference_weighting(values, x, batch):
    encoding = reference_encoding(values, x, batch)
    return 1 + sigmoid(encoding @ values["dense/kernel"] + values["dense/bias"])[:, None, None]


def test_it_is_what_the_equations_say(tmp_path):
    def oracle(values, x, training):
        return x * reference_weighting(values, x, training), reference_encoding(values, x, training)

    def layer(**settings):
        return ContextEncodingLayer(CODEWORDS, return_encoding=True, **settings)

    check_layer(layer, SHAPES, oracle, parameters=PARAMETERS, folder=tmp_path)
    assert layer().compute_output_shape((None, 4, 5, 6)) == ((None, 4, 5, 6), (None, 6))


def test_the_encoding_comes_only_when_asked_for():
    both, product = ContextEncodingLayer(CODEWORDS, return_encoding=True), ContextEncodingLayer(CODEWORDS)
    x = features(*SHAPES[0]).astype("float32")
    product(x)
    both(x)
    both.set_weights(product.get_weights())
    assert np.array_equal(product(x), both(x)[0])
    assert product(keras.Input((None, None, 3))).shape == (None, None, None, 3)


def test_statistics_are_those_of_the_batch_in_training_alone():
    layer = ContextEncodingLayer(CODEWORDS, dtype="float64")
    layer.build((None, None, None, CHANNELS))
    random_weights(layer)
    x, before = features(*SHAPES[0]), weights_of(layer)
    # Outside of a call of the layer nothing but the argument tells that this is training.
    weights = layer.weighting(x, training=True)
    assert np.allclose(weights, reference_weighting(before, x, batch=True), rtol=0, atol=1e-9)
    moved = {path for path, value in weights_of(layer).items() if not np.array_equal(value, before[path])}
    assert moved == {f"{norm}/moving_{kind}" for norm in ("norm", "code_norm") for kind in ("mean", "variance")}


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: ContextEncodingLayer(codewords=1.5), "got 1.5"),
        (lambda: ContextEncodingLayer(codewords="4"), "got '4'"),
        (lambda: ContextEncodingLayer()(np.zeros((2, 3, 4))), r"\(2, 3, 4\)"),
    ],
)
def test_bad_input_is_named(make, told):
    with pytest.raises(ValueError, match=told):
        make()
