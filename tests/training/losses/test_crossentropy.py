"""SegmentationCrossentropy against float64 NumPy, and by finite differences."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_cacnet as kc
from keras_cacnet.training.losses import SegmentationCrossentropy


def reference(y_true, y_pred, weights=None, void=255, by="weights"):
    total, divisor = 0.0, 0.0
    for index, label in np.ndenumerate(y_true):
        if label == void:
            continue
        logits = y_pred[index].astype("float64")
        weight = 1.0 if weights is None else weights[index]
        total += weight * (np.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[label])
        divisor += {"weights": weight, "pixels": 1.0, "nothing": 0.0}[by]
    return total / divisor if divisor else total


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


def test_without_void_it_is_the_mean_over_all_pixels():
    masks, logits = batch(void=0)
    loss = SegmentationCrossentropy(ignore_class=None)
    assert float(loss(masks, logits)) == pytest.approx(reference(masks, logits, void=None), rel=1e-12)
    keras_own = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=None, dtype="float64")
    assert float(loss(masks, logits)) == pytest.approx(float(keras_own(masks, logits)), rel=1e-12)


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("tail", [(), (1,), (1, 1), (1, 1, 1), (5, 6), (5, 6, 1)])
def test_sample_weights(size, tail):
    masks, logits = batch(shape=(size, 5, 6))
    weights = np.random.default_rng(3).random((size, *tail))
    full = np.broadcast_to(weights.reshape(size, *((5, 6) if 5 in tail else (1, 1))), masks.shape)
    for mask in (masks, masks[..., None]):
        value = float(SegmentationCrossentropy()(mask, logits, weights))
        assert value == pytest.approx(reference(masks, logits, full), rel=1e-12)


def test_one_weight_for_all_changes_no_mean():
    masks, logits = batch()
    assert float(SegmentationCrossentropy()(masks, logits, 3.0)) == pytest.approx(reference(masks, logits), rel=1e-12)


@pytest.mark.parametrize(
    ("reduction", "by"),
    [
        ("mean_with_sample_weight", "weights"),
        ("mean", "pixels"),
        ("sum_over_batch_size", "pixels"),
        ("sum", "nothing"),
    ],
)
def test_reductions_are_keras(reduction, by):
    masks, logits = batch()
    weights = np.random.default_rng(3).random(masks.shape)
    loss = SegmentationCrossentropy(reduction=reduction)
    assert float(loss(masks, logits, weights)) == pytest.approx(reference(masks, logits, weights, by=by), rel=1e-12)
    # Without void, and by Keras itself.
    masks = np.where(masks == 255, 0, masks)
    keras_own = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=reduction, dtype="float64")
    assert float(loss(masks, logits, weights)) == pytest.approx(float(keras_own(masks, logits, weights)), rel=1e-12)


@pytest.mark.parametrize("reduction", [None, "none"])
def test_no_reduction_leaves_the_pixels(reduction):
    masks, logits = batch()
    weights = np.random.default_rng(3).random(masks.shape)
    loss = SegmentationCrossentropy(reduction=reduction)
    pixels = loss(masks, logits, weights)
    assert pixels.shape == masks.shape
    assert np.all(pixels.numpy()[masks == 255] == 0)
    assert float(tf.reduce_sum(pixels)) == pytest.approx(reference(masks, logits, weights, by="nothing"), rel=1e-12)
    assert np.array_equal(loss.call(masks, logits), loss(masks, logits))


def test_what_is_asked_for_survives_serialisation():
    asked = {"ignore_class": None, "reduction": "sum", "name": "pixels", "dtype": "float64"}
    restored = keras.losses.deserialize(keras.losses.serialize(SegmentationCrossentropy(**asked)))
    assert {name: restored.get_config()[name] for name in asked} == asked
    assert SegmentationCrossentropy.from_config(SegmentationCrossentropy().get_config()).get_config() == {
        "ignore_class": 255,
        "reduction": "mean_with_sample_weight",
        "name": "segmentation_crossentropy",
        "dtype": None,
        "class_weights": None,
        "label_smoothing": 0.0,
    }
    masks, logits = batch()
    value = SegmentationCrossentropy(dtype="float64")(masks, logits.astype("float32"))
    assert value.dtype == tf.float64
    assert float(value) == pytest.approx(reference(masks, logits.astype("float32")), rel=1e-12)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"ignore_class": "void"}, "ignore_class must be a whole number, got 'void'"),
        ({"reduction": "auto"}, "reduction=auto"),
        ({"dtype": "float16"}, "got float16: pixels are summed up"),
        ({"dtype": keras.DTypePolicy("mixed_bfloat16")}, "got bfloat16"),
    ],
)
def test_bad_settings_are_named(settings, told):
    with pytest.raises(ValueError, match=told):
        SegmentationCrossentropy(**settings)


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


TOLD = r"is no class \(0\.\.2\) and not void \(255\); map ids to 0, 1, ... and to void"


def small(**compiled):
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(3, 1)])
    metrics = [kc.metrics.MeanIoU(3), kc.metrics.PixelAccuracy(3), kc.metrics.Crossentropy()]
    model.compile("sgd", SegmentationCrossentropy(), metrics=metrics, **compiled)
    return model


def with_one_wrong(shape=(2, 8, 8), label=7):
    masks = np.zeros(shape, "uint8")
    masks.flat[13] = label
    return np.ones((*shape[:3], 3), "float32"), masks


@pytest.mark.parametrize(
    ("compiled", "error", "told"),
    [
        ({"run_eagerly": True}, ValueError, f"label 7 {TOLD}"),
        ({"jit_compile": False}, tf.errors.InvalidArgumentError, rf"\[label\] \[7\] \[{TOLD}"),
        ({"jit_compile": False, "steps_per_execution": 2}, tf.errors.InvalidArgumentError, r"\[label\] \[7\]"),
    ],
)
@pytest.mark.parametrize("shape", [(2, 8, 8), (2, 8, 8, 1)])
def test_a_label_that_is_no_class_ends_fit_and_evaluate(compiled, error, told, shape):
    model, (images, masks) = small(**compiled), with_one_wrong(shape)
    for run in (model.fit, model.evaluate):
        with pytest.raises(error, match=told):
            run(images, masks, batch_size=1, verbose=0)


def test_a_label_that_is_no_class_is_nan_where_xla_compiles():
    model, (images, masks) = small(jit_compile=True), with_one_wrong()
    for found in (model.fit(images, masks, verbose=0).history, model.evaluate(images, masks, return_dict=True)):
        assert {name: np.isnan(value).all() for name, value in found.items()} == {
            "loss": True,
            "mean_iou": True,
            "pixel_accuracy": True,
            "crossentropy": True,
        }
    # The next epoch starts from nothing.
    masks[:] = 1
    assert np.isfinite(list(model.evaluate(images, masks, return_dict=True).values())).all()


@pytest.mark.slow
@pytest.mark.parametrize("compiled", [{"run_eagerly": True}, {"jit_compile": False}])
def test_it_ends_the_fit_of_a_network_with_an_auxiliary_loss(compiled):
    network = kc.CaCNet(3, backbone="resnet14_narrow", head_channels=8)
    network.compile(kc.optimizers.SGD(0.01), SegmentationCrossentropy(), **compiled)
    images, masks = with_one_wrong((2, 32, 32), label=200)
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=r"200\]? \[?is no class \(0\.\.2\)"):
        network.fit(images, masks, verbose=0)


@pytest.mark.parametrize("shape", [(2, 8, 8), (2, 8, 8, 1)])
def test_class_weights_of_fit_are_exact_or_refused(shape):
    """`tf.data` sets: Keras gathers them by pixel from masks (B, H, W, 1); of (B, H, W) it takes W for the classes."""
    images, masks = with_one_wrong(shape, label=1)
    model = small(jit_compile=False)
    expected = SegmentationCrossentropy()(masks, model(images), np.where(masks == 1, 5.0, 1.0))
    batches = tf.data.Dataset.from_tensor_slices((images, masks)).batch(2)

    def fit():
        return model.fit(batches, class_weight={0: 1.0, 1: 5.0}, shuffle=False, verbose=0).history["loss"][0]

    if len(shape) == 3:
        with pytest.raises(ValueError, match=r"got \(None, 8\) .* give np.array\(weights\)\[masks\] as sample_weight"):
            fit()
    else:
        assert fit() == pytest.approx(float(expected), rel=1e-6)


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
