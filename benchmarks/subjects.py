"""What is measured, one subject in a process of its own: `performance.py` starts it and says when it runs.

The process imports the library and nothing else of note, tells its memory, makes the subject ready, calls it twice to
warm up, and then once for every line that it is sent. Every answer is a line of JSON.
"""

import importlib
import json
import os
import resource
import sys
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
    if what == "input":
        import input_pipeline

        return input_pipeline.stream(by, **settings)
    if what == "export" or by in ("saved_model", "litert"):
        import runtimes

        return getattr(runtimes, what)(by, threads, **settings)
    module = {"ours": "own_subjects", "pytorch": "pytorch_peers", "keras_hub": "keras_hub_peers"}[by]
    return getattr(importlib.import_module(module), what)(**settings)


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
