"""Scores, class indices and weighting maps of one image of any size: the one way through a network."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_cacnet.datasets.classes import VOID
from keras_cacnet.evaluation.class_ids import class_ids
from keras_cacnet.evaluation.fusion import resample, window_scores
from keras_cacnet.evaluation.inference import compiled, segmentation_logits
from keras_cacnet.evaluation.protocol import Protocol
from keras_cacnet.evaluation.windows import Window, windows
from keras_cacnet.models.interface import require_image_size
from keras_cacnet.pipeline.augmentation import scaled_crop

BLOCK = 64
"""Rows of the image whose scores lie in one array."""

_IMAGE = tf.TensorSpec((None, None, 3), tf.float32)
_VOLUME = tf.TensorSpec((None, None, None), tf.float32)
_TAPS = tuple(tf.TensorSpec((None,), kind) for kind in (tf.int32, tf.int32, tf.float32, tf.float32))
_SIZE = (tf.TensorSpec((), tf.int32),) * 2


def scores(model: keras.Model, image: np.ndarray, protocol: Protocol | None = None) -> np.ndarray:
    """Score every class at every pixel.

    The first call compiles one function for all sizes of images and windows; it lives as long as the model.

    Args:
        model: gives logits of the size of its input.
        image: RGB in 0..255, uint8 or float.
        protocol: how the image is shown to the network; by default `Protocol.of(model)`: once, whole, at the working
            size of a model that was trained at one.

    Shapes:
        - image: (H, W, 3)
        - result: (H, W, classes)

    Returns:
        The scores, float32; with the fusion "softmax_mean" probabilities. They are all in memory: for large
        photographs see `ids` and `score_blocks`.

    Raises:
        ValueError: an image of another form or of a size that the model does not take, a model whose output is not
            logits of its input's size, logits that are not finite, or beyond what "exp_sum" can hold, or Keras on
            another backend than TensorFlow.

    Example:
        >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 1)])
        >>> protocol = Protocol((0.5, 1.0), flip=True, crop_size=8)
        >>> result = scores(model, np.zeros((9, 13, 3), "uint8"), protocol)
        >>> result.shape, bool(np.allclose(result.sum(axis=-1), 1))
        ((9, 13, 2), True)
    """
    return np.concatenate([block for _, block in score_blocks(model, image, protocol)])


def ids(model: keras.Model, image: np.ndarray, protocol: Protocol | None = None) -> np.ndarray:
    """Predict the class of every pixel: that of the highest score, without ever holding the scores of all pixels.

    Of an image that is shown once, whole, at its own size, a network holds its logits by position and those of some
    rows of pixels.

    Args:
        model: as `scores`, for up to 255 classes.
        image: as `scores`.
        protocol: as `scores`.

    Shapes:
        - image: (H, W, 3)
        - result: (H, W)

    Returns:
        Class indices, uint8. Where scores are equal the lower index wins; where the image is shown once, whole, at
        its own size, logits are compared, which are equal less often than their softmax.

    Raises:
        ValueError: as `scores`, or the model has more than 255 classes.

    Example:
        >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 1)])
        >>> ids(model, np.zeros((4, 6, 3), "uint8")).shape
        (4, 6)
    """
    image = _require_image(image)
    protocol = protocol or Protocol.of(model)
    if protocol.image_size is not None and max(image.shape[:2]) == protocol.image_size:
        protocol = replace(protocol, image_size=None)
    if protocol.plain:
        require_image_size(model, *image.shape[:2])
        predict = compiled(model, "ids", class_ids, [tf.TensorSpec((1, None, None, 3), tf.float32)])
        best, size, finite, classes = predict(tf.constant(image[None], tf.float32))
        _require_sound(model, image.shape[:2], size, finite)
        _require_masks_hold(model, int(classes))
        return best[0].numpy().astype("uint8")
    found = np.empty(image.shape[:2], "uint8")
    for first, block in score_blocks(model, image, protocol):
        _require_masks_hold(model, block.shape[-1])
        found[first : first + len(block)] = block.argmax(axis=-1)
    return found


def score_blocks(
    model: keras.Model, image: np.ndarray, protocol: Protocol | None = None
) -> Iterator[tuple[int, np.ndarray]]:
    """Score an image from its top to its bottom, `BLOCK` rows at a time.

    The windows of all scales are visited in the order of the image's rows, so a block is finished, and given away,
    as soon as every scale has passed it. With windows, memory is that of the rows under one row of windows at the
    smallest scale; of a single view, that of its logits, at the working size where there is one; of several whole
    views, that of the image's scores and of the largest scale's logits.

    Args:
        model: as `scores`.
        image: as `scores`.
        protocol: as `scores`.

    Returns:
        An iterator over the first row of each block and its scores, float32 (rows, W, classes).

    Raises:
        ValueError: as `scores`, from the iteration.
    """
    image = _require_image(image)
    protocol = protocol or Protocol.of(model)
    height, width, _ = image.shape
    taken = compiled(model, "resample", lambda _, *tensors: resample(*tensors), [_VOLUME, _TAPS, _TAPS])
    pixels, shown = _at_working_size(image, protocol)
    share = 1 / len(protocol.scales) if protocol.fusion == "softmax_mean" else 1.0
    visits: list[tuple[Window, list[Window]]] = []
    for scale in protocol.scales:
        scaled = protocol.scaled_size(height, width, scale)
        rows, columns = (
            list(windows(length, resized, protocol.crop_size, protocol.step, side))
            for length, resized, side in zip((height, width), scaled, shown, strict=True)
        )
        visits.extend((row, columns) for row in rows)
    if len(visits) == len(visits[0][1]) == 1:
        # A small view of a large photograph: its scores are enlarged a block at a time.
        row, (column,) = visits[0]
        found = _window_scores(model, protocol, pixels, row, column)
        for first in range(0, height, BLOCK):
            yield first, taken(found, row.back[first : first + BLOCK].arrays(), column.back.arrays()).numpy()
        return
    blocks: dict[int, np.ndarray] = {}
    done = 0
    for row, columns in sorted(visits, key=lambda visit: visit[0].first):
        while (done + 1) * BLOCK <= row.first:
            yield done * BLOCK, blocks.pop(done)
            done += 1
        for column in columns:
            found = _window_scores(model, protocol, pixels, row, column)
            for number in range(row.first // BLOCK, -(-row.last // BLOCK)):
                first, last = max(row.first, number * BLOCK), min(row.last, (number + 1) * BLOCK)
                part = row.back[first - row.first : last - row.first]
                added = taken(found, part.arrays(), column.back.arrays()).numpy()
                if number not in blocks:
                    blocks[number] = np.zeros((min(BLOCK, height - number * BLOCK), width, added.shape[-1]), "float32")
                inside = slice(first - number * BLOCK, last - number * BLOCK)
                added *= share
                blocks[number][inside, column.first : column.last] += added
    for number in sorted(blocks):
        yield number * BLOCK, blocks[number]


def weighting_maps(model: keras.Model, image: np.ndarray | None = None) -> dict[str, dict[str, Any]]:
    """Take X, W and X* of every head, as `CaCNet.weighting_maps` gives them, of an image shown by `Protocol.of(model)`.

    Compiled, the backbone's features of a large photograph are not all held to the end.

    Args:
        model: a `CaCNet` with heads.
        image: RGB in 0..255; by default noise, which shows what maps there are.

    Shapes:
        - image: (H, W, 3)
        - every map: (1, h, w, c)

    Returns:
        The maps by head and part.

    Raises:
        ValueError: the model has no weights to show, an image of another form or of a size that the model does not
            take, or Keras runs on another backend than TensorFlow.
    """
    if not hasattr(model, "weighting_maps"):
        raise ValueError(f"model {model.name!r} has no weighting_maps: only a CaCNet has weights to show")
    protocol = Protocol.of(model)
    if image is None:
        image, protocol = np.random.default_rng(0).integers(0, 256, (*(model.input_size or (64, 64)), 3)), Protocol()
    pixels, shown = _at_working_size(_require_image(image), protocol)
    require_image_size(model, *shown)
    signature = [tf.TensorSpec((1, None, None, 3), tf.float32)]
    return compiled(model, "weighting_maps", lambda model, images: model.weighting_maps(images), signature)(
        pixels[None]
    )


def _require_image(image: Any) -> np.ndarray:
    image = np.asarray(image)
    real = np.issubdtype(image.dtype, np.integer) or np.issubdtype(image.dtype, np.floating)
    if not real or image.ndim != 3 or image.shape[-1] != 3 or 0 in image.shape:
        mend = {
            (4, True): "; it is a batch: give one image of it, such as images[0]",
            (3, False): "; move the channels last: np.moveaxis(image, 0, -1)" if image.shape[:1] == (3,) else "",
            (2, False): "; repeat a grey one: np.repeat(image[..., None], 3, axis=-1)",
        }.get((image.ndim, image.shape[-1:] == (3,)), "")
        raise ValueError(
            f"an image must be RGB (H, W, 3), in 0..255 and not empty; got {image.dtype} {image.shape}{mend}"
        )
    require_rgb_range(image)
    return image


def require_rgb_range(image: np.ndarray) -> None:
    """Refuse an image whose values are not in 0..255, or seem to be in 0..1.

    Args:
        image: real numbers, not empty.

    Raises:
        ValueError: such values; the message says what mends it.
    """
    if image.dtype == np.uint8:
        return
    low, high = float(image.min()), float(image.max())
    between = f"RGB is in 0..255, got values from {low:g} to {high:g}"
    if not 0 <= low <= high <= 255:
        raise ValueError(between)
    if np.issubdtype(image.dtype, np.floating) and 0 < high <= 1:
        raise ValueError(f"{between}: multiply them by 255")


def _at_working_size(image: np.ndarray, protocol: Protocol) -> tuple[Any, tuple[int, int]]:
    """An image at its working size, as training sees it, and that size."""
    height, width, _ = image.shape
    size = protocol.scaled_size(height, width, 1.0) if protocol.image_size is not None else (height, width)
    pixels = tf.constant(image, tf.float32)
    if size == (height, width):
        return pixels, size
    mask = tf.zeros((height, width), tf.uint8)
    found, _ = scaled_crop(pixels, mask, tf.constant(size), tf.constant((0, 0)), tf.constant(size))
    return tf.clip_by_value(found, 0.0, 255.0), size


def _view(model: keras.Model, protocol: Protocol) -> Any:
    """What `window_scores` is compiled to."""
    flip, fusion = protocol.flip, protocol.fusion

    def view(model: keras.Model, *tensors: Any) -> Any:
        return window_scores(lambda images: segmentation_logits(model, images), flip, fusion, *tensors)

    return compiled(model, (flip, fusion), view, [_IMAGE, _TAPS, _TAPS, _SIZE])


def _window_scores(model: keras.Model, protocol: Protocol, pixels: Any, row: Window, column: Window) -> Any:
    size = (row.size, column.size)
    require_image_size(model, *size)
    found, logits_size, finite, fits = _view(model, protocol)(pixels, row.inside.arrays(), column.inside.arrays(), size)
    _require_sound(model, size, logits_size, finite)
    if not fits:
        raise ValueError(
            f"the logits of model {model.name!r} are too large for the fusion 'exp_sum', whose exp(logits) overflows "
            "above 88: take 'softmax_mean'"
        )
    return found


def _require_sound(model: keras.Model, size: tuple[int, int], logits_size: Any, finite: Any) -> None:
    if tuple(logits_size.numpy().tolist()) != size:
        raise ValueError(
            f"model {model.name!r} gives logits {tuple(logits_size.numpy().tolist())} for an image {size}; logits must "
            "have the size of the input: resize them inside the model"
        )
    if not finite:
        raise ValueError(
            f"model {model.name!r} gives logits that are not finite (NaN or infinite) for this image; its weights "
            "are broken, or numbers overflow in half precision"
        )


def _require_masks_hold(model: keras.Model, classes: int) -> None:
    if classes > VOID:
        raise ValueError(
            f"model {model.name!r} predicts {classes} classes; masks of uint8 hold {VOID}, as {VOID} is void: "
            "take the scores themselves (keras_cacnet.evaluation.scores)"
        )
