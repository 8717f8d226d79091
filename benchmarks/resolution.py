"""Scores of trained heads on images of other sizes than those that they were trained on, with and without D / (h w).

python benchmarks/resolution.py RUN [RUN ...] --data DATA --json FILE

Every image is brought to a long side of 0.5 to 2 times the run's `image_size`. The library divides the kernels D of
Eq. 1 by the number of positions; the paper has the plain sum. A network that is trained with the sum is the same
network: all crops have one number of positions n, and the batch norm of D undoes a constant factor (all but its
epsilon, which `variance_over_epsilon` is beside). Its kernels at m positions are those of the trained network times
m / n before that norm, and so it is scored, without a second training.
"""

import argparse
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from sampling import add_sample, sample

from keras_cacnet.evaluation import Protocol, evaluate
from keras_cacnet.files import write_json
from keras_cacnet.layers import CaCLayer
from keras_cacnet.pipeline import evaluation_batches
from keras_cacnet.training import Run

SCALES = (0.5, 0.75, 1.0, 1.5, 2.0)


def modules(model: keras.Model) -> list[CaCLayer]:
    """The CaC modules themselves; those of Table 6 do not sum over positions."""
    return [layer for layer in model.decoder.layers if type(layer) is CaCLayer]


def sum_over_positions(model: keras.Model, crop_size: int) -> None:
    """Let the kernels be those of a network that was trained with the plain sum, on crops of that size."""
    trained = (-(-crop_size // model.output_stride)) ** 2
    for layer in modules(model):

        def summed(x: Any, mean: Any = layer.raw_kernels) -> Any:
            _, height, width, _ = ops.shape(x)
            found = mean(x)
            return found * (ops.cast(height * width, found.dtype) / trained)

        setattr(layer, "raw_kernels", summed)  # noqa: B010


def scores(run: Run, source: Any, classes: Any, summed: bool) -> dict[str, float]:
    """The mIoU by scale; all scores are on the images' own pixels."""
    size = run.recipe.image_size
    if size is None:
        raise ValueError(f"{run.path} has no image_size, which the scales are of: train it with one")
    found = {}
    for scale in SCALES:
        model = run.load_model("last")
        if summed:
            sum_over_positions(model, run.recipe.crop_size)
        protocol = Protocol(image_size=round(scale * size))
        report = evaluate(
            model, evaluation_batches(source, classes), classes, protocol=protocol, count=len(source), progress=False
        )
        found[str(scale)] = float(np.nanmean(report.iou[report.confusion.sum(1) > 0]))
        print(run.path.name, "sum" if summed else "", scale, f"{found[str(scale)]:.4f}", flush=True)
    return found


def main(options: argparse.Namespace) -> None:
    (source, dataset), found = sample(options), []
    for path in options.runs:
        run = Run(path)
        one: dict[str, Any] = {
            "recipe": run.recipe.to_json(),
            "mean_iou": scores(run, source, dataset.classes, summed=False),
        }
        if layers := modules(run.load_model("last")):
            variances = [ops.convert_to_numpy(layer.norm.moving_variance) / layer.norm.epsilon for layer in layers]
            one["mean_iou_of_the_sum"] = scores(run, source, dataset.classes, summed=True)
            one["variance_over_epsilon"] = {"median": float(np.median(variances)), "least": float(np.min(variances))}
        found.append(one)
        write_json(Path(options.json), {"images": len(source), "split": options.split, "runs": found})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_sample(parser)
    main(parser.parse_args())
