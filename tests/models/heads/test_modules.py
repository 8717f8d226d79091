"""Table 6's alternatives inside CaCNet: their place, training, costs, other backends, and the one size of "fc"."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_cacnet as kc
from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.evaluation import evaluate, predict_files
from keras_cacnet.models.heads import HEAD_LAYERS
from keras_cacnet.models.heads.modules import reweighting_layer
from keras_cacnet.models.settings import REWEIGHTINGS
from keras_cacnet.paper.costs import costs
from small_networks import random_statistics, small_backbone

ALTERNATIVES = tuple(name for name in REWEIGHTINGS if name not in ("cac", "none"))
CLASSES = ClassTable(("a", "b", "c", "d"), ((0, 0, 0), (90, 0, 0), (0, 90, 0), (0, 0, 90)), ids=(0, 1, 2, 3))


def network_of(name, **settings):
    """64 channels leave SE-Net's bottleneck 4."""
    settings = {"input_size": (32, 40), **settings} if name == "fc" else settings
    settings = {"head_channels": 64 if name == "se" else 8, "reweighting": name, **settings}
    return kc.CaCNet(4, backbone=small_backbone(), **settings)


def images(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3)).astype("uint8")


@pytest.fixture(scope="module")
def networks():
    made = {name: network_of(name) for name in ALTERNATIVES}
    for network in made.values():
        random_statistics(network)
    return made


@pytest.mark.parametrize("name", ALTERNATIVES)
def test_it_stands_where_cac_stands(networks, name):
    """Assembled anew from the sub-layers; `weighting_maps` shows what the forward pass does."""
    network, x = networks[name], images(2, 30, 40).astype("float32")
    part = {layer.name: layer for layer in network.decoder.layers}
    padded = np.pad(x, ((0, 0), (0, 2), (0, 0), (0, 0)), "edge")
    reduced = part["reduction_norm"](part["reduction_conv"](network.backbone(padded)["P5"]))
    reduced = tf.nn.relu(reduced)
    assert reduced.shape == (2, 4, 5, network.head_channels)
    before = [tf.nn.relu(part[f"head_{i}_norm"](part[f"head_{i}_conv"](reduced))) for i in (1, 2)]
    heads = [part[f"head_{i}_{name}"](features) for i, features in enumerate(before, start=1)]
    joined = tf.concat([*heads, part["pooling"](reduced)], axis=-1)
    logits = tf.image.resize(part["classifier"](joined), (32, 40))[:, :30]
    # The same arithmetic in another order of float32 sums.
    assert np.allclose(network(x), logits, rtol=1e-4, atol=1e-4)
    maps = network.weighting_maps(x)
    assert list(maps) == ["head_1", "head_2"]
    for head, features, product in zip(maps.values(), before, heads, strict=True):
        assert {key: value.shape for key, value in head.items()} == dict.fromkeys(("X", "W", "X*"), features.shape)
        assert np.allclose(head["X"], features, rtol=1e-4, atol=1e-4)
        assert np.allclose(head["X"] * head["W"], product, rtol=1e-4, atol=1e-4)
        assert (np.ptp(head["W"], axis=(1, 2)).max() == 0) == (name in ("se", "enc"))


@pytest.mark.parametrize("name", ALTERNATIVES)
def test_it_trains_under_the_heads_learning_rate_and_is_saved(tmp_path, name):
    network = network_of(name, synchronized=True)
    head_weights = [weight.path for weight in network.decoder.trainable_variables]
    own = [path for path in head_weights if path.startswith(f"head_1_{name}/")]
    assert own
    assert all(re.search(HEAD_LAYERS, path) for path in own)
    for layer in network.decoder.layers:
        if name == "se" and layer.name.startswith("head_") and layer.name.endswith("_se"):
            # The ReLUs of a bottleneck of 4 may be off for all these images; from here on they cannot.
            layer.squeeze.bias.assign(np.full(layer.squeeze.bias.shape, 3.0))
    before = {weight.path: np.array(weight) for weight in network.decoder.trainable_variables}
    x, y = images(4, 32, 40).astype("float32"), np.random.default_rng(0).integers(0, 4, (4, 32, 40))
    # Weight decay would move a weight that no gradient reaches.
    network.compile(kc.optimizers.SGD(0.05, weight_decay=0.0), kc.losses.SegmentationCrossentropy(), jit_compile=False)
    losses = network.fit(x, y, batch_size=4, epochs=6, verbose=0, shuffle=False).history["loss"]
    assert losses[-1] < losses[0]
    for weight in network.decoder.trainable_variables:
        assert np.any(before[weight.path] != weight), weight.path
    network.save(tmp_path / "network.keras")
    restored = keras.models.load_model(tmp_path / "network.keras")
    assert np.array_equal(restored(x), network(x))
    assert restored.get_config() == network.get_config()


