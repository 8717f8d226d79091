"""Requests that TensorFlow Serving sends itself before it takes others, so that the first client does not wait.

They are a TFRecord file of `tensorflow.serving.PredictionLog` messages. TensorFlow has no classes for these; the few
fields that a request needs are written here as protobuf puts them on the wire.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_cacnet.export.destination import EXTRA

WARMUP = Path(EXTRA, "tf_serving_warmup_requests")
"""Where TensorFlow Serving looks for them, in the folder of a version."""

_GREY = 128
# Field numbers of tensorflow_serving/apis/{prediction_log,predict,model}.proto and of a protobuf map.
_LOG_PREDICT = 6
_PREDICT_REQUEST = 1
_REQUEST_MODEL, _REQUEST_INPUTS = 1, 2
_MODEL_NAME, _MODEL_SIGNATURE = 1, 3
_KEY, _VALUE = 1, 2


def write_warmup(
    folder: Path, model_name: str, inputs: Mapping[str, Any], size: tuple[int, int], max_pixels: int
) -> None:
    """Write a request for every signature; for image files one with a JPEG and one with a PNG.

    Args:
        folder: of the SavedModel.
        model_name: under which it is served.
        inputs: the one input of each signature, as a `tf.TensorSpec` with a name.
        size: height and width of the image, which is grey.
        max_pixels: of the image as a file, which is made smaller where it would be refused: a request that fails
            keeps TensorFlow Serving from loading the model.
    """
    height = max(1, min(size[0], max_pixels // size[1]))
    grey = np.full((height, min(size[1], max_pixels // height), 3), _GREY, "uint8")
    (folder / WARMUP).parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(folder / WARMUP)) as records:
        for signature, spec in inputs.items():
            if spec.dtype == tf.string:
                files = [encode(grey).numpy() for encode in (tf.io.encode_jpeg, tf.io.encode_png)]
                values = [tf.make_tensor_proto([file], tf.string) for file in files]
            else:
                # One value stands for all: the message stays small.
                values = [tf.make_tensor_proto(_GREY, spec.dtype, (1, *size, 3))]
            for value in values:
                records.write(prediction_log(model_name, signature, {spec.name: value}))


def prediction_log(model_name: str, signature: str, inputs: Mapping[str, Any]) -> bytes:
    """Write a request as a PredictionLog message.

    Args:
        model_name: under which the model is served.
        signature: the name of the signature.
        inputs: `TensorProto` messages by the names of the inputs.

    Returns:
        The message, as protobuf serialises it.

    Example:
        >>> prediction_log("a", "b", {})
        b'2\\n\\n\\x08\\n\\x06\\n\\x01a\\x1a\\x01b'
    """
    model = _field(_MODEL_NAME, model_name.encode()) + _field(_MODEL_SIGNATURE, signature.encode())
    request = _field(_REQUEST_MODEL, model)
    for name, value in inputs.items():
        request += _field(_REQUEST_INPUTS, _field(_KEY, name.encode()) + _field(_VALUE, value.SerializeToString()))
    return _field(_LOG_PREDICT, _field(_PREDICT_REQUEST, request))


def _field(number: int, content: bytes) -> bytes:
    """A field of bytes: its number and wire type 2, the length of its content, the content."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the highest bit of all bytes but the last is set."""
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])
