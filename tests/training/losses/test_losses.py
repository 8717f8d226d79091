"""Every loss against NumPy in float64, by finite differences, in half precision, over replicas, under XLA and JAX."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import loss_oracles as oracles
import numpy as np
import pytest
import tensorflow as tf

import keras_cacnet as kc

CLASS_WEIGHTS = (0.5, 2.0, 0.0, 1.25)
LOSSES = {
    "crossentropy": (kc.losses.SegmentationCrossentropy(), oracles.crossentropy),
    "smoothed": (
        kc.losses.SegmentationCrossentropy(label_smoothing=0.2),
        lambda *given, **settings: oracles.crossentropy(*given, **settings, label_smoothing=0.2),
    ),
    "focal": (kc.losses.FocalCrossentropy(gamma=1.5), lambda *a, **k: oracles.focal(*a, **k, gamma=1.5)),
    "ohem": (kc.losses.OhemCrossentropy(), oracles.ohem),
    "ohem_share": (
        kc.losses.OhemCrossentropy(threshold=1e-6, min_share=0.25),
        lambda *a, **k: oracles.ohem(*a, **k, threshold=1e-6, min_share=0.25),
    ),
    "dice": (kc.losses.Dice(), oracles.dice),
    "tversky": (kc.losses.Tversky(alpha=0.2, beta=1.1), lambda *a, **k: oracles.tversky(*a, **k, alpha=0.2, beta=1.1)),
    "lovasz": (kc.losses.LovaszSoftmax(), oracles.lovasz),
}
BY_NAME = pytest.mark.parametrize("name", LOSSES)


def batch(seed=0, shape=(3, 5, 6), classes=4, void=0.3):
    """The last image has void only, and no image has all classes."""
    rng = np.random.default_rng(seed)
    masks = rng.integers(0, classes - 1, shape).astype("uint8")
    masks[1][masks[1] == 0] = classes - 1
    masks[rng.random(shape) < void] = 255
    masks[-1] = 255
    return masks, rng.normal(0, 2, (*shape, classes))


def weighed(loss, class_weights):
    return type(loss).from_config({**loss.get_config(), "class_weights": class_weights})


@BY_NAME
@pytest.mark.parametrize("class_weights", [None, CLASS_WEIGHTS])
@pytest.mark.parametrize("shape", [None, (), (3,), (3, 1), (3, 5, 6), (3, 5, 6, 1)])
def test_equals_the_formula(name, class_weights, shape):
    loss, oracle = LOSSES[name]
    masks, logits = batch()
    given, full = (), 1.0
    if shape is not None:
        weights = np.asarray(np.random.default_rng(1).random(shape))
        given = (weights * (weights > 0.2),)
        full = given[0].reshape(3, 5, 6) if 5 in shape else np.reshape(given[0], (-1, 1, 1))
    expected = oracle(masks, logits, full, class_weights)
    assert expected > 0.1
    # 1e-12: sums of ninety terms in another order.
    assert float(weighed(loss, class_weights)(masks, logits, *given)) == pytest.approx(expected, rel=1e-12)
    assert float(weighed(loss, class_weights)(masks[..., None], logits, *given)) == pytest.approx(expected, rel=1e-12)


@BY_NAME
def test_a_weight_of_an_image_is_that_of_its_pixels(name):
    loss, _ = LOSSES[name]
    masks, logits = batch()
    weights = np.array([0.5, 2.0, 1.0])
    by_pixel = np.broadcast_to(weights[:, None, None], masks.shape)
    assert float(loss(masks, logits, weights)) == pytest.approx(float(loss(masks, logits, by_pixel)), rel=1e-13)
    assert float(loss(masks, logits, weights)) != pytest.approx(float(loss(masks, logits)), rel=1e-3)


@BY_NAME
def test_reductions(name):
    loss, _ = LOSSES[name]
    masks, logits = batch()
    weights = np.random.default_rng(3).random(masks.shape)
    by = {
        word: type(loss).from_config({**loss.get_config(), "reduction": word})
        for word in ("none", "sum", "mean", "mean_with_sample_weight")
    }
    values = by["none"](masks, logits, weights).numpy()
    by_pixel = values.ndim == 3
    assert values.shape == masks.shape[: values.ndim]
    assert float(by["sum"](masks, logits, weights)) == pytest.approx(values.sum(), rel=1e-12)
    count = (masks != 255).sum() if by_pixel else 2
    assert float(by["mean"](masks, logits, weights)) == pytest.approx(values.sum() / count, rel=1e-12)
    valid = np.where(masks == 255, 0, weights)
    total = valid.sum() if by_pixel else sum(one[one > 0].mean() for one in valid[:2])
    assert float(by["mean_with_sample_weight"](masks, logits, weights)) == pytest.approx(
        values.sum() / total, rel=1e-12
    )
    assert np.array_equal(loss.call(masks, logits), by["none"](masks, logits))


@BY_NAME
def test_gradient_equals_finite_differences_and_void_has_none(name):
    loss, oracle = LOSSES[name]
    masks, logits = batch(shape=(2, 3, 3))
    masks[1] = masks[0][::-1]
    variable = tf.Variable(logits)
    with tf.GradientTape() as tape:
        value = loss(masks, variable)
    gradient = tape.gradient(value, variable).numpy()
    assert np.abs(gradient).max() > 0.01
    assert np.all(gradient[masks == 255] == 0)
    for index in np.ndindex(*logits.shape):
        above, below = logits.copy(), logits.copy()
        above[index] += 1e-6
        below[index] -= 1e-6
        # 1e-8: the rounding of a difference of 1e-6, and its cube.
        assert gradient[index] == pytest.approx((oracle(masks, above) - oracle(masks, below)) / 2e-6, abs=1e-8)


@BY_NAME
def test_nothing_but_void_gives_zero_loss_and_gradient(name):
    loss, _ = LOSSES[name]
    logits = tf.Variable(np.ones((2, 2, 2, 4)))
    with tf.GradientTape() as tape:
        value = loss(np.full((2, 2, 2), 255), logits)
    assert float(value) == 0
    assert np.all(tape.gradient(value, logits) == 0)


@BY_NAME
def test_certain_logits_have_finite_losses_and_gradients(name):
    loss, _ = LOSSES[name]
    masks = np.array([[[0, 1, 2], [255, 3, 3]]])
    right = np.where(masks[..., None] == np.arange(4), 1.0, -1.0)
    for scale in (200.0, -200.0):
        logits = tf.Variable((scale * right).astype("float32"))
        with tf.GradientTape() as tape:
            value = loss(masks, logits)
        assert np.isfinite(float(value))
        assert np.all(np.isfinite(tape.gradient(value, logits)))
        if scale > 0 and name != "smoothed":
            assert float(value) == pytest.approx(0, abs=1e-6)


@BY_NAME
def test_half_precision_logits_are_widened(name):
    loss, oracle = LOSSES[name]
    masks, logits = batch()
    for half in (tf.bfloat16, tf.float16):
        rounded = tf.cast(logits, half)
        value = loss(masks, rounded)
        assert value.dtype == tf.float32
        # The reference sees the same rounded logits; float32 is left.
        assert float(value) == pytest.approx(oracle(masks, tf.cast(rounded, tf.float64).numpy()), rel=1e-5)


def test_xla_gives_the_same_and_nan_for_a_label_that_is_no_class():
    masks, logits = batch()
    compiled = tf.function(lambda m, x: [loss(m, x) for loss, _ in LOSSES.values()], jit_compile=True)
    expected = [oracle(masks, logits) for _, oracle in LOSSES.values()]
    assert [float(value) for value in compiled(masks, logits)] == pytest.approx(expected, rel=1e-12)
    masks[0, 0, 0] = 7
    assert np.isnan([float(value) for value in compiled(masks, logits)]).all()
    for loss, _ in LOSSES.values():
        with pytest.raises(ValueError, match=r"label 7 is no class \(0\.\.3\)"):
            loss(masks, logits)


@BY_NAME
def test_saved_and_loaded(name):
    loss, _ = LOSSES[name]
    loss = weighed(loss, CLASS_WEIGHTS)
    restored = keras.losses.deserialize(keras.losses.serialize(loss))
    assert restored.get_config() == loss.get_config()
    masks, logits = batch()
    assert float(restored(masks, logits)) == float(loss(masks, logits))


@BY_NAME
def test_parts_of_a_batch_add_up_by_its_divisor(name):
    loss, _ = LOSSES[name]
    masks, logits = batch(shape=(4, 5, 6))
    masks[0, :4] = 255
    weights = np.random.default_rng(5).random(masks.shape)
    parts = [(masks[i : i + 2], logits[i : i + 2], weights[i : i + 2]) for i in (0, 2)]
    likes = [tf.constant(parts[0][1]), keras.KerasTensor(parts[1][1].shape, "float64")]
    divisor = sum(loss.divisor(m, like, w) for (m, _, w), like in zip(parts, likes, strict=True))
    total = sum(float(loss(*part, divisor=divisor)) for part in parts)
    assert total == pytest.approx(float(loss(masks, logits, weights)), rel=1e-13)
    assert total != pytest.approx(sum(float(loss(*part)) / 2 for part in parts), rel=1e-3)


REPLICAS = """
import sys
import numpy as np, tensorflow as tf
count = int(sys.argv[1])
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
import keras_cacnet as kc
rng = np.random.default_rng(0)
masks, logits = rng.integers(0, 3, (4, 6, 5)), rng.normal(size=(4, 6, 5, 3))
masks[1] = 255
masks[2, :5] = 255
weights = rng.random((4, 6, 5))
strategy = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(count)])
share = 4 // count

