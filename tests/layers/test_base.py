"""What Keras lets every layer be made with is honoured or refused, and is still there after saving."""

import keras
import numpy as np
import pytest

from harness import features, random_weights
from keras_cacnet import layers
from keras_cacnet.layers.base import FeatureLayer

MAKERS = {
    "cac": layers.CaCLayer,
    "fixed": layers.FixedKernelLayer,
    "fc": lambda **options: layers.FullyConnectedKernelLayer((6, 5), **options),
    "gap": layers.PooledKernelLayer,
    "se": layers.SqueezeExcitationLayer,
    "enc": lambda **options: layers.ContextEncodingLayer(4, **options),
    "normalization": lambda **options: layers.ImageNormalization((0.4, 0.5, 0.6), (0.1, 0.2, 0.3), **options),
    "pad": lambda **options: layers.PadToMultiple(4, **options),
    "pool": lambda **options: layers.AdaptiveAveragePooling(2, **options),
    "resize": layers.ResizeTo,
    "enlarge": lambda **options: layers.ResizeLike(2, **options),
}
NORMALISED = {"cac": ("norm",), "fc": ("norm",), "gap": ("norm",), "enc": ("norm", "code_norm")}
every = pytest.mark.parametrize("name", MAKERS)
normalised = pytest.mark.parametrize("name", NORMALISED)


def inputs_of(name):
    x = features(2, 6, 5, 3).astype("float32")
    return [x, np.zeros((2, 12, 10, 1), "float32")] if name in ("resize", "enlarge") else x


def model_of(name, **options):
    layer = MAKERS[name](**options)
    inputs = keras.tree.map_structure(lambda x: keras.Input((None, None, x.shape[-1])), inputs_of(name))
    model = keras.Model(inputs, layer(inputs))
    return random_weights(model), layer


def reloaded(model, folder):
    model.save(folder / "model.keras")
    loaded = keras.models.load_model(folder / "model.keras")
    return loaded, loaded.layers[-1]


def values(x):
    return np.asarray(keras.ops.convert_to_numpy(x), "float64")


def test_every_public_layer_is_tried():
    public = {value for value in vars(layers).values() if isinstance(value, type)}
    assert {type(make()) for make in MAKERS.values()} == public
    assert all(issubclass(layer, FeatureLayer) for layer in public)
    assert set(layers.__all__) == {layer.__name__ for layer in public} | {
        "batch_normalization",
        "dynamic_depthwise_conv",
    }


@every
def test_options_that_would_do_nothing_are_refused(name):
    for options, told in (
        ({"autocast": False}, "autocast=False"),
        ({"dtype": "int32"}, "dtype of floating point, got 'int32'"),
        ({"dtype": "uint8"}, "dtype of floating point, got 'uint8'"),
        ({"data_format": "channels_first"}, "data_format"),
        ({"strides": 2}, "strides"),
    ):
        with pytest.raises(ValueError, match=told):
            MAKERS[name](**options)
    MAKERS[name](autocast=True)


@every
def test_activity_is_regularised_before_and_after_saving(tmp_path, name):
    model, layer = model_of(name, activity_regularizer=keras.regularizers.L2(0.5))
    loaded, again = reloaded(model, tmp_path)
    assert again.name == layer.name
    assert again.get_config() == layer.get_config()
    x = inputs_of(name)
    for one in (model, loaded):
        expected = 0.5 * np.sum(values(one(x)) ** 2) / 2  # Keras divides by the batch
        # Sums of up to 720 squares in float32.
        assert float(sum(one.losses)) == pytest.approx(expected, rel=1e-5)


@every
def test_a_mask_is_not_dropped_in_silence(name):
    layer, x = MAKERS[name](), keras.tree.map_structure(keras.ops.convert_to_tensor, inputs_of(name))
    first = x[0] if isinstance(x, list) else x
    first._keras_mask = keras.ops.ones((2, 6, 5), "bool")
    with pytest.warns(UserWarning, match="does not support masking"):
        layer(x)
    with pytest.raises(TypeError, match="mask"):
        layer(x, mask=first._keras_mask)


@every
def test_features_are_channels_last_whatever_keras_takes_by_default(name):
    model, layer = model_of(name)
    weights, x = model.get_weights(), inputs_of(name)
    expected = values(layer(x))
    keras.config.set_image_data_format("channels_first")
    try:
        other = MAKERS[name]()
        other(x)
        other.set_weights(weights)
        assert np.array_equal(values(other(x)), expected)
    finally:
        keras.config.set_image_data_format("channels_last")


@normalised
def test_a_layer_that_is_made_frozen_is_frozen_as_a_whole(tmp_path, name):
    """As one that is frozen later: Keras tells only the parts that are there already."""
    model, layer = model_of(name, trainable=False)
    for one, own in ((model, layer), reloaded(model, tmp_path)):
        assert own.get_config()["trainable"] is False
        before, x = one.get_weights(), inputs_of(name)
        assert np.array_equal(values(one(x, training=True)), values(one(x)))
        assert all(np.array_equal(a, b) for a, b in zip(before, one.get_weights(), strict=True))
        assert not one.trainable_variables
        own.trainable = True
        assert len(one.trainable_variables) == len(layer.variables) - 2 * len(NORMALISED[name])
        one(x, training=True)
        assert not all(np.array_equal(a, b) for a, b in zip(before, one.get_weights(), strict=True))


@normalised
def test_a_part_that_is_frozen_alone_stays_so(tmp_path, name):
    """Batch norms are often frozen alone."""
    model, layer = model_of(name)
    for norm in NORMALISED[name]:
        getattr(layer, norm).trainable = False
    paths = [weight.path for weight in layer.trainable_variables]
    loaded, again = reloaded(model, tmp_path)
    assert [weight.path for weight in again.trainable_variables] == paths
    assert paths
    x = inputs_of(name)
    before = loaded.get_weights()
    loaded(x, training=True)
    assert all(np.array_equal(a, b) for a, b in zip(before, loaded.get_weights(), strict=True))
    assert np.array_equal(values(loaded(x, training=True)), values(model(x)))
