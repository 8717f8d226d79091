"""Class ids by bands of rows, against those of all logits at once."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_cacnet as kc
from keras_cacnet.evaluation import ids
from keras_cacnet.evaluation.class_ids import BAND, class_ids, ids_of
from keras_cacnet.layers.resize import ResizeLike


def with_ties(shape, dtype="float32", seed=0):
    """Logits of a few whole numbers, which interpolation makes equal at many pixels: a rounding would show."""
    return np.random.default_rng(seed).integers(0, 4, shape).astype(dtype)


@pytest.mark.parametrize("stride", [1, 4, 8, 32])
@pytest.mark.parametrize("size", [(1, 1), (BAND, 33), (BAND + 1, 9), (3 * BAND + 5, 70)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bands_have_the_ids_of_the_whole(stride, size, dtype):
    coarse = with_ties((2, *(-(-side // stride) for side in size), 6), dtype)
    enlarge = ResizeLike(stride, dtype=dtype)
    whole = np.asarray(enlarge([coarse, np.zeros((2, *size, 3), dtype)]))
    found = ids_of(tf.constant(coarse), enlarge, size)
    assert found.dtype == tf.int32
    np.testing.assert_array_equal(found, whole.argmax(axis=-1))
    top = np.sort(whole, axis=-1)
    # Else equality would prove little.
    assert size == (1, 1) or (top[..., -1] == top[..., -2]).mean() > 0.01


def test_a_network_never_enlarges_its_logits_at_once(cacnet, photograph, monkeypatch):
    image = photograph(2 * BAND + 3, 61)
    logits = keras.ops.convert_to_numpy(cacnet(image[None], training=False))
    model = kc.CaCNet.from_config(cacnet.get_config())
    model.set_weights(cacnet.get_weights())
    monkeypatch.setattr(model.resize, "call", None)
    found = ids(model, image)
    top = np.sort(logits[0], axis=-1)
    # Compiled convolutions add up in another order.
    clear = top[..., -1] - top[..., -2] > 1e-4
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(found[clear], logits[0].argmax(axis=-1)[clear])
    assert len(np.unique(found)) > 1


def test_weights_that_are_broken_are_seen_by_position(cacnet, photograph):
    model = kc.CaCNet.from_config(cacnet.get_config())
    model.decoder.get_layer("classifier").bias.assign(np.full(5, np.nan))
    with pytest.raises(ValueError, match="'cacnet' gives logits that are not finite"):
        ids(model, photograph(40, 40))


class Opposite(kc.CaCNet):
    """Computes something else than its graph."""

    def call(self, inputs, training=None, mask=None):
        return -super().call(inputs, training=training, mask=mask)


def functional(stride, of_image=True, padding="same"):
    images = keras.Input((None, None, 3))
    logits = keras.layers.Conv2D(4, stride, strides=stride, padding=padding)(images)
    return keras.Model(images, ResizeLike(stride)([logits, images if of_image else images * 1.0]), name="functional")


def test_other_models_have_the_ids_of_their_logits(photograph):
    image = photograph(140, 50)
    opposite = Opposite(4, backbone="resnet14_narrow", head_channels=8)
    inside = keras.Sequential([keras.Input((None, None, 3)), functional(8)])
    for model in (opposite, functional(3), functional(8, of_image=False), functional(8), inside):
        logits = keras.ops.convert_to_numpy(model(image[None].astype("float32"), training=False))
        np.testing.assert_array_equal(ids(model, image), logits[0].argmax(axis=-1))


def test_logits_that_do_not_reach_over_the_image_are_refused(photograph):
    model = functional(8, padding="valid")
    assert class_ids(model, tf.zeros((1, 16, 17, 3)))[1].numpy().tolist() == [16, 16]
    with pytest.raises(ValueError, match=r"'functional' gives logits \(16, 16\) for an image \(16, 17\)"):
        ids(model, photograph(16, 17))
