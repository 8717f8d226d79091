"""Half precision: activations of 1e4, where float16 ends at 65504, and what is promised in float32."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_cacnet as kc
from keras_cacnet.layers.cac import CaCLayer
from keras_cacnet.models.heads import HEADS, CaCHead, HeadContext
from keras_cacnet.models.heads.fcn import auxiliary_head
from keras_cacnet.models.heads.modules import reweighting_layer
from keras_cacnet.models.settings import REWEIGHTINGS
from small_networks import small_network

SIZE, DEEP, CLASSES = (9, 11), 64, 4
# Those whose head is finite in inference before any training too: by statistics that normalise nothing, DMNet's
# kernels and features of 1e4 multiply to 1e8, and APCNet adds up 36 regions of 1e4.
WITHOUT_STATISTICS = {"fcn", "auxiliary", "encnet", "pspnet", *(f"cacnet-{name}" for name in REWEIGHTINGS)}

policies = pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
# bfloat16 has the range of float32, so that little can overflow in it.
float16_first = pytest.mark.parametrize(
    "policy", ["mixed_float16", pytest.param("mixed_bfloat16", marks=pytest.mark.slow)]
)


def heads():
    """Every head by name, the paper's with every re-weighting."""
    for name, head in HEADS.items():
        if name != "cacnet":
            yield name, head(16)
    for name in REWEIGHTINGS:
        weight = 0.2 if name == "enc" else 0.0
        yield (
            f"cacnet-{name}",
            CaCHead(16, reweighting=name, positions=SIZE if name == "fc" else None, se_loss_weight=weight),
        )
    yield "auxiliary", None


def decoder_of(head, dtype):
    keras.utils.set_random_seed(1)
    context = HeadContext(CLASSES, dropout=0.0, dtype=dtype)
    return auxiliary_head(DEEP, context) if head is None else head.decoder(DEEP, context)


def large(kind, shape, dtype):
    rng = np.random.default_rng(0)
    values = {
        "signs": lambda: rng.choice([-1e4, 1e4], shape),
        "uniform": lambda: rng.uniform(0, 1e4, shape),
        "equal": lambda: np.full(shape, 1e4),
    }
    return tf.constant(values[kind](), dtype)


def loss_of(outputs):
    outputs = outputs if isinstance(outputs, dict) else {"logits": outputs}
    masks = np.random.default_rng(0).integers(0, CLASSES, outputs["logits"].shape[:3])
    loss = kc.losses.SegmentationCrossentropy()(masks, outputs["logits"])
    return loss + (tf.reduce_mean(outputs["encoding"] ** 2) if "encoding" in outputs else 0.0)


