"""EncNet's semantic encoding loss: against NumPy, over replicas, and in a network's `fit` alone."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_cacnet as kc
from keras_cacnet.models.heads import CaCHead, EncHead, FCNHead, HeadContext
from keras_cacnet.models.semantic_encoding import classes_present, semantic_encoding_loss

CLASSES = 4


def masks(seed=0):
    """Four masks of few classes each; the last one is void throughout."""
    made = np.random.default_rng(seed).integers(0, 2, (4, 32, 40)).astype("uint8")
    made[1] += 2
    made[2, :, :20] = 3
    made[0, :5] = made[3] = 255
    return made


def reference(labels, scores, ignore=255, weights=None):
    """Image by image and class by class."""
    summed = count = 0.0
    for index, (mask, logits) in enumerate(zip(labels, scores, strict=True)):
        known = {int(value) for value in np.unique(mask) if value < len(logits) and value != ignore}
        if not known:
            continue
        weight = 1.0 if weights is None else weights[index]
        for k, z in enumerate(logits):
            probability = 1 / (1 + np.exp(-z))
            summed -= weight * np.log(probability if k in known else 1 - probability) / len(logits)
        count += weight
    return summed / count if count else 0.0


def test_equals_numpy():
    scores = np.random.default_rng(1).normal(size=(4, CLASSES))
    # Some 16 logarithms in float64, in another form.
    assert float(semantic_encoding_loss(masks(), scores, 255)) == pytest.approx(reference(masks(), scores), rel=1e-12)
    weights = np.array([0.5, 2.0, 0.0, 3.0])
    assert float(semantic_encoding_loss(masks()[..., None], scores, 255, weights)) == pytest.approx(
        reference(masks(), scores, weights=weights), rel=1e-12
    )
    assert float(semantic_encoding_loss(masks(), scores, 3)) == pytest.approx(
        reference(masks(), scores, ignore=3), rel=1e-12
    )
    by_pixel = np.ones(masks().shape)
    by_pixel[2, :, :20] = 0
    hidden = np.where(by_pixel == 0, 255, masks())
    assert float(semantic_encoding_loss(masks(), scores, 255, by_pixel)) == pytest.approx(
        reference(hidden, scores), rel=1e-12
    )
    assert float(semantic_encoding_loss(masks()[3:], scores[3:], 255)) == 0


@pytest.mark.parametrize("tail", [(1,), (1, 1), (32, 40, 1)])
def test_weights_of_other_ranks_are_those_of_the_loss(tail):
    scores = np.random.default_rng(1).normal(size=(4, CLASSES))
    weights = np.random.default_rng(2).uniform(0.5, 2, (4, *tail))
    plain = weights.reshape((4, 32, 40) if 32 in tail else 4)
    for labels in (masks(), masks()[..., None]):
        assert float(semantic_encoding_loss(labels, scores, 255, weights)) == pytest.approx(
            float(semantic_encoding_loss(masks(), scores, 255, plain)), rel=1e-14
        )
    with pytest.raises(ValueError, match=r"got \(4, 32\)"):
        semantic_encoding_loss(masks(), scores, 255, np.ones((4, 32)))


def test_large_scores_neither_overflow_nor_lose_their_gradient():
    scores = tf.Variable([[200.0, -200.0, 200.0, -200.0]])
    with tf.GradientTape() as tape:
        loss = semantic_encoding_loss(np.zeros((1, 2, 2), "uint8"), scores)
    assert float(loss) == pytest.approx(200 / 4)
    # Two classes are right and one is told to be there that is not.
    assert np.array_equal(tape.gradient(loss, scores), [[0, 0, 0.25, 0]])


def test_classes_in_one_traced_function():
    function = tf.function(lambda x: classes_present(x, 3, 1), input_signature=[tf.TensorSpec((None, None, None))])
    assert np.array_equal(function(np.array([[[0, 1.0]], [[2, 255]]])), [[True, False, False], [False, False, True]])


@pytest.fixture
def network_of(small_backbone):
    def make(head=None, **settings):
        keras.utils.set_random_seed(1)
        if head is not None:
            return kc.models.SegmentationNetwork(CLASSES, head, backbone=small_backbone, **settings)
        return kc.CaCNet(CLASSES, backbone=small_backbone, head_channels=8, reweighting="enc", **settings)

    return make


def images(seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (4, 32, 40, 3)).astype("float32")


@pytest.mark.parametrize(
    ("kind", "weight", "auxiliary"),
    [("cacnet", 0.2, 0.2), ("cacnet", 1.0, 0.0), ("one head", 0.2, 0.2), ("encnet", 1.0, 0.0)],
)
def test_it_acts_in_training_alone_at_its_weight(network_of, kind, weight, auxiliary):
    """Against the same network without it: its FC is the last to draw initial values, so that all others agree."""
    loss, losses = kc.losses.SegmentationCrossentropy(), []
    for se_loss_weight in (0.0, weight):
        head = EncHead(8, 4, se_loss_weight) if kind == "encnet" else None
        settings = {} if head else {"se_loss_weight": se_loss_weight, "num_heads": 1 if kind == "one head" else 2}
        network = network_of(head, auxiliary_weight=auxiliary, dropout=0.0, **settings)
        network.compile(keras.optimizers.SGD(0.0), loss)
        losses.append(network.train_on_batch(images(), masks()))
        assert (network.presence is None) == (se_loss_weight == 0)
        expected = float(loss(masks(), network(images())))
        assert network.test_on_batch(images(), masks()) == pytest.approx(expected, rel=1e-6)
    encoding = network.decoder(network.backbone(images(), training=True)["P5"], training=True)["encoding"]
    assert encoding.shape == (4, 16 if kind == "cacnet" else 8)
    scores = np.asarray(network.presence(encoding), "float64")
    # A difference of float32 losses around 2.
    assert losses[1] - losses[0] == pytest.approx(weight * reference(masks(), scores), rel=1e-4, abs=2e-6)


@pytest.mark.slow
def test_every_weight_trains_and_nothing_of_it_leaves_fit(network_of, tmp_path):
    network = network_of(se_loss_weight=0.2, synchronized=True)
    network.compile(kc.optimizers.SGD(0.05, weight_decay=0.0), kc.losses.SegmentationCrossentropy(), jit_compile=False)
    before = {weight.path: np.array(weight) for weight in network.presence.trainable_variables}
    assert set(before) == {"presence/kernel", "presence/bias"}
    network.fit(images(), masks(), batch_size=4, epochs=2, verbose=0)
    assert all(np.all(before[weight.path] != weight) for weight in network.presence.trainable_variables)
    assert network.predict(images(), verbose=0).shape == (4, 32, 40, CLASSES)
    network.save(tmp_path / "network.keras")
    restored = keras.models.load_model(tmp_path / "network.keras")
    assert np.array_equal(restored(images()), network(images()))
    assert np.array_equal(restored.presence.kernel, network.presence.kernel)
    assert restored.get_config() == network.get_config()
    kc.export.saved_model(network, tmp_path / "1")
    exported = {tuple(shape) for _, shape in tf.train.list_variables(str(tmp_path / "1" / "variables" / "variables"))}
    assert tuple(network.decoder.get_layer("classifier").kernel.shape) in exported
    assert tuple(network.presence.kernel.shape) not in exported


REPLICAS = """
import numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras, keras_cacnet as kc
from small_networks import small_backbone
keras.config.set_floatx("float64")
rng = np.random.default_rng(0)
x, y = rng.uniform(0, 255, (4, 32, 32, 3)), rng.integers(0, 4, (4, 32, 32))
y[0] = y[1, 8:] = 255
def trained():
    keras.utils.set_random_seed(1)
    settings = dict(head_channels=4, num_heads=1, reweighting="enc", se_loss_weight=0.2, synchronized=True, dropout=0.0)
    model = kc.CaCNet(4, backbone=small_backbone(), **settings)
    optimizer = kc.optimizers.SGD(0.5)
    model.compile(optimizer, kc.losses.SegmentationCrossentropy(), jit_compile=False)
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(4, drop_remainder=True)
    model.fit(data, epochs=2, verbose=0)
    return {weight.path: np.array(weight.value) for weight in model.variables if "seed" not in weight.path}