@pytest.mark.parametrize("name", ALTERNATIVES)
def test_half_precision_and_unknown_sizes(name):
    network = network_of(name, dtype="mixed_bfloat16")
    function = tf.function(network, input_signature=[tf.TensorSpec((None, None, None, 3), tf.float32)])
    for size in ((32, 40),) if name == "fc" else ((32, 40), (17, 23)):
        x = images(2, *size).astype("float32")
        logits = function(x)
        assert logits.dtype == tf.float32
        # bfloat16 keeps 8 bits, and both ways round at other places.
        assert np.allclose(logits, network(x), rtol=0.05, atol=0.05 * float(np.abs(logits).max()))
    # X * W, up to 3 X, is the one that goes on in float32.
    parts = {part: network.decoder.get_layer(f"head_1_{part}").compute_dtype for part in ("conv", name)}
    assert parts == {"conv": "bfloat16", name: "float32"}


@pytest.mark.parametrize("name", ALTERNATIVES)
def test_costs_are_counted(networks, name):
    counted = costs(networks[name], 32, 40)["heads"]
    c, n, s = networks[name].head_channels, 4 * 5, 3
    parameters, products = {
        "fixed": (s * s * c, 0),
        "fc": (n * s * s * c + 2 * c, n * s * s * c),
        "gap": (s * s * c * c + 2 * c, s * s * c * c),
        "se": (c * c // 8 + c // 16 + c, c * c // 8),
        "enc": (2 * c * c + 3 * c + 32 * c + 96, (c * c + 2 * 32 * c) * n + c * c),
    }[name]
    convolution = 9 * c * c
    assert counted.parameters == 2 * (convolution + 2 * c + parameters)
    if name in ("se", "enc"):
        assert counted.multiply_adds == 2 * (convolution * n + products)
    else:
        # Dilated maps are cut into phases: 4x5 positions become 4x6 at rate 2 and 6x6 at rate 3.
        taps = s * s * c * (4 * 5 + 4 * 6 + 6 * 6)
        assert counted.multiply_adds == 2 * (convolution * n + products + taps)


JAX = """
import sys
for absent in ("tensorflow", "keras_cv", "keras_hub", "tensorflow_datasets"):
    sys.modules[absent] = None
import keras, numpy as np, keras_cacnet
folder = sys.argv[1]
case = np.load(folder + "/case.npz")
chain = keras.models.load_model(folder + "/chain.keras")
error = np.abs(np.asarray(chain(case["x"])) - case["y"]).max() / np.abs(case["y"]).max()
assert error < 1e-4, error
chain.compile(keras.optimizers.SGD(0.1), "mse")
before = [np.asarray(weight) for weight in chain.trainable_variables]
losses = chain.fit(case["x"], 0.3 * case["x"], epochs=5, verbose=0).history["loss"]
assert losses[-1] < losses[0], losses
assert not any(np.array_equal(a, b) for a, b in zip(before, chain.trainable_variables))
print(keras.backend.backend())
"""


@pytest.mark.slow
def test_under_jax_they_load_and_train(tmp_path, run_on_jax):
    """All of them in a row, saved under TensorFlow with batch norms that are synchronised there."""
    keras.utils.set_random_seed(0)
    settings = {"kernel_size": 3, "dilation_rates": (1, 2), "dtype": "float32"}
    layers = [
        reweighting_layer(name, positions=(4, 5), synchronized=True, name=name, **settings) for name in ALTERNATIVES
    ]
    chain = keras.Sequential([keras.Input((None, None, 32)), *layers])
    random_statistics(chain)
    x = np.random.default_rng(0).normal(size=(4, 4, 5, 32)).astype("float32")
    np.savez(tmp_path / "case.npz", x=x, y=chain(x))
    chain.save(tmp_path / "chain.keras")
    assert run_on_jax(JAX, tmp_path) == "jax\n"


def test_fc_refuses_other_sizes_and_names_both(networks, tmp_path):
    network = networks["fc"]
    told = "only images of 32x40 pixels.*got 40x32"
    assert kc.evaluation.ids(network, images(32, 40)).shape == (32, 40)
    assert kc.evaluation.ids(network, images(25, 33)).shape == (25, 33)  # padded to 32x40
    with pytest.raises(ValueError, match=told):
        kc.evaluation.ids(network, images(40, 32))
    with pytest.raises(ValueError, match=told):
        costs(network, 40, 32)
    mask = np.zeros((1, 40, 32), "uint8")
    batches = [(images(1, 32, 40), mask.reshape(1, 32, 40)), (images(1, 40, 32), mask)]
    with pytest.raises(ValueError, match=f"image 1: .*{told}"):
        evaluate(network, batches, CLASSES, progress=False)
    with pytest.raises(ValueError, match="only images of 32x40.*any size"):
        kc.export.saved_model(network, tmp_path / "1")
    with pytest.raises(ValueError, match="4x5 positions.*got features of 5x4"):
        network(images(1, 40, 32).astype("float32"))
    keras.utils.save_img(tmp_path / "right.png", images(32, 40), scale=False)
    keras.utils.save_img(tmp_path / "wrong.png", images(40, 32), scale=False)
    files = [tmp_path / "right.png", tmp_path / "wrong.png"]
    (failure,) = predict_files(network, files, tmp_path / "out", CLASSES, weighting=True, progress=False)
    assert re.search(rf"wrong\.png: .*{told}", failure)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"reweighting": "senet"}, "reweighting must be one of cac, .*, enc, none, got 'senet'; did you mean se"),
        ({"reweighting": "fc", "input_size": None}, "reweighting='fc' .*needs input_size"),
        ({"reweighting": "fc", "input_size": (32, 0)}, r"from 1 on, in pixels, got \(32, 0\)"),
        ({"reweighting": "se", "input_size": 32}, "input_size=32 goes with reweighting='fc' only"),
    ],
)
def test_bad_settings_are_named(settings, told):
    with pytest.raises(ValueError, match=told):
        network_of(settings["reweighting"], **settings)


