"""CaCNet: shapes, assembly against its parts, the auxiliary loss, saving, bad input."""

import itertools
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_cacnet as kc
from keras_cacnet.layers.resize import ResizeLike
from keras_cacnet.models.semantic_encoding import semantic_encoding_loss
from small_networks import random_statistics, small_backbone


def small(**settings):
    keras.utils.set_random_seed(1)
    return kc.CaCNet(4, **{"backbone": small_backbone(), "head_channels": 8, **settings})


def images(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3)).astype("uint8")


@pytest.fixture(scope="module")
def model():
    return random_statistics(small())


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (1, 1), (7, 64), (40, 8)])
def test_logits_have_the_size_of_the_image(model, size):
    logits = model(images(2, *size))
    assert logits.shape == (2, *size, 4)
    assert logits.dtype == tf.float32
    assert np.all(np.isfinite(logits))
    assert np.any(logits != 0)
    assert np.array_equal(logits, model(images(2, *size).astype("float32")))


def test_one_traced_function_takes_every_size_and_batch(model):
    function = tf.function(model, input_signature=[tf.TensorSpec((None, None, None, 3), tf.float32)])
    for shape in [(1, 32, 32), (3, 33, 47), (2, 16, 72)]:
        x = images(*shape).astype("float32")
        # The same arithmetic in another order of float32 sums.
        assert np.allclose(function(x), model(x), rtol=1e-5, atol=1e-5)
    assert function.experimental_get_tracing_count() == 1


def test_the_network_is_what_the_design_says(model):
    """Assembled anew from the trained sub-layers: the order of the parts and nothing else."""
    x = images(2, 40, 56).astype("float32")
    part = {layer.name: layer for layer in model.decoder.layers}
    features = model.backbone(x)["P5"]
    assert features.shape == (2, 5, 7, 16)
    reduced = tf.nn.relu(part["reduction_norm"](part["reduction_conv"](features)))
    heads = [part[f"head_{i}_cac"](tf.nn.relu(part[f"head_{i}_norm"](part[f"head_{i}_conv"](reduced)))) for i in (1, 2)]
    pooled = tf.reduce_mean(reduced, axis=(1, 2), keepdims=True)
    pooled = tf.nn.relu(part["pooling"].norm(part["pooling"].conv(pooled)))
    joined = tf.concat([*heads, tf.tile(pooled, (1, 5, 7, 1))], axis=-1)
    logits = tf.image.resize(part["classifier"](joined), (40, 56))
    assert np.allclose(model(x), logits, rtol=1e-5, atol=1e-5)


def test_float64_logits_and_their_interpolation():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        network = small()
        assert network(images(1, 24, 40)).dtype == tf.float64
    finally:
        keras.config.set_dtype_policy(before)
    for low, stride, image in [((3, 4), 8, (24, 31)), ((1, 1), 16, (5, 3)), ((5, 6), 1, (5, 6))]:
        x = np.random.default_rng(0).normal(size=(2, *low, 3))
        exact = ResizeLike(stride, dtype="float64")([x, np.zeros((2, *image, 1))])
        large = tf.image.resize(x, (low[0] * stride, low[1] * stride))
        # tf.image.resize computes in float32.
        assert np.allclose(exact, large[:, : image[0], : image[1]], rtol=1e-5, atol=1e-5)
        assert exact.dtype == tf.float64
    ramp = np.arange(4.0)[None, :, None, None]
    between = ResizeLike(2, dtype="float64")([ramp, np.zeros((1, 7, 1, 1))])[0, :, 0, 0]
    assert np.array_equal(between, [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75])