def require_finite(function, x, variables, loss_scale=1.0):
    """The result, and the gradient by the features and by every weight."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = function(x)
        loss = loss_scale * loss_of(outputs)
    weights = {weight.path: weight.value for weight in variables}
    gradients = tape.gradient(loss, {"features": x, **weights})
    found = {**(outputs if isinstance(outputs, dict) else {"logits": outputs}), **gradients}
    for name, value in found.items():
        assert np.all(np.isfinite(tf.cast(value, tf.float64))), name
    assert np.any(gradients["features"] != 0)
    return outputs


def require_finite_in_every_mode(name, head, policy, kind):
    decoder = decoder_of(head, policy)
    assert decoder.input.dtype == policy.removeprefix("mixed_")
    x = large(kind, (2, *SIZE, DEEP), decoder.input.dtype)
    variables = decoder.trainable_variables
    if name in WITHOUT_STATISTICS:
        # A loss of 1e4 to 1e5 has gradients of up to 3e5, more than float16 holds: dynamic scales come down for such.
        require_finite(lambda x: decoder(x, training=False), x, variables, loss_scale=2**-6)
    for layer in decoder._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0  # one step, and inference goes by the statistics of these features
    require_finite(lambda x: decoder(x, training=True), x, variables)
    require_finite(lambda x: decoder(x, training=False), x, variables)
    assert all(np.all(np.isfinite(weight)) for weight in decoder.variables)


@float16_first
@pytest.mark.parametrize(("name", "head"), list(heads()), ids=[name for name, _ in heads()])
def test_large_features_stay_finite_in_every_head(name, head, policy):
    require_finite_in_every_mode(name, head, policy, "signs")


@pytest.mark.slow
@policies
@pytest.mark.parametrize("kind", ["uniform", "equal"])
@pytest.mark.parametrize(("name", "head"), list(heads()), ids=[name for name, _ in heads()])
def test_so_do_other_large_features(name, head, policy, kind):
    require_finite_in_every_mode(name, head, policy, kind)


@float16_first
@pytest.mark.parametrize("kind", ["signs", "equal"])
@pytest.mark.parametrize("name", [name for name in REWEIGHTINGS if name != "none"])
def test_large_features_stay_finite_in_a_layer_of_its_own(name, kind, policy):
    """Half precision inside the layer, where a network has float32."""
    layer = reweighting_layer(name, positions=SIZE if name == "fc" else None, dtype=policy)
    x = large(kind, (2, *SIZE, 16), layer.compute_dtype)
    layer.build(x.shape)
    for training in (False, True):
        outputs = require_finite(lambda x, training=training: layer(x, training=training), x, layer.trainable_variables)
        assert outputs.dtype == policy.removeprefix("mixed_")


@float16_first
@pytest.mark.parametrize(("name", "head"), list(heads()), ids=[name for name, _ in heads()])
def test_logits_of_large_features_are_those_of_float64(name, head, policy):
    decoder, exact = decoder_of(head, policy), decoder_of(head, "float64")
    exact.set_weights([np.asarray(weight, "float64") for weight in decoder.get_weights()])
    x = large("uniform", (2, *SIZE, DEEP), decoder.input.dtype)
    logits, wanted = (
        result["logits"] if isinstance(result, dict) else result
        for result in (decoder(x, training=True), exact(tf.cast(x, tf.float64), training=True))
    )
    assert logits.dtype == tf.float32
    error = np.abs(tf.cast(logits, tf.float64) - wanted).max() / np.abs(wanted).max()
    # Some ten roundings on the way; 0.0034 and 0.018 were the greatest errors measured, both with "se".
    assert error < (0.006 if policy == "mixed_float16" else 0.03)


@policies
def test_batch_norm_statistics_are_float32(policy):
    decoder = decoder_of(CaCHead(16), policy)
    x = large("signs", (2, *SIZE, DEEP), decoder.input.dtype)
    convolved = keras.Model(decoder.input, decoder.get_layer("reduction_conv").output)(x)
    decoder(x, training=True)
    norm = decoder.get_layer("reduction_norm")
    values = np.asarray(tf.cast(convolved, tf.float64)).reshape(-1, 16)
    assert norm.moving_variance.value.dtype == tf.float32
    assert np.max(norm.moving_variance) > 65504
    # float32 sums; float16 would be infinite, bfloat16 be 4e-3 off.
    assert np.allclose(norm.moving_mean, 0.1 * values.mean(axis=0), rtol=1e-5, atol=0.01)
    assert np.allclose(norm.moving_variance, 0.9 + 0.1 * values.var(axis=0), rtol=1e-5)
    statistics = [weight for weight in decoder.variables if "moving_" in weight.path]
    assert len(statistics) == 12
    assert {weight.dtype for weight in statistics} == {"float32"}


@policies
def test_kernels_are_predicted_in_float32(policy):
    keras.utils.set_random_seed(1)
    layer, exact = CaCLayer(dtype=policy), CaCLayer(dtype="float64")
    x = tf.constant(np.random.default_rng(0).normal(0, 1e4, (2, 24, 40, 8)), layer.compute_dtype)
    for one in (layer, exact):
        one.build(x.shape)
    exact.set_weights([np.asarray(weight, "float64") for weight in layer.get_weights()])
    wide = tf.cast(x, tf.float64)
    for found, wanted in (
        (layer.query(x), exact.query(wide)),
        (layer.key(x), exact.key(wide)),
        (layer.raw_kernels(x), exact.raw_kernels(wide)),
        (layer.predict_kernels(x, training=True), exact.predict_kernels(wide, training=True)),
    ):
        assert found.dtype == tf.float32
        # float32 sums of 960 positions; rounding to bfloat16 is 4e-3 off, to float16 5e-4.
        assert np.allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
    assert np.abs(layer.raw_kernels(x)).max() > 65504
    assert layer.norm.moving_variance.dtype == "float32"


@policies
def test_logits_and_losses_are_float32(policy):
    network = small_network(CLASSES, reweighting="enc", se_loss_weight=0.2, dtype=policy)
    x = np.random.default_rng(0).integers(0, 256, (2, 16, 24, 3)).astype("float32")
    masks = np.random.default_rng(0).integers(0, CLASSES, (2, 16, 24))
    network.compile(kc.optimizers.SGD(0.01), kc.losses.SegmentationCrossentropy())
    outputs = network({"images": x}, training=True)
    assert {name: value.dtype for name, value in outputs.items()} == dict.fromkeys(
        ("logits", "auxiliary", "presence"), tf.float32
    )
    total = network.compute_loss(x, masks, outputs)
    assert total.dtype == tf.float32
    rows = [np.asarray(outputs[name], "float64") for name in ("logits", "auxiliary")]
    entropies = [
        np.log(np.exp(row).sum(axis=-1)) - np.take_along_axis(row, masks[..., None], -1)[..., 0] for row in rows
    ]
    # Every class is in both masks.
    assert all(set(np.unique(mask)) == set(range(CLASSES)) for mask in masks)
    presence = np.log1p(np.exp(-np.asarray(outputs["presence"], "float64"))).mean()
    expected = entropies[0].mean() + 0.2 * entropies[1].mean() + 0.2 * presence
    assert float(total) == pytest.approx(expected, rel=1e-6)


@policies
def test_weighting_maps(policy):
    network = small_network(CLASSES, dtype=policy)
    maps = network.weighting_maps(np.random.default_rng(0).integers(0, 256, (1, 24, 32, 3)))
    for found in maps.values():
        assert np.array_equal(found["X*"], found["X"] * found["W"])
        assert np.max(found["W"]) < 3


@pytest.mark.slow
@policies
def test_large_features_stay_finite_at_the_papers_width(policy):
    """2048 channels to 512; 512 positions."""
    decoder = CaCHead(512).decoder(2048, HeadContext(60, dropout=0.1, dtype=policy))
    x = large("uniform", (2, 16, 16, 2048), decoder.input.dtype)
    for training in (True, False):
        assert np.all(np.isfinite(decoder(x, training=training)["logits"]))