def test_none_is_cac_with_the_modules_taken_out():
    """This project's control: the heads' 3x3 convolutions, and nothing that re-weights."""
    control, cac = network_of("none"), network_of("cac")
    random_statistics(cac)
    modules = [layer for layer in cac.decoder.layers if isinstance(layer, kc.CaCLayer)]
    assert len(modules) == 2
    taken_out = sum(module.count_params() for module in modules)
    assert control.count_params() == cac.count_params() - taken_out
    kept = [weight for weight in cac.weights if not re.search(r"head_\d_cac/", weight.path)]
    assert [weight.path for weight in control.weights] == [weight.path for weight in kept]
    control.set_weights([np.array(weight) for weight in kept])
    x = images(2, 30, 40).astype("float32")
    part = {layer.name: layer for layer in cac.decoder.layers}
    features = cac.backbone(np.pad(x, ((0, 0), (0, 2), (0, 0), (0, 0)), "edge"))["P5"]
    before = keras.Model(cac.decoder.input, [part["head_1_relu"].output, part["head_2_relu"].output])(features)
    reduced = keras.Model(cac.decoder.input, part["reduction_relu"].output)(features)
    logits = part["classifier"](tf.concat([*before, part["pooling"](reduced)], axis=-1))
    # The same arithmetic in another order of float32 sums.
    assert np.allclose(control(x), tf.image.resize(logits, (32, 40))[:, :30], rtol=1e-4, atol=1e-4)
    assert not np.allclose(control(x), cac(x), rtol=1e-2, atol=1e-2)
    with pytest.raises(ValueError, match="reweighting='none': there is no weighting"):
        control.weighting_maps(x)
    with pytest.raises(ValueError, match="no layer for reweighting='none'"):
        reweighting_layer("none")
