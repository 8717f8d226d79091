"""An example that cannot be read: its error arrives through `fit` and the streams, and names the file."""

import io
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_cacnet.datasets import VOID, ClassTable, Example
from keras_cacnet.pipeline import evaluation_batches, reading_error, training_batches

TABLE = ClassTable(("a", "b", "c"), ((0, 0, 0),) * 3, (0, 1, 2))


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def stream(source):
    return training_batches(source, TABLE, batch_size=1, crop_size=8, steps=2, seed=0)


def error_of(run):
    with pytest.raises(tf.errors.InvalidArgumentError) as raised:
        run()
    return reading_error(raised.value)


def test_a_broken_file_names_itself_through_fit(tmp_path):
    path = tmp_path / "un été.jpg"
    path.write_bytes(b"not an image")
    source = [Example("un été", path, png(np.zeros((4, 4), "uint8")))]
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(3, 1)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=VOID))
    message = error_of(lambda: model.fit(stream(source), verbose=0, shuffle=False))
    assert message.startswith(f"{path}: not an image that can be read")
    assert "\n" not in message
    assert error_of(lambda: model.evaluate(evaluation_batches(source, TABLE), verbose=0)) == message


def test_a_name_that_is_no_text_is_named_too():
    source = [Example("odd", Path("/nowhere/\udcff.jpg"), png(np.zeros((4, 4), "uint8")))]
    assert error_of(lambda: list(evaluation_batches(source, TABLE))) == r"/nowhere/\udcff.jpg: no such file."


def test_unknown_ids_name_their_file_through_the_stream():
    image, mask = np.zeros((20, 20, 3), "uint8"), np.full((20, 20), 77, "uint8")
    told = error_of(lambda: list(stream([Example("e3", png(image), png(mask))])))
    assert told.startswith("e3 (mask): id 77 (400 pixels) is not in the class table")


def test_other_errors_are_not_the_readers():
    assert reading_error(ValueError("labels/a.png: something")) is None
    with pytest.raises(tf.errors.InvalidArgumentError) as raised:
        tf.reshape(tf.zeros(3), (2, 2))
    assert reading_error(raised.value) is None
