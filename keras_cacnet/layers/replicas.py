"""Sums over the replicas of a `tf.distribute` strategy."""

from typing import Any

import keras


def sum_over_replicas(count: Any) -> Any:
    """Add a number up over all replicas; without a strategy, and outside of TensorFlow, it is the number itself.

    Args:
        count: a scalar tensor of this replica.

    Returns:
        The sum, on every replica.

    Example:
        >>> float(sum_over_replicas(keras.ops.convert_to_tensor(3.0)))
        3.0
    """
    if keras.backend.backend() != "tensorflow":
        return count
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return count
    return context.all_reduce(tf.distribute.ReduceOp.SUM, count)
