"""What the weights W and the kernels D of trained heads are like, and what the network makes of them.

python benchmarks/weighting_statistics.py RUN [RUN ...] --data DATA --json FILE --figure PNG

For every head of a run that predicts or learns kernels (cac, gap, fixed):

- W before training, on crops as in a training step, and after it, on whole images: its histogram, the share of the
  sigmoids of Eq. 2 that are saturated, and how far W is apart between channels, images and positions;
- D: the share of its variance that is between images, and what it varies with: centred kernel alignment (debiased
  linear CKA: 0 for nothing in common, 1 for the same up to rotation) with the pooled features, and with the areas of
  the classes in the mask;
- the mIoU with the kernels that belong to the image, with their mean over all images, with those of another image, and
  with none (all 0, so that W is the same everywhere).
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure
from sampling import add_sample, sample

from keras_cacnet import CaCNet
from keras_cacnet.datasets import VOID
from keras_cacnet.evaluation import evaluate
from keras_cacnet.files import write_json
from keras_cacnet.layers import CaCLayer
from keras_cacnet.layers.dynamic_depthwise import dynamic_depthwise_conv
from keras_cacnet.pipeline import evaluation_batches
from keras_cacnet.training import Run
from keras_cacnet.training.compiling import network_arguments

BINS = 60
FEWEST = 4
"""Below, the debiased alignment divides by 0."""
SATURATED = 0.02
"""A sigmoid within this distance of 0 or 1 passes on less than a twelfth of the gradient that it has at 0.5."""


class Weights:
    """W of one head, added up image by image."""

    def __init__(self, rates: int) -> None:
        self.edges = np.linspace(0, rates, BINS + 1)
        self.counts = np.zeros(BINS, "int64")
        self.saturated: list[float] = []
        self.means: list[np.ndarray] = []
        self.variances: list[np.ndarray] = []

    def add(self, layer: CaCLayer, x: Any, kernels: Any) -> None:
        """Count features (B, h, w, c) with their kernels."""
        terms = [keras.ops.sigmoid(dynamic_depthwise_conv(x, kernels, rate)) for rate in layer.dilation_rates]
        parts = np.stack([keras.ops.convert_to_numpy(term) for term in terms])
        weights = parts.sum(0)
        self.counts += np.histogram(weights, self.edges)[0]
        self.saturated.append(float(((parts < SATURATED) | (parts > 1 - SATURATED)).mean()))
        self.means += list(weights.mean((1, 2)))
        self.variances += list(weights.var((1, 2)))

    def to_json(self) -> dict[str, Any]:
        means = np.stack(self.means)
        return {
            "histogram": (self.counts / self.counts.sum()).tolist(),
            "edges": [float(self.edges[0]), float(self.edges[-1])],
            "saturated": float(np.mean(self.saturated)),
            "mean": float(means.mean()),
            "deviation_between": {
                "channels": float(means.mean(0).std()),
                "images": float(np.sqrt(means.var(0).mean())),
                "positions": float(np.sqrt(np.mean(self.variances))),
            },
        }


def heads(model: keras.Model) -> tuple[list[CaCLayer], keras.Model]:
    """The layers with kernels, and the network from the backbone's features to what they take."""
    layers = [layer for layer in model.decoder.layers if isinstance(layer, CaCLayer)]
    return layers, keras.Model(model.decoder.inputs[0], [layer.input for layer in layers])


