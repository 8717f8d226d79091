"""Colours, rotation, blur and cut-outs of one example, by random numbers that are given.

The functions are `tf.image`'s with numbers that are drawn elsewhere: Keras' preprocessing layers draw from a state of
their own, and what they make of an example would depend on the examples before it.
"""

import math

import tensorflow as tf

from keras_cacnet.datasets.classes import VOID
from keras_cacnet.pipeline.jitter import Jitter

DRAWS = 9
"""Random numbers from 0 to 1 that one example takes."""


def recoloured(jitter: Jitter, image: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
    """Change the colours and the sharpness of an image, float32 (h, w, 3) in 0..255."""
    if jitter.brightness:
        image = image * _around_one(jitter.brightness, draws[0])
    if jitter.contrast:
        image = tf.image.adjust_contrast(image, _around_one(jitter.contrast, draws[1]))
    if jitter.saturation or jitter.hue:
        image = tf.clip_by_value(image / 255, 0.0, 1.0)
        if jitter.saturation:
            image = tf.image.adjust_saturation(image, _around_one(jitter.saturation, draws[2]))
        if jitter.hue:
            image = tf.image.adjust_hue(image, jitter.hue * (2 * draws[3] - 1))
        image = image * 255
    if jitter.blur:
        image = blurred(image, jitter.blur * draws[5], math.ceil(3 * jitter.blur))
    return tf.clip_by_value(image, 0.0, 255.0)


def turned(
    jitter: Jitter, image: tf.Tensor, mask: tf.Tensor, draws: tf.Tensor, centre: tf.Tensor, crop_size: int, mirror: bool
) -> tuple[tf.Tensor, tf.Tensor]:
    """Turn a crop with its margin, and cut the margin off.

    Args:
        jitter: how far, at most.
        image: (crop_size + 2 margin, crop_size + 2 margin, 3).
        mask: likewise.
        draws: of this example.
        centre: row and column about which it is turned.
        crop_size: height and width of the result.
        mirror: fill the image up with its mirror image instead of black.
    """
    margin = jitter.margin(crop_size)
    angle = math.radians(jitter.rotation) * (2 * draws[4] - 1)
    cos, sin, (row, column) = tf.cos(angle), tf.sin(angle), tf.unstack(tf.cast(centre, "float32"))
    # From a pixel of the result, shifted by the margin, to one of what is given, about the centre.
    x, y = margin - column, margin - row
    right, down = column + cos * x - sin * y, row + sin * x + cos * y
    zero = tf.zeros(())
    transform = tf.stack([cos, -sin, right, sin, cos, down, zero, zero])

    def transformed(pixels: tf.Tensor, interpolation: str, fill_mode: str, fill: float) -> tf.Tensor:
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=pixels[None],
            transforms=transform[None],
            output_shape=(crop_size, crop_size),
            interpolation=interpolation,
            fill_mode=fill_mode,
            fill_value=fill,
        )[0]

    image = transformed(image, "BILINEAR", "REFLECT" if mirror else "CONSTANT", 0.0)
    return image, transformed(mask[..., None], "NEAREST", "CONSTANT", float(VOID))[..., 0]


def cut(jitter: Jitter, image: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
    """Fill a square of an image with its mean colour."""
    size = tf.shape(image)[:2]
    side = tf.cast(jitter.cutout * draws[6] * tf.cast(tf.reduce_min(size), "float32"), "int32")
    corner = tf.cast(draws[7:9] * tf.cast(size - side + 1, "float32"), "int32")
    rows, columns = (
        tf.logical_and(tf.range(size[axis]) >= corner[axis], tf.range(size[axis]) < corner[axis] + side)
        for axis in (0, 1)
    )
    inside = tf.logical_and(rows[:, None], columns[None, :])[..., None]
    return tf.where(inside, tf.reduce_mean(image, axis=(0, 1)), image)


def blurred(image: tf.Tensor, deviation: tf.Tensor, radius: int) -> tf.Tensor:
    """Blur an image by a Gaussian that is cut off at a radius; beyond its edge is its mirror image.

    Example:
        >>> image = tf.random.stateless_uniform((9, 9, 3), (0, 1))
        >>> bool(tf.reduce_all(blurred(image, 0.0, 3) == image))
        True
    """
    offsets = tf.range(-radius, radius + 1, dtype="float32")
    kernel = tf.exp(-0.5 * (offsets / tf.maximum(deviation, 1e-3)) ** 2)
    kernel = tf.tile((kernel / tf.reduce_sum(kernel))[:, None, None, None], (1, 1, 3, 1))
    size = tf.shape(image)
    for axis, along in ((0, kernel), (1, tf.transpose(kernel, (1, 0, 2, 3)))):
        padded = tf.gather(image, to_and_fro(size[axis], size[axis] + 2 * radius, radius), axis=axis)
        image = tf.nn.depthwise_conv2d(padded[None], along, (1, 1, 1, 1), "VALID")[0]
    return image


def to_and_fro(length: tf.Tensor, size: tf.Tensor | int, before: tf.Tensor | int = 0) -> tf.Tensor:
    """Give the indices of a row of pixels that is filled up with its mirror image on both sides.

    Args:
        length: pixels of the row.
        size: how many indices there are.
        before: how many of them come before the row.

    Example:
        >>> to_and_fro(3, 8, 2).numpy().tolist()
        [1, 0, 0, 1, 2, 2, 1, 0]
    """
    places = (tf.range(size) - before) % (2 * length)
    return tf.minimum(places, 2 * length - 1 - places)


def _around_one(width: float, draw: tf.Tensor) -> tf.Tensor:
    return 1 + width * (2 * draw - 1)
