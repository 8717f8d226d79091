"""MeanIoU, PixelAccuracy and Crossentropy against counting by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_cacnet as kc
from keras_cacnet.training.metrics import Crossentropy, MeanIoU, PixelAccuracy


def by_hand(truth, guess, classes):
    valid = truth != 255
    ious = []
    for c in range(classes):
        union = np.sum(valid & ((truth == c) | (guess == c)))
        if union:
            ious.append(np.sum(valid & (truth == c) & (guess == c)) / union)
    return np.mean(ious), np.mean(truth[valid] == guess[valid])


def test_equal_counting_over_batches_with_void_and_absent_classes():
    rng = np.random.default_rng(0)
    truth = rng.choice([0, 1, 3, 255], (3, 2, 7, 5)).astype("uint8")
    logits = rng.normal(size=(3, 2, 7, 5, 6))
    logits[..., 4:] -= 100  # class 4 and 5 are never predicted and never true; class 2 is predicted only
    iou, accuracy = by_hand(truth, logits.argmax(-1), 6)
    metrics = MeanIoU(6, dtype="float64"), PixelAccuracy(6, dtype="float64")
    for metric, expected in zip(metrics, (iou, accuracy), strict=True):
        for masks, predictions in zip(truth, logits, strict=True):
            metric.update_state(masks, predictions)
        assert float(metric.result()) == pytest.approx(expected, rel=1e-14)
        metric.reset_state()
        assert float(metric.result()) == 0
        restored = keras.metrics.deserialize(keras.metrics.serialize(metric))
        restored.update_state(truth[0][..., None], logits[0])
        assert float(restored.result()) == pytest.approx(
            by_hand(truth[0], logits[0].argmax(-1), 6)[0 if isinstance(metric, MeanIoU) else 1], rel=1e-6
        )


@pytest.mark.parametrize("make", [MeanIoU, PixelAccuracy])
def test_of_equal_logits_the_first_is_taken_as_in_predictions(make):
    """-0.0 and 0.0 are equal in NumPy, in `tf.argmax` and so in exports; Keras' own argmax takes the second."""
    metric = make(2)
    metric.update_state(np.zeros((1, 1, 1), "uint8"), np.array([[[[-0.0, 0.0]]]], "float32"))
    assert float(metric.result()) == 1


def test_counts_stay_whole_beyond_what_floats_hold():
    metric = MeanIoU(2)
    metric.confusion.assign([[2**31, 0], [0, 0]])
    metric.update_state(np.zeros((1, 1, 1)), np.array([[[[1.0, 0.0]]]]))
    assert int(metric.confusion[0, 0]) == 2**31 + 1


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"\(1, 2, 2, 3\)"):
        MeanIoU(4).update_state(np.zeros((1, 2, 2)), np.zeros((1, 2, 2, 3)))
    for classes in (0, 1):
        with pytest.raises(ValueError, match=f"num_classes={classes}: there must be at least 2; .*num_classes=2"):
            MeanIoU(classes)
    with pytest.raises(ValueError, match=r"num_classes must be a whole number, got 2\.5"):
        PixelAccuracy(2.5)
    with pytest.raises(ValueError, match="num_classes=300 and ignore_class=255: .*ignore_class=-1"):
        MeanIoU(300)
    with pytest.raises(ValueError, match="ignore_class must be a whole number, got 'void'"):
        Crossentropy(ignore_class="void")


def test_weights_are_refused_and_weighted_metrics_without_them_work():
    for metric in (MeanIoU(2), PixelAccuracy(2), Crossentropy()):
        with pytest.raises(
            ValueError, match=r"no sample weights: list it in metrics=\[...\], .* mark pixels .* as 255"
        ):
            metric.update_state(np.zeros((1, 1, 1)), np.zeros((1, 1, 1, 2)), np.ones(1))
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 1)])
    model.compile("sgd", kc.losses.SegmentationCrossentropy(), weighted_metrics=[MeanIoU(2)], jit_compile=False)
    images, masks = np.zeros((2, 4, 4, 3), "float32"), np.zeros((2, 4, 4), "uint8")
    assert "mean_iou" in model.fit(images, masks, verbose=0).history
    with pytest.raises(ValueError, match="mean_iou takes no sample weights"):
        model.fit(images, masks, sample_weight=np.ones(2), verbose=0)


WRONG = np.array([[[0, 7, 7, 7]]]), np.eye(3)[[[[0, 0, 0, 0]]]]


