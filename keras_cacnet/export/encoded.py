"""The signature that takes image files as they are."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_cacnet.datasets.classes import VOID
from keras_cacnet.export.image_files import checked_sizes, decoded
from keras_cacnet.export.signatures import Serve


def encoded_signature(logits_of: Callable[[Any], Any], max_pixels: int) -> Serve:
    """The class of every pixel of JPEG and PNG files of different sizes.

    Every image is turned upright by its EXIF orientation and shown to the network alone and at its own size, so its
    classes depend on no other image.

    Args:
        logits_of: what `shared_logits` gives.
        max_pixels: the most pixels of a request, see `checked_sizes`.

    Shapes:
        - image_bytes: string (B,)
        - class_ids: int32 (B, H, W), of the largest height and the largest width; `VOID` outside of an image
        - sizes: int32 (B, 2), height and width of each image, upright

    Returns:
        A function from files to `class_ids` and `sizes`.
    """

    def serve(image_bytes: Any) -> dict[str, Any]:
        sizes, orientations = checked_sizes(image_bytes, max_pixels)
        largest = tf.reduce_max(sizes, axis=0)
        with tf.control_dependencies([sizes]):
            image_bytes = tf.identity(image_bytes)

        def class_ids(image: tuple[Any, Any, Any]) -> Any:
            file, size, turned = image
            logits = logits_of(tf.cast(decoded(file, size, turned)[tf.newaxis], tf.float32))
            ids = tf.argmax(logits[0], axis=-1, output_type=tf.int32)
            below, right = tf.unstack(largest - size)
            return tf.pad(ids, [[0, below], [0, right]], constant_values=VOID)

        ids = tf.map_fn(
            class_ids,
            (image_bytes, sizes, orientations),
            fn_output_signature=tf.TensorSpec((None, None), tf.int32),
            # One after the other: several at once would take as many times the memory.
            parallel_iterations=1,
        )
        return {"class_ids": ids, "sizes": sizes}

    return serve
