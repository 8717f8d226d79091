"""Colours, rotation, blur and cut-outs against the formulas, SciPy and NumPy; masks against images."""

import colorsys

import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf

from keras_cacnet.datasets import VOID, ClassTable, Example
from keras_cacnet.pipeline import Jitter, Views, augment, training_batches
from keras_cacnet.pipeline.distortion import blurred, cut, recoloured, turned

RNG = np.random.default_rng(0)
ALL = Jitter(brightness=0.3, contrast=0.4, saturation=0.5, hue=0.1, rotation=20, blur=1.5, cutout=0.4)
CENTRE = tf.constant([0.5] * 9)


def draws(**given):
    places = {"brightness": 0, "contrast": 1, "saturation": 2, "hue": 3, "rotation": 4, "blur": 5, "cutout": 6}
    return tf.constant([given.get(name, 0.5) for name in places] + list(given.get("corner", (0.5, 0.5))))


def random_image(height=12, width=14):
    return RNG.integers(30, 220, (height, width, 3)).astype("float32")


def test_brightness_and_contrast():
    image = random_image()
    found = recoloured(Jitter(brightness=0.3), image, draws(brightness=0.75))
    np.testing.assert_allclose(found, np.minimum(image * 1.15, 255), rtol=1e-6)
    found = recoloured(Jitter(contrast=0.4), image, draws(contrast=0.25))
    mean = image.mean((0, 1))
    np.testing.assert_allclose(found, mean + 0.8 * (image - mean), rtol=1e-5)


def test_saturation_and_hue():
    image = random_image(4, 5)
    found = recoloured(Jitter(saturation=0.5, hue=0.2), image, draws(saturation=0.9, hue=0.75)).numpy()
    for place in np.ndindex(4, 5):
        hue, saturation, value = colorsys.rgb_to_hsv(*(image[place] / 255))
        expected = colorsys.hsv_to_rgb((hue + 0.1) % 1, min(saturation * 1.4, 1), value)
        np.testing.assert_allclose(found[place], 255 * np.array(expected), atol=1e-3)


@pytest.mark.parametrize("deviation", [0.5, 1.3, 2.0])
def test_blur_is_that_of_scipy(deviation):
    image = random_image(9, 11)
    expected = scipy.ndimage.gaussian_filter(image, (deviation, deviation, 0), mode="reflect", radius=(6, 6, 0))
    np.testing.assert_allclose(blurred(image, deviation, 6), expected, atol=2e-4)


@pytest.mark.parametrize(("draw", "turns"), [(0.75, 1), (0.25, -1), (0.5, 0)])
def test_quarter_turns_are_those_of_numpy(draw, turns):
    image, mask = random_image(8, 8), RNG.integers(0, 9, (8, 8)).astype("uint8")
    jitter, margin = Jitter(rotation=180), Jitter(rotation=180).margin(8)
    around = [(margin, margin)] * 2
    padded = np.pad(image, [*around, (0, 0)]), np.pad(mask, around, constant_values=VOID)
    centre = tf.constant([3.5, 3.5]) + float(margin)
    found, ids = turned(jitter, *padded, draws(rotation=draw), centre, 8, False)
    np.testing.assert_allclose(found, np.rot90(image, turns), atol=1e-3)
    np.testing.assert_array_equal(ids, np.rot90(mask, turns))


def test_a_turned_crop_within_its_image_has_no_void():
    image, mask = np.full((200, 200, 3), 90, "uint8"), np.ones((200, 200), "uint8")
    corners = [draw.numpy() for draw in map(seed_of_corner, range(40))]
    inside = [seed for seed, corner in enumerate(corners) if (corner > 0.2).all() and (corner < 0.8).all()]
    assert len(inside) > 5
    for seed in inside[:5]:
        out, ids = augment(image, mask, (5, seed), 64, (1.0, 1.0), jitter=Jitter(rotation=45))
        assert (ids.numpy() == 1).all()
        np.testing.assert_allclose(out, 90, atol=1e-3)


def seed_of_corner(seed):
    return tf.random.stateless_uniform((4,), (5, seed), alg="philox")[1:3]


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_what_rotation_uncovers_is_void_and_masks_stay_on_images(seed, mirror):
    """The mask painted into the image and found again by thresholding: off by a pixel at edges at most."""
    mask = np.ones((60, 80), "uint8")
    mask[10:37, 21:55] = 7
    mask[30:50, 50:71] = 7
    image = np.where(mask == 7, 255, 60).astype("uint8")[..., None].repeat(3, -1)
    out, ids = augment(image, mask, (3, seed), 96, (0.8, 1.2), jitter=Jitter(rotation=40), mirror=mirror)
    out, ids = out.numpy()[..., 0], ids.numpy()
    assert set(np.unique(ids)) == {1, 7, VOID}
    deep = scipy.ndimage.minimum_filter(ids, 5, mode="constant", cval=0) == scipy.ndimage.maximum_filter(ids, 5)
    assert deep.mean() > 0.5
    assert (out[deep & (ids == 7)] > 250).all()
    np.testing.assert_allclose(out[deep & (ids == 1)], 60, atol=1)
    if mirror:
        assert out.min() > 55
    else:
        assert (out[deep & (ids == VOID)] == 0).all()


