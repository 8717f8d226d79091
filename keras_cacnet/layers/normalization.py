"""The batch normalisation of every part of the network."""

import keras

MOMENTUM = 0.9  # PyTorch's 0.1, in the terms of Keras
EPSILON = 1e-5


def batch_normalization(name: str, synchronized: bool, dtype: object = None) -> keras.layers.Layer:
    """Batch norm over the last axis with the momentum and epsilon of the reference implementations.

    Args:
        name: name of the layer.
        synchronized: take the statistics over all replicas of a `tf.distribute` strategy, where `synchronizes`.
        dtype: dtype or policy of the layer.

    Returns:
        A `keras.layers.BatchNormalization`.

    Example:
        >>> batch_normalization("norm", synchronized=False).momentum
        0.9
    """
    return keras.layers.BatchNormalization(
        axis=-1,
        momentum=MOMENTUM,
        epsilon=EPSILON,
        synchronized=synchronizes(synchronized),
        name=name,
        dtype=dtype,
    )


def synchronizes(wanted: bool) -> bool:
    """Whether batch norms take the flag `synchronized`: under TensorFlow alone.

    Keras refuses the flag elsewhere; JAX's plain batch norm already sees the global batch.

    Example:
        >>> synchronizes(False)
        False
    """
    return wanted and keras.backend.backend() == "tensorflow"


def at_least_float32(dtype: str) -> str:
    """The dtype itself, or float32 for one of half precision.

    Example:
        >>> at_least_float32("bfloat16"), at_least_float32("float64")
        ('float32', 'float64')
    """
    return "float32" if dtype in ("float16", "bfloat16") else dtype