@pytest.mark.parametrize("output_stride", [8, 32])
def test_logits_do_not_shift_with_the_size(output_stride):
    """Any image gives what the same image gives when its last row and column go on to a multiple of the stride."""
    network = small(output_stride=output_stride)
    random_statistics(network)
    for height, width in [(33, 47), (64, 65), (1, 70)]:
        x = images(1, height, width).astype("float32")
        multiple = np.pad(x, ((0, 0), (0, -height % output_stride), (0, -width % output_stride), (0, 0)), "edge")
        # The same graph on the same padded image: only the order of float32 sums may differ.
        assert np.allclose(network(x), network(multiple)[:, :height, :width], rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_float64_trains_in_float64():
    """Also where Keras' floatx, to which it casts losses, is float32."""
    network = small(backbone="resnet14_narrow", dtype="float64", dropout=0.0, reweighting="enc", se_loss_weight=0.2)
    x, y = images(2, 24, 40), np.random.default_rng(0).integers(0, 4, (2, 24, 40))
    loss = kc.losses.SegmentationCrossentropy()
    with tf.GradientTape() as tape:
        outputs = network({"images": tf.cast(x, "float64")}, training=True)
        total = loss(y, outputs["logits"]) + 0.2 * loss(y, outputs["auxiliary"])
        total += 0.2 * semantic_encoding_loss(y, outputs["presence"])
    assert total.dtype == tf.float64
    variables = network.trainable_variables
    gradients = tape.gradient(total, [weight.value for weight in variables])
    expected = [weight.numpy() - 0.5 * gradient.numpy() for weight, gradient in zip(variables, gradients, strict=True)]
    network.compile(kc.optimizers.SGD(0.5, momentum=0.0, weight_decay=0.0), loss, jit_compile=False)
    network.fit(x, y, batch_size=2, shuffle=False, verbose=0)
    for weight, value in zip(variables, expected, strict=True):
        # float32 anywhere on the way would be 1e-7 off.
        assert np.allclose(weight, value, rtol=1e-12, atol=1e-12), weight.path


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_gives_float32_logits_and_survives_saving(tmp_path, policy):
    network = small(backbone="resnet14_narrow", dtype=policy)
    assert network.backbone.get_layer("conv1_conv").compute_dtype == policy.removeprefix("mixed_")
    assert network.decoder.get_layer("classifier").compute_dtype == "float32"
    logits = network(images(1, 24, 40))
    assert logits.dtype == tf.float32
    network.save(tmp_path / "half.keras")
    restored = keras.models.load_model(tmp_path / "half.keras")
    assert restored.decoder.get_layer("head_1_conv").compute_dtype == policy.removeprefix("mixed_")
    assert np.array_equal(restored(images(1, 24, 40)), logits)


@pytest.mark.parametrize(
    ("settings", "branches"),
    [
        ({"num_heads": 0, "global_pooling": False}, 8),
        ({"num_heads": 0}, 16),
        ({"num_heads": 1, "global_pooling": False}, 8),
        ({"kernel_sizes": (3, 5)}, 24),
        ({"num_heads": 3, "kernel_sizes": [1, 3, 7], "dilation_rates": (1, 4)}, 32),
        ({"auxiliary_weight": 0.0}, 24),
        ({"output_stride": 16}, 24),
    ],
)
def test_every_setting_reaches_the_graph_and_the_saved_file(tmp_path, settings, branches):
    network = small(**settings)
    x = images(1, 32, 48)
    assert network.decoder.get_layer("classifier").kernel.shape == (1, 1, branches, 4)
    sizes = [layer.kernel_size for layer in network.decoder.layers if isinstance(layer, kc.CaCLayer)]
    expected = settings.get("kernel_sizes", (3,) * settings.get("num_heads", 2))
    assert sizes == list(expected)
    assert (network.auxiliary is None) == (settings.get("auxiliary_weight") == 0)
    network.save(tmp_path / "network.keras")
    restored = keras.models.load_model(tmp_path / "network.keras")
    assert np.array_equal(restored(x), network(x))
    assert restored.get_config() == network.get_config()


JAX = """
import sys
for absent in ("tensorflow", "keras_cv", "keras_hub", "tensorflow_datasets"):
    sys.modules[absent] = None
import keras, numpy as np, keras_cacnet as kc
from small_networks import small_backbone
folder = sys.argv[1]
case = np.load(folder + "/case.npz")
model = keras.models.load_model(folder + "/network.keras")
error = np.abs(np.asarray(model(case["x"])) - case["y"]).max() / np.abs(case["y"]).max()
assert error < 1e-5, error
trains = len(model.trainable_weights)
assert trains == case["trains"], trains
model = kc.CaCNet(4, backbone=small_backbone(), head_channels=8, num_heads=1, synchronized=True)
model.compile(kc.optimizers.SGD(0.05), kc.losses.SegmentationCrossentropy(), metrics=[kc.metrics.MeanIoU(4)])
before = np.asarray(model.auxiliary.trainable_weights[0])
losses = model.fit(case["x"], case["masks"], epochs=6, batch_size=2, verbose=0).history["loss"]
assert losses[-1] < losses[0], losses
assert np.any(before != model.auxiliary.trainable_weights[0])
print(keras.backend.backend())
"""


def test_under_jax_a_saved_model_loads_and_a_network_trains(tmp_path, run_on_jax):
    network = small(synchronized=True)
    random_statistics(network)
    network.auxiliary.get_layer("auxiliary_norm").trainable = False
    network.save(tmp_path / "network.keras")
    x = images(2, 40, 24)
    masks = np.random.default_rng(0).integers(0, 4, (2, 40, 24))
    np.savez(tmp_path / "case.npz", x=x, y=network(x), masks=masks, trains=len(network.trainable_weights))
    assert run_on_jax(JAX, tmp_path) == "jax\n"


def test_steps_of_training_compiled_by_xla_are_the_plain_ones():
    x, masks = images(2, 40, 24), np.random.default_rng(0).integers(0, 4, (2, 40, 24))
    weights = []
    for jit_compile in (False, True):
        network = small(dropout=0.0, backbone=small_backbone(dtype="float64"), dtype="float64")
        network.compile(kc.optimizers.SGD(0.05), kc.losses.SegmentationCrossentropy(), jit_compile=jit_compile)
        assert network.jit_compile is jit_compile  # no layer of it stands in the way
        for _ in range(2):
            network.train_on_batch(x, masks)
        weights.append([np.array(weight) for weight in network.weights])
    for plain, compiled in zip(*weights, strict=True):
        assert np.allclose(compiled, plain, rtol=0, atol=1e-10)


def test_auxiliary_loss_acts_in_training_alone():
    x, y = images(2, 32, 32).astype("float32"), np.random.default_rng(0).integers(0, 4, (2, 32, 32))
    y[:, :5] = 255
    losses = {}
    for weight in (0.0, 0.2, 1.0):
        network = small(auxiliary_weight=weight, dropout=0.0)
        network.compile(keras.optimizers.SGD(0.0), kc.losses.SegmentationCrossentropy())
        losses[weight] = network.train_on_batch(x, y)
        assert network.test_on_batch(x, y) == pytest.approx(
            float(kc.losses.SegmentationCrossentropy()(y, network(x))), rel=1e-6
        )
    assert losses[1.0] - losses[0.0] == pytest.approx(5 * (losses[0.2] - losses[0.0]), rel=1e-4)
    features = network.backbone(x, training=True)["P4"]
    auxiliary = tf.image.resize(network.auxiliary(features, training=True), (32, 32))
    expected = float(kc.losses.SegmentationCrossentropy()(y, auxiliary))
    # Two passes over the same batch in float32.
    assert losses[1.0] - losses[0.0] == pytest.approx(expected, rel=1e-4)


def test_fit_trains_every_weight_and_predict_sees_one_output():
    network = small()
    x, y = images(4, 32, 32).astype("float32"), np.random.default_rng(0).integers(0, 4, (4, 32, 32))
    before = [np.array(weight) for weight in network.trainable_variables]
    # Weight decay would move a weight that no gradient reaches.
    optimizer = kc.optimizers.SGD(0.1, weight_decay=0.0)
    network.compile(optimizer, kc.losses.SegmentationCrossentropy(), metrics=[kc.metrics.MeanIoU(4)])
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(2)
    history = network.fit(data, epochs=2, verbose=0, shuffle=False, validation_data=data).history
    assert set(history) == {"loss", "mean_iou", "val_loss", "val_mean_iou"}
    for old, weight in zip(before, network.trainable_variables, strict=True):
        assert not np.array_equal(old, weight), weight.path
    assert network.predict(x, verbose=0).shape == (4, 32, 32, 4)
    assert network(x, training=True).shape == (4, 32, 32, 4)


def test_weighting_maps_are_those_of_the_forward_pass(model):
    x = images(1, 24, 32).astype("float32")
    maps = model.weighting_maps(x)
    assert list(maps) == ["head_1", "head_2"]
    part = {layer.name: layer for layer in model.decoder.layers}
    pooled = part["pooling"](
        part["reduction_relu"](part["reduction_norm"](part["reduction_conv"](model.backbone(x)["P5"])))
    )
    joined = tf.concat([maps["head_1"]["X*"], maps["head_2"]["X*"], pooled], axis=-1)
    assert np.allclose(tf.image.resize(part["classifier"](joined), (24, 32)), model(x), rtol=1e-5, atol=1e-5)
    for head in maps.values():
        assert np.array_equal(head["X"] * head["W"], head["X*"])
    one = small(num_heads=1)
    assert list(one.weighting_maps(x)) == ["head_1"]
    with pytest.raises(ValueError, match="num_heads=0"):
        small(num_heads=0).weighting_maps(x)


def test_a_model_as_backbone_keeps_its_weights_and_is_not_shared():
    given = kc.models.backbone("resnet14_narrow", output_stride=32)
    network = small(backbone=given)
    x = images(1, 64, 64).astype("float32")
    assert np.allclose(network.backbone(x)["P5"][:, ::4, ::4], given(x)["P5"], rtol=1e-4, atol=1e-4)
    names = {id(weight) for weight in network.variables}
    assert not names & {id(weight) for weight in given.variables}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"num_heads": -1}, "num_heads must be a whole number from 0 on, got -1"),
        ({"head_channels": 0}, "head_channels must be a whole number from 1 on, got 0"),
        ({"dropout": 1.0}, "dropout must be in"),
        ({"auxiliary_weight": -0.1}, "auxiliary_weight must be 0 or more and finite, got -0.1"),
        ({"kernel_sizes": (3, 5, 7)}, "3 sizes for num_heads=2"),
        ({"kernel_sizes": (3, 4)}, "got 4"),
        ({"dilation_rates": ()}, "dilation_rates must be a sequence of at least one"),
        ({"output_stride": 4}, "4"),
        ({"backbone": "resnet51"}, "resnet51"),
        ({"backbone": keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(4, 1)])}, "P4"),
    ],
)
def test_bad_settings_are_named(settings, told):
    with pytest.raises(ValueError, match=told):
        small(**settings)


def test_head_names_never_match_the_backbone():
    network = small(backbone="resnet14_narrow")
    in_backbone = [weight.path for weight in network.backbone.variables]
    elsewhere = [weight.path for weight in itertools.chain(network.decoder.variables, network.auxiliary.variables)]
    pattern = kc.models.heads.HEAD_LAYERS
    assert not [path for path in in_backbone if re.search(pattern, path)]
    assert not [path for path in elsewhere if not re.search(pattern, path) and "seed" not in path]
