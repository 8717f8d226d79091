"""The augmentation against resizing the whole image, and image against mask."""

import numpy as np
import pytest
import tensorflow as tf

from keras_cacnet.datasets import VOID
from keras_cacnet.evaluation import Protocol
from keras_cacnet.pipeline import augment
from keras_cacnet.pipeline.augmentation import brought_to, scaled_crop, working_size

RNG = np.random.default_rng(0)


def random_pair(height, width):
    return RNG.integers(0, 256, (height, width, 3), "uint8"), RNG.integers(0, 9, (height, width), "uint8")


@pytest.mark.parametrize("scaled", [(31, 45), (62, 90), (16, 23), (33, 80), (47, 22), (1, 1)])
def test_window_is_that_of_the_whole_image_scaled(scaled):
    image, mask = random_pair(31, 45)
    corner = (scaled[0] // 3, scaled[1] // 2)
    crop = (max(scaled[0] // 2, 1), max(scaled[1] // 3, 1))
    window, ids = scaled_crop(image, mask, scaled, corner, crop)
    place = np.s_[corner[0] : corner[0] + crop[0], corner[1] : corner[1] + crop[1]]
    whole = tf.image.resize(image, scaled, antialias=True).numpy()[place]
    # The centre of a pixel is i + 1/2 + corner here and j + 1/2 there: float32 rounding, measured 4e-4.
    np.testing.assert_allclose(window, whole, atol=2e-3)
    whole_ids = tf.image.resize(mask[..., None], scaled, "nearest").numpy()[..., 0][place]
    np.testing.assert_array_equal(ids, whole_ids)


def test_bilinear_is_that_of_the_formula():
    """Twice as large, half-pixel centres: weights 1/4 and 3/4, the edge repeated."""
    image, mask = random_pair(5, 6)
    window, ids = scaled_crop(image, mask, (10, 12), (0, 0), (10, 12))
    padded = np.pad(image.astype("float64"), ((1, 1), (1, 1), (0, 0)), "edge")
    rows = np.empty((10, 8, 3))
    rows[0::2] = 0.25 * padded[0:5] + 0.75 * padded[1:6]
    rows[1::2] = 0.75 * padded[1:6] + 0.25 * padded[2:7]
    expected = np.empty((10, 12, 3))
    expected[:, 0::2] = 0.25 * rows[:, 0:6] + 0.75 * rows[:, 1:7]
    expected[:, 1::2] = 0.75 * rows[:, 1:7] + 0.25 * rows[:, 2:8]
    # Sums of four products of values up to 255 in float32.
    np.testing.assert_allclose(window, expected, atol=1e-3)
    np.testing.assert_array_equal(ids, mask.repeat(2, 0).repeat(2, 1))


def test_scale_one_changes_nothing():
    image, mask = random_pair(40, 50)
    out, ids = augment(image, mask, (0, 1), 64, scale_range=(1.0, 1.0), flip=False)
    np.testing.assert_array_equal(out[:40, :50], image)
    np.testing.assert_array_equal(ids[:40, :50], mask)
    assert out.dtype == tf.float32
    assert ids.dtype == tf.uint8


@pytest.mark.parametrize("seed", range(12))
def test_mask_stays_on_the_image(seed):
    """The mask painted into the image and found again by thresholding: off by half a pixel at edges at most."""
    mask = np.zeros((60, 80), "uint8")
    mask[10:37, 21:55] = 1
    mask[30:50, 50:71] = 1
    image = np.repeat(mask[..., None] * np.uint8(255), 3, -1)
    out, ids = augment(image, mask, (3, seed), 48)
    seen = out.numpy()[..., 0] > 127.5
    inside = ids.numpy() != VOID
    differ = (seen != (ids.numpy() == 1)) & inside
    edge = np.zeros_like(differ)
    painted = np.where(inside, ids.numpy(), 0)
    edge[:, 1:] |= painted[:, 1:] != painted[:, :-1]
    edge[:, :-1] |= painted[:, 1:] != painted[:, :-1]
    edge[1:] |= painted[1:] != painted[:-1]
    edge[:-1] |= painted[1:] != painted[:-1]
    assert not (differ & ~edge).any()
    assert differ.sum() <= 0.5 * edge.sum()


def test_padding_is_black_and_void_right_and_below():
    image, mask = np.full((20, 30, 3), 200, "uint8"), np.ones((20, 30), "uint8")
    for seed in range(8):
        out, ids = augment(image, mask, (0, seed), 48, scale_range=(0.5, 1.2))
        real = ids.numpy() != VOID
        height, width = real.any(1).sum(), real.any(0).sum()
        assert real[:height, :width].all()
        assert abs(width / height - 1.5) < 0.15
        np.testing.assert_allclose(out.numpy()[real], 200, atol=1e-3)
        assert (out.numpy()[~real] == 0).all()


def test_flip_mirrors_image_and_mask():
    image, mask = random_pair(32, 32)
    flipped = 0
    for seed in range(200):
        out, ids = augment(image, mask, (1, seed), 32, scale_range=(1.0, 1.0))
        mirrored = not np.array_equal(ids, mask)
        np.testing.assert_array_equal(ids, mask[:, ::-1] if mirrored else mask)
        np.testing.assert_array_equal(out, image[:, ::-1] if mirrored else image)
        flipped += mirrored
    # Binomial(200, 1/2): 100 with a standard deviation of 7.1; the limits are four of them.
    assert 72 <= flipped <= 128


def test_scales_and_places_are_uniform():
    """Read off a ramp: the slope is one over the scale, the first value the place."""
    height, width = 64, 100
    image = np.repeat(np.tile(np.arange(width, dtype="uint8"), (height, 1))[..., None], 3, -1)
    mask = np.zeros((height, width), "uint8")
    scales, places = [], []
    for seed in range(300):
        out, ids = augment(image, mask, (2, seed), 24, flip=False)
        row = out.numpy()[8, (ids.numpy()[8] != VOID), 0].astype("float64")
        scale = (len(row) - 9) / (row[-5] - row[4])
        scales.append(scale)
        # Position of the crop's left edge in the image, as a share of the room there is.
        left = row[4] + 0.5 - 4.5 / scale
        places.append(left / (width - 24 / scale))
    # The edges of the ramp and the rounding of the size leave an error of a few percent.
    assert 0.49 <= min(scales) < 0.53
    assert 1.93 < max(scales) <= 2.03
    # Means of 300 uniform draws: standard deviations 0.025 and 0.017; the limits are four of them.
    assert abs(np.mean(scales) - 1.25) < 0.1
    assert abs(np.mean(places) - 0.5) < 0.07
    assert min(places) > -0.03
    assert max(places) < 1.03


def test_same_seed_same_result_and_another_another():
    image, mask = random_pair(50, 40)
    one, ids = augment(image, mask, (5, 6), 32)
    again, ids_again = augment(image, mask, (5, 6), 32)
    np.testing.assert_array_equal(one, again)
    np.testing.assert_array_equal(ids, ids_again)
    for other in ((5, 7), (6, 6)):
        assert not np.array_equal(one, augment(image, mask, other, 32)[0])


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (90, 1), (3, 3)])
def test_tiny_images(size):
    image, mask = random_pair(*size)
    for seed in range(5):
        out, ids = augment(image, mask, (0, seed), 16)
        assert out.shape == (16, 16, 3)
        assert (ids.numpy() != VOID).any()
        assert np.isfinite(out).all()


@pytest.mark.parametrize("size", [(375, 500), (500, 375), (4001, 3000), (512, 512), (30, 40), (5000, 3)])
def test_the_working_size_is_that_of_evaluation(size):
    found = working_size(tf.constant(size), 512).numpy().tolist()
    assert tuple(found) == Protocol(image_size=512).scaled_size(*size, 1.0)


def test_the_working_size_and_the_scale_are_one_resizing():
    image, mask = random_pair(90, 61)
    small, ids = brought_to(tf.constant(image), tf.constant(mask), 40)
    assert small.shape.as_list() == [40, 27, 3]
    found = augment(image, mask, (1, 2), 48, (1.0, 1.0), False, image_size=40)
    np.testing.assert_allclose(found[0][:40, :27], small, atol=2e-3)
    np.testing.assert_array_equal(found[1][:40, :27], ids)
    assert (found[1].numpy()[:, 27:] == VOID).all()
    whole = tf.image.resize(mask[..., None], (40, 27), "nearest").numpy()[..., 0]
    np.testing.assert_array_equal(ids, whole)
    for size in (None, 90):
        same, kept = brought_to(tf.constant(image), tf.constant(mask), size)
        np.testing.assert_array_equal(same, image.astype("float32"))
        np.testing.assert_array_equal(kept, mask)
