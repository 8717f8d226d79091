"""Exports as their runtimes call them, for `subjects.py`: no function here imports what another one needs."""

from collections.abc import Callable
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
