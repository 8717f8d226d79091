"""`SegmentationNetwork` with every head: training, saving, export, JAX, bad settings."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_cacnet as kc
from keras_cacnet.models import SegmentationNetwork
from keras_cacnet.models.heads import HEAD_LAYERS, HEADS, APCHead, CaCHead, DMHead, EncHead, FCNHead, PSPHead
from keras_cacnet.models.heads.apcnet import RegionGathering
from keras_cacnet.models.heads.dmnet import DynamicFiltering
from keras_cacnet.models.saving import seed_states

SMALL = {
    "cacnet": CaCHead(8),
    "fcn": FCNHead(8),
    "apcnet": APCHead(8, (1, 2)),
    "dmnet": DMHead(8, (1, 3), module_conv=True, fusion_conv=False),
    "encnet": EncHead(8, 4),
    "pspnet": PSPHead(8, (1, 3)),
}
# "cacnet" is what tests/models/test_cacnet.py is about.
every = pytest.mark.parametrize("name", [name for name in SMALL if name != "cacnet"])


@pytest.fixture
def network_of(small_backbone):
    def make(name, **settings):
        keras.utils.set_random_seed(1)
        network = SegmentationNetwork(4, SMALL[name], backbone=small_backbone, **settings)
        for weight in network.variables:
            # No ReLU behind these is off for all positions, so that gradients reach every weight.
            if weight.path.endswith("/beta"):
                weight.assign(np.full(weight.shape, 1.0))
        return network

    return make


def images(*shape, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (*shape, 3)).astype("float32")


def test_the_small_heads_are_all_heads():
    assert {name: type(head) for name, head in SMALL.items()} == HEADS


@pytest.mark.parametrize(
    "name",
    [name if name == "apcnet" else pytest.param(name, marks=pytest.mark.slow) for name in SMALL if name != "cacnet"],
)
def test_every_weight_trains_and_is_saved_and_exported(network_of, name, tmp_path):
    network = network_of(name, synchronized=True)
    before = {weight.path: np.array(weight) for weight in network.trainable_variables}
    x, y = images(4, 32, 40), np.random.default_rng(0).integers(0, 4, (4, 32, 40)).astype("uint8")
    y[:, :4] = 255
    network.compile(
        # Weight decay would move a weight that no gradient reaches.
        kc.optimizers.SGD(0.02, weight_decay=0.0, multipliers=[(HEAD_LAYERS, 2.0)]),
        kc.losses.SegmentationCrossentropy(),
        metrics=[kc.metrics.MeanIoU(4)],
        jit_compile=False,
    )
    history = network.fit(x, y, batch_size=4, epochs=4, verbose=0, shuffle=False).history
    assert set(history) == {"loss", "mean_iou"}
    assert history["loss"][-1] < history["loss"][0]
    for weight in network.trainable_variables:
        assert np.any(before[weight.path] != weight), weight.path
        inside = weight.path.startswith(("p3/", "p4/", "p5/"))
        assert bool(re.search(HEAD_LAYERS, weight.path)) != inside, weight.path
        assert network.optimizer.factor(weight.path) == (1.0 if inside else 2.0)
    network.save(tmp_path / "network.keras")
    restored = keras.models.load_model(tmp_path / "network.keras")
    logits = network(x)
    assert np.array_equal(restored(x), logits)
    assert restored.get_config() == network.get_config()
    assert restored.head == SMALL[name]
    states = [np.array(seed_states(one)["decoder.classifier_dropout"]) for one in (restored, network)]
    assert np.array_equal(*states)
    kc.export.saved_model(network, tmp_path / "1")
    served = tf.saved_model.load(tmp_path / "1")
    for size in ((32, 40), (17, 23)):
        x = images(2, *size).astype("uint8")
        result = served.signatures["serving_default"](images=tf.constant(x))
        # The same arithmetic in another order of float32 sums.
        assert np.allclose(result["probabilities"], tf.nn.softmax(network(x)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "shapes"),
    [(RegionGathering, ((2, 6, 5, 36), (2, 6, 6, 3))), (DynamicFiltering, ((2, 6, 5, 3), (2, 7, 7, 3)))],
)
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float16"])
def test_sums_are_in_float32(layer, shapes, policy):
    half = layer(dtype=policy)
    inputs = [tf.cast(np.random.default_rng(i).normal(size=s) + 1, half.compute_dtype) for i, s in enumerate(shapes)]
    exact = np.asarray(layer(dtype="float64")([tf.cast(x, "float64") for x in inputs]))
    unit = 2.0**-11 if policy == "float16" else 2.0**-8
    # One rounding to half precision, of the result; float32 sums leave the rest.
    assert np.all(np.abs(tf.cast(half(inputs), tf.float64) - exact) <= 1.01 * unit * np.abs(exact) + 1e-5)
    assert half(inputs).dtype == half.compute_dtype


JAX = """
import sys
for absent in ("tensorflow", "keras_cv", "keras_hub", "tensorflow_datasets"):
    sys.modules[absent] = None