def part(values):
    def of_replica(context):
        i = context.replica_id_in_sync_group
        return values[share * i : share * (i + 1)]
    return strategy.experimental_distribute_values_from_function(of_replica)

losses = [kc.losses.loss_named(name, class_weights=(0.5, 2.0, 1.0)) for name in kc.losses.LOSSES]
losses.append(kc.losses.loss_named("crossentropy+0.5*dice"))
for reduction in ("mean", "sum_over_batch_size", "sum"):
    losses += [kc.losses.SegmentationCrossentropy(reduction=reduction), kc.losses.Dice(reduction=reduction)]

@tf.function
def values_and_gradients(masks, logits, weights):
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(logits)
        values = [loss(masks, logits, weights) for loss in losses]
    return values, [tape.gradient(value, logits) for value in values]

parts = strategy.run(values_and_gradients, [part(values) for values in (masks, logits, weights)])
whole = values_and_gradients(masks, tf.constant(logits), weights)
for loss, value, gradient, one, expected in zip(losses, *parts, *whole, strict=True):
    total = float(strategy.reduce("SUM", value, axis=None))
    gradient = np.concatenate(strategy.experimental_local_results(gradient))
    assert float(one) > 0.1
    assert abs(total - float(one)) < 1e-10 * max(1, abs(total)), (loss.get_config(), total, float(one))
    assert np.abs(gradient - expected).max() < 1e-10, loss.get_config()
