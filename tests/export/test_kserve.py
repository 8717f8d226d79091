"""The SavedModel under KServe, as a process without Keras, by its protocols."""

import base64
import http.client
import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from keras_cacnet.datasets.reading import read_image

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")


@pytest.fixture
def post(kserve_ports):
    """Posts a body, as text or as what JSON can hold, and gives status and answer."""
    connection = http.client.HTTPConnection("127.0.0.1", kserve_ports["rest"])

    def request(body, path="/v1/models/cacnet:predict", headers=()):
        content = body if isinstance(body, str | bytes) else json.dumps(body)
        connection.request("POST", path, content, dict(headers))
        with connection.getresponse() as response:
            return response.status, json.loads(response.read())

    yield request
    connection.close()


JSON = {"Content-Type": "application/json"}
# What curl --data declares. KServe hands such a body on as it came.
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def b64(file):
    return {"b64": base64.b64encode(file).decode()}


def test_predict_takes_numbers_in_rows_and_columns(post, photograph, assert_as_keras):
    images = np.stack([photograph(33, 47), photograph(33, 47, 1)])
    for body, key in [
        ({"instances": images.tolist()}, "predictions"),
        ({"instances": [{"images": image} for image in images.tolist()]}, "predictions"),
        ({"instances": images.tolist(), "signature_name": "serve_float"}, "predictions"),
        ({"inputs": images.tolist()}, "outputs"),
        ({"inputs": {"images": images.tolist()}}, "outputs"),
    ]:
        for headers in (JSON, FORM):
            status, answer = post(body, headers=headers)
            assert status == 200, answer
            found = answer[key]
            if key == "predictions":
                found = {name: [row[name] for row in found] for name in found[0]}
            assert_as_keras(images, np.array(found["class_ids"], "int32"), np.array(found["probabilities"]))


def test_predict_takes_files(post, photograph, file_of, assert_as_keras):
    files = [file_of(photograph(40, 31), "JPEG"), file_of(photograph(24, 52, 1))]
    for instances in ([b64(file) for file in files], [{"image_bytes": b64(file)} for file in files]):
        status, answer = post({"signature_name": "serve_encoded", "instances": instances})
        assert status == 200, answer
        for file, row in zip(files, answer["predictions"], strict=True):
            height, width = row["sizes"]
            ids = np.array(row["class_ids"], "int32")
            assert ids.shape == (40, 52)
            assert_as_keras(read_image(file)[np.newaxis], ids[np.newaxis, :height, :width])


def test_a_photograph_as_in_keras(post, assert_as_keras, shared_data):
    file = min((shared_data / "camvid" / "images" / "val").glob("*.jpg")).read_bytes()
    status, answer = post({"signature_name": "serve_encoded", "instances": [b64(file)]})
    assert status == 200, answer
    assert_as_keras(read_image(file)[np.newaxis], np.array(answer["predictions"][0]["class_ids"], "int32")[np.newaxis])


def test_several_scales(post, photograph, serve):
    images = photograph(33, 47)[np.newaxis]
    status, answer = post({"signature_name": "serve_multiscale", "instances": images.tolist()})
    assert status == 200, answer
    np.testing.assert_array_equal(
        answer["predictions"][0]["class_ids"], serve("serve_multiscale", images)["class_ids"][0]
    )


def test_open_inference_by_rest(post, photograph, file_of, assert_as_keras):
    image = photograph(20, 27)
    tensor = {"name": "images", "datatype": "UINT8", "shape": [1, *image.shape], "data": image.ravel().tolist()}
    path = "/v2/models/cacnet/infer"
    status, answer = post({"id": "7", "inputs": [tensor]}, path, JSON)
    assert status == 200, answer
    assert answer["id"] == "7"
    found = {output["name"]: np.array(output["data"]).reshape(output["shape"]) for output in answer["outputs"]}
    assert_as_keras(image[np.newaxis], found["class_ids"].astype("int32"), found["probabilities"])
    status, answer = post({"inputs": [tensor], "outputs": [{"name": "class_ids"}]}, path, JSON)
    assert [output["name"] for output in answer["outputs"]] == ["class_ids"]
    status, answer = post({"inputs": [tensor], "outputs": [{"name": "sizes"}]}, path, JSON)
    assert (status, answer) == (400, {"error": "serving_default gives class_ids, probabilities, not sizes"})
    file = {"name": "image_bytes", "datatype": "BYTES", "shape": [1], "data": [b64(file_of(image))["b64"]]}
    status, answer = post({"inputs": [file], "parameters": {"signature_name": "serve_encoded"}}, path, JSON)
    assert status == 200, answer
    assert answer["id"] == "0"
    assert {output["name"]: output["shape"] for output in answer["outputs"]} == {
        "class_ids": [1, 20, 27],
        "sizes": [1, 2],
    }


