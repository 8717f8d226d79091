"""What the replicas of a `tf.distribute` strategy share: sums, and the statistics of batch norms."""

from collections.abc import Mapping
from typing import Any

import keras


def sum_over_replicas(value: Any) -> Any:
    """Add tensors up over all replicas; without a strategy, and outside of TensorFlow, they are what they were.

    Args:
        value: a tensor of this replica, or a list of them.

    Returns:
        The sum or sums, on every replica.

    Example:
        >>> float(sum_over_replicas(keras.ops.convert_to_tensor(3.0)))
        3.0
    """
    if keras.backend.backend() != "tensorflow":
        return value
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return value
    return context.all_reduce(tf.distribute.ReduceOp.SUM, value)


def synchronizes(wanted: bool) -> bool:
    """Whether batch norms take the flag `synchronized`: under TensorFlow only.

    Keras refuses the flag elsewhere; JAX's plain batch norm already sees the global batch.

    Example:
        >>> synchronizes(False)
        False
    """
    return wanted and keras.backend.backend() == "tensorflow"


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