import keras, numpy as np, keras_cacnet as kc
folder, names = sys.argv[1], sys.argv[2:]
case = np.load(folder + "/case.npz")
for name in names:
    model = keras.models.load_model(f"{folder}/{name}.keras")
    logits = model.predict(case["odd"], verbose=0)
    error = np.abs(logits - case[name]).max() / np.abs(logits).max()
    assert error < 1e-4, (name, error)
    if name == "encnet":
        before = [np.asarray(weight) for weight in model.trainable_variables]
        model.compile(kc.optimizers.SGD(0.02, weight_decay=0.0), kc.losses.SegmentationCrossentropy())
        losses = model.fit(case["x"], case["y"], epochs=3, verbose=0).history["loss"]
        assert losses[-1] < losses[0], losses
        assert not any(np.array_equal(a, b) for a, b in zip(before, model.trainable_variables))
print(keras.backend.backend())
"""


@pytest.mark.slow
def test_saved_under_tensorflow_they_load_under_jax(network_of, tmp_path, run_on_jax):
    case = {
        "x": images(2, 32, 40),
        "odd": images(1, 17, 9),
        "y": np.random.default_rng(0).integers(0, 4, (2, 32, 40)),
    }
    for name in SMALL:
        network = network_of(name, synchronized=True)
        network.save(tmp_path / f"{name}.keras")
        case[name] = network(case["odd"])
    np.savez(tmp_path / "case.npz", **case)
    assert run_on_jax(JAX, tmp_path, *SMALL) == "jax\n"


def test_a_head_by_name_has_its_defaults(small_backbone):
    network = SegmentationNetwork(4, "encnet", backbone=small_backbone)
    assert network.head == EncHead(512, 32, 0.2)
    assert network.se_loss_weight == 0.2
    assert network.decoder.get_layer("classifier").kernel.shape == (1, 1, 512, 4)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: SegmentationNetwork(4, "psp-net"), "no head 'psp-net'; did you mean pspnet"),
        (lambda: SegmentationNetwork(4, 512), "give one of cacnet, fcn, .*or an instance of Head"),
        (lambda: SegmentationNetwork(0, "fcn"), "num_classes must be a whole number from 2 on, got 0"),
        (lambda: PSPHead(pool_sizes=()), "pool_sizes must be a sequence of at least one whole number"),
        (lambda: PSPHead(pool_sizes=(1, 0)), r"pool_sizes must be whole numbers from 1 on, got \(1, 0\)"),
        (lambda: APCHead(pool_sizes=3), "got 3"),
        (lambda: APCHead(channels=0), "channels must be a whole number from 1 on, got 0"),
        (lambda: DMHead(kernel_sizes=(1, 4)), r"one of \(1, 3, 5, 7\), got 4"),
        (lambda: EncHead(codewords=0), "codewords must be a whole number from 1 on, got 0"),
        (lambda: CaCHead(reweighting="fc"), "positions.*got positions=None for 'fc'"),
        (lambda: CaCHead(positions=(4, 5)), r"got positions=\(4, 5\) for 'cac'"),
    ],
)
def test_bad_settings_are_named(make, told):
    with pytest.raises(ValueError, match=told):
        make()


@pytest.fixture
def channels_first():
    keras.config.set_image_data_format("channels_first")
    yield
    keras.config.set_image_data_format("channels_last")


@pytest.mark.parametrize(
    "name", ["cacnet", *(pytest.param(name, marks=pytest.mark.slow) for name in SMALL if name != "cacnet")]
)
def test_keras_data_format_changes_nothing(small_backbone, name, tmp_path, request):
    """A network is channels last throughout, where Keras' own default is channels first too."""

    def build():
        keras.utils.set_random_seed(1)
        return SegmentationNetwork(4, SMALL[name], backbone=small_backbone, dropout=0.0)

    network, x = build(), images(2, 17, 24)
    network.save(tmp_path / "network.keras")
    wanted = network({"images": x}, training=False), network({"images": x}, training=True)
    request.getfixturevalue("channels_first")
    restored, again = keras.models.load_model(tmp_path / "network.keras"), build()
    for one in (restored, again):
        assert np.array_equal(one({"images": x}, training=False), wanted[0])
        found = one({"images": x}, training=True)
        assert all(np.array_equal(found[output], wanted[1][output]) for output in wanted[1])
