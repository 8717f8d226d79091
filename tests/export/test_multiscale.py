"""Several scales and mirror images inside the graph, against evaluation."""

import numpy as np
import pytest
import tensorflow as tf

from keras_cacnet import evaluation
from keras_cacnet.evaluation import Protocol, scores
from keras_cacnet.export import saved_model


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
    for height, width in [(33, 50), (50, 33), (1, 7)]:
        images = np.stack([photograph(height, width, seed) for seed in range(2)])
        if height == 1:
            assert signature(images=images)["class_ids"].shape == (2, 1, 7)
        else:
            compare(model, lambda images: signature(images=images), images, protocol)


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
    assert set(loaded.signatures) == {"serving_default", "serve_float", "serve_encoded"}
