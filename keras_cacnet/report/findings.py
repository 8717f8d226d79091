"""What a report says beyond the files of its run: scores, images, the augmented batch, how frequent classes are."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from keras_cacnet.datasets import SegmentationDataset, read_example, read_mask
from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.datasets.source import Example, Source
from keras_cacnet.evaluation import Report, evaluate
from keras_cacnet.pipeline import evaluation_batches
from keras_cacnet.training.crops import first_crops
from keras_cacnet.training.observing import spread
from keras_cacnet.training.run import Run

_BATCH = 6
_EXAMPLES = 3


@dataclass(frozen=True)
class Shown:
    """An image with the classes of its mask and of its prediction, and the mean IoU of the two."""

    name: str
    image: np.ndarray
    truth: np.ndarray
    ids: np.ndarray
    mean_iou: float


@dataclass(frozen=True)
class Findings:
    """What was found out for a report.

    Args:
        scores: of the validation images; None where there are none.
        basis: what the scores are over, in words.
        best: the images that the network does best on, the best first.
        worst: those that it does worst on, the worst first.
        batch: augmented training images and their masks.
        frequencies: labelled pixels by class, by split.
        seconds: how long it took.
        notes: what could not be found out, and why.
    """

    scores: Report | None = None
    basis: str = ""
    best: Sequence[Shown] = ()
    worst: Sequence[Shown] = ()
    batch: tuple[np.ndarray, np.ndarray] | None = None
    frequencies: dict[str, np.ndarray] = field(default_factory=dict)
    seconds: float = 0.0
    notes: Sequence[str] = ()


def find(
    run: Run, dataset: SegmentationDataset | None, split: str | None = None, images: int | None = None
) -> Findings:
    """Score the best network of a run, and look at its data.

    Args:
        run: the run.
        dataset: its data; None leaves what the run itself has counted.
        split: the split to score; by default the recipe's validation split, where there is one.
        images: the most images to predict, evenly taken from the split; None takes all. Scores are then those that the
            run counted over all of them in training, where it did, and outlines are those of these images. Ten times as
            many masks are read for the frequencies of the classes.

    Returns:
        What was found.

    Raises:
        ValueError: data of other classes, or a split that there is not.
    """
    start = time.perf_counter()
    counted, basis = _counted(run)
    if dataset is None:
        note = "the data is not there, so no image was predicted: keras-cacnet report RUN --data FOLDER"
        return Findings(counted, basis, seconds=time.perf_counter() - start, notes=(note,))
    recipe = run.recipe
    run.require_classes(dataset.classes, dataset.name)
    chosen = split or recipe.validation_split
    notes = []
    found = Findings(counted, basis)
    if chosen is not None and (split is not None or chosen in dataset.splits):
        found = _scored(run, dataset, chosen, images, found if split is None else Findings())
    else:
        notes.append("there are no validation images, so nothing is scored")
    frequencies = {}
    for name in dict.fromkeys(one for one in (recipe.split, chosen) if one in dataset.splits):
        frequencies[name] = _frequencies(dataset.source(name), dataset.classes, images and 10 * images)
    batch = first_crops(recipe, dataset, _BATCH)
    return replace(found, batch=batch, frequencies=frequencies, seconds=time.perf_counter() - start, notes=tuple(notes))


def _counted(run: Run) -> tuple[Report | None, str]:
    """The scores of the best epoch, as training counted them."""
    if (best := run.validation) is None:
        return None, ""
    size = run.recipe.image_size
    where = f", at the working size of {size} pixels" if size else ""
    report = Report(np.array(best["confusion"], "int64"), run.classes.names)
    return (
        report,
        f"all images of {run.recipe.validation_split}, counted by training after epoch {best['epoch'] + 1}{where}",
    )


def _scored(run: Run, dataset: SegmentationDataset, split: str, images: int | None, found: Findings) -> Findings:
    network = run.load_model("best")
    source, classes = dataset.source(split), dataset.classes
    chosen: Any = spread(source, images) if images is not None and images < len(source) else source
    size = run.recipe.input_size
    ranked: list[tuple[float, int, np.ndarray]] = []

    def keep(index: int, ids: np.ndarray) -> None:
        _, truth = read_example(chosen[index], classes)
        score = _mean_iou(ids, truth, classes)
        if not np.isnan(score):
            ranked.append((score, index, ids))
            ranked.sort(key=lambda one: one[0])
            # Those in the middle are not shown.
            del ranked[_EXAMPLES:-_EXAMPLES]

    scores = evaluate(
        network,
        evaluation_batches(chosen, classes),
        classes,
        protocol=replace(run.protocol, crop_size=size) if size else run.protocol,
        count=len(chosen),
        origin=lambda index: chosen[index].image_origin,
        on_prediction=keep,
        boundary=True,
    )
    basis = (
        f"{len(chosen):,} of {len(source):,} images of {split}" if chosen is not source else f"all images of {split}"
    )
    if found.scores is not None and chosen is not source:
        scores, basis = replace(found.scores, boundaries=scores.boundaries), f"{found.basis}; outlines of {basis}"
    half = max(1, len(ranked) // 2)
    worst = ranked[: min(_EXAMPLES, half)]
    best = ranked[len(worst) :][-_EXAMPLES:][::-1]
    shown = [[_shown(chosen[index], classes, ids, score) for score, index, ids in part] for part in (best, worst)]
    return replace(found, scores=scores, basis=basis, best=shown[0], worst=shown[1])


def _shown(example: Example, classes: ClassTable, ids: np.ndarray, score: float) -> Shown:
    image, truth = read_example(example, classes)
    return Shown(example.name, image, truth, ids, score)


def _mean_iou(ids: np.ndarray, truth: np.ndarray, classes: ClassTable) -> float:
    known = truth < len(classes)
    cells = truth[known].astype("int64") * len(classes) + ids[known]
    confusion = np.bincount(cells, minlength=len(classes) ** 2).reshape(len(classes), -1)
    return Report(confusion, classes.names).mean_iou


def _frequencies(source: Source, classes: ClassTable, most: int | None) -> np.ndarray:
    counts = np.zeros(256, "int64")
    for example in spread(source, len(source) if most is None else most):
        if example.mask is not None:
            ids = classes.to_training(read_mask(example.mask, example.mask_origin, classes), example.mask_origin)
            counts += np.bincount(ids.ravel(), minlength=256)
    return counts[: len(classes)]
