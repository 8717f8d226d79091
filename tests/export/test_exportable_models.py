"""What is exported, and what is refused before anything is converted."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_cacnet as kc
from keras_cacnet.export import onnx, saved_model, tflite, verify
from keras_cacnet.export.exportable_models import export_size, in_float32, require_size

WRITERS = {"1": saved_model, "cacnet.tflite": tflite, "cacnet.onnx": onnx}


def difference(path, model, photographs):
    """Between an export and Keras. A SavedModel is run here: a process of its own takes seconds to begin."""
    (images,) = photographs((1, 12, 17))
    if not path.is_dir():
        return verify(path, model, [images]).largest_difference
    loaded = tf.saved_model.load(path)
    expected = keras.ops.softmax(model(images.astype("float32"), training=False))
    return float(np.abs(loaded.signatures["serving_default"](images=images)["probabilities"] - expected).max())


class OfOnesOwn(keras.Model):
    """A model without a config, as research code has them."""

    def __init__(self, layer):
        super().__init__(name="own")
        self.layer = layer

    def call(self, images):
        return self.layer(images / 64.0)


def own(**options):
    return OfOnesOwn(keras.layers.Conv2D(3, 3, padding="same", kernel_initializer="orthogonal", **options))


@pytest.mark.parametrize("name", WRITERS)
def test_a_model_without_a_config_is_exported(photographs, tmp_path, name):
    model = own()
    assert difference(WRITERS[name](model, tmp_path / name), model, photographs) < 1e-6


@pytest.mark.parametrize("name", ["cacnet.tflite", "cacnet.onnx"])
def test_one_in_half_precision_is_refused_for_files(tmp_path, name):
    message = "'own' computes in mixed_bfloat16 and cannot be rebuilt in float32, in which files are: build it of Keras"
    with pytest.raises(ValueError, match=message):
        WRITERS[name](own(dtype="mixed_bfloat16"), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_frozen_model_in_half_precision_keeps_its_weights():
    policy = {"dtype": "mixed_bfloat16"}
    convolution, norm = keras.layers.Conv2D(4, 3, padding="same", **policy), keras.layers.BatchNormalization(**policy)
    layers = [convolution, norm, keras.layers.Conv2D(2, 1, **policy)]
    model = keras.Sequential([keras.Input((None, None, 3)), *layers])
    convolution.trainable = norm.trainable = False
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(rng.uniform(0.5, 1, weight.shape))
    wide = in_float32(model)
    assert [layer.compute_dtype for layer in wide.layers] == ["float32"] * 3
    for layer, kept in zip(wide.layers, layers, strict=True):
        for weight, expected in zip(layer.weights, kept.weights, strict=True):
            assert weight.name == expected.name
            np.testing.assert_array_equal(weight, expected)


def test_a_frozen_network_is_exported(model, photographs, tmp_path):
    model.trainable = False
    assert difference(saved_model(model, tmp_path / "1"), model, photographs) < 1e-6


@pytest.fixture
def channels_first():
    """A model of images with their channels last, while Keras is set to the other way."""
    keras.config.set_image_data_format("channels_first")
    options = {"padding": "same", "data_format": "channels_last", "kernel_initializer": "orthogonal"}
    layers = [keras.layers.Rescaling(1 / 64), keras.layers.Conv2D(3, 3, **options)]
    yield keras.Sequential([keras.Input((None, None, 3)), *layers])
    keras.config.set_image_data_format("channels_last")


@pytest.mark.parametrize("name", WRITERS)
def test_keras_may_be_set_to_channels_first(channels_first, photographs, tmp_path, name):
    assert difference(WRITERS[name](channels_first, tmp_path / name), channels_first, photographs) < 1e-6


@pytest.mark.parametrize("name", WRITERS)
def test_other_things_than_models_and_class_tables_are_refused(model, tmp_path, name):
    with pytest.raises(ValueError, match="model must be a Keras model, got str: load a file with keras.models.load_mo"):
        WRITERS[name]("best.keras", tmp_path / name)
    for classes in (["sky", "sea", "sand"], {"sky": 0}, "classes.txt"):
        with pytest.raises(ValueError, match="classes must be a keras_cacnet.datasets.ClassTable, got (list|dict|str)"):
            WRITERS[name](model, tmp_path / name, classes)
    with pytest.raises(TypeError, match="positional arguments"):
        WRITERS[name](model, tmp_path / name, None, True)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_protocol_is_refused(model, tmp_path):
    for other in ((0.5, 1.0), True, "0.5,1.0"):
        with pytest.raises(ValueError, match="multiscale must be a keras_cacnet.evaluation.Protocol, got"):
            saved_model(model, tmp_path / "1", multiscale=other)


def test_verify_refuses_what_is_no_model(tmp_path):
    with pytest.raises(ValueError, match="model must be a Keras model, got str"):
        verify(tmp_path, "best.keras", [])


@pytest.mark.parametrize("size", [5, (5,), (5, 5, 5), (0, 5), (5, -1), (5.0, 5), ("5", "5"), (True, 5), "55", {5, 6}])
def test_what_is_no_size_is_refused(size):
    with pytest.raises(ValueError, match="shape must be a height and a width from 1 on, in pixels, got"):
        require_size(size, "shape")


def test_sizes_may_be_of_numpy():
    assert require_size(np.array([5, 6]), "size") == (5, 6)
    assert require_size((np.int64(5), 6), "size") == (5, 6)


def test_a_network_for_one_size_is_told_the_formats_for_it(tmp_path):
    network = kc.CaCNet(2, backbone="resnet14_narrow", head_channels=4, reweighting="fc", input_size=(32, 32))
    with pytest.raises(ValueError, match="takes only images of 32x32; .* a TFLite or an ONNX file, which may"):
        saved_model(network, tmp_path / "1")
    assert export_size(network, None) == (32, 32)
    # Of as many positions as 32x32.
    assert export_size(network, (25, 32)) == (25, 32)