masks[3, 0, 0] = 7  # of the last replica
try:
    strategy.run(tf.function(lambda *values: losses[0](*values)), [part(masks), part(logits)])
except tf.errors.InvalidArgumentError as error:
    assert "[label] [7]" in str(error)
else:
    raise AssertionError("not told")
"""


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_replicas_add_up_to_one_device(count):
    result = subprocess.run(
        [sys.executable, "-c", REPLICAS, str(count)], env=dict(os.environ), capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


JAX = """
import jax, sys, numpy as np
jax.config.update("jax_enable_x64", True)
sys.path.insert(0, {folder!r})
import loss_oracles as oracles
import keras_cacnet as kc
rng = np.random.default_rng(0)
masks, logits = rng.integers(0, 3, (2, 6, 5)), rng.normal(size=(2, 6, 5, 3))
masks[0, :4] = 255
weights = rng.random((2, 6, 5))
losses = [kc.losses.loss_named(name, class_weights=(0.5, 2.0, 1.0)) for name in kc.losses.LOSSES]
expected = [getattr(oracles, name)(masks, logits, weights, (0.5, 2.0, 1.0)) for name in kc.losses.LOSSES]

def values(x):
    return jax.numpy.stack([loss(masks, x, weights) for loss in losses])

found, gradients = jax.jit(lambda x: (values(x), jax.jacrev(values)(x)))(logits)
assert np.abs(found - np.array(expected)).max() < 1e-12, (found, expected)
assert np.abs(values(logits) - np.array(expected)).max() < 1e-12
assert np.isfinite(gradients).all() and (np.abs(gradients).max((1, 2, 3, 4)) > 1e-3).all()
"""


@pytest.mark.slow
def test_jax_gives_the_same(run_on_jax):
    run_on_jax(JAX.format(folder=str(Path(oracles.__file__).parent)))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: kc.losses.FocalCrossentropy(gamma=0.5), "gamma must be 0 or from 1 on, got 0.5"),
        (lambda: kc.losses.OhemCrossentropy(threshold=1.5), "threshold must be above 0 and at most 1, got 1.5"),
        (lambda: kc.losses.OhemCrossentropy(min_share=0), "min_share must be above 0"),
        (lambda: kc.losses.Tversky(alpha=0, beta=0), "leave nothing to lose"),
        (lambda: kc.losses.SegmentationCrossentropy(label_smoothing=1), r"label_smoothing must be in \[0, 1\)"),
        (lambda: kc.losses.Dice(class_weights="balanced"), r"got 'balanced': kc.losses.class_weights makes them"),
        (lambda: kc.losses.Dice(class_weights=(0, 0)), "a weight above 0"),
        (lambda: kc.losses.Dice(class_weights=(1, -1)), "class_weights must be 0 or more and finite, got -1"),
        (lambda: kc.losses.Dice(class_weights=(1, 2))(*batch()), "has 2 numbers, and there are 4 classes"),
    ],
)
def test_bad_settings_are_named(make, told):
    with pytest.raises(ValueError, match=told):
        make()
