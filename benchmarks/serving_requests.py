"""Requests to a server of an export, with what makes an answer to them right."""

import base64
import http.client
import io
import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import keras
import numpy as np
from kserve.protocol.grpc import grpc_predict_v2_pb2 as open_inference
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from PIL import Image

import keras_cacnet as kc

TOLERANCE = 1e-5
TYPES = {"INT32": "int32", "FP32": "float32"}
BOMB = 30_000


@dataclass(frozen=True)
class Answered:
    """An image file, its pixels, and what Keras says of them."""

    file: bytes
    image: np.ndarray
    probabilities: np.ndarray

    def fault(self, class_ids: np.ndarray, probabilities: np.ndarray | None) -> str | None:
        if class_ids.shape != self.image.shape[:2]:
            return f"class_ids {class_ids.shape} for an image {self.image.shape}"
        difference = 0.0 if probabilities is None else np.abs(probabilities - self.probabilities).max()
        # NaN is not within any tolerance.
        if not difference <= TOLERANCE:
            return f"probabilities are {difference} off"
        two = np.sort(self.probabilities, axis=-1)
        clear = two[..., -1] - two[..., -2] > 2 * TOLERANCE
        others = int((class_ids != self.probabilities.argmax(-1))[clear].sum())
        return f"{others} pixels have other classes" if others else None


def answered(model: keras.Model, image: np.ndarray, kind: str) -> Answered:
    """Encode an image as "JPEG" or "PNG", and ask Keras about the pixels that it decodes to."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind, quality=90)
    pixels = kc.datasets.read_image(stream.getvalue())
    logits = model(pixels[np.newaxis].astype("float32"), training=False)
    return Answered(stream.getvalue(), pixels, keras.ops.convert_to_numpy(keras.ops.softmax(logits))[0])


@dataclass(frozen=True)
class Call:
    """A request: a body for REST, or a message for gRPC.

    Args:
        name: of its kind.
        content: the body, or the message.
        images: what a right answer is about; none for a request that is to be refused.
        reason: what a refusal has to say.
        path: of a REST request.
    """

    name: str
    content: bytes | open_inference.ModelInferRequest
    images: Sequence[Answered] = ()
    reason: str = ""
    path: str = "/v1/models/cacnet:predict"

    def fault(self, connection: http.client.HTTPConnection, stub: GRPCInferenceServiceStub) -> str | None:
        """Send it, and say what is wrong with the answer."""
        refusal, outputs = self._rest(connection) if isinstance(self.content, bytes) else self._grpc(stub)
        if not self.images:
            return None if refusal and self.reason in refusal else f"refusal {refusal!r} without {self.reason!r}"
        if refusal is not None:
            return f"refused: {refusal}"
        for index, expected in enumerate(self.images):
            ids, sizes = outputs["class_ids"][index], outputs.get("sizes")
            if sizes is not None:
                ids = ids[: sizes[index][0], : sizes[index][1]]
            if fault := expected.fault(ids, outputs["probabilities"][index] if "probabilities" in outputs else None):
                return fault
        return None

    def _rest(self, connection: http.client.HTTPConnection) -> tuple[str | None, dict[str, Any]]:
        connection.request("POST", self.path, self.content, {"Content-Type": "application/json"})
        with connection.getresponse() as response:
            answer = json.loads(response.read())
        if response.status in (400, 404):
            return answer["error"], {}
        if response.status != 200:
            raise RuntimeError(f"status {response.status}: {answer}")
        rows = answer["predictions"]
        return None, {name: [np.array(row[name]) for row in rows] for name in rows[0]}

    def _grpc(self, stub: GRPCInferenceServiceStub) -> tuple[str | None, dict[str, Any]]:
        try:
            response = stub.ModelInfer(self.content, timeout=120)
        except grpc.RpcError as error:
            if error.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND):
                return error.details(), {}
            raise
        return None, {
            output.name: np.frombuffer(content, TYPES[output.datatype]).reshape(output.shape)
            for output, content in zip(response.outputs, response.raw_output_contents, strict=True)
        }


def rest(instances: Any, signature: str) -> bytes:
    return json.dumps({"signature_name": signature, "instances": instances}).encode()


def b64(file: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(file).decode()}


def message(
    value: np.ndarray | Sequence[bytes], signature: str, model: str = "cacnet"
) -> open_inference.ModelInferRequest:
    if isinstance(value, np.ndarray):
        name, raw, shape = "images", value.tobytes(), value.shape
        datatype = "UINT8" if value.dtype == np.uint8 else "FP32"
    else:
        raw = b"".join(len(file).to_bytes(4, "little") + file for file in value)
        name, datatype, shape = "image_bytes", "BYTES", (len(value),)
    request = open_inference.ModelInferRequest(model_name=model, raw_input_contents=[raw])
    request.inputs.add(name=name, datatype=datatype, shape=shape)
    request.parameters["signature_name"].string_param = signature
    return request


def good_calls(pool: Sequence[Answered], rng: np.random.Generator) -> list[Call]:
    """A call of every kind about every image, with others where it takes several."""
    calls = []
    for one in pool:
        others = [one, *(pool[index] for index in rng.integers(len(pool), size=2))]
        twice = np.stack([one.image, one.image])
        numbers, floats = one.image[np.newaxis], one.image[np.newaxis].astype("float32")
        calls += [
            Call("files, REST", rest([b64(image.file) for image in others], "serve_encoded"), others),
            Call("files, gRPC", message([image.file for image in others], "serve_encoded"), others),
            Call("uint8, REST", rest(numbers.tolist(), "serving_default"), [one]),
            Call("uint8, gRPC", message(twice, "serving_default"), [one, one]),
            Call("float, REST", rest(floats.tolist(), "serve_float"), [one]),
            Call("float, gRPC", message(floats, "serve_float"), [one]),
        ]
    return calls


def png(width: int, height: int) -> bytes:
    """A PNG whose header says what it likes, with hardly any pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">II5B", width, height, 8, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(100))), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def bomb() -> bytes:
    """A real PNG of 30,000 x 30,000 black pixels, in less than a megabyte."""
    stream = io.BytesIO()
    Image.new("1", (BOMB, BOMB)).save(stream, "PNG")
    return stream.getvalue()


