"""The recipe laptop from nothing to a score, with the seconds of every part, and its JSON.

python benchmarks/laptop.py voc2012 --data-dir voc_aside --split trainaug --min-images 10 --output RUN --json FILE \
    --set validation_split=none
python benchmarks/laptop.py CAMVID --output RUN --json FILE
"""

import argparse
import functools
import resource
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from keras_cacnet.datasets import open_dataset
from keras_cacnet.evaluation import evaluate
from keras_cacnet.files import write_json
from keras_cacnet.paper import images_by_class
from keras_cacnet.pipeline import evaluation_batches
from keras_cacnet.training import RECIPES, Features, Job, Run, train, with_settings
from keras_cacnet.training.purposes import fitted
from keras_cacnet.training.start import environment


class Clock:
    """Seconds of the clock and of all processors together, by part."""

    def __init__(self) -> None:
        self.parts: dict[str, dict[str, float]] = {}

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*arguments: Any, **settings: Any) -> Any:
            began = time.perf_counter(), processor_seconds()
            result = function(*arguments, **settings)
            spent = time.perf_counter() - began[0], processor_seconds() - began[1]
            self.parts[name] = {"wall": round(spent[0], 1), "processor": round(spent[1], 1)}
            return result

        return run


def processor_seconds() -> float:
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def main(options: argparse.Namespace) -> None:
    clock = Clock()
    dataset = clock.timed("reading the data", open_dataset)(options.data, options.data_dir)
    laptop = RECIPES["laptop"]
    purpose = replace(laptop, recipe=replace(laptop.recipe, split=options.split, seed=options.seed))
    recipe, reasons = fitted(purpose, dataset.source(purpose.recipe.split))
    recipe = with_settings(recipe, options.set)
    print("\n".join(reasons))
    Features.fill = clock.timed("features", Features.fill)  # type: ignore[method-assign]
    clock.timed("features, training and validation", train)(Job(recipe, dataset, options.output), verbose=2)
    run, source = Run(options.output), dataset.source("val")
    score = clock.timed("scoring", evaluate)
    batches = evaluation_batches(source, dataset.classes)
    model = run.load_model("last")
    report = score(model, batches, dataset.classes, count=len(source), progress=False, protocol=run.protocol)
    seen = np.array(list(images_by_class(source, dataset.classes).values()))
    counting = seen >= options.min_images
    rows = zip(report.to_json()["classes"], seen, counting, strict=True)
    facts = {
        "recipe": recipe.to_json(),
        "mean_iou": float(report.iou[counting].mean()),
        "classes_that_count": int(counting.sum()),
        "seconds": clock.parts,
        "scores": {**report.to_json(), "protocol": run.protocol.to_json()},
        "classes": [{**row, "images": int(n), "counts": bool(counts)} for row, n, counts in rows],
        **environment(),
    }
    facts["scores"].pop("classes")
    write_json(Path(options.json), facts)
    print(f"mIoU {facts['mean_iou']:.3f} over {facts['classes_that_count']} classes; {clock.parts}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--split", default="train")
    parser.add_argument("--min-images", type=int, default=1, help="images that a class has to be in to count")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", nargs="*", default=[])
    parser.add_argument("--output", required=True)
    parser.add_argument("--json", required=True)
    main(parser.parse_args())
