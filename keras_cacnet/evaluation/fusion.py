"""The scores of one image under a protocol: window after window, in memory that the windows bound."""

import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_cacnet.datasets.classes import VOID
from keras_cacnet.evaluation.inference import require_tensorflow, segmentation_logits
from keras_cacnet.evaluation.protocol import Protocol
from keras_cacnet.evaluation.windows import Window, windows
from keras_cacnet.models.interface import require_image_size
from keras_cacnet.pipeline.augmentation import PADDING

BLOCK = 64
"""Rows of the image whose scores lie in one array."""

_compiled: "weakref.WeakKeyDictionary[keras.Model, dict[Any, Any]]" = weakref.WeakKeyDictionary()

_TAPS = tuple(tf.TensorSpec((None,), kind) for kind in (tf.int32, tf.int32, tf.float32, tf.float32))


def scores(model: keras.Model, image: np.ndarray, protocol: Protocol) -> np.ndarray:
    """Score every class at every pixel.

    The first call compiles one function for all sizes of images and windows; it lives as long as the model.

    Args:
        model: gives logits of the size of its input.
        image: RGB in 0..255, uint8 or float.
        protocol: how the image is shown to the network.

    Shapes:
        - image: (H, W, 3)
        - result: (H, W, classes)

    Returns:
        The scores, float32; with the fusion "softmax_mean" probabilities. They are all in memory: for large
        photographs see `fused_ids` and `score_blocks`.

    Raises:
        ValueError: an image of another form, a model whose output is not logits of its input's size, logits that
            are not finite, or beyond what "exp_sum" can hold, or Keras on another backend than TensorFlow.

    Example:
        >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 1)])
        >>> protocol = Protocol((0.5, 1.0), flip=True, crop_size=8)
        >>> result = scores(model, np.zeros((9, 13, 3), "uint8"), protocol)
        >>> result.shape, bool(np.allclose(result.sum(axis=-1), 1))
        ((9, 13, 2), True)
    """
    return np.concatenate([block for _, block in score_blocks(model, image, protocol)])


def fused_ids(model: keras.Model, image: np.ndarray, protocol: Protocol) -> np.ndarray:
    """Take the class of the highest score at every pixel, without ever holding the scores of all pixels.

    Args:
        model: as `scores`, for up to 255 classes.
        image: as `scores`.
        protocol: how the image is shown to the network.

    Shapes:
        - image: (H, W, 3)
        - result: (H, W)

    Returns:
        Class indices, uint8. Where scores are equal the lower index wins.

    Raises:
        ValueError: as `scores`, or the model has more than 255 classes.
    """
    ids = np.empty(np.shape(image)[:2], "uint8")
    for first, block in score_blocks(model, image, protocol):
        if block.shape[-1] > VOID:
            raise ValueError(
                f"model {model.name!r} predicts {block.shape[-1]} classes; masks of uint8 hold {VOID}, as {VOID} is "
                "void: take scores"
            )
        ids[first : first + len(block)] = block.argmax(axis=-1)
    return ids


