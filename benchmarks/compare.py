"""CaC-Net beside its FCN baseline on one data set: same backbone, recipe, crops and seeds.

Method: every variant is trained once per seed with `keras_cacnet.training.train`; the last checkpoint (not the best,
which would choose on the images that are scored) is scored on the whole images of `val`. Written as JSON; the tables of
docs/results.md come from it. An unfinished run goes on where it stopped.

    python benchmarks/compare.py --data scenes --seeds 0 1 2
"""

import argparse
import dataclasses
import json
import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_cacnet.datasets import open_dataset
from keras_cacnet.evaluation import evaluate
from keras_cacnet.pipeline import evaluation_batches
from keras_cacnet.training import Recipe, Run, train

VARIANTS: dict[str, dict[str, Any]] = {
    "FCN": {"num_heads": 0, "global_pooling": False},
    "CaC": {"global_pooling": False},
    "CaC + GP": {},
}
SMALL = Recipe(
    backbone="resnet14_narrow",
    head_channels=64,
    crop_size=96,
    batch_size=8,
    epochs=12,
    learning_rate=0.02,
    head_factor=1.0,
    scale_min=0.75,
    scale_max=1.5,
    validate_every=12,
)


def run_variant(recipe: Recipe, data: str, data_dir: Path | None, output: Path) -> dict[str, Any]:
    dataset = open_dataset(data, data_dir)
    started = time.perf_counter()
    train(recipe, dataset, output, resume=(output / "config.json").exists(), verbose=2, data=data)
    seconds = time.perf_counter() - started
    batches = evaluation_batches(dataset.source("val"), dataset.classes)
    report = evaluate(Run(output).load_model("last"), batches, dataset.classes, progress=False)
    return {"seconds": round(seconds), **report.to_json()}


def markdown(results: dict[str, list[dict[str, Any]]]) -> str:
    lines = ["| variant | mIoU per seed | mean | pixel accuracy, mean |", "|---|---|---|---|"]
    for name, runs in results.items():
        scores = [run["mean_iou"] for run in runs]
        accuracy = statistics.mean(run["pixel_accuracy"] for run in runs)
        each = ", ".join(f"{score:.3f}" for score in scores)
        lines.append(f"| {name} | {each} | {statistics.mean(scores):.3f} | {accuracy:.3f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="scenes")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=SMALL.epochs)
    parser.add_argument("--runs", type=Path, default=Path("runs/compare"), help="folder of the runs")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("results") / "scenes.json")
    options = parser.parse_args()
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in VARIANTS}
    for seed in options.seeds:
        for name, settings in VARIANTS.items():
            recipe = dataclasses.replace(
                SMALL, **settings, seed=seed, epochs=options.epochs, validate_every=options.epochs
            )
            folder = options.runs / f"{name.replace(' + ', '_').lower()}_{seed}"
            results[name].append(run_variant(recipe, options.data, options.data_dir, folder))
    report = {
        "data": Path(options.data).name,
        "recipe": dataclasses.replace(SMALL, epochs=options.epochs).to_json(),
        "seeds": options.seeds,
        "machine": {"processors": os.cpu_count(), "architecture": platform.machine()},
        "versions": {"keras": keras.__version__, "tensorflow": tf.__version__},
        "results": results,
    }
    options.output.write_text(json.dumps(report, indent=2) + "\n")
    print(markdown(results))
