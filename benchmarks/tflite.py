"""What a TFLite file costs and keeps by precision: size, time, pixels, mIoU.

Method: a trained run is exported in every precision, for images of any size and for one size alone; int8 is
calibrated on training images spread evenly over the split. LiteRT runs every file; agreement is the share of the
pixels of a split with the class that Keras gives, and mIoU is that of the file's classes. For the times, all files
are warmed up once and then run in turn on one image, one call each, for a number of rounds; the figure is the median
over the rounds of the ratio to float32 at any size in the same round, so that a machine whose speed drifts does not
favour any. Ratios, not times, are for reading. Written as JSON with the machine's description.

python benchmarks/tflite.py RUN --data FOLDER --size 180x240
"""

import argparse
import json
import os
import platform
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from layer import compare

import keras_cacnet as kc
from keras_cacnet import evaluation
from keras_cacnet.cli.arguments import size
from keras_cacnet.export import TFLITE_PRECISIONS
from keras_cacnet.export.tflite_quantization import kept_in_float, operators
from keras_cacnet.training.run import Run

KEPT: dict[str, Callable[[str], bool]] = {
    "nothing": lambda name: False,
    "CaC": lambda name: "_cac" in name,
    "normalisation and logits": lambda name: "_cac" not in name,
    "both": lambda name: True,
}
"""What int8 leaves in float32, by the names of operators; the export leaves both."""
COMPUTING = ("CONV_2D", "DEPTHWISE_CONV_2D", "BATCH_MATMUL", "LOGISTIC", "RESIZE_BILINEAR", "SOFTMAX")


def mean_iou(confusion: np.ndarray) -> float:
    hits = np.diag(confusion)
    union = confusion.sum(0) + confusion.sum(1) - hits
    return float((hits[union > 0] / union[union > 0]).mean())


def confusion_of(mask: np.ndarray, ids: np.ndarray, count: int) -> np.ndarray:
    valid = mask != kc.datasets.VOID
    return np.bincount(count * mask[valid].astype(int) + ids[valid], minlength=count**2).reshape(count, count)


def runner(path: Path, threads: int) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    run = Interpreter(model_path=str(path), num_threads=threads).get_signature_runner("serving_default")
    return lambda image: run(images=image[None])


def kept(path: Path, examples: list[Any], expected: list[np.ndarray], count: int) -> dict[str, Any]:
    run = runner(path, threads=2)
    confusion, equal = np.zeros((count, count), int), []
    for (image, mask), ids in zip(examples, expected, strict=True):
        found = run(image)["class_ids"][0]
        equal.append(float((found == ids).mean()))
        confusion += confusion_of(mask, found, count)
    return {"equal_ids": round(float(np.mean(equal)), 5), "mean_iou": round(100 * mean_iou(confusion), 2)}


def int8_keeping(stays: Callable[[str], bool], path: Path, **options: Any) -> Path:
    """Export in int8 with less of the file in float32 than the export leaves there."""

    def less(found: Any, model: Any) -> list[Any]:
        return [operator for operator in kept_in_float(found, model) if stays(operator.name)]

    with patch("keras_cacnet.export.tflite_quantization.kept_in_float", less):
        return kc.export.tflite(path=path, precision="int8", **options)


def latencies(paths: dict[str, Path], image: np.ndarray, rounds: int) -> dict[str, Any]:
    result = {}
    for threads in (1, 2):
        runs = {name: runner(path, threads) for name, path in paths.items()}
        result[str(threads)] = compare({name: partial(run, image) for name, run in runs.items()}, rounds)
    return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--split", default="val")
    parser.add_argument(
        "--size", type=size, required=True, help="of the files for one size; the split's images have it"
    )
    parser.add_argument("--calibration", type=int, default=60, help="number of training images")
    parser.add_argument("--images", type=int, help="number of images of the split (default: all)")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("results") / "tflite.json")
    options = parser.parse_args()

    run = Run(options.run)
    model, dataset = run.load_model("last"), kc.datasets.open_dataset(options.data)
    source, training = dataset.source(options.split), dataset.source("train")
    examples = [
        kc.datasets.read_example(source[index], dataset.classes) for index in range(len(source))[: options.images]
    ]
    chosen = np.linspace(0, len(training) - 1, options.calibration).astype(int)
    calibration = [kc.datasets.read_example(training[int(index)], dataset.classes)[0] for index in chosen]
    expected = [evaluation.ids(model, image, evaluation.WHOLE) for image, _ in examples]
    count = len(dataset.classes)
    keras_confusion = sum(confusion_of(mask, ids, count) for (_, mask), ids in zip(examples, expected, strict=True))

    with tempfile.TemporaryDirectory() as folder:
        files: dict[str, Any] = {}
        paths: dict[str, Path] = {}
        for kind, only in (("any size", None), ("one size", options.size)):
            for precision in TFLITE_PRECISIONS:
                path = kc.export.tflite(
                    model,
                    Path(folder, f"{precision} {kind}.tflite"),
                    run.classes,
                    precision=precision,
                    size=only,
                    calibration=calibration if precision == "int8" else None,
                )
                paths[f"{precision}, {kind}"] = path
                computing = Counter(
                    f"{operator.kind} {operator.dtype}"
                    for operator in operators(path.read_bytes())
                    if operator.kind in COMPUTING
                )
                files[f"{precision}, {kind}"] = {
                    "bytes": path.stat().st_size,
                    **kept(path, examples, expected, count),
                    "operators": dict(sorted(computing.items())),
                }
                print(precision, kind, files[f"{precision}, {kind}"], flush=True)
        by_kept = {}
        for name, stays in KEPT.items():
            path = Path(folder, "kept.tflite")
            int8_keeping(stays, path, model=model, calibration=calibration, overwrite=True)
            by_kept[name] = kept(path, examples, expected, count)
            print(name, by_kept[name], flush=True)
        result = {
            "machine": {"processors": os.cpu_count(), "architecture": platform.machine()},
            "versions": {name: version(name) for name in ("ai-edge-litert", "keras", "tensorflow")},
            "size": list(options.size),
            "images": len(examples),
            "calibration": len(calibration),
            "rounds": options.rounds,
            "keras": {"mean_iou": round(100 * mean_iou(np.asarray(keras_confusion)), 2)},
            "files": files,
            "int8, any size, by what stays in float32": by_kept,
            "threads": latencies(paths, examples[0][0], options.rounds),
        }
    options.output.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
