"""The signatures that take images as numbers."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_cacnet.evaluation.inference import segmentation_logits

Serve = Callable[[Any], dict[str, Any]]
"""What a signature runs: one tensor in, tensors by name out."""


def shared_logits(
    model: keras.Model, batch: int | None = None, size: Sequence[int | None] = (None, None)
) -> Callable[[Any], Any]:
    """Trace a model once, for all signatures: they call it as one function of the graph.

    Args:
        model: gives logits of the size of its input.
        batch: the only number of images that it is for; None for any.
        size: the only height and width; None for any.

    Shapes:
        - images: float32 (B, H, W, 3), in 0..255
        - result: (B, H, W, classes)

    Returns:
        A function of TensorFlow from images to logits.
    """

    def logits(images: Any) -> Any:
        return segmentation_logits(model, images)

    images = tf.TensorSpec((batch, *size, 3), tf.float32, name="images")
    return tf.function(logits, input_signature=[images], autograph=False)


def image_signature(logits_of: Callable[[Any], Any]) -> Serve:
    """The class of every pixel and the probabilities of all classes.

    Args:
        logits_of: what `shared_logits` gives.

    Shapes:
        - images: uint8 or float32 (B, H, W, 3), in 0..255
        - class_ids: int32 (B, H, W)
        - probabilities: float32 (B, H, W, classes)

    Returns:
        A function from images to `class_ids` and `probabilities`.
    """

    def serve(images: Any) -> dict[str, Any]:
        logits = logits_of(tf.cast(images, tf.float32))
        return {
            "class_ids": tf.argmax(logits, axis=-1, output_type=tf.int32),
            "probabilities": tf.nn.softmax(tf.cast(logits, tf.float32)),
        }

    return serve