@pytest.mark.parametrize(
    ("datatype", "data", "message"),
    [
        ("UINT8", [1, 2.5, 3], "images must be whole numbers in 0..255, got 1.0 to 3.0"),
        ("UINT8", [1, 2, 300], "images must be whole numbers in 0..255, got 1 to 300"),
        ("UINT8", [1, 2, "a"], "images must be numbers"),
        ("UINT8", [1, 2], "images: UINT8 [1, 1, 1, 3] cannot be read"),
        ("BOOL", [True, False, True], "images must be numbers, got bool"),
        ("BYTES", ["a", "b", "c"], "images must be numbers"),
    ],
)
def test_tensors_that_are_none_have_status_400(post, datatype, data, message):
    tensor = {"name": "images", "datatype": datatype, "shape": [1, 1, 1, 3], "data": data}
    status, answer = post({"inputs": [tensor]}, "/v2/models/cacnet/infer", JSON)
    assert (status, message in answer["error"]) == (400, True), answer


GRPC = """
import sys
import grpc
import numpy as np
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

def predict(stub, name, datatype, shape, raw, outputs=(), **parameters):
    request = pb.ModelInferRequest(model_name="cacnet", raw_input_contents=[raw])
    for output in outputs:
        request.outputs.add(name=output)
    request.inputs.add(name=name, datatype=datatype, shape=shape)
    for key, value in parameters.items():
        request.parameters[key].string_param = value
    response = stub.ModelInfer(request)
    types = {"INT32": "int32", "FP32": "float32"}
    return {
        output.name: np.frombuffer(content, types[output.datatype]).reshape(output.shape)
        for output, content in zip(response.outputs, response.raw_output_contents, strict=True)
    }

port, folder = sys.argv[1:]
unlimited = [("grpc.max_receive_message_length", -1)]
with grpc.insecure_channel(f"127.0.0.1:{port}", options=unlimited) as channel:
    stub = GRPCInferenceServiceStub(channel)
    given = np.load(folder + "/given.npz")
    images, file = given["images"], given["photograph"].tobytes()
    sent = {"UINT8": {}, "FP32": {"signature_name": "serve_float"}}
    results = {}
    for datatype, parameters in sent.items():
        array = images.astype("float32" if datatype == "FP32" else "uint8")
        for name, value in predict(stub, "images", datatype, images.shape, array.tobytes(), **parameters).items():
            results[f"{datatype}/{name}"] = value
    raw = len(file).to_bytes(4, "little") + file
    for name, value in predict(stub, "image_bytes", "BYTES", [1], raw, signature_name="serve_encoded").items():
        results[f"BYTES/{name}"] = value
    np.savez(folder + "/found.npz", **results)
    large = predict(stub, "images", "UINT8", [1, 650, 700, 3], bytes(650 * 700 * 3))
    assert large["probabilities"].nbytes > 2**23
    assert list(predict(stub, "images", "UINT8", [1, 1, 1, 3], bytes(3), ["class_ids"])) == ["class_ids"]
    for arguments in (
        ("image_bytes", "BYTES", [1], (5).to_bytes(4, "little") + b"hello", "serve_encoded"),
        ("images", "FP32", [1, 1, 1, 3], np.full(3, np.nan, "float32").tobytes(), "serve_float"),
        ("images", "UINT8", [1, 1, 1, 5], bytes(5), "serving_default"),
        ("images", "UINT8", [1, 0, 0, 3], b"", "serving_default"),
        ("images", "UINT8", [1, 9, 9, 3], bytes(5), "serving_default"),
        ("image_bytes", "BYTES", [1], bytes(2), "serve_encoded"),
        ("images", "UINT8", [1, 1, 1, 3], bytes(3), "nope"),
        ("image", "UINT8", [1, 1, 1, 3], bytes(3), "serving_default"),
    ):
        try:
            predict(stub, *arguments[:-1], signature_name=arguments[-1])
        except grpc.RpcError as error:
            print(error.code().name, error.details().splitlines()[0])
"""


