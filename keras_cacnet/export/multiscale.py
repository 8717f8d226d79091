"""The signature that fuses several scales and mirror images."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_cacnet.evaluation.fusion import resample, window_scores
from keras_cacnet.evaluation.protocol import Protocol
from keras_cacnet.export.signatures import Serve


def require_whole_images(protocol: Protocol) -> None:
    """ValueError where a protocol has windows, which a graph for images of any size would have to count."""
    if protocol.crop_size is not None:
        raise ValueError(
            f"crop_size={protocol.crop_size} asks for windows; an export shows every scaled image whole: take a "
            "Protocol with crop_size=None, or score with keras_cacnet.evaluation"
        )


def multiscale_signature(logits_of: Callable[[Any], Any], classes: int, protocol: Protocol) -> Serve:
    """The scores of evaluation, computed inside the graph.

    Every image is shown alone, as evaluation does it.

    Args:
        logits_of: what `shared_logits` gives.
        classes: how many there are.
        protocol: scales, flip and fusion.

    Shapes:
        - images: uint8 (B, H, W, 3)
        - class_ids: int32 (B, H, W)
        - probabilities: float32 (B, H, W, classes); the sums of "exp_sum" divided by their sum over the classes

    Returns:
        A function from images to `class_ids` and `probabilities`.
    """
    require_whole_images(protocol)
    share = 1 / len(protocol.scales) if protocol.fusion == "softmax_mean" else 1.0

    def fused(image: Any) -> tuple[Any, Any]:
        height, width = tf.unstack(tf.shape(image)[:2])
        total = tf.constant(0.0)
        for scale in protocol.scales:
            rows, columns = size = _scaled_size(protocol, height, width, scale)
            there = _taps(height, rows), _taps(width, columns)
            found, _, finite, fits = window_scores(logits_of, protocol.flip, protocol.fusion, image, *there, size)
            checks = [
                tf.debugging.Assert(finite, ["the network gives logits that are not finite for this image"]),
                tf.debugging.Assert(fits, ["the logits are too large for the fusion exp_sum"]),
            ]
            with tf.control_dependencies(checks):
                total += share * resample(found, _taps(rows, height), _taps(columns, width))
        class_ids = tf.argmax(total, axis=-1, output_type=tf.int32)
        if protocol.fusion == "exp_sum":
            total /= tf.reduce_sum(total, axis=-1, keepdims=True)
        return class_ids, total

    def serve(images: Any) -> dict[str, Any]:
        class_ids, probabilities = tf.map_fn(
            fused,
            tf.cast(images, tf.float32),
            fn_output_signature=(
                tf.TensorSpec((None, None), tf.int32),
                tf.TensorSpec((None, None, classes), tf.float32),
            ),
            # One after the other: several at once would take as many times the memory.
            parallel_iterations=1,
        )
        return {"class_ids": class_ids, "probabilities": probabilities}

    return serve


def _scaled_size(protocol: Protocol, height: Any, width: Any, scale: float) -> tuple[Any, Any]:
    """`Protocol.scaled_size`, in the graph; in float64, as Python has it, so that no pixel is lost to rounding."""
    long, short = (tf.cast(value, tf.float64) for value in (tf.maximum(height, width), tf.minimum(height, width)))
    base = long if protocol.base_size is None else tf.constant(protocol.base_size, tf.float64)
    scaled = tf.maximum(tf.math.ceil(base * scale - 1e-6), 1)
    other = tf.maximum(tf.floor(short * scaled / long + 0.5), 1)
    rows, columns = tf.where(height > width, scaled, other), tf.where(height > width, other, scaled)
    return tf.cast(rows, tf.int32), tf.cast(columns, tf.int32)


def _taps(length: Any, resized: Any) -> tuple[Any, Any, Any, Any]:
    """`evaluation.windows.interpolation`, in the graph, in the same precision."""
    lengths = tf.cast(length, tf.float64), tf.cast(resized, tf.float64)
    centres = (tf.cast(tf.range(resized), tf.float64) + 0.5) * lengths[0] / lengths[1] - 0.5
    below = tf.floor(centres)
    fraction = tf.cast(centres - below, tf.float32)
    low, high = (tf.clip_by_value(tf.cast(index, tf.int32), 0, length - 1) for index in (below, below + 1))
    return low, high, 1 - fraction, fraction
