import gc
import weakref

import keras
import numpy as np
import pytest

import keras_cacnet as kc
from keras_cacnet.evaluation import predict_ids, predict_probabilities

SIZES = [(5, 7), (12, 9), (1, 1), (31, 4)]


def photographs(sizes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (height, width, 3)).astype("uint8") for height, width in sizes]


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def eager_logits(model, image):
    return keras.ops.convert_to_numpy(model(image[None].astype("float32"), training=False))[0].astype("float64")


def test_ids_and_probabilities_equal_what_keras_gives_uncompiled(model):
    for image in photographs(SIZES):
        logits = eager_logits(model, image)
        ids = predict_ids(model, image)
        assert ids.dtype == np.uint8
        np.testing.assert_array_equal(ids, logits.argmax(axis=-1))
        probabilities = predict_probabilities(model, image)
        assert probabilities.dtype == np.float32
        # float32 softmax against float64.
        np.testing.assert_allclose(probabilities, softmax(logits), atol=1e-6)


def test_one_trace_serves_all_sizes(model):
    for image in photographs(SIZES):
        predict_ids(model, image)
    assert model.get_layer("traced").traces == 1
    for image in photographs(SIZES):
        predict_probabilities(model, image)
    assert model.get_layer("traced").traces == 2


def test_models_do_not_share_a_function(build_model):
    image = photographs([(16, 16)])[0]
    for seed in (0, 1):
        model = build_model(seed=seed)
        np.testing.assert_array_equal(predict_ids(model, image), eager_logits(model, image).argmax(axis=-1))


def test_new_weights_are_used_at_once(model):
    image = photographs([(16, 16)])[0]
    before = predict_probabilities(model, image)
    model.set_weights([-weight for weight in model.get_weights()])
    after = predict_probabilities(model, image)
    np.testing.assert_allclose(after, softmax(eager_logits(model, image)), atol=1e-6)
    assert np.abs(after - before).max() > 0.1


def test_a_model_is_let_go_with_its_functions(build_model):
    model = build_model()
    predict_ids(model, photographs([(8, 8)])[0])
    reference = weakref.ref(model)
    del model
    gc.collect()
    assert reference() is None


def test_a_cacnet_predicts_odd_sizes():
    model = kc.CaCNet(5, backbone="resnet14_narrow", head_channels=8)
    for image in photographs([(33, 47), (40, 64)]):
        probabilities = predict_probabilities(model, image)
        np.testing.assert_allclose(probabilities, softmax(eager_logits(model, image)), atol=1e-5)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 3), "float32"),
        np.zeros((4, 4), "uint8"),
        np.zeros((4, 4, 4), "uint8"),
        np.zeros((1, 4, 4, 3), "uint8"),
        np.zeros((0, 4, 3), "uint8"),
    ],
)
def test_other_images_are_refused(model, image):
    with pytest.raises(ValueError, match=r"must be uint8 \(H, W, 3\), RGB and not empty; got (u|f)"):
        predict_ids(model, image)


def test_logits_of_another_size_are_refused():
    small = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(5, 1, strides=2)], name="strided")
    with pytest.raises(ValueError, match=r"'strided' gives logits \(4, 3\) for an image \(8, 6\)"):
        predict_ids(small, np.zeros((8, 6, 3), "uint8"))


def test_logits_that_are_not_finite_are_refused(model):
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    for predict in (predict_ids, predict_probabilities):
        with pytest.raises(ValueError, match="logits that are not finite"):
            predict(model, np.ones((8, 6, 3), "uint8"))


def test_more_classes_than_a_mask_can_hold_are_refused(build_model):
    image = np.ones((4, 4, 3), "uint8")
    assert predict_ids(build_model(num_classes=255), image).shape == (4, 4)
    many = build_model(num_classes=256)
    with pytest.raises(ValueError, match="'small' predicts 256 classes; masks of uint8 hold 255"):
        predict_ids(many, image)
    assert predict_probabilities(many, image).shape == (4, 4, 256)