@pytest.mark.parametrize("make", [lambda: MeanIoU(3), lambda: PixelAccuracy(3), Crossentropy])
def test_labels_that_are_no_class_are_told_and_count_nowhere(make):
    metric = make()
    with pytest.raises(ValueError, match=r"^label 7 is no class \(0\.\.2\) and not void \(255\)"):
        metric.update_state(*WRONG)
    assert not any(np.any(variable) for variable in metric.variables)
    with pytest.raises(ValueError, match="label -1 is no class"):
        metric.update_state(WRONG[0] * 0 - 1, WRONG[1])
    graph = tf.function(lambda masks, logits: metric.update_state(masks, logits))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[label\] \[7\] \[is no class"):
        graph(*map(tf.constant, WRONG))


@pytest.mark.parametrize("make", [lambda: MeanIoU(3), lambda: PixelAccuracy(3), Crossentropy])
def test_nan_where_labels_are_none_under_xla_until_the_state_is_reset(make):
    metric = make()
    update = tf.function(lambda masks, logits: metric.update_state(masks, logits), jit_compile=True)
    good = np.array([[[0, 0, 255, 0]]])
    update(tf.constant(good), tf.constant(WRONG[1]))
    assert np.isfinite(float(metric.result()))
    update(tf.constant(WRONG[0]), tf.constant(WRONG[1]))
    update(tf.constant(good), tf.constant(WRONG[1]))
    assert np.isnan(float(metric.result()))
    metric.reset_state()
    assert float(metric.result()) == 0
    update(tf.constant(good), tf.constant(WRONG[1]))
    assert np.isfinite(float(metric.result()))


@pytest.mark.parametrize("make", [lambda: MeanIoU(3), lambda: PixelAccuracy(3), Crossentropy])
def test_logits_that_are_nan_give_nan_unless_their_pixel_is_void(make):
    logits = WRONG[1].copy()
    logits[0, 0, 2, 1] = np.nan
    metric = make()
    metric.update_state(np.array([[[0, 0, 255, 0]]]), logits)
    assert np.isfinite(float(metric.result()))
    metric.update_state(np.array([[[0, 0, 0, 0]]]), logits)
    assert np.isnan(float(metric.result()))


def test_without_void_every_pixel_counts():
    rng = np.random.default_rng(0)
    masks, logits = rng.integers(0, 3, (2, 4, 5)), rng.normal(size=(2, 4, 5, 3))
    iou, accuracy = by_hand(masks, logits.argmax(-1), 3)
    for metric, expected in ((MeanIoU(3, ignore_class=None), iou), (PixelAccuracy(3, ignore_class=None), accuracy)):
        metric.update_state(masks, logits)
        assert float(metric.result()) == pytest.approx(expected, rel=1e-14)
        with pytest.raises(ValueError, match=r"label 255 is no class \(0\.\.2\) and there is no void"):
            metric.update_state(np.full((2, 4, 5), 255), logits)
    many = MeanIoU(300, ignore_class=None)
    many.update_state(np.array([[[255, 1]]]), np.eye(300)[[[[255, 2]]]])
    assert int(many.confusion[255, 255]) == 1
    assert float(many.result()) == pytest.approx(1 / 3, rel=1e-14)


def test_masks_of_another_size_are_told():
    for metric in (MeanIoU(3), PixelAccuracy(3), Crossentropy()):
        with pytest.raises(ValueError, match=r"\(1, 3, 2\) and \(1, 2, 3, 3\)"):
            metric.update_state(np.zeros((1, 3, 2)), np.zeros((1, 2, 3, 3)))


@pytest.mark.parametrize("make", [lambda **k: MeanIoU(3, **k), lambda **k: PixelAccuracy(3, **k), Crossentropy])
def test_what_is_asked_for_is_what_comes_and_survives_serialisation(make):
    asked = {"ignore_class": None, "name": "score", "dtype": "float16"}
    restored = keras.metrics.deserialize(keras.metrics.serialize(make(**asked)))
    assert {name: restored.get_config()[name] for name in asked} == asked
    masks, logits = np.array([[[0, 1, 2, 0]]]), WRONG[1]
    restored.update_state(masks, logits)
    plain = make()
    plain.update_state(masks, logits)
    assert (restored.result().dtype, plain.result().dtype) == (tf.float16, tf.float64)
    assert float(restored.result()) == float(tf.cast(plain.result(), tf.float16))
    assert type(plain).from_config(plain.get_config()).get_config() == plain.get_config()


@pytest.mark.parametrize(
    ("make", "better"),
    [
        (lambda **k: MeanIoU(2, **k), np.greater),
        (lambda **k: PixelAccuracy(2, **k), np.greater),
        (Crossentropy, np.less),
    ],
)
@pytest.mark.parametrize("compiled_as", ["metrics", "weighted_metrics"])
def test_callbacks_know_what_is_better(make, better, compiled_as, tmp_path):
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 1)])
    model.compile("sgd", kc.losses.SegmentationCrossentropy(), **{compiled_as: [make(name="score")]}, jit_compile=False)
    callbacks = [
        keras.callbacks.EarlyStopping("val_score", patience=3),
        keras.callbacks.ReduceLROnPlateau("score"),
        keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", "val_score", save_best_only=True),
    ]
    x, y = np.zeros((2, 8, 8, 3), "float32"), np.zeros((2, 8, 8), "uint8")
    model.fit(x, y, validation_data=(x, y), verbose=0, callbacks=callbacks)
    for callback in callbacks:
        assert bool(callback.monitor_op(2, 1)) == better(2, 1)


def test_crossentropy_of_a_set_does_not_depend_on_its_batches():
    rng = np.random.default_rng(0)
    logits, masks = rng.normal(size=(7, 4, 5, 3)), rng.integers(0, 3, (7, 4, 5))
    masks[rng.uniform(size=masks.shape) < rng.uniform(size=(7, 1, 1))] = 255
    masks[5:] = 255  # as those that fill a last batch up
    shares = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    valid = masks != 255
    expected = -np.log(np.take_along_axis(shares, np.where(valid, masks, 0)[..., None], -1)[..., 0][valid]).mean()
    for parts in ([7], [1] * 7, [3, 4], [5]):
        metric = Crossentropy(dtype="float64")
        assert float(metric.result()) == 0
        start = 0
        for size in parts:
            metric.update_state(masks[start : start + size], tf.constant(logits[start : start + size]))
            start += size
        # float64 sums in another order.
        assert float(metric.result()) == pytest.approx(expected, rel=1e-13)
    with pytest.raises(ValueError, match="takes no sample weights"):
        metric.update_state(masks, logits, sample_weight=np.ones(7))
