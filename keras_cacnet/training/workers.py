"""Several processes that share a run: whether they were started alike, and what it means when one of them is gone."""

import json
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf

from keras_cacnet.layers.replicas import sum_over_replicas


class WorkerLost(RuntimeError):
    """Another process of the run has died or cannot be reached."""


def several_processes(strategy: tf.distribute.Strategy) -> bool:
    """Whether a strategy shares a run among processes.

    Example:
        >>> several_processes(tf.distribute.get_strategy())
        False
    """
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


@contextmanager
def lost_workers(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Say in plain words when another process is gone, which TensorFlow tells by errors of many kinds.

    Args:
        strategy: the devices; of one process, errors stay as they are.

    Raises:
        WorkerLost: another process of the run has died or cannot be reached.

    Example:
        >>> with lost_workers(tf.distribute.get_strategy()):
        ...     print("alone")
        alone
    """
    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.InternalError, tf.errors.CancelledError,
            tf.errors.DeadlineExceededError) as error:  # fmt: skip
        if not several_processes(strategy):
            raise
        told = re.search(r"aborted by: (.*)", str(error)) or re.search(r"(.*)", str(error))
        raise WorkerLost(
            "another process of the run has died or cannot be reached; start all of them again with --resume, and "
            f"they go on from the last checkpoint ({told[1] if told else error})"
        ) from error


def require_agreement(strategy: tf.distribute.Strategy, value: Any) -> None:
    """Refuse to share a run among processes that were started with different things.

    Args:
        strategy: the devices; all processes have to ask at the same point.
        value: what has to be the same for all, as JSON takes it.

    Raises:
        ValueError: it differs.

    Example:
        >>> require_agreement(tf.distribute.get_strategy(), {"seed": 3})
    """
    if not several_processes(strategy):
        return
    own = tf.constant(zlib.crc32(json.dumps(value, sort_keys=True).encode()), "int64")

    @tf.function(autograph=False)
    def over_processes() -> Any:
        return strategy.run(lambda: sum_over_replicas(tf.identity(own)))

    summed = over_processes()
    if int(strategy.experimental_local_results(summed)[0]) != int(own) * strategy.num_replicas_in_sync:
        raise ValueError(
            "the processes of the run differ: each needs the same command, the same files of data, and an --output "
            "folder that all of them see"
        )
