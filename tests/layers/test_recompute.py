"""Parts that are computed a second time, against the same parts kept."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_cacnet.layers import CaCLayer
from keras_cacnet.layers.recompute import Recomputed


def part(dropout=0.0, dtype="float64"):
    keras.utils.set_random_seed(3)
    parts = [layers.Dense(4, activation="tanh"), layers.BatchNormalization(), layers.Dropout(dropout, seed=5)]
    model = keras.Sequential([keras.Input((3,)), *parts, layers.Dense(2)])
    return model


@pytest.fixture(autouse=True)
def in_float64():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy(before)


def gradients(run, model, compiled=True, jit=False):
    x = tf.constant(np.random.default_rng(0).normal(size=(6, 3)))

    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = run(x)
            loss = tf.reduce_sum(y**2)
        return y, *tape.gradient(loss, [x, *(weight.value for weight in model.trainable_variables)])

    found = (tf.function(step, jit_compile=jit) if compiled else step)(x)
    return [*map(np.asarray, found), *(np.asarray(weight) for weight in model.non_trainable_variables)]


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("how", ["eager", "compiled", "jit"])
def test_results_gradients_and_updates_are_those_of_the_part(dropout, how):
    kept, again = part(dropout), part(dropout)
    settings = {"compiled": how != "eager", "jit": how == "jit"}
    expected = gradients(lambda x: kept(x, training=True), kept, **settings)
    found = gradients(Recomputed(again), again, **settings)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        # float64 sums in another order; random states are whole numbers.
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)
    moved = again.layers[1].moving_mean
    assert np.abs(moved).max() > 0


def test_weights_are_not_read_in_half_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")

    class Half(layers.Layer):
        def __init__(self):
            super().__init__(dtype="mixed_bfloat16")
            self.part = layers.BatchNormalization(dtype="float32")
            self.part.build((None, 3))

        def call(self, _):
            return Recomputed(self.part)(x)

    layer = Half()
    values = np.float32([1 + 2**-20, 1.1, 1.3])
    layer.part.gamma.assign(values)
    x = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
    wanted = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-3) * values
    # bfloat16 would be 1e-3 off.
    np.testing.assert_allclose(layer(np.zeros(1)), wanted, rtol=1e-5, atol=1e-6)


def operations(layer, recompute):
    """How many depthwise convolutions a compiled gradient has."""
    layer.recompute = recompute
    x = tf.ones((2, 5, 6, 4), tf.float64)

    @tf.function
    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(layer(x, training=True) ** 2)
        return tape.gradient(loss, x)

    kinds = [operation.type for operation in gradient.get_concrete_function(x).graph.get_operations()]
    return kinds.count("DepthwiseConv2dNative")


def test_the_weighting_is_computed_twice():
    layer = CaCLayer()
    layer.build((None, None, None, 4))
    assert operations(layer, False) == 3
    assert operations(layer, True) == 6
