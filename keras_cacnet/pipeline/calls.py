"""Python functions inside `tf.data`, and how a process that runs them comes to its end."""

import atexit
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import tensorflow as tf

PARALLEL = os.cpu_count() or 1
"""Calls at the same time, by default: `tf.data.AUTOTUNE` would be 16 at most in a stream without autotune."""

_QUIET_S = 0.3


class _Calls:
    """Counts calls, and lets them run dry before the interpreter ends.

    `tf.data` reads ahead in threads of its own. A thread that wants to call Python once the interpreter has
    begun to end never returns, and the iterator that is destroyed meanwhile waits for it for ever: a script
    that fails in the middle of `fit` prints its traceback and hangs. Exit handlers run before that point.
    From then on calls are refused, which ends the streams at once, and the interpreter waits until no call
    has come for a moment.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active = 0
        self._last = float("-inf")
        self._closing = False
        atexit.register(self.close)

    def __enter__(self) -> None:
        with self._lock:
            self._active += 1
            self._last = time.monotonic()
            if self._closing:
                self._active -= 1
                # The one exception that `tf.data` takes as a plain end, without writing a warning.
                raise StopIteration

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._active -= 1
            self._last = time.monotonic()

    def close(self) -> None:
        """Refuse further calls and returns when none is under way."""
        with self._lock:
            self._closing = True
        while self._active or time.monotonic() - self._last < _QUIET_S:
            time.sleep(0.01)


_CALLS = _Calls()


def call(function: Callable[..., Any], inputs: list[tf.Tensor], dtypes: tf.DType | tuple[tf.DType, ...]) -> Any:
    """Call a Python function as `tf.numpy_function` does, but lets the process end in the middle.

    Args:
        function: from arrays to an array or a tuple of arrays.
        inputs: tensors.
        dtypes: the types of the results.

    Returns:
        The results as tensors of unknown shape.

    Example:
        >>> def halves(x):
        ...     return x // 2, x % 2
        >>> stream = tf.data.Dataset.range(7, 8).map(lambda x: call(halves, [x], (tf.int64, tf.int64)))
        >>> [int(value) for value in next(iter(stream))]
        [3, 1]
    """

    # As it is: autograph's version of it would only make tracebacks harder to read.
    @tf.autograph.experimental.do_not_convert
    def counted(*arrays: Any) -> Any:
        with _CALLS:
            return function(*arrays)

    return tf.numpy_function(counted, inputs, dtypes)


def ends_at_once(stream: tf.data.Dataset) -> tf.data.Dataset:
    """Take tf.data's autotune away from a stream, so that freeing its iterator in the middle takes no time.

    The thread that tunes sleeps between two looks, each time twice as long, up to a minute, and whoever frees the
    iterator may wait for it to wake: a run that a signal stopped would do nothing for that long before it ends.

    Args:
        stream: any dataset.

    Returns:
        The same elements in the same order.

    Example:
        >>> stream = ends_at_once(tf.data.Dataset.range(3))
        >>> [int(number) for number in stream], stream.options().autotune.enabled
        ([0, 1, 2], False)
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return stream.with_options(options)
