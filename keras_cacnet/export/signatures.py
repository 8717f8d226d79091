"""The signatures that take images as numbers: what they ask of the images, and what they give."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from keras_cacnet.evaluation.class_ids import before_bands, ids_of
from keras_cacnet.evaluation.fusion import resample, window_scores
from keras_cacnet.evaluation.inference import segmentation_logits
from keras_cacnet.evaluation.protocol import Protocol
from keras_cacnet.export.folding import folded

EXPECTED = (None, None, None, 3)

Serve = Callable[[Any], dict[str, Any]]
"""What a signature runs: one tensor in, tensors by name out."""


@dataclass(frozen=True)
class SharedNetwork:
    """What all signatures of an export call.

    Args:
        logits: from images, float32 (B, H, W, 3), to logits (B, H, W, classes).
        class_ids: from the same to int32 (B, H, W), without the logits of all pixels where the model ends in enlarging
            them.
    """

    logits: Callable[[Any], Any]
    class_ids: Callable[[Any], Any]


def shared_network(
    model: keras.Model, batch: int | None = None, size: Sequence[int | None] = (None, None), fold: bool = False
) -> SharedNetwork:
    """Trace a model once, up to what its last enlargement begins with, as one function of the graph.

    Args:
        model: gives logits of the size of its input.
        batch: the only number of images that it is for; None for any.
        size: the only height and width; None for any.
        fold: whether batch norms are folded into convolutions, which converters to files do by themselves.
    """
    network, enlarge = before_bands(model)
    if fold:
        network = folded(network)

    def by_position(images: Any) -> Any:
        return segmentation_logits(network, images)

    images = tf.TensorSpec((batch, *size, 3), tf.float32, name="images")
    traced = tf.function(by_position, input_signature=[images], autograph=False)

    def logits(images: Any) -> Any:
        return traced(images) if enlarge is None else enlarge([traced(images), images])

    def class_ids(images: Any) -> Any:
        found = ids_of(traced(images), enlarge, tf.unstack(tf.shape(images)[1:3]))
        # A loop's result has no known size, which a file for one size is to have.
        return tf.reshape(found, images.shape[:3]) if images.shape.is_fully_defined() else found

    return SharedNetwork(logits, class_ids)


def image_signature(
    network: SharedNetwork, probabilities: bool = True, softmax: Callable[[Any], Any] = tf.nn.softmax
) -> Serve:
    """Give the class of every pixel and the probabilities of all classes, or the class only.

    Args:
        network: of the export.
        probabilities: whether there are any. Without them the logits of all pixels are never held.
        softmax: what makes them of logits, over the last axis.

    Shapes:
        - images: uint8 or float32 (B, H, W, 3), in 0..255
        - class_ids: int32 (B, H, W)
        - probabilities: float32 (B, H, W, classes)

    Returns:
        A function from images to `class_ids` and `probabilities`.
    """

    def serve(images: Any) -> dict[str, Any]:
        images = tf.cast(images, tf.float32)
        if not probabilities:
            return {"class_ids": network.class_ids(images)}
        logits = network.logits(images)
        return {
            "class_ids": tf.argmax(logits, axis=-1, output_type=tf.int32),
            "probabilities": softmax(tf.cast(logits, tf.float32)),
        }

    return serve


def require_images(images: Any) -> Any:
    """Fail where there is nothing to answer, or where an answer would mean nothing.

    Servers hold a request's type against the signature, but not its shape or its values. NaN anywhere in an image would
    be spread over all of it by the global context, and silently come out as class 0.

    Args:
        images: as they are sent.

    Shapes:
        - images: uint8 or float32 (B, H, W, 3)

    Returns:
        The images. The tensor fails with InvalidArgumentError where the shape is another, there are no images or no
        pixels, or a value is not finite or outside of 0..255; the message says what was found.

    Example:
        >>> require_images(tf.fill((1, 2, 2, 3), 20.0)).shape
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


def require_whole_images(protocol: Protocol) -> None:
    """Refuse what is no protocol, or has windows, which a graph for images of any size would have to count."""
    if not isinstance(protocol, Protocol):
        raise ValueError(
            f"multiscale must be a keras_cacnet.evaluation.Protocol, got {protocol!r}: Protocol((0.5, 1.0), flip=True)"
        )
    if protocol.image_size is not None:
        raise ValueError(
            f"image_size={protocol.image_size} brings images to that size with smoothing, which is in no export: bring "
            "them to it before they are sent, or take a base_size, which is in the graph"
        )
    if protocol.crop_size is not None:
        raise ValueError(
            f"crop_size={protocol.crop_size} asks for windows; an export shows every scaled image whole: take a "
            "Protocol with crop_size=None, or score with keras_cacnet.evaluation"
        )


def multiscale_signature(network: SharedNetwork, classes: int, protocol: Protocol) -> Serve:
    """Compute the scores of evaluation inside the graph.

    Every image is shown by itself, as evaluation does it.

    Args:
        network: of the export.
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
            found, _, finite, fits = window_scores(network.logits, protocol.flip, protocol.fusion, image, *there, size)
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