def crops(batches: Iterator[tuple[Any, Any]], size: int) -> list[np.ndarray]:
    """The middles of images that are large enough."""
    found = []
    for images, _ in batches:
        image = np.asarray(images[0])
        top, left = ((side - size) // 2 for side in image.shape[:2])
        if min(top, left) >= 0:
            found.append(image[top : top + size, left : left + size])
    return found


def before_training(run: Run, classes: int, images: Callable[[], Any]) -> dict[str, Any]:
    """W of the untrained network, in batches and by their statistics."""
    recipe = run.recipe
    keras.utils.set_random_seed(recipe.seed)
    pixels = crops(images(), recipe.crop_size)
    if len(pixels) < recipe.batch_size:
        raise ValueError(
            f"{len(pixels)} images are as large as the crops of {run.path}, {recipe.crop_size} pixels, and one of its "
            f"batches takes {recipe.batch_size}: give more --images, or a --split that has more"
        )
    model = CaCNet(classes, **network_arguments(recipe))
    layers, before = heads(model)
    found = {layer.name: Weights(len(layer.dilation_rates)) for layer in layers}
    for first in range(0, len(pixels) - recipe.batch_size + 1, recipe.batch_size):
        levels = model.features(tf.cast(np.stack(pixels[first : first + recipe.batch_size]), "float32"))
        for layer, x in zip(layers, _list(before(levels["P5"], training=True)), strict=True):
            found[layer.name].add(layer, x, layer.predict_kernels(x, training=True))
    return {name: weights.to_json() for name, weights in found.items()}


def after_training(run: Run, images: Callable[[], Any]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """W and D of the trained network on whole images; also all D, (images, s, s, c)."""
    model = run.load_model("last")
    layers, before = heads(model)
    count = len(run.classes)
    found = {layer.name: Weights(len(layer.dilation_rates)) for layer in layers}
    kernels: dict[str, list[np.ndarray]] = {layer.name: [] for layer in layers}
    pooled: dict[str, list[np.ndarray]] = {layer.name: [] for layer in layers}
    areas = []
    for pixels, masks in images():
        levels = model.features(tf.cast(pixels, "float32"))
        for layer, x in zip(layers, _list(before(levels["P5"], training=False)), strict=True):
            predicted = layer.predict_kernels(x)
            found[layer.name].add(layer, x, predicted)
            kernels[layer.name].append(keras.ops.convert_to_numpy(predicted)[0])
            pooled[layer.name].append(keras.ops.convert_to_numpy(x).mean((0, 1, 2)))
        mask = np.asarray(masks)
        areas.append(np.bincount(mask[mask != VOID], minlength=count)[:count] / mask.size)
    stacked = {name: np.stack(values) for name, values in kernels.items()}
    result = {}
    for name, values in stacked.items():
        between, whole = float(values.var(0).mean()), float(values.var())
        flat = values.reshape(len(values), -1)
        varies = between > 1e-12
        result[name] = {
            "W": found[name].to_json(),
            "kernels": {
                "deviation": whole**0.5,
                "share_between_images": between / whole,
                "alignment_with_pooled_features": alignment(flat, np.stack(pooled[name])) if varies else None,
                "alignment_with_class_areas": alignment(flat, np.stack(areas)) if varies else None,
            },
        }
    return result, stacked


def alignment(left: np.ndarray, right: np.ndarray) -> float:
    """Debiased linear CKA of two descriptions (images, values) of the same images.

    Reference:
        Kornblith et al., "Similarity of Neural Network Representations Revisited", ICML 2019; the estimator without
        bias is Song et al.'s, JMLR 2012.
    """

    def overlap(first: np.ndarray, second: np.ndarray) -> float:
        n = len(first)
        trace = (first * second).sum()
        sums = first.sum() * second.sum() / ((n - 1) * (n - 2))
        return float(trace + sums - 2 / (n - 2) * first.sum(0) @ second.sum(0)) / (n * (n - 3))

    grams = []
    for values in (left, right):
        centred = values - values.mean(0)
        gram = centred @ centred.T
        np.fill_diagonal(gram, 0)
        grams.append(gram)
    return overlap(*grams) / (overlap(grams[0], grams[0]) * overlap(grams[1], grams[1])) ** 0.5


def score(run: Run, source: Any, classes: Any, given: dict[str, np.ndarray] | None) -> float:
    """The mIoU with the image's own kernels, or with given ones, one set an image."""
    model = run.load_model("last")
    current = {name: tf.Variable(values[:1]) for name, values in (given or {}).items()}
    for layer in heads(model)[0] if given else ():

        def predict_kernels(x: Any, training: bool = False, name: str = layer.name) -> Any:
            return tf.identity(current[name])

        setattr(layer, "predict_kernels", predict_kernels)  # noqa: B010

    def next_kernels(index: int, _: np.ndarray) -> None:
        for name, values in (given or {}).items():
            current[name].assign(values[min(index + 1, len(values) - 1)][None])

    batches = evaluation_batches(source, classes)
    return evaluate(model, batches, classes, protocol=run.protocol, progress=False, on_prediction=next_kernels).mean_iou


def statistics(run: Run, source: Any, classes: Any) -> dict[str, Any]:
    def images() -> Any:
        return iter(evaluation_batches(source, classes, image_size=run.recipe.image_size))

    start = before_training(run, len(classes), images)
    end, kernels = after_training(run, images)
    order = np.roll(np.arange(len(source)), 1)
    mean = {name: np.tile(values.mean(0), (len(values), 1, 1, 1)) for name, values in kernels.items()}
    nothing = {name: np.zeros_like(values) for name, values in kernels.items()}
    scores = {
        "own": score(run, source, classes, None),
        "mean over images": score(run, source, classes, mean),
        "of another image": score(run, source, classes, {name: values[order] for name, values in kernels.items()}),
        "none": score(run, source, classes, nothing),
    }
    return {
        "recipe": run.recipe.to_json(),
        "mean_iou_by_kernels": scores,
        "heads": {name: {"W before training": start[name], **end[name]} for name in end},
    }


def draw(found: dict[str, Any], path: Path) -> None:
    """Histograms of W of every first head above, shares of variance and scores below."""
    figure = Figure(figsize=(10, 7), dpi=110, layout="constrained")
    (left, right), (shares, scores) = figure.subplots(2, 2)
    for title, axes, pick in (("before training", left, "W before training"), ("after training", right, "W")):
        for name, values in found.items():
            weights = next(iter(values["heads"].values()))[pick]
            first, last = weights["edges"]
            edges = np.linspace(first, last, BINS + 1)
            label = f"{name}: {weights['saturated']:.0%} of the sigmoids saturated"
            axes.stairs(weights["histogram"], edges, label=label)
        axes.set(title=f"W of the first head, {title}", xlabel="W", ylabel="share")
        axes.set_ylim(0, 1.35 * axes.get_ylim()[1])  # room for the legend
        axes.legend(frameon=False, fontsize="small", loc="upper right")
    parts = [[head["kernels"]["share_between_images"] for head in one["heads"].values()] for one in found.values()]
    shares.bar_label(shares.bar(list(found), [100 * np.mean(part) for part in parts]), fmt="%.1f")
    shares.set(title="share of D's variance that is between images", ylabel="%")
    width = 0.8 / len(found)
    for place, (name, one) in enumerate(found.items()):
        own, *others = (100 * value for value in one["mean_iou_by_kernels"].values())
        spots = np.arange(len(others)) + place * width
        bars = scores.bar(spots, [other - own for other in others], width, label=f"{name}: {own:.1f} with its own")
        scores.bar_label(bars, fmt="%+.1f", fontsize="small")
    scores.set_xticks(np.arange(3) + 0.4 - width / 2, list(one["mean_iou_by_kernels"])[1:])
    scores.set(title="mIoU with other kernels, less with its own", ylabel="points")
    scores.set_ylim(top=-0.35 * scores.get_ylim()[0])
    scores.legend(frameon=False, fontsize="small", loc="upper right")
    figure.savefig(path, format="png")


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def main(options: argparse.Namespace) -> None:
    (source, dataset), found = sample(options), {}
    if len(source) < FEWEST:
        raise ValueError(f"{len(source)} images: the alignment of two descriptions of them takes {FEWEST} or more")
    for path in options.runs:
        run = Run(path)
        recipe = run.recipe
        name = recipe.reweighting + (" + GP" if recipe.global_pooling else "") + f", seed {recipe.seed}"
        found[name] = statistics(run, source, dataset.classes)
        print(name, found[name]["mean_iou_by_kernels"], flush=True)
        write_json(Path(options.json), {"images": len(source), "split": options.split, "runs": found})
    draw(found, Path(options.figure))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_sample(parser)
    parser.add_argument("--figure", required=True)
    main(parser.parse_args())
