"""Images that come as numbers and are none, served without Keras."""

import numpy as np
import pytest

SIGNATURES = ("serving_default", "serve_float", "serve_multiscale")


@pytest.mark.parametrize("signature", SIGNATURES)
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 0, 0, 3), "1 images of 0x0 pixels: there is nothing to segment"),
        ((1, 7, 0, 3), "1 images of 7x0 pixels: there is nothing to segment"),
        ((0, 8, 9, 3), "0 images of 8x9 pixels: there is nothing to segment"),
        ((1, 8, 8, 5), r"\[1,8,8,5\] is not compatible .*(.|\n)*images_must_be_batch_height_width_3"),
        ((1, 8, 8, 1), r"\[1,8,8,1\] is not compatible .*(.|\n)*images_must_be_batch_height_width_3"),
        ((8, 8, 3), r"\[8,8,3\] is not compatible .*(.|\n)*images_must_be_batch_height_width_3"),
    ],
)
def test_other_shapes_are_refused(serve, signature, shape, message):
    with pytest.raises(RuntimeError, match=message):
        serve(signature, np.zeros(shape))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "the images have values that are not finite"),
        (np.inf, "the images have values that are not finite"),
        (-np.inf, "the images have values that are not finite"),
        (-3.5, r"values go from -3.5 to 90, those of images in 0..255: clip or rescale them"),
        (256, r"values go from 7 to 256, those of images in 0..255: clip or rescale them"),
        (3e38, r"values go from 7 to 3e\+38"),
    ],
)
def test_a_value_that_no_image_has_is_refused(serve, value, message):
    images = np.linspace(7, 90, 2 * 8 * 9 * 3, dtype="float32").reshape(2, 8, 9, 3)
    assert serve("serve_float", images)["class_ids"].shape == (2, 8, 9)
    images[1, 4, 4, 1] = value
    with pytest.raises(RuntimeError, match=message):
        serve("serve_float", images)


def test_the_ends_of_the_range_are_images(serve, assert_as_keras, photograph):
    images = photograph(24, 30)[np.newaxis].astype("float32")
    images[0, :2] = 0
    images[0, 2:4] = 255
    result = serve("serve_float", images)
    assert_as_keras(images, result["class_ids"], result["probabilities"])
