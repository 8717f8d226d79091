import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_cacnet as kc
from keras_cacnet.export import saved_model
from keras_cacnet.export.folding import folded
from small_networks import random_statistics

layers = keras.layers


def chain(*parts, **settings):
    image = x = keras.Input((None, None, 3), **settings)
    for part in parts:
        x = part(x)
    return random_statistics(keras.Model(image, x))


def noise(*shape, dtype="float32"):
    return np.random.default_rng(0).uniform(0, 255, shape).astype(dtype)


def kinds(model):
    return {type(step.operation).__name__ for step in model._steps}


@pytest.mark.parametrize(
    "parts",
    [
        lambda: (layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False), layers.BatchNormalization()),
        lambda: (layers.Conv2D(6, 3, groups=3, bias_initializer="normal"), layers.BatchNormalization(epsilon=0.1)),
        lambda: (
            layers.DepthwiseConv2D(3, depth_multiplier=2, dilation_rate=2, use_bias=False),
            layers.BatchNormalization(gamma_initializer="uniform", beta_initializer="normal"),
        ),
        lambda: (layers.Conv2D(4, 1), layers.BatchNormalization(center=False, scale=False)),
    ],
    ids=["strided", "groups and bias", "depthwise", "neither gamma nor beta"],
)
def test_a_convolution_and_its_batch_norm_become_one_layer(parts):
    model = chain(*parts(), layers.ReLU())
    found = folded(model)
    assert "BatchNormalization" not in kinds(found)
    image = noise(2, 13, 10, 3)
    np.testing.assert_allclose(found(image, training=False), model(image, training=False), rtol=1e-4, atol=1e-3)
    wide = chain(*(type(part).from_config({**part.get_config(), "dtype": "float64"}) for part in parts()))
    exact = folded(wide)
    np.testing.assert_allclose(exact(image, training=False), wide(image, training=False), rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize(
    "parts",
    [
        lambda: (layers.Conv2D(4, 3, activation="relu"), layers.BatchNormalization()),
        lambda: (layers.Conv2D(4, 3), layers.ReLU(), layers.BatchNormalization()),
        lambda: (layers.BatchNormalization(), layers.Conv2D(4, 3)),
        lambda: (layers.Conv2D(4, 3, dtype="mixed_bfloat16"), layers.BatchNormalization()),
        lambda: (layers.Conv2D(4, 3),),
    ],
    ids=["activation", "layer between", "norm first", "half precision", "no norm"],
)
def test_what_cannot_be_folded_stays_as_it_is(parts):
    model = chain(*parts())
    assert folded(model) is model


def test_a_convolution_that_something_else_reads_too_stays():
    image = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3)(image)
    normed = layers.BatchNormalization()(x)
    for outputs in (layers.Add()([x, normed]), {"raw": x, "normed": normed}):
        model = keras.Model(image, outputs)
        assert folded(model) is model


def test_a_model_with_a_call_of_its_own_is_left_alone():
    class Doubled(keras.Model):
        def call(self, inputs, training=None, mask=None):
            return 2 * super().call(inputs, training=training, mask=mask)

    image = keras.Input((None, None, 3))
    model = Doubled(image, layers.BatchNormalization()(layers.Conv2D(4, 3)(image)))
    assert folded(model) is model


@pytest.mark.parametrize("backbone", ["resnet14_narrow", "efficientnet_lite0"])
def test_a_network_is_folded_in_its_backbone_and_its_head(backbone):
    keras.utils.set_random_seed(0)
    model = random_statistics(kc.CaCNet(4, backbone=backbone, head_channels=16, dtype="float64"))
    before = [weight.copy() for weight in model.get_weights()]
    found = folded(model)
    image = noise(2, 65, 47, 3, dtype="float64")
    np.testing.assert_allclose(found(image), model(image, training=False), rtol=1e-9, atol=1e-9)
    norms = [layer for layer in model._flatten_layers() if isinstance(layer, layers.BatchNormalization)]
    drawn = [*model.backbone.layers, *model.decoder.layers]
    steps = [step for part in found._steps for step in getattr(part.operation, "_steps", ())]
    left = [step.operation for step in steps if isinstance(step.operation, layers.BatchNormalization)]
    assert len([layer for layer in norms if any(layer is other for other in drawn)]) > 10
    assert not left
    for weight, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)


def test_a_saved_model_is_folded_and_gives_what_keras_gives(tmp_path):
    keras.utils.set_random_seed(0)
    model = random_statistics(kc.CaCNet(4, backbone="resnet14_narrow", head_channels=16))
    loaded = tf.saved_model.load(saved_model(model, tmp_path / "1"))
    image = np.random.default_rng(0).integers(0, 256, (2, 65, 47, 3)).astype("uint8")
    expected = keras.ops.softmax(model(image.astype("float32"), training=False))
    found = loaded.signatures["serving_default"](images=image)["probabilities"]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    # One for every convolution of the backbone and of the head.
    listed = dict(tf.train.list_variables(str(tmp_path / "1" / "variables" / "variables")))
    assert len(listed) < len(model.backbone.weights)


def test_a_folded_model_does_not_train():
    model = folded(chain(layers.Conv2D(4, 3), layers.BatchNormalization()))
    with pytest.raises(ValueError, match="cannot be trained"):
        model(noise(1, 8, 8, 3), training=True)
