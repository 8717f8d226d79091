"""Depthwise convolution with one kernel per sample and channel: the only backend-specific code of the network."""

from typing import Any

import keras
from keras import ops

from keras_cacnet.arguments import require_count


def dynamic_depthwise_conv(x: Any, kernels: Any, dilation_rate: int = 1) -> Any:
    """Convolve every channel of every sample with a kernel of its own, "same" zero padding, stride 1.

    Under TensorFlow the batch is folded into the channels and a single native depthwise convolution does the
    work. Dilation is expressed by space-to-batch, since the native operation implements it in its oneDNN
    kernels alone: the same graph then runs in float64, with oneDNN off, and on accelerators. Compilers, XLA's for
    TensorFlow and those of other backends, take the shifted products tap by tap instead, which they fuse.

    Args:
        x: features, float.
        kernels: one odd-sized square kernel per sample and channel, of the dtype of `x`.
        dilation_rate: distance between the taps, in positions.

    Shapes:
        - x: (B, h, w, c)
        - kernels: (B, s, s, c)
        - result: (B, h, w, c)

    Returns:
        The convolved features, of the dtype of `x`.

    Raises:
        ValueError: shapes or dtypes that do not go together, kernels that are not square or of even size, or a
            dilation rate that is not a whole number from 1 on.

    Example:
        >>> import numpy as np
        >>> x = np.arange(8.0, dtype="float32").reshape(1, 2, 2, 2)
        >>> centre = np.zeros((1, 3, 3, 2), "float32")
        >>> centre[:, 1, 1] = 2.0
        >>> bool((ops.convert_to_numpy(dynamic_depthwise_conv(x, centre, 3)) == 2 * x).all())
        True

    Reference:
        Section 3.2 of the CaC-Net paper.
    """
    x, kernels = ops.convert_to_tensor(x), ops.convert_to_tensor(kernels)
    rate = require_count("dilation_rate", dilation_rate)
    _check_shapes(x, kernels)
    if keras.backend.backend() == "tensorflow" and not _is_compiled_by_xla():
        return _folded_convolution(x, kernels, rate)
    return _shifted_products(x, kernels, rate)


def _is_compiled_by_xla() -> bool:
    import tensorflow as tf

    return tf.__internal__.get_enclosing_xla_context() is not None


def _check_shapes(x: Any, kernels: Any) -> None:
    shapes = f"got features of shape {tuple(x.shape)} and kernels of shape {tuple(kernels.shape)}"
    if len(x.shape) != 4 or len(kernels.shape) != 4:
        raise ValueError(f"features must have the shape (B, h, w, c) and kernels (B, s, s, c), {shapes}")
    if kernels.shape[1] != kernels.shape[2] or (kernels.shape[1] or 0) % 2 == 0:
        raise ValueError(f"kernels must be square and of known, odd size, {shapes}")
    if any(None not in pair and pair[0] != pair[1] for pair in zip(x.shape[::3], kernels.shape[::3], strict=True)):
        raise ValueError(f"there must be one kernel per sample and channel, {shapes}")
    types = [keras.backend.standardize_dtype(value.dtype) for value in (x, kernels)]
    if types[0] != types[1] or not keras.backend.is_float_dtype(types[0]):
        raise ValueError(f"features and kernels must be of one dtype of floating point, got {' and '.join(types)}")


def _folded_convolution(x: Any, kernels: Any, rate: int) -> Any:
    import tensorflow as tf

    batch, height, width, channels = ops.shape(x)
    size = kernels.shape[1]
    if isinstance(batch, int) and batch == 1:
        planes, filters = x, ops.reshape(kernels, (size, size, channels, 1))
    else:
        planes = ops.reshape(ops.transpose(x, (1, 2, 0, 3)), (1, height, width, batch * channels))
        filters = ops.reshape(ops.transpose(kernels, (1, 2, 0, 3)), (size, size, batch * channels, 1))
    if rate == 1 or size == 1:
        result = tf.raw_ops.DepthwiseConv2dNative(input=planes, filter=filters, strides=[1, 1, 1, 1], padding="SAME")
    else:
        border = size // 2 * rate
        below, right = (rate - height % rate) % rate, (rate - width % rate) % rate
        phases = tf.space_to_batch(planes, [rate, rate], [[border, border + below], [border, border + right]])
        phases = tf.raw_ops.DepthwiseConv2dNative(input=phases, filter=filters, strides=[1, 1, 1, 1], padding="VALID")
        result = tf.batch_to_space(phases, [rate, rate], [[0, below], [0, right]])
    if isinstance(batch, int) and batch == 1:
        return result
    return ops.transpose(ops.reshape(result, (height, width, batch, channels)), (2, 0, 1, 3))


def _shifted_products(x: Any, kernels: Any, rate: int) -> Any:
    """Add up the windows of `x` by their tap of the kernel, with a gradient that compilers fuse as well.

    The one that they derive reduces 9 arrays of the size of `x` one after the other.
    """
    size = kernels.shape[1]

    @ops.custom_gradient
    def products(x: Any, kernels: Any) -> Any:
        def gradients(*args: Any, upstream: Any = None) -> tuple[Any, Any]:
            # Under PyTorch Keras gives it by name and the arguments by position.
            upstream = args[0] if upstream is None else upstream
            flipped = ops.flip(kernels, axis=(1, 2))
            by_tap = ops.stack([window * upstream for window in _windows(x, size, rate)], axis=1)
            return _weighted(upstream, flipped, rate), ops.reshape(ops.sum(by_tap, axis=(2, 3)), ops.shape(kernels))

        return _weighted(x, kernels, rate), gradients

    return products(x, kernels)


def _weighted(x: Any, kernels: Any, rate: int) -> Any:
    size = kernels.shape[1]
    taps = [kernels[:, i : i + 1, j : j + 1, :] for i in range(size) for j in range(size)]
    return sum(window * tap for window, tap in zip(_windows(x, size, rate), taps, strict=True))


def _windows(x: Any, size: int, rate: int) -> list[Any]:
    """What every tap of a kernel sees, row by row of the kernel."""
    _, height, width, _ = ops.shape(x)
    border = size // 2 * rate
    padded = ops.pad(x, ((0, 0), (border, border), (border, border), (0, 0)))
    starts = [(i * rate, j * rate) for i in range(size) for j in range(size)]
    return [padded[:, top : top + height, left : left + width, :] for top, left in starts]
