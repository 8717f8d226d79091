"""The requests that TensorFlow Serving sends itself."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.core.framework import tensor_pb2

from keras_cacnet.export import saved_model

SIGNATURES = [
    "serving_default",
    "serve_class_ids",
    "serve_float",
    "serve_encoded",
    "serve_encoded",
    "serve_multiscale",
]


def records(path):
    file = str(path / "assets.extra" / "tf_serving_warmup_requests")
    return [record.numpy() for record in tf.data.TFRecordDataset(file)]


def fields(message):
    """Takes a protobuf message of lengths and bytes apart, by the rules of its wire format."""
    stream, found = io.BytesIO(message), []

    def varint():
        value = shift = 0
        while True:
            (byte,) = stream.read(1)
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while stream.tell() < len(message):
        tag, size = varint(), varint()
        assert tag & 7 == 2
        content = stream.read(size)
        assert len(content) == size
        found.append((tag >> 3, content))
    return found


def request(record):
    """The model, signature and inputs of a PredictionLog, without TensorFlow Serving's own messages."""
    ((predict_log, log),) = fields(record)
    ((asked, message),) = fields(log)
    assert (predict_log, asked) == (6, 1)
    (model, spec), *inputs = fields(message)
    assert model == 1
    assert [number for number, _ in inputs] == [2] * len(inputs)
    names = dict(fields(spec))
    entries = [dict(fields(entry)) for _, entry in inputs]
    values = {entry[1].decode(): tf.make_ndarray(tensor_pb2.TensorProto.FromString(entry[2])) for entry in entries}
    return names[1].decode(), names[3].decode(), values


def test_every_signature_has_a_request_that_it_answers(cacnet_export, serve):
    requests = [request(record) for record in records(cacnet_export)]
    assert [signature for _, signature, _ in requests] == SIGNATURES
    assert {model for model, _, _ in requests} == {"cacnet"}
    for _, signature, inputs in requests:
        ((name, value),) = inputs.items()
        assert name == ("image_bytes" if signature == "serve_encoded" else "images")
        assert serve(signature, value)["class_ids"].shape == (1, 256, 256)
        if signature != "serve_encoded":
            assert value.dtype == ("float32" if signature == "serve_float" else "uint8")
            assert value.shape == (1, 256, 256, 3)
            assert (value == 128).all()
    kinds = [Image.open(io.BytesIO(inputs["image_bytes"][0])).format for _, _, inputs in requests[3:5]]
    assert kinds == ["JPEG", "PNG"]


def test_tensorflow_servings_own_messages_read_them(cacnet_export):
    reason = "the extra `serving` is not installed"
    prediction_log_pb2 = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2", reason=reason)
    predict_pb2 = pytest.importorskip("tensorflow_serving.apis.predict_pb2", reason=reason)
    for record, signature in zip(records(cacnet_export), SIGNATURES, strict=True):
        name, _, inputs = request(record)
        asked = predict_pb2.PredictRequest()
        asked.model_spec.name, asked.model_spec.signature_name = name, signature
        read = prediction_log_pb2.PredictionLog.FromString(record)
        for key, value in inputs.items():
            taken = read.predict_log.request.inputs[key]
            np.testing.assert_array_equal(tf.make_ndarray(taken), value)
            asked.inputs[key].CopyFrom(taken)
        # Nothing is missing, and nothing is there that these messages do not know.
        assert read.predict_log.request == asked
        assert read.SerializeToString(deterministic=True) == record


def test_the_size_is_the_callers(model, tmp_path):
    path = saved_model(model, tmp_path / "small" / "3", warmup_size=(24, 500))
    shapes = [inputs["images"].shape for name, _, inputs in map(request, records(path)[:2]) if name == "small"]
    assert shapes == [(1, 24, 500, 3)] * 2
    assert (path / "assets.extra" / "tf_serving_warmup_requests").stat().st_size < 4000


@pytest.mark.parametrize(("size", "limit", "shown"), [((24, 50), 300, (6, 50)), ((24, 50), 30, (1, 30))])
def test_image_files_are_within_their_limit(model, tmp_path, size, limit, shown):
    """A request that fails keeps TensorFlow Serving from loading the model."""
    path = saved_model(model, tmp_path / "1", warmup_size=size, max_pixels=limit)
    loaded = tf.saved_model.load(path)
    for _, signature, inputs in map(request, records(path)):
        ((name, value),) = inputs.items()
        ids = loaded.signatures[signature](**{name: tf.constant(value)})["class_ids"]
        assert ids.shape == (1, *(shown if signature == "serve_encoded" else size))


def test_none_writes_none(model, tmp_path):
    assert not (saved_model(model, tmp_path / "1", warmup_size=None) / "assets.extra").exists()
    for size in [(0, 5), (5,), (3, 3, 3), 256, (True, 5), (2.5, 4), "64x64"]:
        with pytest.raises(ValueError, match=r"warmup_size \(None writes no requests\) must be a height and a width"):
            saved_model(model, tmp_path / "2", warmup_size=size)
