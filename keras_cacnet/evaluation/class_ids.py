"""The class of every pixel, without the logits of every pixel where a network enlarges them at its end."""

from typing import Any

import keras
import tensorflow as tf

from keras_cacnet.evaluation.inference import segmentation_logits
from keras_cacnet.layers.resize import ResizeLike, resize_bilinear
from keras_cacnet.models.interface import before_enlarging

BAND = 128
"""Rows of the image whose logits lie in one array."""


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
    network, enlarge = before_bands(model)
    logits = segmentation_logits(network, images)
    size = tf.shape(logits)[1:3]
    if enlarge is not None:
        size = tf.minimum(tf.shape(images)[1:3], size * enlarge.stride)
    found = ids_of(logits, enlarge, size)
    return found, size, tf.reduce_all(tf.math.is_finite(logits)), logits.shape[-1]


def before_bands(model: keras.Model) -> tuple[keras.Model, ResizeLike | None]:
    """Take a model apart where its logits can be enlarged a band of rows at a time.

    Args:
        model: gives logits of the size of its input.

    Returns:
        The model up to its logits by position, and its last layer; the model itself and None where its logits cannot be
        enlarged so, to the same numbers.
    """
    parts = before_enlarging(model)
    # Of another stride the places between which a pixel is interpolated are not exact wherever its band begins.
    if parts is None or parts[1].stride & (parts[1].stride - 1):
        return model, None
    return parts


def ids_of(logits: Any, enlarge: ResizeLike | None, size: Any) -> Any:
    """Find the class of the largest logit of every pixel of an image, a band of rows at a time.

    Every band is enlarged with a row more on either side, which is what interpolation needs; the first and the last
    row of the map are their own neighbours, as at the edges of the whole map. The loop is one that TFLite and ONNX have
    too.

    Args:
        logits: by position, a tensor of the TensorFlow backend.
        enlarge: the layer that would enlarge them at once; None where they are of the size of the image.
        size: height and width of the image.

    Shapes:
        - logits: (B, h, w, classes)
        - result: int32 (B, H, W)

    Returns:
        The class ids.

    Example:
        >>> logits = tf.constant([[[[0.0, 1.0]], [[1.0, 0.0]]]])
        >>> ids_of(logits, ResizeLike(4), (7, 2))[0, :, 0].numpy().tolist()
        [1, 1, 1, 1, 0, 0, 0]
    """
    if enlarge is None:
        return tf.argmax(logits, axis=-1, output_type=tf.int32)
    stride = enlarge.stride
    batch, height, width = tf.unstack(tf.shape(logits)[:3])
    rows = tf.minimum(max(1, BAND // stride), height)
    bands = (height + rows - 1) // rows
    neighbours = tf.clip_by_value(tf.range(-1, bands * rows + 1), 0, height - 1)
    logits = tf.gather(logits, neighbours, axis=1)

    def with_next(number: Any, found: Any) -> tuple[Any, Any]:
        part = logits[:, number * rows : number * rows + rows + 2]
        part = resize_bilinear(part, (rows + 2) * stride, width * stride, enlarge.compute_dtype)
        ids = tf.argmax(part[:, stride:-stride, : size[1]], axis=-1, output_type=tf.int32)
        return number + 1, tf.concat([found, ids], axis=1)

    _, found = tf.while_loop(
        lambda number, _: number < bands,
        with_next,
        (tf.constant(0), tf.zeros((batch, 0, size[1]), tf.int32)),
        shape_invariants=(tf.TensorShape(()), tf.TensorShape((logits.shape[0], None, None))),
        parallel_iterations=1,
    )
    return found[:, : size[0]]
