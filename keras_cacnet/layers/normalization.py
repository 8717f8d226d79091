"""The batch normalisation of every part of the network."""

from collections.abc import Mapping
from typing import Any

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


def without_synchronization(config: Any) -> Any:
    """A layer's or model's config with every `synchronized` switched off, for backends that refuse the flag.

    Example:
        >>> without_synchronization({"layers": [{"synchronized": True, "axis": -1}]})
        {'layers': [{'synchronized': False, 'axis': -1}]}
    """
    if isinstance(config, Mapping):
        return {
            key: False if key == "synchronized" else without_synchronization(value) for key, value in config.items()
        }
    if isinstance(config, list | tuple):
        return [without_synchronization(value) for value in config]
    return config