def score_blocks(model: keras.Model, image: np.ndarray, protocol: Protocol) -> Iterator[tuple[int, np.ndarray]]:
    """Score an image from its top to its bottom, `BLOCK` rows at a time.

    The windows of all scales are visited in the order of the image's rows, so a block is finished, and given away,
    as soon as every scale has passed it. With windows, memory is that of the rows under one row of windows at the
    smallest scale; without, that of the image's scores and of the largest scale's logits.

    Args:
        model: as `scores`.
        image: as `scores`.
        protocol: how the image is shown to the network.

    Returns:
        An iterator over the first row of each block and its scores, float32 (rows, W, classes).

    Raises:
        ValueError: as `scores`, from the iteration.
    """
    image = np.asarray(image)
    if not np.issubdtype(image.dtype, np.number) or image.ndim != 3 or image.shape[-1] != 3 or 0 in image.shape:
        raise ValueError(f"an image must be RGB (H, W, 3), in 0..255 and not empty; got {image.dtype} {image.shape}")
    height, width, _ = image.shape
    window_scores = _function(model, (protocol.flip, protocol.fusion))
    resample = _function(model, "resample")
    pixels = tf.constant(image, tf.float32)
    share = 1 / len(protocol.scales) if protocol.fusion == "softmax_mean" else 1.0
    visits: list[tuple[Window, list[Window]]] = []
    for scale in protocol.scales:
        scaled = protocol.scaled_size(height, width, scale)
        rows, columns = (
            list(windows(length, resized, protocol.crop_size, protocol.step))
            for length, resized in zip((height, width), scaled, strict=True)
        )
        visits.extend((row, columns) for row in rows)
    blocks: dict[int, np.ndarray] = {}
    done = 0
    for row, columns in sorted(visits, key=lambda visit: visit[0].first):
        while (done + 1) * BLOCK <= row.first:
            yield done * BLOCK, blocks.pop(done)
            done += 1
        for column in columns:
            found = _checked(model, window_scores, pixels, row, column)
            for number in range(row.first // BLOCK, -(-row.last // BLOCK)):
                first, last = max(row.first, number * BLOCK), min(row.last, (number + 1) * BLOCK)
                part = row.back[first - row.first : last - row.first]
                added = resample(found, part.arrays(), column.back.arrays()).numpy()
                if number not in blocks:
                    blocks[number] = np.zeros((min(BLOCK, height - number * BLOCK), width, added.shape[-1]), "float32")
                inside = slice(first - number * BLOCK, last - number * BLOCK)
                added *= share
                blocks[number][inside, column.first : column.last] += added
    for number in sorted(blocks):
        yield number * BLOCK, blocks[number]


def _checked(model: keras.Model, window_scores: Callable[..., Any], pixels: Any, row: Window, column: Window) -> Any:
    size = (row.size, column.size)
    require_image_size(model, *size)
    found, logits_size, finite, fits = window_scores(pixels, row.inside.arrays(), column.inside.arrays(), size)
    if tuple(logits_size.numpy().tolist()) != size:
        raise ValueError(
            f"model {model.name!r} gives logits {tuple(logits_size.numpy().tolist())} for a window {size}; logits must "
            "have the size of the input: resize them inside the model"
        )
    if not finite:
        raise ValueError(
            f"model {model.name!r} gives logits that are not finite (NaN or infinite) for this image; its weights "
            "are broken, or numbers overflow in half precision"
        )
    if not fits:
        raise ValueError(
            f"the logits of model {model.name!r} are too large for the fusion 'exp_sum', whose exp(logits) overflows "
            "above 88: take 'softmax_mean'"
        )
    return found


def _function(model: keras.Model, kind: Any) -> Callable[..., Any]:
    functions = _compiled.setdefault(model, {})
    if kind not in functions:
        require_tensorflow("evaluation")
        volume = tf.TensorSpec((None, None, None), tf.float32)
        if kind == "resample":
            function, signature = resample, [volume, _TAPS, _TAPS]
        else:
            # The cache must not keep the model alive: functions hold it by a weak reference.
            reference = weakref.ref(model)
            function = partial(window_scores, lambda images: segmentation_logits(reference(), images), *kind)
            signature = [volume, _TAPS, _TAPS, (tf.TensorSpec((), tf.int32),) * 2]
        functions[kind] = tf.function(function, input_signature=signature, autograph=False)
    return functions[kind]


def window_scores(
    logits_of: Callable[[Any], Any], flip: bool, fusion: str, image: Any, rows: Any, columns: Any, size: Any
) -> tuple[Any, Any, Any, Any]:
    """Score one window of an image; evaluation and exports have this in their graphs.

    Args:
        logits_of: gives the logits of a batch of images.
        flip: also show the mirror image.
        fusion: as in `Protocol`.
        image: float32.
        rows: interpolation that takes the window's rows from the image, as `Taps.arrays` gives it.
        columns: the same for its columns.
        size: height and width that the network sees; what the interpolation does not fill is padding.

    Shapes:
        - image: (H, W, 3)
        - scores: (rows, columns, classes)

    Returns:
        The scores, the height and width of the logits, whether the logits are finite, and whether the scores are.
    """
    window = resample(image, rows, columns)
    inside = tf.shape(window)
    padding = [[0, size[0] - inside[0]], [0, size[1] - inside[1]], [0, 0]]
    window = tf.pad(window, padding, constant_values=PADDING)
    views = tf.stack([window, window[:, ::-1]] if flip else [window])
    logits = logits_of(views)
    logits_size, finite = tf.shape(logits)[1:3], tf.reduce_all(tf.math.is_finite(logits))
    logits = tf.cast(logits, tf.float32)
    values = tf.nn.softmax(logits) if fusion == "softmax_mean" else logits
    fused = values[0] + values[1, :, ::-1] if flip else values[0]
    # What stands on the padding belongs to no pixel.
    fused = fused[: inside[0], : inside[1]]
    if fusion == "exp_sum":
        fused = tf.exp(fused)
    elif flip:
        fused = fused / 2
    return fused, logits_size, finite, tf.reduce_all(tf.math.is_finite(fused))


def resample(x: Any, rows: Any, columns: Any) -> Any:
    """Interpolate along the first two axes.

    Args:
        x: the image or scores, float32.
        rows: interpolation of the first axis, as `Taps.arrays` gives it.
        columns: of the second.

    Shapes:
        - x: (H, W, C)
        - result: (rows, columns, C)

    Returns:
        The interpolated values.
    """
    for axis, (low, high, low_weight, high_weight) in enumerate((rows, columns)):
        shape = (-1, 1, 1) if axis == 0 else (-1, 1)
        x = tf.gather(x, low, axis=axis) * tf.reshape(low_weight, shape) + tf.gather(x, high, axis=axis) * tf.reshape(
            high_weight, shape
        )
    return x
