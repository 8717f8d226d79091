"""What `benchmarks/live_memory.py` says a graph holds at once, against small graphs counted by hand."""

import runpy
from pathlib import Path

import pytest
import tensorflow as tf

live_bytes = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "live_memory.py"))["live_bytes"]
ONE = 100 * 100 * 4


def chain(x):
    y = x @ x
    return y @ y


def kept(x):
    y = x @ x
    return (y @ y) @ x


def in_place(x):
    return tf.nn.relu(tf.reshape(x @ x, (-1,)))


def copied(x):
    y = x @ x
    return tf.nn.relu(y) @ y


def early(x):
    """What is read last waits for nothing but x, so its two tensors' worth is there from the start."""
    wide = tf.tile(x @ x, (1, 3))
    return tf.matmul(wide, wide, transpose_b=True) @ tf.tile(x, (1, 2))


@pytest.mark.parametrize(("function", "tensors"), [(chain, 2), (kept, 3), (in_place, 2), (copied, 3), (early, 6)])
def test_tensors_are_held_to_their_last_reader(function, tensors):
    graph = tf.function(function).get_concrete_function(tf.TensorSpec((100, 100), tf.float32)).graph
    assert live_bytes(graph) == tensors * ONE
