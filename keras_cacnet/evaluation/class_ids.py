"""The class of every pixel, without the logits of every pixel where a network enlarges them at its end."""

from typing import Any

import keras
import tensorflow as tf

from keras_cacnet.evaluation.inference import segmentation_logits
from keras_cacnet.layers.resize import ResizeLike, resize_bilinear
from keras_cacnet.models.interface import before_enlarging

BAND = 128
"""Rows of the image whose logits lie in one array."""

_AT_ONCE = 2


def class_ids(model: keras.Model, images: Any) -> tuple[Any, Any, Any, Any]:
    """Find the class of the largest logit of every pixel.

    The logits of a model that ends in a `ResizeLike` are enlarged a band of rows at a time, to the same numbers.

    Args:
        model: gives logits of the size of its input.
        images: float, as a tensor of the TensorFlow backend.

    Shapes:
        - images: (B, H, W, 3)
        - class ids: int32 (B, H, W)

    Returns:
        The class ids, the height and width of the logits, whether the logits are finite, and the number of classes.

    Raises:
        ValueError: as `segmentation_logits`.

    Example:
        >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(5, 1)])
        >>> found, size, finite, classes = class_ids(model, tf.zeros((1, 4, 6, 3)))
        >>> tuple(found.shape), size.numpy().tolist(), bool(finite), classes
        ((1, 4, 6), [4, 6], True, 5)
    """
    parts = before_enlarging(model)
    if parts is None or not _same_by_bands(parts[1]):
        logits = segmentation_logits(model, images)
        found, finite = _highest(logits)
        return found, tf.shape(logits)[1:3], finite, logits.shape[-1]
    network, enlarge = parts
    logits = segmentation_logits(network, images)
    size = tf.minimum(tf.shape(images)[1:3], tf.shape(logits)[1:3] * enlarge.stride)
    found, finite = ids_by_bands(logits, enlarge, size)
    return found, size, finite, logits.shape[-1]


def ids_by_bands(logits: Any, enlarge: ResizeLike, size: Any) -> tuple[Any, Any]:
    """Enlarge logits a band of rows at a time, and keep their class ids.

    Every band is enlarged with a row more on either side, which is what interpolation needs; the first and the last
    row of the map are their own neighbours, as at the edges of the whole map.

    Args:
        logits: by position, a tensor of the TensorFlow backend.
        enlarge: the layer that would enlarge them at once.
        size: height and width of the image.

    Shapes:
        - logits: (B, h, w, classes)
        - class ids: int32 (B, H, W)

    Returns:
        The class ids, and whether the logits are finite.

    Example:
        >>> logits = tf.constant([[[[0.0, 1.0]], [[1.0, 0.0]]]])
        >>> ids_by_bands(logits, ResizeLike(4), (7, 2))[0][0, :, 0].numpy().tolist()
        [1, 1, 1, 1, 0, 0, 0]
    """
    stride = enlarge.stride
    batch, height, width = tf.unstack(tf.shape(logits)[:3])
    rows = tf.minimum(max(1, BAND // stride), height)
    bands = (height + rows - 1) // rows
    neighbours = tf.clip_by_value(tf.range(-1, bands * rows + 1), 0, height - 1)
    logits = tf.gather(logits, neighbours, axis=1)

    def band(number: Any) -> tuple[Any, Any]:
        part = logits[:, number * rows : number * rows + rows + 2]
        part = resize_bilinear(part, (rows + 2) * stride, width * stride, enlarge.compute_dtype)
        return _highest(part[:, stride:-stride, : size[1]])

    found, finite = tf.map_fn(
        band,
        tf.range(bands),
        fn_output_signature=(tf.TensorSpec((None, None, None), tf.int32), tf.TensorSpec((), tf.bool)),
        parallel_iterations=_AT_ONCE,
    )
    found = tf.reshape(tf.transpose(found, (1, 0, 2, 3)), (batch, -1, size[1]))
    return found[:, : size[0]], tf.reduce_all(finite)


def _same_by_bands(enlarge: ResizeLike) -> bool:
    """Whether the places between which a pixel is interpolated are exact wherever its band begins."""
    return enlarge.stride & (enlarge.stride - 1) == 0


def _highest(logits: Any) -> tuple[Any, Any]:
    return tf.argmax(logits, axis=-1, output_type=tf.int32), tf.reduce_all(tf.math.is_finite(logits))
