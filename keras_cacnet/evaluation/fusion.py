"""What the graphs of predictions and of exports share: the scores of one window, and bilinear interpolation."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_cacnet.pipeline.augmentation import PADDING


def window_scores(
    logits_of: Callable[[Any], Any], flip: bool, fusion: str, image: Any, rows: Any, columns: Any, size: Any
) -> tuple[Any, Any, Any, Any]:
    """Score one window of an image; predictions and exports have this in their graphs.

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
