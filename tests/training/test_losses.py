"""SegmentationCrossentropy against float64 NumPy, by finite differences, and over replicas."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from keras_cacnet.training.losses import SegmentationCrossentropy


def reference(y_true, y_pred, weights=None):
    total, count = 0.0, 0.0
    for index, label in np.ndenumerate(y_true):
        if label == 255:
            continue
        logits = y_pred[index].astype("float64")
        weight = 1.0 if weights is None else weights[index]
        total += weight * (np.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[label])
        count += weight
    return total / count if count else 0.0


def batch(seed=0, shape=(2, 5, 6), classes=4, void=0.3):
    rng = np.random.default_rng(seed)
    masks = rng.integers(0, classes, shape).astype("uint8")
    masks[rng.random(shape) < void] = 255
    return masks, rng.normal(0, 3, (*shape, classes))


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-6)])
def test_equals_the_mean_over_valid_pixels(dtype, tolerance):
    masks, logits = batch()
    loss = SegmentationCrossentropy()
    assert float(loss(masks, logits.astype(dtype))) == pytest.approx(reference(masks, logits), rel=tolerance)
    assert float(loss(masks[..., None], logits)) == pytest.approx(reference(masks, logits), rel=1e-12)
    other = SegmentationCrossentropy(ignore_class=0)
    swapped = np.where(masks == 255, 0, masks)
    assert float(other(swapped, logits)) == pytest.approx(
        reference(np.where(swapped == 0, 255, swapped), logits), rel=1e-12
    )


@pytest.mark.parametrize("per_pixel", [False, True])
def test_sample_weights(per_pixel):
    masks, logits = batch()
    weights = np.random.default_rng(3).random(masks.shape if per_pixel else 2)
    full = weights if per_pixel else np.broadcast_to(weights[:, None, None], masks.shape)
    value = float(SegmentationCrossentropy()(masks, logits, weights))
    assert value == pytest.approx(reference(masks, logits, full), rel=1e-12)


def test_gradient_equals_finite_differences_and_void_has_none():
    masks, logits = batch(shape=(1, 3, 3))
    variable = tf.Variable(logits)
    loss = SegmentationCrossentropy()
    with tf.GradientTape() as tape:
        value = loss(masks, variable)
    gradient = tape.gradient(value, variable).numpy()
    for index in np.ndindex(*logits.shape):
        above, below = logits.copy(), logits.copy()
        above[index] += 1e-6
        below[index] -= 1e-6
        numeric = (reference(masks, above) - reference(masks, below)) / 2e-6
        assert gradient[index] == pytest.approx(numeric, abs=1e-8)
    assert np.all(gradient[masks == 255] == 0)


def test_nothing_but_void_gives_zero_loss_and_gradient():
    logits = tf.Variable(np.ones((1, 2, 2, 3)))
    with tf.GradientTape() as tape:
        value = SegmentationCrossentropy()(np.full((1, 2, 2), 255), logits)
    assert float(value) == 0
    assert np.all(tape.gradient(value, logits) == 0)


def test_an_unknown_id_never_trains():
    assert np.isnan(float(SegmentationCrossentropy()(np.array([[[0, 7]]]), np.zeros((1, 1, 2, 3)))))


def test_half_precision_logits_are_widened():
    masks, logits = batch()
    half = tf.cast(logits, tf.bfloat16)
    value = SegmentationCrossentropy()(masks, half)
    assert value.dtype == tf.float32
    # The reference sees the same rounded logits.
    assert float(value) == pytest.approx(reference(masks, tf.cast(half, tf.float64).numpy()), rel=1e-6)


def test_other_shapes_are_named():
    with pytest.raises(ValueError, match=r"\(1, 2, 3\) and \(1, 4, 3, 5\)"):
        SegmentationCrossentropy()(np.zeros((1, 2, 3)), np.zeros((1, 4, 3, 5)))


REPLICAS = """
import numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from keras_cacnet.training.losses import SegmentationCrossentropy
rng = np.random.default_rng(0)
masks, logits = rng.integers(0, 3, (4, 6, 5)), rng.normal(size=(4, 6, 5, 3))
masks[:2] = 255
masks[2, :5] = 255
loss = SegmentationCrossentropy()
whole = float(loss(masks, logits))
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
def part(context):
    i = context.replica_id_in_sync_group
    return masks[2 * i : 2 * i + 2], logits[2 * i : 2 * i + 2]
values = strategy.experimental_distribute_values_from_function(lambda c: part(c)[0]), \\
    strategy.experimental_distribute_values_from_function(lambda c: part(c)[1])
parts = strategy.run(tf.function(lambda y, x: loss(y, x)), values)
total = float(strategy.reduce("SUM", parts, axis=None))
assert abs(total - whole) < 1e-12 * whole, (total, whole)
"""


def test_replicas_add_up_to_one_device():
    result = subprocess.run(
        [sys.executable, "-c", REPLICAS], env=dict(os.environ), capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
