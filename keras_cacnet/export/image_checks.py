"""What a signature of a SavedModel asks of images that come as numbers, inside the graph."""

from typing import Any

import tensorflow as tf

EXPECTED = (None, None, None, 3)


def checked_images(images: Any) -> Any:
    """Fail where there is nothing to answer, or where an answer would mean nothing.

    Servers hold a request's type against the signature, but not its shape or its values. NaN anywhere in an image would
    be spread over all of it by the global context, and come out as class 0 without a word.

    Args:
        images: as they are sent.

    Shapes:
        - images: uint8 or float32 (B, H, W, 3)

    Returns:
        The images. The tensor fails with InvalidArgumentError where the shape is another, there are no images or no
        pixels, or a value is not finite or outside of 0..255; the message says what was found.

    Example:
        >>> checked_images(tf.fill((1, 2, 2, 3), 20.0)).shape
        TensorShape([1, 2, 2, 3])
    """
    images = tf.ensure_shape(images, EXPECTED, name="images_must_be_batch_height_width_3")
    batch, height, width, _ = (tf.strings.as_string(side) for side in tf.unstack(tf.shape(images)))
    found = tf.strings.join([batch, " images of ", height, "x", width, " pixels: there is nothing to segment"])
    checks = [tf.debugging.Assert(tf.size(images) > 0, [found], name="some")]
    if images.dtype.is_floating:
        lowest, highest = tf.reduce_min(images), tf.reduce_max(images)
        numbers = [tf.strings.as_string(value, shortest=True) for value in (lowest, highest)]
        outside = tf.strings.join(
            ["values go from ", numbers[0], " to ", numbers[1], ", those of images in 0..255: clip or rescale them"]
        )
        finite = tf.reduce_all(tf.math.is_finite(images))
        # One after the other: of an image with NaN the smallest value says nothing.
        known = tf.debugging.Assert(finite, ["the images have values that are not finite"], name="finite")
        with tf.control_dependencies([known]):
            within = (lowest >= 0) & (highest <= 255)
        checks += [known, tf.debugging.Assert(within, [outside], name="range")]
    with tf.control_dependencies(checks):
        return tf.identity(images)