def bad_calls(one: Answered) -> list[Call]:
    """Requests that cannot be answered, each by REST and by gRPC where both can say it."""
    nan = one.image.astype("float32")[np.newaxis]
    nan[0, 3, 4, 1] = np.nan
    files: dict[str, tuple[bytes, str]] = {
        "truncated JPEG": (one.file[: len(one.file) * 2 // 3], "Invalid JPEG data"),
        "truncated header": (one.file[:60], "jpeg header is damaged"),
        "text": (b"a photograph, really", "image 0: it is neither JPEG nor PNG"),
        "empty": (b"", "image 0: it is empty"),
        "0x0": (png(0, 0), "image 0: it has 0x0 pixels"),
        "bomb": (bomb(), f"image 0: {BOMB}x{BOMB} pixels are more than"),
        "damaged PNG": (png(40, 40), "image is truncated or damaged"),
    }
    numbers: dict[str, tuple[np.ndarray, str, str]] = {
        "5 channels": (np.zeros((1, 8, 8, 5), "uint8"), "serving_default", "must have the shape"),
        "unknown signature": (one.image[np.newaxis], "segment", "signature_name must be one of"),
        "outside": (np.full((1, 8, 8, 3), -1, "float32"), "serve_float", "values go from -1 to -1"),
    }
    nothing = np.zeros((1, 0, 0, 3), "uint8")
    calls = [
        Call("NaN, gRPC", message(nan, "serve_float"), reason="not finite"),
        Call("0x0 numbers, gRPC", message(nothing, "serving_default"), reason="1 images of 0x0 pixels"),
        Call("0x0 numbers, REST", rest(nothing.tolist(), "serving_default"), reason="must have the shape"),
    ]
    for name, (file, reason) in files.items():
        calls.append(Call(f"{name}, REST", rest([b64(file)], "serve_encoded"), reason=reason))
        calls.append(Call(f"{name}, gRPC", message([file], "serve_encoded"), reason=reason))
    for name, (array, signature, reason) in numbers.items():
        calls.append(Call(f"{name}, REST", rest(array.tolist(), signature), reason=reason))
        calls.append(Call(f"{name}, gRPC", message(array, signature), reason=reason))
    calls += [
        Call("NaN, REST", rest([[[[float("nan"), 0, 0]]]], "serve_float"), reason="Unrecognized request format"),
        Call("no JSON, REST", b"photograph.jpg", reason="Unrecognized request format"),
        Call("no base64, REST", rest([{"b64": "?"}], "serve_encoded"), reason="image 0: it is no base64"),
        Call(
            "unknown model, REST", rest([[[[0, 0, 0]]]], "serve_float"), reason="other", path="/v1/models/other:predict"
        ),
        Call("unknown model, gRPC", message(one.image[np.newaxis], "serve_float", "other"), reason="other"),
    ]
    return calls
