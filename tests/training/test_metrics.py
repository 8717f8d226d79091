"""MeanIoU and PixelAccuracy against counting by hand."""

import keras
import numpy as np
import pytest

from keras_cacnet.training.metrics import MeanIoU, PixelAccuracy


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
