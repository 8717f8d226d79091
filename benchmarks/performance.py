"""Time and memory of this package beside PyTorch's, and how they grow with the image.

make bench                                    # everything; an environment of its own with PyTorch
python benchmarks/performance.py --only step  # the comparisons whose name has that word, into the same file

Method. Every subject runs in a process of its own with `THREADS` threads (`subjects.py`), which imports its library,
makes the subject ready and calls it twice to warm up. Then the subjects of a comparison are called in turn, one call
each, for a number of rounds, so that a machine whose speed drifts favours none. A time is the median over the rounds
with its quartiles; a ratio is that of the same round, then the median and the quartiles of those. Processor time
stands beside wall time: it is what a busy machine disturbs less. It disturbs PyTorch more, whose threads wait for each
other actively, so the ratio of the fastest calls stands beside them too.

Memory is the largest resident size that the system saw of the process (VmHWM of /proc/self/status) beyond that after
the bare import of its library: once over its whole life, with what making the network ready takes, and once over the
timed calls only, for which the system is told to count anew (/proc/self/clear_refs). So Linux is needed.

Weights are random and images are noise of a fixed seed: neither changes the work. PyTorch's side is written from the
papers' formulas in `pytorch_peers.py` and computes the same network: class ids of a batch for "predict", a whole step
with the auxiliary loss for "train". Comparisons that this package loses are kept like those that it wins.
"""

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
THREADS = 2
OPERATION = (1, 64, 64, 512)
CLASSES = 60
# Of the paper's protocol.
SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
LITE = {"backbone": "efficientnet_lite0", "output_stride": 16, "head_channels": 128}
# What the names of comparisons between networks begin with.
NETWORKS = "networks"
# Has memory go back to the system when a tensor is freed, which TensorFlow's own allocator keeps.
FREEING = {
    "TF_ONEDNN_USE_SYSTEM_ALLOCATOR": "1",
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "65536",
}
# The largest slope of time and memory against pixels, both in logarithms, that counts as linear growth.
GROWTH = 1.05


Settings = dict[str, Any]


def comparisons() -> dict[str, dict[str, Settings]]:
    """Subjects by comparison and name; the last is what the others are measured against."""
    found: dict[str, dict[str, Settings]] = {}
    settings: Settings
    for what in ("operation", "layer"):
        for gradient in (False, True):
            settings = {"what": what, "shape": OPERATION, "gradient": gradient}
            name = f"{what} {'x'.join(map(str, OPERATION))}, {'forward and backward' if gradient else 'forward'}"
            found[name] = _beside_pytorch(settings)
    for network in ("fcn", "cacnet"):
        settings = {"what": "predict", "network": network, "size": 512, "batch": 1, "classes": CLASSES}
        found[f"predict {network} 1x512x512"] = _beside_pytorch(settings)
    exported = {"SavedModel": {**settings, "by": "saved_model"}}
    found["predict cacnet 1x512x512"] = {**exported, **found["predict cacnet 1x512x512"]}
    for size in (512, 1024):
        for name, more in (
            ("SavedModel, cacnet", {"by": "saved_model"}),
            ("LiteRT, EfficientNet-Lite0", {"by": "litert", **LITE}),
        ):
            found[f"class ids by {name} 1x{size}x{size}"] = {
                "ids only": {**settings, **more, "size": size},
                "beside probabilities": {**settings, **more, "size": size, "probabilities": True},
            }
    step = {"what": "train", "network": "cacnet", "size": 256, "batch": 2, "classes": CLASSES}
    again = {
        "this package, recompute": {**step, "by": "ours", "recompute": True},
        "this package, freed memory given back": {**step, "by": "ours", "environment": FREEING},
        "this package, both": {**step, "by": "ours", "recompute": True, "environment": FREEING},
    }
    found["step of training cacnet 2x256x256"] = {**again, **_beside_pytorch(step)}
    many = {**step, "by": "ours", "size": 512, "batch": 8, **LITE}
    found["step of training with recompute 8x512x512, EfficientNet-Lite0"] = {
        "recompute": {**many, "recompute": True},
        "all kept": many,
    }
    for name, settings in (
        (
            f"operation {'x'.join(map(str, OPERATION))}, forward",
            {"what": "operation", "shape": OPERATION, "gradient": False},
        ),
        *((f"step of training {network} 2x256x256", {**step, "network": network}) for network in ("fcn", "cacnet")),
    ):
        plain = {**settings, "by": "ours"}
        found[f"compiled by XLA, {name}"] = {"XLA": {**plain, "xla": True}, "plain graph": plain}
    predicted = {"what": "predict", "by": "ours", "network": "cacnet", "size": 512, "batch": 1, "classes": CLASSES}
    found["metric, 1x512x512"] = {
        "MeanIoU and PixelAccuracy": {**predicted, "what": "metrics"},
        "forward pass": predicted,
    }
    for size in (256, 512):
        single = {**predicted, "what": "evaluate", "size": size, "scales": (1.0,)}
        found[f"evaluation by scales, {size}x{size}"] = {
            "0.5 to 1.75 (8.69 times the pixels)": {**single, "scales": SCALES},
            "1.0": single,
        }
    # Networks that differ, so that time and memory are compared, and nothing else.
    for name, settings in (
        ("predict 1x512x512", {"what": "predict", "size": 512, "batch": 1, "classes": CLASSES}),
        ("step of training 2x256x256", {"what": "train", "size": 256, "batch": 2, "classes": CLASSES}),
    ):
        found[f"{NETWORKS}, {name}"] = {
            "DeepLabV3+, KerasHub": {**settings, "by": "keras_hub", "network": "deeplab_v3_plus"},
            "SegFormer, KerasHub": {**settings, "by": "keras_hub", "network": "segformer"},
            "FCN": {**settings, "by": "ours", "network": "fcn"},
            "CaC-Net": {**settings, "by": "ours", "network": "cacnet"},
        }
    return found


