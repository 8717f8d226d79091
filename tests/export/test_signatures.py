"""The signatures that take images as numbers, served without Keras."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_cacnet import evaluation
from keras_cacnet.evaluation import Protocol, scores
from keras_cacnet.evaluation.class_ids import BAND
from keras_cacnet.export import saved_model

SIZES = [(1, 33, 47), (2, 64, 48), (3, 17, 96), (1, 33, 47)]


@pytest.mark.parametrize(("signature", "dtype"), [("serving_default", "uint8"), ("serve_float", "float32")])
def test_sizes_and_batches_change_from_call_to_call(serve, photograph, assert_as_keras, signature, dtype):
    for count, height, width in SIZES:
        images = np.stack([photograph(height, width, seed) for seed in range(count)]).astype(dtype)
        result = serve(signature, images)
        assert result.keys() == {"class_ids", "probabilities"}
        assert result["probabilities"].dtype == np.float32
        assert_as_keras(images, result["class_ids"], result["probabilities"])


def test_class_ids_alone_are_those_beside_probabilities(serve, photograph):
    for count, height, width in [*SIZES, (1, 2 * BAND + 5, 40)]:
        images = np.stack([photograph(height, width, seed) for seed in range(count)])
        result = serve("serve_class_ids", images)
        assert result.keys() == {"class_ids"}
        assert result["class_ids"].dtype == np.int32
        np.testing.assert_array_equal(result["class_ids"], serve("serving_default", images)["class_ids"])
    assert serve("serve_class_ids", np.full((1, 1, 1, 3), 70))["class_ids"].shape == (1, 1, 1)


@pytest.mark.parametrize("signature", ["serving_default", "serve_float", "serve_multiscale"])
def test_a_single_pixel_is_an_image(serve, cacnet, signature):
    images = np.full((1, 1, 1, 3), 70)
    result = serve(signature, images)
    assert result["class_ids"].shape == (1, 1, 1)
    expected = keras.ops.softmax(cacnet(images.astype("float32"), training=False))
    np.testing.assert_allclose(result["probabilities"], expected, rtol=0, atol=1e-5)


def test_floats_are_not_rounded(serve, photograph, assert_as_keras):
    images = photograph(32, 40)[np.newaxis].astype("float32") * 0.37
    result = serve("serve_float", images)
    assert_as_keras(images, result["class_ids"], result["probabilities"])
    assert not np.array_equal(serve("serve_float", np.round(images))["probabilities"], result["probabilities"])


def test_camvid(serve, assert_as_keras, shared_data):
    from keras_cacnet.datasets.reading import read_image

    for file in sorted((shared_data / "camvid" / "images" / "val").glob("*.jpg"))[:2]:
        images = read_image(file)[np.newaxis, :243, :321]
        result = serve("serving_default", images)
        assert_as_keras(images, result["class_ids"], result["probabilities"])


SIGNATURES = ("serving_default", "serve_class_ids", "serve_float", "serve_multiscale")


@pytest.mark.parametrize("signature", SIGNATURES)
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 0, 0, 3), "1 images of 0x0 pixels: there is nothing to segment"),
        ((1, 7, 0, 3), "1 images of 7x0 pixels: there is nothing to segment"),
        ((0, 8, 9, 3), "0 images of 8x9 pixels: there is nothing to segment"),
        ((1, 8, 8, 5), r"\[1,8,8,5\] is not compatible .*(.|\n)*images_must_be_batch_height_width_3"),
        ((1, 8, 8, 1), r"\[1,8,8,1\] is not compatible .*(.|\n)*images_must_be_batch_height_width_3"),
        ((8, 8, 3), r"\[8,8,3\] is not compatible .*(.|\n)*images_must_be_batch_height_width_3"),
    ],
)
def test_other_shapes_are_refused(serve, signature, shape, message):
    with pytest.raises(RuntimeError, match=message):
        serve(signature, np.zeros(shape))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "the images have values that are not finite"),
        (np.inf, "the images have values that are not finite"),
        (-np.inf, "the images have values that are not finite"),
        (-3.5, r"values go from -3.5 to 90, those of images in 0..255: clip or rescale them"),
        (256, r"values go from 7 to 256, those of images in 0..255: clip or rescale them"),
        (3e38, r"values go from 7 to 3e\+38"),
    ],
)
def test_a_value_that_no_image_has_is_refused(serve, value, message):
    images = np.linspace(7, 90, 2 * 8 * 9 * 3, dtype="float32").reshape(2, 8, 9, 3)
    assert serve("serve_float", images)["class_ids"].shape == (2, 8, 9)
    images[1, 4, 4, 1] = value
    with pytest.raises(RuntimeError, match=message):
        serve("serve_float", images)


def test_the_ends_of_the_range_are_images(serve, assert_as_keras, photograph):
    images = photograph(24, 30)[np.newaxis].astype("float32")
    images[0, :2] = 0
    images[0, 2:4] = 255
    result = serve("serve_float", images)
    assert_as_keras(images, result["class_ids"], result["probabilities"])


def compare(model, serve, images, protocol):
    result = serve(images)
    for image, ids, probabilities in zip(images, result["class_ids"], result["probabilities"], strict=True):
        expected = scores(model, image, protocol)
        expected = expected / expected.sum(axis=-1, keepdims=True)
        np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-5)
        best = np.sort(expected, axis=-1)
        clear = best[..., -1] - best[..., -2] > 2e-5
        assert clear.mean() > 0.95
        np.testing.assert_array_equal(np.asarray(ids)[clear], evaluation.ids(model, image, protocol)[clear])
        # Else equality would prove nothing.
        assert np.ptp(expected, axis=(0, 1)).max() > 0.03


def test_scores_are_those_of_evaluation_where_keras_cannot_be_imported(cacnet, serve, photograph, protocol):
    for height, width in [(33, 47), (64, 48), (41, 90)]:
        images = np.stack([photograph(height, width, seed) for seed in range(2)])
        compare(cacnet, lambda images: serve("serve_multiscale", images), images, protocol)


@pytest.mark.parametrize(
    "protocol",
    [
        Protocol((0.5, 0.75, 1.3), flip=False, fusion="exp_sum"),
        Protocol((1 / 3, 2.0), flip=True, fusion="exp_sum"),
        Protocol((0.75, 1.0), flip=True, base_size=52),
        Protocol(),
    ],
    ids=str,
)
def test_every_protocol_without_windows(model, photograph, tmp_path, protocol):
    loaded = tf.saved_model.load(saved_model(model, tmp_path / "1", multiscale=protocol))
    signature = loaded.signatures["serve_multiscale"]
    for height, width in [(33, 50), (50, 33)]:
        images = np.stack([photograph(height, width, seed) for seed in range(2)])
        compare(model, lambda images: signature(images=images), images, protocol)
    assert signature(images=photograph(1, 7)[np.newaxis])["class_ids"].shape == (1, 1, 7)


def test_windows_are_refused(model, tmp_path):
    with pytest.raises(ValueError, match="crop_size=64 asks for windows; an export shows every scaled image whole"):
        saved_model(model, tmp_path / "1", multiscale=Protocol((0.5, 1.0), crop_size=64))
    assert not (tmp_path / "1").exists()


@pytest.mark.parametrize(
    ("factor", "protocol", "message"),
    [
        (np.nan, Protocol((1.0,), flip=True), "logits that are not finite for this image"),
        (1e4, Protocol((1.0,), fusion="exp_sum"), "the logits are too large for the fusion exp_sum"),
    ],
)
def test_scores_that_are_no_numbers_fail_the_request(model, photograph, tmp_path, factor, protocol, message):
    model.set_weights([factor * weight for weight in model.get_weights()])
    loaded = tf.saved_model.load(saved_model(model, tmp_path / "1", multiscale=protocol))
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        loaded.signatures["serve_multiscale"](images=photograph(20, 20)[np.newaxis])


def test_it_is_written_where_it_is_asked_for(model, tmp_path):
    loaded = tf.saved_model.load(saved_model(model, tmp_path / "1"))
    assert set(loaded.signatures) == {"serving_default", "serve_class_ids", "serve_float", "serve_encoded"}