one = trained()
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    two = trained()
for path, value in one.items():
    error = np.abs(two[path] - value).max() / max(np.abs(value).max(), 1e-3)
    assert error < 1e-9, (path, error)
"""


@pytest.mark.slow
def test_two_replicas_train_as_one_device():
    """Void is spread unevenly, so means per replica would differ in the first digits; float64 leaves rounding."""
    path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    command = [sys.executable, "-W", "ignore", "-c", REPLICAS]
    result = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_bad_combinations_are_refused_before_anything_is_built(network_of):
    for settings, told in (
        ({"se_loss_weight": 0.2, "num_heads": 0}, "needs heads with reweighting='enc'.*num_heads=0"),
        ({"se_loss_weight": -1.0}, "se_loss_weight must be 0 or more and finite, got -1.0"),
        ({"se_loss_weight": float("nan")}, "got nan"),
    ):
        with pytest.raises(ValueError, match=told):
            network_of(**settings)
    with pytest.raises(ValueError, match="needs heads with reweighting='enc'.*got reweighting='cac'"):
        CaCHead(se_loss_weight=0.2)
    with pytest.raises(ValueError, match="se_loss_weight must be 0 or more and finite, got -0.1"):
        EncHead(se_loss_weight=-0.1)

    class Claiming(FCNHead):
        se_loss_weight = 0.2

    with pytest.raises(ValueError, match="needs an encoding of the image.*only logits"):
        Claiming().decoder(4, HeadContext(3))
    network = network_of(se_loss_weight=0.2, auxiliary_weight=0.0)
    network.compile("sgd", kc.losses.SegmentationCrossentropy())
    with pytest.raises(ValueError, match="needs the outputs presence, and got the logits only"):
        network.compute_loss(images(), masks(), network(images()))
