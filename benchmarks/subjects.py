"""What is measured, one subject in a process of its own: `performance.py` starts it and says when it runs.

The process imports the library and nothing else of note, tells its memory, makes the subject ready, calls it twice to
warm up, and then once for every line that it is sent. Every answer is a line of JSON.
"""

import atexit
import importlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

WARM_UP = 2
# What runs exports without TensorFlow: the package, and the module of it that is imported.
RUNTIMES = {
    "litert": ("ai-edge-litert", "ai_edge_litert.interpreter"),
    "onnxruntime": ("onnxruntime", "onnxruntime"),
    "openvino": ("openvino", "openvino"),
}


def memory() -> dict[str, float]:
    """MiB of resident memory, now and at the most since `forget_peak`."""
    values = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return {
        "now": int(values["VmRSS"].split()[0]) / 1024,
        "peak": int(values["VmHWM"].split()[0]) / 1024,
    }


def forget_peak() -> None:
    """Let the system count the peak anew, from what is resident now."""
    Path("/proc/self/clear_refs").write_text("5")


def imported(by: str, threads: int) -> dict[str, str]:
    """Import a library with that many threads, and give its versions."""
    if by == "pytorch":
        import torch

        torch.set_num_threads(threads)
        torch.manual_seed(0)
        return {"torch": torch.__version__}
    if by in RUNTIMES:
        package, module = RUNTIMES[by]
        importlib.import_module(module)
        return {package: version(package)}
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    versions = {"tensorflow": tf.__version__}
    if by == "saved_model":
        return versions
    # keras-cv imports it where KerasHub has brought it along, 124 MiB for a tokenizer; a plain installation has none.
    sys.modules["tensorflow_text"] = None  # type: ignore[assignment]
    import keras

    keras.utils.set_random_seed(0)
    versions["keras"] = keras.__version__
    if by == "keras_hub":
        import keras_hub

        return {**versions, "keras-hub": keras_hub.__version__}
    import keras_cacnet as kc

    return {**versions, "keras-cacnet": kc.__version__}


def subject(by: str, what: str, threads: int, **settings: Any) -> Any:
    """Make a subject ready.

    Args:
        by: "ours", "saved_model" (ours, exported) or another of `RUNTIMES`, "keras_hub", or "pytorch".
        what: "operation", "layer", "predict", "evaluate", "metrics" or "train"; "export" for a file that is there
            already, "input" for batches of images.
        threads: how many.
        **settings: what the function of that name takes.

    Returns:
        A function, or one and the number of its network's parameters.
    """
    if what == "export":
        return export(by, threads, **settings)
    if what == "input":
        return streamed(by, **settings)
    if by == "pytorch":
        import pytorch_peers

        return getattr(pytorch_peers, what)(**settings)
    if by == "keras_hub":
        import keras_hub_peers

        return getattr(keras_hub_peers, what)(**settings)
    if by in ("saved_model", "litert"):
        return predict_by_export(by, threads, **settings)
    subjects: dict[str, Callable[..., Any]] = {"operation": operation, "layer": layer}
    subjects |= {"predict": predict, "evaluate": evaluate, "metrics": metrics, "train": train}
    return subjects[what](**settings)


def operation(shape: tuple[int, ...], gradient: bool, xla: bool = False) -> Callable[[], Any]:
    import tensorflow as tf

    from keras_cacnet.layers.dynamic_depthwise import dynamic_depthwise_conv

    x = tf.random.stateless_normal(shape, seed=(0, 0))
    kernels = tf.random.stateless_normal((shape[0], 3, 3, shape[3]), seed=(0, 1))

    def forward() -> Any:
        return tf.add_n([tf.sigmoid(dynamic_depthwise_conv(x, kernels, rate)) for rate in (1, 2, 3)])

    return _run(forward, [x, kernels], gradient, xla)


def layer(shape: tuple[int, ...], gradient: bool) -> Callable[[], Any]:
    import tensorflow as tf

    from keras_cacnet.layers import CaCLayer

    module = CaCLayer()
    module.build(shape)
    x = tf.random.stateless_normal(shape, seed=(0, 0))
    inputs = [x, *(weight.value for weight in module.trainable_weights)]
    return _run(lambda: module(x, training=gradient), inputs, gradient)


def network(name: str, classes: int, **settings: Any) -> Any:
    import keras_cacnet as kc

    if name == "fcn":
        settings |= {"num_heads": 0, "global_pooling": False}
    return kc.CaCNet(classes, **settings)


def pictures(size: int, batch: int) -> Any:
    import numpy as np

    return np.random.default_rng(0).integers(0, 256, (batch, size, size, 3)).astype("uint8")


def export(
    by: str, threads: int, path: str, size: int, batch: int, signature: str = "serving_default"
) -> Callable[[], Any]:
    """A file in one of the runtimes of `runtimes.py`."""
    import runtimes

    run, images = getattr(runtimes, by)(path, threads, signature), pictures(size, batch)
    return lambda: run(images)


