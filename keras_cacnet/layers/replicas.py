"""Sums over the replicas of a `tf.distribute` strategy."""

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
