"""Training on outputs by name: every form in which Keras takes losses, masks and images, or a refusal with the mend."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_cacnet as kc
from keras_cacnet.models import SegmentationNetwork
from keras_cacnet.models.heads import EncHead

CLASSES = 3
LOSS = kc.losses.SegmentationCrossentropy()


def build(backbone):
    keras.utils.set_random_seed(1)
    return SegmentationNetwork(CLASSES, EncHead(8, 4), backbone=backbone, dropout=0.0)


@pytest.fixture
def network(small_backbone):
    return build(small_backbone)


@pytest.fixture(scope="module")
def losses(small_backbone):
    """What two steps of a plain `fit` come to, and the logits after them."""
    network = compiled(build(small_backbone))
    found = network.fit(images(), masks(), batch_size=2, shuffle=False, verbose=0).history["loss"]
    return found, np.array(network(images()))


def images():
    return np.random.default_rng(0).uniform(0, 255, (4, 32, 40, 3)).astype("float32")


def masks():
    return np.random.default_rng(0).integers(0, CLASSES, (4, 32, 40))


def compiled(network, loss=LOSS, **settings):
    network.compile(kc.optimizers.SGD(0.05), loss, **{"jit_compile": False, **settings})
    return network


def test_a_loop_of_ones_own_has_the_loss_of_fit(network):
    outputs = network({"images": images()}, training=True)
    assert sorted(outputs) == ["auxiliary", "logits", "presence"]
    assert network(images(), training=True).shape == network({"images": images()}).shape == (4, 32, 40, CLASSES)
    compiled(network)
    wanted = float(network.compute_loss(images(), masks(), outputs))
    assert wanted > float(LOSS(masks(), outputs["logits"])) + 0.1
    # The sum of the same float32 terms.
    assert network.train_on_batch(images(), masks()) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize(
    ("settings", "call"),
    [
        ({"loss": [LOSS]}, {}),
        ({"loss": {"resize": LOSS}}, {"y": {"resize": masks()}}),
        ({}, {"x": {"images": images()}}),
        ({}, {"sample_weight": np.ones((4, 32, 40))}),
        ({}, {"sample_weight": np.ones(4)}),
        ({"run_eagerly": True}, {}),
        ({"steps_per_execution": 2}, {}),
        ({"loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)}, {}),
    ],
    ids=["list", "dict", "named images", "pixel weights", "image weights", "eager", "steps per execution", "Keras'"],
)
def test_every_form_that_keras_takes_is_the_same_training(network, losses, settings, call):
    call = {"x": images(), "y": masks(), **call}
    found = compiled(network, **settings).fit(**call, batch_size=2, shuffle=False, verbose=0).history["loss"]
    # The same float32 steps; several threads, and eager calls, sum in another order.
    assert found == pytest.approx(losses[0], rel=1e-5)
    assert np.allclose(network(images()), losses[1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"loss": "sparse_categorical_crossentropy"}, "one keras.losses.Loss object.*'sparse_categorical_cross"),
        ({"loss": lambda y, logits: 0.0}, "one keras.losses.Loss object.*SegmentationCrossentropy"),
        ({"loss": [LOSS, LOSS]}, "one keras.losses.Loss object"),
        ({"loss": {"logits": LOSS}}, "one keras.losses.Loss object"),
        ({"loss": keras.losses.SparseCategoricalCrossentropy()}, "takes probabilities.*from_logits=True"),
        ({"loss_weights": [0.5]}, r"loss_weights=\[0.5\].*auxiliary_weight and se_loss_weight"),
        ({"metrics": [keras.metrics.MeanIoU(CLASSES)]}, "takes class ids.*sparse_y_pred=False"),
        ({"weighted_metrics": [keras.metrics.MeanIoU(CLASSES)]}, "takes class ids.*sparse_y_pred=False"),
    ],
)
def test_compile_refuses_what_would_be_wrong(network, settings, told):
    with pytest.raises(ValueError, match=told):
        compiled(network, **settings)


def test_fit_refuses_what_has_no_meaning_for_masks(network):
    compiled(network)
    with pytest.raises(ValueError, match=r"sample_weight of the masks' shape \(B, H, W\)"):
        network.fit(images(), masks(), class_weight={0: 1.0, 1: 2.0, 2: 1.0}, verbose=0)
    with pytest.raises(ValueError, match=r"sample_weight of the masks' shape \(B, H, W\)"):
        network.train_on_batch(images(), masks(), class_weight={0: 1.0})
    with pytest.raises(ValueError, match="one output, and got masks or weights for 2"):
        network.compute_loss(y=[masks(), masks()], y_pred=network({"images": images()}, training=True))
    with pytest.raises(ValueError, match="with only the images, not by name"):
        network({"images": keras.Input((None, None, 3))})
    with pytest.raises(ValueError, match="there is no loss: compile with"):
        SegmentationNetwork.compute_loss(SegmentationNetwork.from_config(network.get_config()), y=masks())


def test_evaluation_and_prediction_know_of_the_logits_only(network):
    compiled(network, metrics=[kc.metrics.MeanIoU(CLASSES)], weighted_metrics=["accuracy"])
    expected = float(LOSS(masks(), network(images())))
    assert network.test_on_batch(images(), masks())[0] == pytest.approx(expected, rel=1e-6)
    assert network.predict_on_batch(images()).shape == (4, 32, 40, CLASSES)
    named = tf.data.Dataset.from_tensor_slices(({"images": images()}, masks())).batch(4)
    assert network.evaluate(named, return_dict=True, verbose=0)["loss"] == pytest.approx(expected, rel=1e-6)
    history = network.fit(images(), masks(), validation_split=0.5, verbose=0).history
    names = ("loss", "mean_iou", "accuracy")
    assert set(history) == {*names, *(f"val_{name}" for name in names)}


@pytest.mark.parametrize("shape", [(4, 1, 1), (4, 1, 1, 1)])
def test_weights_of_images_have_any_form_on_a_coarser_grid_too(small_backbone, shape):
    weights, found = np.array([0.5, 1.0, 0.0, 2.0]), []
    network = SegmentationNetwork(CLASSES, "fcn", backbone=small_backbone, dropout=0.0, loss_stride=4)
    start = network.get_weights()
    for given in (weights, weights.reshape(shape)):
        network.set_weights(start)
        compiled(network)
        found.append(network.train_on_batch(images(), masks(), sample_weight=given))
    assert found[0] == pytest.approx(found[1], rel=1e-6)