def _beside_pytorch(settings: Settings) -> dict[str, Settings]:
    return {"this package": {**settings, "by": "ours"}, "PyTorch": {**settings, "by": "pytorch"}}


def growths() -> dict[str, list[Settings]]:
    """Subjects that differ in the number of pixels only."""
    settings = {"by": "ours", "what": "predict", "network": "cacnet", "classes": CLASSES}
    return {
        "image, batch 1": [{**settings, "size": size, "batch": 1} for size in (256, 512, 1024, 2048)],
        "step of training, 256x256": [
            {**settings, "what": "train", "size": 256, "batch": batch} for batch in (2, 4, 8, 16)
        ],
    }


class Process:
    """A subject that waits for its turn."""

    def __init__(self, settings: Settings) -> None:
        given = dict(settings)
        own = given.pop("environment", {})
        command = [sys.executable, str(HERE / "subjects.py"), json.dumps({**given, "threads": THREADS})]
        environment = {**os.environ, **own, "OMP_NUM_THREADS": str(THREADS), "TF_CPP_MIN_LOG_LEVEL": "3"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, bufsize=1
        )
        self.start = self._answer()
        self.calls: list[dict[str, float]] = []

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def call(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self.calls.append(self._answer())

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._process.args!r} ended with {self._process.wait()}")
        return dict(json.loads(line))

    def result(self) -> dict[str, Any]:
        """Times with their quartiles, and MiB beyond the import."""
        bare, called = self.start["import_mb"], max(call["peak"] for call in self.calls)
        return {
            "wall_s": spread([call["wall"] for call in self.calls]),
            "processor_s": spread([call["processor"] for call in self.calls]),
            **({"parameters": self.start["parameters"]} if self.start["parameters"] else {}),
            "first_s": short(self.start["first_s"]),
            "import_mb": round(bare),
            "peak_mb": round(max(called, self.start["ready_mb"]) - bare),
            "calls_mb": round(called - bare),
        }


def spread(values: Sequence[float]) -> dict[str, float]:
    """The median, the quartiles and the least."""
    low, _, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else (values[0],) * 3
    found = {"median": statistics.median(values), "low": low, "high": high, "least": min(values)}
    return {key: short(value) for key, value in found.items()}


def short(value: float) -> float:
    return float(f"{value:.4g}")


def compared(subjects: dict[str, Settings], rounds: int, versions: dict[str, str]) -> dict[str, Any]:
    """Call subjects in turn, and set all against the last one."""
    with ExitStack() as stack:
        processes = {name: stack.enter_context(Process(settings)) for name, settings in subjects.items()}
        for _ in range(rounds):
            for process in processes.values():
                process.call()
        for process in processes.values():
            versions.update(process.start["versions"])
    results = {name: process.result() for name, process in processes.items()}
    *others, last = results
    for name in others:
        pairs = list(zip(processes[name].calls, processes[last].calls, strict=True))
        results[name]["ratio"] = {
            "wall": spread([own["wall"] / other["wall"] for own, other in pairs]),
            "processor": spread([own["processor"] / other["processor"] for own, other in pairs]),
            **{key: short(results[name][key] / results[last][key]) for key in ("peak_mb", "calls_mb")},
        }
    return results


def grown(subjects: list[Settings], rounds: int) -> dict[str, Any]:
    """Measure sizes one after the other, and fit the slopes against the number of pixels, in logarithms."""
    steps = []
    for settings in subjects:
        with Process(settings) as process:
            for _ in range(rounds):
                process.call()
        steps.append({"size": settings["size"], "batch": settings["batch"], **process.result()})
    pixels = [math.log(step["size"] ** 2 * step["batch"]) for step in steps]
    slopes = {}
    for key, values in {
        "wall": [step["wall_s"]["median"] for step in steps],
        "processor": [step["processor_s"]["median"] for step in steps],
        "memory": [step["calls_mb"] for step in steps],
    }.items():
        slopes[key] = short(statistics.linear_regression(pixels, list(map(math.log, values))).slope)
    return {"steps": steps, "slopes": slopes, "linear": all(slope <= GROWTH for slope in slopes.values())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", default="", help="a word in the name of the comparisons to run")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "performance.json")
    options = parser.parse_args()
    result: dict[str, Any] = json.loads(options.output.read_text()) if options.output.is_file() else {}
    for part, names in (("comparisons", comparisons()), ("growth", growths())):
        # None where it was not run, so that the page says so.
        result[part] = {name: result.get(part, {}).get(name) for name in names}
    result["machine"] = {"processors": os.cpu_count(), "architecture": platform.machine(), "threads": THREADS}
    versions = result.setdefault("versions", {"python": platform.python_version()})
    for name, subjects in comparisons().items():
        if options.only in name:
            found = compared(subjects, options.rounds, versions)
            result["comparisons"][name] = {"rounds": options.rounds, "subjects": found}
            print(name, json.dumps({key: value.get("ratio") for key, value in found.items()}), flush=True)
            options.output.write_text(json.dumps(result, indent=2) + "\n")
    for name, sizes in growths().items():
        if options.only in name:
            result["growth"][name] = grown(sizes, min(3, options.rounds))
            print(name, json.dumps(result["growth"][name]["slopes"]), flush=True)
        options.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
