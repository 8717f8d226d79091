"""Serves the SavedModel of `keras-cacnet export` by KServe, where there is neither Keras nor keras_cacnet.

    pip install -r requirements.txt
    python server.py --model_name cacnet --model_dir cacnet

POST /v1/models/cacnet:predict takes what TensorFlow Serving takes there. The Open Inference protocol, by REST under
/v2/models/cacnet/infer and by gRPC, takes the input of a signature as a tensor of its name; the request's parameter
`signature_name` says which signature, else it is `serving_default`, and its outputs may be chosen. A request that
cannot be answered has status 400, or INVALID_ARGUMENT, with the reason.
"""

import argparse
import asyncio
import base64
import binascii
import functools
import re
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import kserve
import numpy as np
import orjson
import tensorflow as tf
from kserve.errors import InvalidInput
from kserve.utils.numpy_codec import from_np_dtype

DEFAULT = "serving_default"


class SegmentationModel(kserve.Model):
    """A SavedModel with signatures of one input each.

    Args:
        name: by which requests ask for it.
        folder: of the SavedModel, or of its numbered versions, of which the highest is taken.
        concurrency: how many requests are computed at a time; the others wait. Each takes the memory of the network on
            its images, and one already uses all cores.

    Raises:
        FileNotFoundError: there is no SavedModel.
        ValueError: it has other signatures.
    """

    def __init__(self, name: str, folder: str | Path, concurrency: int = 1) -> None:
        super().__init__(name)
        self.folder = newest(Path(folder))
        # Held as long as the server runs: the signatures do not keep the variables alive.
        self._loaded = tf.saved_model.load(str(self.folder))
        self._inputs = {}
        for signature, function in self._loaded.signatures.items():
            specs = function.structured_input_signature[1]
            if len(specs) != 1:
                raise ValueError(f"{self.folder}: {signature} takes {sorted(specs)}; signatures here have one input")
            (self._inputs[signature],) = specs.values()
        if DEFAULT not in self._inputs:
            raise ValueError(f"{self.folder} has no signature {DEFAULT}; it was not written by keras-cacnet export")
        # Conversions run there as well, so that the server goes on answering whether it lives.
        self._workers = ThreadPoolExecutor(concurrency)
        self.ready = True

    async def predict(
        self, payload: dict[str, Any] | kserve.InferRequest, headers: dict[str, str] | None = None
    ) -> dict[str, Any] | kserve.InferResponse:
        answer = self._answer_tensors if isinstance(payload, kserve.InferRequest) else self._answer_json
        return await asyncio.get_running_loop().run_in_executor(self._workers, functools.partial(answer, payload))

    def get_input_types(self) -> list[dict[str, Any]]:
        return [_described(self._inputs[DEFAULT])]

    def get_output_types(self) -> list[dict[str, Any]]:
        return [_described(spec) for spec in self._loaded.signatures[DEFAULT].structured_outputs.values()]

    def _answer_json(self, body: Any) -> dict[str, Any]:
        if isinstance(body, bytes):
            # KServe hands on as it came what is not declared to be JSON; TensorFlow Serving reads it all the same.
            try:
                body = orjson.loads(body)
            except orjson.JSONDecodeError as error:
                raise InvalidInput(f"the body is no JSON: {error}") from error
        if not isinstance(body, dict) or ("instances" in body) == ("inputs" in body):
            raise InvalidInput('the body must be JSON, {"instances": [...]} or {"inputs": ...}')
        signature = body.get("signature_name", DEFAULT)
        name = self._input(signature).name
        if "inputs" in body:
            outputs = self._run(signature, _column(body["inputs"], name))
            return {"outputs": outputs}
        rows = body["instances"]
        if not isinstance(rows, list) or not rows:
            raise InvalidInput('"instances" must be a list of images')
        outputs = self._run(signature, [_column(row, name) for row in rows])
        return {"predictions": [dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)]}

    def _answer_tensors(self, request: kserve.InferRequest) -> kserve.InferResponse:
        parameter = (request.parameters or {}).get("signature_name", DEFAULT)
        signature = getattr(parameter, "string_param", parameter)
        expected = self._input(signature)
        names = [tensor.name for tensor in request.inputs]
        if names != [expected.name]:
            raise InvalidInput(f"{signature} takes {expected.name}, got {', '.join(names) or 'nothing'}")
        known = sorted(self._loaded.signatures[signature].structured_outputs)
        asked = [output.name for output in request.request_outputs or []] or known
        if others := sorted(set(asked) - set(known)):
            raise InvalidInput(f"{signature} gives {', '.join(known)}, not {', '.join(others)}")
        found = self._run(signature, tensor_value(request.inputs[0]))
        outputs = []
        for name in asked:
            array = found[name]
            output = kserve.InferOutput(name, list(array.shape), from_np_dtype(array.dtype))
            output.set_data_from_numpy(array, binary_data=request.from_grpc or request.use_binary_outputs)
            outputs.append(output)
        return kserve.InferResponse(
            response_id=request.id or "0",
            model_name=self.name,
            infer_outputs=outputs,
            use_binary_outputs=request.from_grpc or request.use_binary_outputs,
            requested_outputs=request.request_outputs,
        )

    def _input(self, signature: Any) -> tf.TensorSpec:
        if not isinstance(signature, str) or signature not in self._inputs:
            raise InvalidInput(f"signature_name must be one of {', '.join(self._inputs)}, got {signature!r}")
        return self._inputs[signature]

    def _run(self, signature: str, value: Any) -> dict[str, np.ndarray]:
        spec = self._inputs[signature]
        images = tf.constant(files(value), tf.string) if spec.dtype == tf.string else numbers(value, spec)
        try:
            outputs = self._loaded.signatures[signature](**{spec.name: images})
        except tf.errors.InvalidArgumentError as error:
            raise InvalidInput(reason(error)) from error
        return {name: tensor.numpy() for name, tensor in outputs.items()}


