import numpy as np
import pytest

from keras_cacnet.evaluation.windows import interpolation, windows


@pytest.mark.parametrize(("length", "resized"), [(7, 20), (20, 7), (1, 5), (5, 1), (9, 9), (100, 3)])
def test_interpolation_is_tensorflows(length, resized):
    import tensorflow as tf

    x = np.random.default_rng(0).normal(size=length).astype("float32")
    taps = interpolation(length, resized)
    found = x[taps.low] * taps.low_weight + x[taps.high] * taps.high_weight
    expected = tf.image.resize(x[None, :, None, None], (resized, 1))[0, :, 0, 0]
    # TensorFlow computes the weights in float32, of centres up to 100.
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize(("length", "scaled"), [(50, 50), (50, 25), (50, 87), (50, 500), (13, 3), (1, 2)])
@pytest.mark.parametrize(("crop_size", "step"), [(None, None), (16, 10), (16, 16), (7, 1), (60, 40)])
def test_windows_share_every_pixel_out_completely(length, scaled, crop_size, step):
    total, reached = np.zeros(length), 0
    for window in windows(length, scaled, crop_size, step):
        assert len(window.inside.low) <= window.size
        assert 0 <= window.first < window.last <= length
        assert max(window.back.low.max(), window.back.high.max()) < len(window.inside.low)
        total[window.first : window.last] += window.back.low_weight + window.back.high_weight
        reached = max(reached, window.last)
    # A window of ones everywhere must come back as ones; up to 16 float32 weights are added.
    np.testing.assert_allclose(total, 1, rtol=1e-6)
    assert reached == length
