"""The paper's augmentation, a random flip, scale and crop, the same for image and mask; and more where it is wanted."""

import tensorflow as tf

from keras_cacnet.datasets.classes import VOID
from keras_cacnet.pipeline.distortion import DRAWS, cut, recoloured, to_and_fro, turned
from keras_cacnet.pipeline.jitter import Jitter

PADDING = 0.0
"""Fills the image where a crop reaches beyond it: black before normalisation, as in PyTorch-Encoding."""

_OTHER_DRAWS = 2**40
"""Added to the number of an example, which never gets there, for draws of its own."""


def augment(
    image: tf.Tensor,
    mask: tf.Tensor,
    seed: tf.Tensor,
    crop_size: int,
    scale_range: tuple[float, float] = (0.5, 2.0),
    flip: bool = True,
    image_size: int | None = None,
    mirror: bool = False,
    jitter: Jitter | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Flip, scale and crop an image and its mask at random.

    The image is scaled to (round(s h), round(s w)), s uniform in `scale_range`, bilinearly (triangle filter,
    widened where it shrinks, as Pillow does it for PyTorch-Encoding); the mask by nearest neighbour on the
    same half-pixel centres. The crop's place is uniform over the scaled image. Where that is smaller than the
    crop, the rest on the right and at the bottom is `PADDING` in the image and `VOID` in the mask. Only the
    pixels of the crop are computed, so a large photograph costs no more than a small one; the result is that
    of scaling it whole.

    Args:
        image: (height, width, 3), uint8 or float, 0..255.
        mask: (height, width), uint8.
        seed: two integers; equal seeds give equal results, on any device.
        crop_size: height and width of the result.
        scale_range: smallest and largest scale.
        flip: whether half the examples are mirrored left to right.
        image_size: the long side to which an image is brought before it is scaled; both are one resizing.
        mirror: fill the image up with its mirror image instead of `PADDING`; the mask is void there all the same.
        jitter: random colours, rotation, blur and cut-outs. Without it the result is what it is with a jitter of
            nothing, bit for bit; flip, scale and place are the same with any.

    Returns:
        The image, float32 (crop_size, crop_size, 3), and the mask, uint8 (crop_size, crop_size).

    Example:
        >>> image, mask = tf.zeros((30, 40, 3), "uint8"), tf.zeros((30, 40), "uint8")
        >>> image, mask = augment(image, mask, seed=(0, 7), crop_size=32)
        >>> image.shape.as_list(), mask.shape.as_list()
        ([32, 32, 3], [32, 32])

    Reference:
        Section 4.1, Training Setting: "we only randomly flip the input image and scale it randomly in the
        range from 0.5 to 2.0"; crops of 512 or 576.
    """
    # Philox by name: the default differs between CPU, GPU and TPU, and so would the batches.
    draws = tf.random.stateless_uniform((4,), seed, alg="philox")
    size = working_size(tf.shape(image)[:2], image_size)
    scale = scale_range[0] + draws[0] * (scale_range[1] - scale_range[0])
    scaled = tf.maximum(tf.cast(tf.round(tf.cast(size, "float32") * scale), "int32"), 1)
    crop = tf.minimum(scaled, crop_size)
    room = scaled - crop
    # The minimum guards against a product that float32 rounds up to room + 1.
    corner = tf.minimum(tf.cast(draws[1:3] * tf.cast(room + 1, "float32"), "int32"), room)
    jitter = jitter or Jitter()
    own_seed = tf.cast(seed, "int64") + tf.constant((0, _OTHER_DRAWS), "int64")
    own_draws = tf.random.stateless_uniform((DRAWS,), own_seed, alg="philox")
    # With rotation the crop has a margin, as far as the image has one there.
    margin = jitter.margin(crop_size)
    low, high = tf.maximum(corner - margin, 0), tf.minimum(corner + crop + margin, scaled)
    image, mask = scaled_crop(image, mask, scaled, low, high - low)
    # Sums of rounded weights reach 255.0001.
    image = recoloured(jitter, tf.clip_by_value(image, 0.0, 255.0), own_draws)
    before = margin - (corner - low)
    if flip:
        mirrored = draws[3] < 0.5
        image = tf.cond(mirrored, lambda: tf.reverse(image, [1]), lambda: image)
        mask = tf.cond(mirrored, lambda: tf.reverse(mask, [1]), lambda: mask)
        before = tf.stack([before[0], tf.where(mirrored, margin - (high - corner - crop)[1], before[1])])
    whole = crop_size + 2 * margin
    if mirror:
        for axis in (0, 1):
            image = tf.gather(image, to_and_fro((high - low)[axis], whole, before[axis]), axis=axis)
    after = whole - before - (high - low)
    around = tf.stack([before, after], axis=1)
    if not mirror:
        image = tf.pad(image, tf.concat([around, [[0, 0]]], axis=0), constant_values=PADDING)
    mask = tf.pad(mask, around, constant_values=tf.constant(VOID, mask.dtype))
    if jitter.rotation:
        centre = tf.cast(crop - 1, "float32") / 2 + float(margin)
        image, mask = turned(jitter, image, mask, own_draws, centre, crop_size, mirror)
    if jitter.cutout:
        image = cut(jitter, image, own_draws)
    return tf.ensure_shape(image, (crop_size, crop_size, 3)), tf.ensure_shape(mask, (crop_size, crop_size))


def working_size(size: tf.Tensor, image_size: int | None) -> tf.Tensor:
    """Compute the height and width of an image whose long side is brought to `image_size`.

    It is that of `Protocol(image_size=...)`.

    Example:
        >>> working_size(tf.constant([3000, 4001]), 512).numpy().tolist()
        [384, 512]
        >>> working_size(tf.constant([30, 40]), None).numpy().tolist()
        [30, 40]
    """
    if image_size is None:
        return size
    # In whole numbers, floor(side * image_size / long + 1/2): 64 bits, so that no product overflows.
    sides, long = tf.cast(size, "int64"), tf.cast(tf.reduce_max(size), "int64")
    return tf.maximum(tf.cast((2 * sides * image_size + long) // (2 * long), size.dtype), 1)


def brought_to(image: tf.Tensor, mask: tf.Tensor, image_size: int | None) -> tuple[tf.Tensor, tf.Tensor]:
    """Bring the long side of an image and its mask to `image_size`, as `augment` does it.

    Args:
        image: (height, width, 3).
        mask: (height, width).
        image_size: in pixels; None leaves both as they are.

    Returns:
        The image, float32, and the mask.
    """
    image = tf.cast(image, "float32")
    if image_size is None:
        return image, mask
    size = tf.shape(image)[:2]
    scaled = working_size(size, image_size)

    def resized() -> tuple[tf.Tensor, tf.Tensor]:
        found, ids = scaled_crop(image, mask, scaled, tf.zeros_like(scaled), scaled)
        return tf.clip_by_value(found, 0.0, 255.0), ids

    return tf.cond(tf.reduce_all(scaled == size), lambda: (image, mask), resized)


def scaled_crop(
    image: tf.Tensor, mask: tf.Tensor, scaled: tf.Tensor, corner: tf.Tensor, crop: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Cut a window out of the scaled image and mask, computing no pixel outside it.

    Args:
        image: (height, width, 3).
        mask: (height, width).
        scaled: height and width that the whole image is scaled to.
        corner: top and left of the window in the scaled image.
        crop: height and width of the window, which lies inside the scaled image.

    Returns:
        The window, float32 (crop[0], crop[1], 3) and of the mask's type (crop[0], crop[1]): those of
        `tf.image.resize(image, scaled, antialias=True)` and `tf.image.resize(mask, scaled, "nearest")`.

    Example:
        >>> image = tf.reshape(tf.range(48.0), (4, 4, 3))
        >>> window, _ = scaled_crop(image, image[..., 0], scaled=(8, 8), corner=(2, 3), crop=(4, 5))
        >>> bool(tf.reduce_all(window == tf.image.resize(image, (8, 8), antialias=True)[2:6, 3:8]))
        True
    """
    size = tf.cast(tf.shape(image)[:2], "float32")
    scale = tf.cast(scaled, "float32") / size
    window = tf.raw_ops.ScaleAndTranslate(
        images=image[None],
        size=crop,
        scale=scale,
        translation=-tf.cast(corner, "float32"),
        kernel_type="triangle",
        antialias=True,
    )[0]
    rows, columns = (_nearest(size[axis], scaled[axis], corner[axis], crop[axis]) for axis in (0, 1))
    return window, tf.gather(tf.gather(mask, rows), columns, axis=1)


def _nearest(size: tf.Tensor, scaled: tf.Tensor, corner: tf.Tensor, crop: tf.Tensor) -> tf.Tensor:
    """The source index of each output position: floor((i + 1/2) size / scaled)."""
    centres = tf.cast(tf.range(corner, corner + crop), "float32") + 0.5
    indices = tf.cast(tf.floor(centres * (size / tf.cast(scaled, "float32"))), "int32")
    return tf.minimum(indices, tf.cast(size, "int32") - 1)