def newest(folder: Path) -> Path:
    """The SavedModel in a folder: itself, or the highest of its numbered versions."""
    if (folder / "saved_model.pb").is_file():
        return folder
    versions = [path for path in folder.glob("*") if path.name.isdigit() and (path / "saved_model.pb").is_file()]
    if not versions:
        raise FileNotFoundError(f"{folder} holds neither saved_model.pb nor a numbered folder that does")
    return max(versions, key=lambda path: int(path.name))


def tensor_value(tensor: kserve.InferInput) -> Any:
    """What a tensor of a request holds: a list of files, or numbers as an array."""
    try:
        if tensor.datatype == "BYTES":
            return tensor.as_numpy().tolist()
        # From numbers in JSON, as_numpy() would cut off what stands behind the point.
        return np.asarray(tensor.data).reshape(tensor.shape) if tensor.data else tensor.as_numpy()
    except (ValueError, TypeError, OverflowError, struct.error) as error:
        raise InvalidInput(f"{tensor.name}: {tensor.datatype} {tensor.shape} cannot be read: {error}") from error


def files(value: Any) -> list[bytes]:
    """Image files from JSON, {"b64": ...}, or from a tensor of BYTES, which JSON can only carry as base64."""
    if not isinstance(value, list):
        raise InvalidInput("image_bytes must be a list of files")
    found = []
    for index, item in enumerate(value):
        if isinstance(item, dict) and item.keys() == {"b64"}:
            item = item["b64"]
        if isinstance(item, str):
            try:
                item = base64.b64decode(item, validate=True)
            except (binascii.Error, ValueError) as error:
                raise InvalidInput(f"image {index}: it is no base64 ({error})") from error
        if not isinstance(item, bytes):
            raise InvalidInput(f'image {index}: a file is {{"b64": "..."}}, its bytes in base64')
        found.append(item)
    return found


def numbers(value: Any, spec: tf.TensorSpec) -> tf.Tensor:
    """Images as numbers, of the type of the signature and of the range of that type; nothing is rounded."""
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InvalidInput(f"{spec.name}: rows and images must be of one length ({error})") from error
    if array.dtype.kind not in "uif":
        raise InvalidInput(f"{spec.name} must be numbers, got {array.dtype}")
    if array.ndim != spec.shape.rank or array.shape[-1] != spec.shape[-1]:
        expected = ", ".join("?" if side is None else str(side) for side in spec.shape)
        raise InvalidInput(f"{spec.name} must have the shape ({expected}), got {array.shape}")
    with np.errstate(invalid="ignore", over="ignore"):
        converted = array.astype(spec.dtype.as_numpy_dtype)
    if spec.dtype.is_integer and not np.array_equal(converted, array):
        raise InvalidInput(f"{spec.name} must be whole numbers in 0..255, got {array.min()} to {array.max()}")
    return tf.constant(converted)


def reason(error: tf.errors.InvalidArgumentError) -> str:
    """What an error of the graph says, without the names of its nodes, but for one that says why."""
    text = error.message.split("<stack traces unavailable>\n")[-1]
    node = re.search(r"(\w+)_if_this_fails", text)
    text = re.sub(r"\{\{function_node [^}]*\}\}|\s*\[\[.*", "", text, flags=re.DOTALL).strip()
    asserted = re.match(r"assertion failed: \[(.*)\]$", text, re.DOTALL)
    said = asserted[1] if asserted else text
    return f"{node[1].replace('_', ' ')}: {said}" if node else said


def _column(value: Any, name: str) -> Any:
    """The value of the one input, which may stand under its name."""
    if isinstance(value, dict) and value.keys() != {"b64"}:
        if value.keys() != {name}:
            raise InvalidInput(f"the input is {name}, got {', '.join(map(str, value)) or 'nothing'}")
        return value[name]
    return value


def _described(spec: tf.TensorSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "datatype": from_np_dtype(np.dtype(spec.dtype.as_numpy_dtype)),
        "shape": [-1 if side is None else side for side in spec.shape],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(parents=[kserve.model_server.parser])
    parser.add_argument("--model_dir", default="/mnt/models", help="of the SavedModel or its numbered versions")
    parser.add_argument("--concurrency", type=int, default=1, help="requests computed at a time")
    # KServe's own limit of 8 MiB is less than the probabilities of an ordinary photograph.
    parser.set_defaults(grpc_max_send_message_length=-1)
    options = parser.parse_args()
    kserve.model_server.args.grpc_max_send_message_length = options.grpc_max_send_message_length
    kserve.ModelServer().start([SegmentationModel(options.model_name, options.model_dir, options.concurrency)])
