"""Exports as their runtimes call them, for `subjects.py`: no function here imports what another one needs."""

import atexit
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Images = np.ndarray


def saved_model(path: str, threads: int, signature: str) -> Callable[[Images], Any]:
    """The threads are TensorFlow's own, set when it was imported."""
    import tensorflow as tf

    loaded = tf.saved_model.load(path)
    # The function holds the whole object: signatures do not keep the variables alive.
    return lambda images: [value.numpy() for value in loaded.signatures[signature](images=tf.constant(images)).values()]


def onnxruntime(path: str, threads: int, _: str) -> Callable[[Images], Any]:
    import onnxruntime as runtime

    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return _one_at_a_time(lambda image: session.run(["class_ids", "probabilities"], {"images": image}))


def openvino(path: str, threads: int, _: str) -> Callable[[Images], Any]:
    import openvino as runtime

    core = runtime.Core()
    network = core.read_model(path)
    network.reshape({"images": runtime.PartialShape([1, -1, -1, 3])})
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    request = core.compile_model(network, "CPU", settings).create_infer_request()
    return _one_at_a_time(lambda image: request.infer({"images": image}))


def litert(path: str, threads: int, signature: str) -> Callable[[Images], Any]:
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(path, num_threads=threads).get_signature_runner(signature)
    return _one_at_a_time(lambda image: run(images=image))


def _one_at_a_time(call: Callable[[Images], Any]) -> Callable[[Images], None]:
    """These exports take one image; of several, the answers are let go one by one."""

    def run(images: Images) -> None:
        for image in images:
            call(image[np.newaxis])

    return run


_RUNNERS = {"saved_model": saved_model, "onnxruntime": onnxruntime, "openvino": openvino, "litert": litert}


def pictures(size: int, batch: int) -> Images:
    """Noise: what images show does not change the work."""
    return np.random.default_rng(0).integers(0, 256, (batch, size, size, 3)).astype("uint8")


def export(
    by: str, threads: int, path: str, size: int, batch: int, signature: str = "serving_default"
) -> Callable[[], Any]:
    """A file that is there already, by the runtime's name here."""
    run, images = _RUNNERS[by](path, threads, signature), pictures(size, batch)
    return lambda: run(images)


def predict(
    by: str,
    threads: int,
    network: str,
    size: int,
    batch: int,
    classes: int,
    probabilities: bool = False,
    **more: Any,
) -> Callable[[], Any]:
    """An export of this package's network, class ids of it only unless probabilities are asked for."""
    if by == "saved_model":
        folder = exported("saved_model(model, path / '1', warmup_size=None)", network, classes, **more)
        signature = "serving_default" if probabilities else "serve_class_ids"
        return export(by, threads, str(folder / "1"), size, batch, signature)
    folder = exported(f"tflite(model, path / 'cacnet.tflite', probabilities={probabilities})", network, classes, **more)
    return export(by, threads, str(folder / "cacnet.tflite"), size, batch)


def exported(call: str, network: str, classes: int, **more: Any) -> Path:
    """A folder with an export that another process has written, so that Keras' own memory is not counted."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    program = (
        f"import pathlib, own_subjects, keras_cacnet as kc; path = pathlib.Path({str(folder)!r}); "
        f"model = own_subjects.build({network!r}, {classes}, **{more}); kc.export.{call}"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parent, capture_output=True)
    return folder