def test_a_cutout_has_the_mean_colour_and_leaves_the_mask():
    image = random_image(40, 40)
    found = cut(Jitter(cutout=0.5), image, draws(cutout=0.5, corner=(0.999, 0.0))).numpy()
    expected = image.copy()
    expected[30:, :10] = image.mean((0, 1))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    mask = RNG.integers(0, 9, (40, 40), "uint8")
    settings = {"seed": (0, 4), "crop_size": 32}
    plain = augment(image, mask, **settings)
    lacking = augment(image, mask, **settings, jitter=Jitter(cutout=0.5))
    np.testing.assert_array_equal(lacking[1], plain[1])
    assert 0 < (lacking[0].numpy() != plain[0].numpy()).any(-1).mean() <= 0.25


def test_colours_leave_place_scale_and_padding():
    image, mask = random_image(30, 40), RNG.integers(0, 9, (30, 40), "uint8")
    colours = Jitter(brightness=0.9, contrast=0.9, saturation=0.9, hue=0.5, blur=2)
    for seed in range(8):
        plain, jittered = (augment(image, mask, (0, seed), 48, jitter=how) for how in (None, colours))
        np.testing.assert_array_equal(jittered[1], plain[1])
        void = plain[1].numpy() == VOID
        assert (jittered[0].numpy()[void] == 0).all()
        assert (jittered[0].numpy() != plain[0].numpy())[~void].mean() > 0.9
        assert jittered[0].numpy().min() >= 0
        assert jittered[0].numpy().max() <= 255


def test_nothing_by_default():
    image, mask = random_image(30, 40), RNG.integers(0, 9, (30, 40), "uint8")
    for seed in range(8):
        for plain, jittered in zip(
            augment(image, mask, (0, seed), 32), augment(image, mask, (0, seed), 32, jitter=Jitter()), strict=True
        ):
            np.testing.assert_array_equal(plain, jittered)


class Drawn(list):
    classes = ClassTable(tuple("abcdefghi"), tuple((i, i, i) for i in range(9)), tuple(range(9)))


def source(tmp_path, count=4):
    from PIL import Image

    examples = Drawn()
    for i in range(count):
        for kind, pixels in (("image", random_image(24, 30)), ("mask", RNG.integers(0, 9, (24, 30)))):
            Image.fromarray(pixels.astype("uint8")).save(tmp_path / f"{i}_{kind}.png")
        examples.append(Example(str(i), tmp_path / f"{i}_image.png", tmp_path / f"{i}_mask.png"))
    return examples


def test_a_stream_depends_on_seed_and_step_alone(tmp_path):
    examples = source(tmp_path)
    settings = {"batch_size": 2, "crop_size": 16, "steps": 4, "jitter": ALL}
    whole = list(training_batches(examples, examples.classes, seed=1, **settings))
    rest = list(training_batches(examples, examples.classes, seed=1, start_step=2, **settings))
    other = list(training_batches(examples, examples.classes, seed=2, **settings))
    for left, right in zip(whole[2:], rest, strict=True):
        np.testing.assert_array_equal(left[0], right[0])
        np.testing.assert_array_equal(left[1], right[1])
    assert not np.array_equal(whole[0][0], other[0][0])
    assert not np.array_equal(whole[0][0], whole[2][0])


def test_views_are_the_same_whenever_they_are_asked_for(tmp_path):
    examples = source(tmp_path, 2)
    views = Views(3, 16, (0.8, 1.2), jitter=ALL)
    first, again = (list(views.stream(examples, examples.classes, 0, 6)) for _ in range(2))
    for left, right in zip(first, again, strict=True):
        np.testing.assert_array_equal(left[0], right[0])
    part = next(iter(views.stream(examples, examples.classes, 4, 5)))
    np.testing.assert_array_equal(part[0], first[4][0])
    assert not np.array_equal(first[0][0], first[4][0])


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"brightness": 1}, r"brightness must be in \[0, 1\), got 1"),
        ({"contrast": -0.1}, "contrast must be 0 or more and finite, got -0.1"),
        ({"hue": 0.6}, "hue must be at most 0.5, got 0.6"),
        ({"rotation": 190}, "rotation must be at most 180, got 190"),
        ({"blur": float("inf")}, "blur must be 0 or more and finite"),
        ({"cutout": True}, "cutout must be 0 or more and finite, got True"),
    ],
)
def test_numbers_outside_their_range_are_named(settings, told):
    with pytest.raises(ValueError, match=told):
        Jitter(**settings)
