"""MeanIoU, PixelAccuracy and Crossentropy against counting by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

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


def test_counts_stay_whole_beyond_what_floats_hold():
    metric = MeanIoU(2)
    metric.confusion.assign([[2**31, 0], [0, 0]])
    metric.update_state(np.zeros((1, 1, 1)), np.array([[[[1.0, 0.0]]]]))
    assert int(metric.confusion[0, 0]) == 2**31 + 1


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"\(1, 2, 2, 3\)"):
        MeanIoU(4).update_state(np.zeros((1, 2, 2)), np.zeros((1, 2, 2, 3)))
    with pytest.raises(ValueError, match="num_classes must be at least 1, got 0"):
        MeanIoU(0)
    with pytest.raises(ValueError, match="no sample weights"):
        PixelAccuracy(2).update_state(np.zeros((1, 1, 1)), np.zeros((1, 1, 1, 2)), np.ones(1))


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
    with pytest.raises(ValueError, match="takes no sample weights; mark pixels as 255 instead"):
        metric.update_state(masks, logits, sample_weight=np.ones(7))