def test_open_inference_by_grpc(kserve_ports, kserve_python, photograph, file_of, assert_as_keras, tmp_path):
    images = np.stack([photograph(41, 36), photograph(41, 36, 1)])
    file = file_of(photograph(25, 30), "JPEG")
    np.savez(tmp_path / "given.npz", images=images, photograph=np.frombuffer(file, "uint8"))
    command = [str(kserve_python), "-c", GRPC, str(kserve_ports["grpc"]), str(tmp_path)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr[-2000:]
    with np.load(tmp_path / "found.npz") as found:
        for datatype in ("UINT8", "FP32"):
            assert_as_keras(images, found[f"{datatype}/class_ids"], found[f"{datatype}/probabilities"])
        assert found["BYTES/sizes"].tolist() == [[25, 30]]
        assert_as_keras(read_image(file)[np.newaxis], found["BYTES/class_ids"])
    reasons = process.stdout.splitlines()
    assert all(reason.startswith("INVALID_ARGUMENT ") for reason in reasons), reasons
    for reason, expected in zip(
        reasons,
        [
            "image 0: it is neither JPEG nor PNG",
            "the images have values that are not finite",
            "images must have the shape (?, ?, ?, 3), got (1, 1, 1, 5)",
            "1 images of 0x0 pixels: there is nothing to segment",
            "images: UINT8 [1, 9, 9, 3] cannot be read",
            "image_bytes: BYTES [1] cannot be read",
            "signature_name must be one of",
            "serving_default takes images, got image",
        ],
        strict=True,
    ):
        assert expected in reason


def encoded(*files):
    return {"signature_name": "serve_encoded", "instances": [b64(file) for file in files]}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "the body is no JSON"),
        ("hello", "the body is no JSON"),
        ('{"instances": [[[[NaN, 0, 0]]]]}', "the body is no JSON"),
        (b"\xff\xd8\xff", "the body is no JSON"),
        ("[]", "the body must be JSON"),
        ("null", "the body must be JSON"),
        ({}, "the body must be JSON"),
        ({"instances": [], "inputs": []}, "the body must be JSON"),
        ({"instances": []}, "must be a list of images"),
        ({"instances": "x"}, "a list"),
        ({"instances": [{"image": [[[0, 0, 0]]]}]}, "the input is images, got image"),
        ({"instances": [[]]}, r"images must have the shape (?, ?, ?, 3), got (1, 0)"),
        ({"instances": np.zeros((1, 2, 2, 5)).tolist()}, r"images must have the shape (?, ?, ?, 3), got (1, 2, 2, 5)"),
        ({"instances": [[[[0, 0, 0]], [[0, 0, 0], [0, 0, 0]]]]}, "rows and images must be of one length"),
        ({"instances": [[[[0, 0, "a"]]]]}, "images must be numbers"),
        ({"instances": [[[[0, 0, None]]]]}, "images must be numbers"),
        ({"instances": [[[[0, 0, 256]]]]}, "images must be whole numbers in 0..255, got 0 to 256"),
        ({"instances": [[[[0, 0, -1]]]]}, "images must be whole numbers in 0..255, got -1 to 0"),
        ({"instances": [[[[0, 0, 0.5]]]]}, "images must be whole numbers in 0..255, got 0.0 to 0.5"),
        ({"instances": [[[[0, 0, 2**70]]]]}, "images must be"),
        ({"instances": [[[[0, 0, -4]]]], "signature_name": "serve_float"}, "values go from -4 to 0"),
        ({"instances": [[[[0, 0, 1e300]]]], "signature_name": "serve_float"}, "not finite"),
        ({"instances": [[[[0, 0, 0]]]], "signature_name": "nope"}, "signature_name must be one of"),
        ({"instances": [[[[0, 0, 0]]]], "signature_name": ["serve_float"]}, "signature_name must be one of"),
        ({"instances": ["?"], "signature_name": "serve_encoded"}, "image 0: it is no base64"),
        ({"instances": [7], "signature_name": "serve_encoded"}, "image 0: a file is"),
        ({"inputs": {"image_bytes": "x"}, "signature_name": "serve_encoded"}, "must be a list of files"),
        (encoded(b""), "image 0: it is empty"),
        (encoded(b"hello", b""), "image 0: it is neither JPEG nor PNG; image 1: it is empty"),
        (encoded(b"\xff\xd8\xff\xe0"), "jpeg header is damaged: "),
        (encoded(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0u0\0\0u0"), "image 0: 30000x30000 pixels are more than"),
    ],
)
def test_what_cannot_be_answered_has_status_400_and_a_reason(post, body, message):
    for headers in (JSON, FORM):
        status, answer = post(body, headers=headers)
        assert status == 400
        # KServe reads what is declared to be JSON.
        unread = message == "the body is no JSON" and headers == JSON
        assert ("Unrecognized request format" if unread else message) in answer["error"]
        assert "{{" not in answer["error"]


