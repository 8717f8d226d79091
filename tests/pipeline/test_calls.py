"""Processes that end while tf.data reads ahead: without care they hang for ever."""

import subprocess
import sys

import pytest

READER = """
import time
import tensorflow as tf
from keras_cacnet.pipeline.calls import call

def read(x):
    time.sleep(0.005)
    return x, x

def stream():
    numbers = tf.data.Dataset.range(10000)
    numbers = numbers.map(lambda x: call(read, [x], (tf.int64, tf.int64)), num_parallel_calls=8)
    return numbers.map(lambda x, y: tf.ensure_shape(x, ())).batch(4).prefetch(2)
"""
ENDINGS = {
    # In a cycle, so that only the interpreter's last collection finds them.
    "in peace": "held = [iter(stream()) for _ in range(3)]; [next(i) for i in held]; held.append(held)",
    "with an error": "iterator = iter(stream()); next(iterator); raise SystemExit(3)",
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_process_ends(ending):
    command = [sys.executable, "-c", READER + ENDINGS[ending]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == (3 if "SystemExit" in ENDINGS[ending] else 0), done.stderr
    assert "Error" not in done.stderr