def predict(network: str, size: int, batch: int, classes: int) -> tuple[Callable[[], Any], int]:
    import keras_cacnet as kc

    model, images = globals()["network"](network, classes), pictures(size, batch)
    parameters = model.backbone.count_params() + model.decoder.count_params()
    return lambda: [kc.evaluation.ids(model, image) for image in images], parameters


def predict_by_export(
    by: str,
    threads: int,
    network: str,
    size: int,
    batch: int,
    classes: int,
    probabilities: bool = False,
    **more: Any,
) -> Callable[[], Any]:
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
        f"import pathlib, subjects, keras_cacnet as kc; path = pathlib.Path({str(folder)!r}); "
        f"model = subjects.network({network!r}, {classes}, **{more}); kc.export.{call}"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parent, capture_output=True)
    return folder


def evaluate(network: str, size: int, batch: int, classes: int, scales: tuple[float, ...]) -> Callable[[], Any]:
    """Class ids by a protocol of several scales, images shown whole."""
    import keras_cacnet as kc

    model, images = globals()["network"](network, classes), pictures(size, batch)
    protocol = kc.evaluation.Protocol(tuple(scales))
    return lambda: [kc.evaluation.ids(model, image, protocol) for image in images]


def metrics(network: str, size: int, batch: int, classes: int) -> Callable[[], Any]:
    """What `fit` and `evaluate` keep of the logits of a batch."""
    import numpy as np
    import tensorflow as tf

    import keras_cacnet as kc

    kept = [kc.metrics.MeanIoU(classes), kc.metrics.PixelAccuracy(classes)]
    rng = np.random.default_rng(0)
    masks = tf.constant(rng.integers(0, classes, (batch, size, size)).astype("uint8"))
    logits = tf.constant(rng.normal(size=(batch, size, size, classes)).astype("float32"))

    @tf.function
    def update() -> Any:
        for metric in kept:
            metric.update_state(masks, logits)
        return [metric.result() for metric in kept]

    return lambda: [float(value) for value in update()]


def train(
    network: str, size: int, batch: int, classes: int, xla: bool = False, **settings: Any
) -> tuple[Callable[[], Any], int]:
    import numpy as np

    import keras_cacnet as kc

    model = globals()["network"](network, classes, **settings)
    sgd = kc.optimizers.SGD(1e-3, momentum=0.9, weight_decay=1e-4)
    model.compile(sgd, kc.losses.SegmentationCrossentropy(), jit_compile=xla)
    images = pictures(size, batch)
    masks = np.random.default_rng(1).integers(0, classes, (batch, size, size)).astype("uint8")
    return lambda: model.train_on_batch(images, masks), model.count_params()


def streamed(by: str, cores: int, **settings: Any) -> Callable[[], Any]:
    """Batches of images on the first so many processors, which is all that the process may run on."""
    import input_pipeline

    os.sched_setaffinity(0, range(cores))
    if by == "pytorch":
        return input_pipeline.pytorch(cores=cores, **settings)
    return input_pipeline.keras_layers(**settings) if by == "keras" else input_pipeline.ours(**settings)


def _run(forward: Callable[[], Any], inputs: list[Any], gradient: bool, xla: bool = False) -> Callable[[], Any]:
    import tensorflow as tf

    upstream = tf.random.stateless_normal(inputs[0].shape, seed=(0, 2))

    def both() -> Any:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            value = forward()
        return value, tape.gradient(value, inputs, upstream)

    function = tf.function(both if gradient else forward, jit_compile=xla or None)
    return lambda: [part.numpy() for part in tf.nest.flatten(function())]


def timed(run: Callable[[], Any]) -> dict[str, float]:
    """Call once: seconds by the wall and of the processors, those of living child processes included."""
    used = processor_seconds()
    started = time.perf_counter()
    run()
    wall = time.perf_counter() - started
    return {"wall": wall, "processor": processor_seconds() - used}


def processor_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    seconds = usage.ru_utime + usage.ru_stime
    for task in Path("/proc/self/task").iterdir():
        for child in (task / "children").read_text().split():
            # The command's name, in brackets, may have spaces; user and system time are the 14th and 15th field.
            fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            seconds += sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
    return seconds


def main() -> None:
    # What libraries print goes where it disturbs nothing.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    settings = json.loads(sys.argv[1])
    versions = imported(settings["by"], settings["threads"])
    bare = memory()["peak"]
    made = subject(**settings)
    run, parameters = made if isinstance(made, tuple) else (made, None)
    first = timed(run)["wall"]
    for _ in range(WARM_UP - 1):
        run()
    told = {"versions": versions, "import_mb": bare, "ready_mb": memory()["peak"], "parameters": parameters}
    told["first_s"] = first
    print(json.dumps(told), file=answers, flush=True)
    forget_peak()
    for _ in sys.stdin:
        print(json.dumps({**timed(run), **memory()}), file=answers, flush=True)


if __name__ == "__main__":
    main()