def test_a_truncated_photograph_is_told(post, photograph, file_of):
    status, answer = post(encoded(file_of(photograph(64, 64), "JPEG")[:-200]))
    assert status == 400
    assert re.fullmatch("image is truncated or damaged: .*Invalid JPEG data.*", answer["error"])


def test_other_models_are_not_there(post):
    status, answer = post({"instances": [[[[0, 0, 0]]]]}, "/v1/models/other:predict")
    assert status == 404
    assert "other" in answer["error"]


def test_the_highest_version_is_served(kserve_python, tmp_path):
    for version in ("9", "10", "11", "final"):
        (tmp_path / version).mkdir()
    for version in ("9", "10", "final"):
        (tmp_path / version / "saved_model.pb").touch()
    (tmp_path / "empty").mkdir()
    program = """
import pathlib, sys
import server
for folder in map(pathlib.Path, sys.argv[1:]):
    try:
        print(server.newest(folder))
    except FileNotFoundError as error:
        print(error)
"""
    folders = [tmp_path, tmp_path / "9", tmp_path / "empty"]
    command = [str(kserve_python), "-c", program, *map(str, folders)]
    process = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT / "examples" / "kserve_server"
    )
    assert process.stdout.splitlines() == [
        str(tmp_path / "10"),
        str(tmp_path / "9"),
        f"{tmp_path / 'empty'} holds neither saved_model.pb nor a numbered folder that does",
    ]


def test_the_manifest_is_what_kserve_understands(kserve_python):
    """Every key of it is a field of the classes that KServe and Kubernetes publish for their manifests."""
    program = """
import re, sys
import kserve, kubernetes.client, yaml

def check(value, kind, path):
    inner = re.match(r"(List\\[|Dict\\[str, |list\\[|dict\\(str, )(.*)[\\])]$", kind)
    if inner:
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            check(item, inner[2], f"{path}.{key}")
    elif known := getattr(kserve, kind, getattr(kubernetes.client, kind, None)):
        fields = {known.attribute_map[name]: of for name, of in known.openapi_types.items()}
        for key, item in value.items():
            assert key in fields, f"{path}.{key} is no field of {kind}"
            check(item, fields[key], f"{path}.{key}")
    elif kind in ("str", "int", "ResourceQuantity"):
        assert isinstance(value, int if kind == "int" else str), f"{path} is {value!r}, not {kind}"
    else:
        raise AssertionError(f"{path}: {kind} is not known here")

for manifest in yaml.safe_load_all(open(sys.argv[1])):
    check(manifest, "V1beta1InferenceService", "")
    print(manifest["metadata"]["name"])
"""
    manifest = ROOT / "examples" / "kserve_server" / "inference_service.yaml"
    command = [str(kserve_python), "-c", program, str(manifest)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr[-2000:]
    assert process.stdout.split() == ["cacnet", "cacnet-open-inference"]
    (shown,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    assert shown in manifest.read_text()
