"""The requests of docs/serving.md, sent as they stand there: to a stand-in for TensorFlow Serving, and to KServe."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import keras_cacnet as kc

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
EXPORT, LOAD, REST, GRPC, OPEN_INFERENCE = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
# What the examples by gRPC print.
BY_GRPC = "(1, 60, 80) [[60, 80]]\n(2, 40, 50) (2, 40, 50, 5)\n"
CURL = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture(scope="module")
def stand_in(cacnet_export):
    """Ports where a stand-in for TensorFlow Serving listens."""
    process = subprocess.Popen(
        [sys.executable, "-P", Path(__file__).with_name("predict_server.py"), cacnet_export],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    yield json.loads(process.stdout.readline())
    process.stdin.close()
    process.stdout.close()
    assert process.wait(60) == 0


@pytest.fixture(params=["stand_in", "kserve_ports"])
def ports(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def folder(photograph, tmp_path):
    """Where the two files of the examples lie."""
    Image.fromarray(photograph(60, 80)).save(tmp_path / "photograph.jpg")
    Image.fromarray(photograph(72, 40, 1)).save(tmp_path / "other.png")
    return tmp_path


def run(command, folder):
    process = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr[-2000:]
    return process.stdout


def at(text, ports):
    """The text, with the ports that a server has here."""
    for documented, port in (("8501", ports["rest"]), ("8500", ports["grpc"]), ("8081", ports["grpc"])):
        text = text.replace(f"localhost:{documented}", f"127.0.0.1:{port}")
    return text


def test_the_export(model, classes, folder, monkeypatch):
    monkeypatch.chdir(folder)
    exec(EXPORT, {"kc": kc, "model": model, "classes": classes})
    loaded = tf.saved_model.load(folder / "cacnet" / "1")
    # The table of the page has one row for each.
    assert set(re.findall(r"^\| `(serv\w+)` \|", TEXT, re.MULTILINE)) == set(loaded.signatures)
    blocked = "import sys; sys.modules['keras'] = sys.modules['keras_cacnet'] = None\n"
    # TensorFlow and Pillow decode JPEG to the same pixels (tests/export/test_encoded_images.py).
    corner = kc.evaluation.ids(model, kc.datasets.read_image("photograph.jpg"))[0, 0]
    assert run([sys.executable, "-c", blocked + LOAD], folder) == f"(60, 80) {classes.names[corner]}\n"


def test_curl(ports, folder, serve):
    if shutil.which("curl") is None:
        pytest.skip("there is no curl")
    for block in CURL:
        run(["bash", "-e", "-o", "pipefail", "-c", at(block, ports)], folder)
    (answer,) = json.loads((folder / "answer.json").read_text())["predictions"]
    assert answer["sizes"] == [60, 80]
    expected = serve("serve_encoded", [(folder / "photograph.jpg").read_bytes()])
    np.testing.assert_array_equal(answer["class_ids"], expected["class_ids"][0])
    (answer,) = json.loads((folder / "numbers_answer.json").read_text())["predictions"]
    image = np.array(json.loads((folder / "numbers.json").read_text())["instances"], "uint8")
    assert image.shape == (1, 2, 2, 3)
    np.testing.assert_array_equal(answer["class_ids"], serve("serving_default", image)["class_ids"][0])


def test_rest_from_python(ports, folder):
    assert run([sys.executable, "-c", at(REST, ports)], folder) == "(60, 80)\n(72, 40)\n"


def test_grpc(stand_in, folder):
    if stand_in["grpc"] is None:
        pytest.skip("the extra `serving` is not installed")
    assert run([sys.executable, "-c", at(GRPC, stand_in)], folder) == BY_GRPC


def test_open_inference_by_grpc(kserve_ports, kserve_python, folder):
    assert run([kserve_python, "-c", at(OPEN_INFERENCE, kserve_ports)], folder) == BY_GRPC


def test_a_bad_file_is_answered_with_its_reason(ports, folder):
    if shutil.which("curl") is None:
        pytest.skip("there is no curl")
    (folder / "photograph.jpg").write_bytes(b"")
    run(["bash", "-e", "-c", at(CURL[0], ports)], folder)
    assert "image 0: it is empty" in json.loads((folder / "answer.json").read_text())["error"]


def test_grpc_answers_as_keras(stand_in, photograph, assert_as_keras):
    if stand_in["grpc"] is None:
        pytest.skip("the extra `serving` is not installed")
    import grpc
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    with grpc.insecure_channel(f"127.0.0.1:{stand_in['grpc']}") as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        images = np.stack([photograph(45, 52), photograph(45, 52, 1)])
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "cacnet"
        request.inputs["images"].CopyFrom(tf.make_tensor_proto(images))
        outputs = {name: tf.make_ndarray(value) for name, value in stub.Predict(request, timeout=60).outputs.items()}
        assert_as_keras(images, outputs["class_ids"], outputs["probabilities"])
        request.model_spec.signature_name = "serve_encoded"
        request.inputs.clear()
        request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto([b"hello"]))
        with pytest.raises(grpc.RpcError, match="image 0: it is neither JPEG nor PNG"):
            stub.Predict(request, timeout=60)
