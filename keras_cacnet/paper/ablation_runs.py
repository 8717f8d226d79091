"""Runs in folders named by what they are, trained and scored at most once."""

import csv
import gc
import hashlib
import json
import statistics
import time
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf

from keras_cacnet.datasets import shares_images
from keras_cacnet.datasets.checking import read_labels
from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.datasets.source import SegmentationDataset, Source
from keras_cacnet.evaluation.protocol import Protocol
from keras_cacnet.evaluation.scoring import evaluate
from keras_cacnet.files import write_json
from keras_cacnet.pipeline.batches import evaluation_batches
from keras_cacnet.training.checkpoints import TrainingWarning
from keras_cacnet.training.recipe import Recipe
from keras_cacnet.training.run import Run, begun
from keras_cacnet.training.start import Job
from keras_cacnet.training.trainer import train


class Score(NamedTuple):
    """The scores of one run, as shares.

    Args:
        pixel_accuracy: the pixel accuracy.
        mean_iou: the mean over the classes that count.
        classes: the IoU of every class; None for one that is neither there nor predicted.
        processor_seconds: what training and scoring took of all processors together; None where a run was broken off
            and went on, or was trained for another row.
        training_loss: the mean loss of the last epoch's steps; None where the run's log has none.
    """

    pixel_accuracy: float
    mean_iou: float
    classes: Mapping[str, float | None]
    processor_seconds: float | None
    training_loss: float | None


class Runs:
    """Training runs that rows and tables share.

    The folder of a run is named by its recipe, seed included, and by the data: the name, classes and numbers of
    images. Two rows of the same recipe have one run, and runs from before a recipe had all its settings are found. A
    run that was broken off goes on from its last checkpoint; scores are kept beside it, one file a protocol.

    Args:
        folder: where the runs are; made where it is not there.
        dataset: the data.
        data: how the user named it, for the record.
        data_dir: where the user said that it lies, for the record.
        verbose: as for `keras.Model.fit`.
        strategy: the devices to train on; by default those of the scope that a run is trained in.
        counted: names of the classes whose IoU counts in the mean; where None, those that are in the scored masks.
        scored_only: train and score nothing, and give only the scores that are there.
    """

    def __init__(
        self,
        folder: str | Path,
        dataset: SegmentationDataset,
        data: str = "",
        data_dir: str | Path | None = None,
        verbose: str | int = "auto",
        strategy: tf.distribute.Strategy | None = None,
        counted: Collection[str] | None = None,
        scored_only: bool = False,
    ) -> None:
        self.folder = Path(folder)
        self.dataset = dataset
        self.data = data
        self.data_dir = data_dir
        self.verbose = verbose
        self.strategy = strategy
        self.counted = counted
        self.scored_only = scored_only

    def path(self, recipe: Recipe) -> Path:
        """The folder of a run."""
        splits = {recipe.split, scored_split(recipe)}
        data = {
            "name": Path(self.dataset.name).name,
            "classes": self.dataset.classes.names,
            "images": {split: len(self.dataset.source(split)) for split in sorted(splits)},
        }
        path = self.folder / f"{_label(recipe)}_{_digest({'recipe': recipe.to_json(), 'data': data})}"
        if path.is_dir():
            return path
        # A setting that is new since then, at its default, gives the same recipe another name.
        others = sorted(self.folder.glob(f"{_label(recipe)}_*"))
        return next((one for one in others if _holds(one, recipe, data)), path)

    def scores_path(self, recipe: Recipe, protocol: Protocol) -> Path:
        """The file of a run's scores under a protocol."""
        return self.path(recipe) / f"evaluation_{scored_split(recipe)}_{_digest(protocol.to_json())}.json"

    def score(self, recipe: Recipe, protocol: Protocol) -> Score | None:
        """Train and score a run, or what of it is not there yet.

        The last checkpoint is scored: the best one was chosen on the images that are scored here.

        Args:
            recipe: the settings, with the seed.
            protocol: how images are shown to the network.

        Returns:
            The scores; None where they are not there and `scored_only` asks for no others.

        Raises:
            ValueError: whatever `train` and `evaluate` refuse, or a split without a labelled pixel.
            NonFiniteTraining: the loss or a weight stopped being finite.
        """
        path = self.scores_path(recipe, protocol)
        if path.is_file():
            return self._read(path)
        if self.scored_only:
            return None
        folder, began = path.parent, time.process_time()
        whole = not begun(folder)
        job = Job(recipe, self.dataset, folder, resume=True, data=self.data, data_dir=self.data_dir)
        with warnings.catch_warnings():
            # Trained already for another row, or stopped before it was scored.
            warnings.filterwarnings("ignore", message=".* is finished", category=TrainingWarning)
            model = train(job, self.strategy, self.verbose)
        split, source = scored_split(recipe), scored_source(recipe, self.dataset)
        report = evaluate(
            model,
            evaluation_batches(source, self.dataset.classes),
            self.dataset.classes,
            progress=self.verbose in ("auto", 1),
            count=len(source),
            protocol=protocol,
        )
        if not report.pixels:
            raise ValueError(f"{self.dataset.name} has no labelled pixel in {split}: there is nothing to score")
        spent = round(time.process_time() - began, 1) if whole else None
        facts = {"split": split, "checkpoint": "last", "processor_seconds": spent, "protocol": protocol.to_json()}
        write_json(path, {**facts, **report.to_json()})
        del model
        gc.collect()  # networks refer to themselves; without this the next one would be built beside this one
        return self._read(path)

    def _read(self, path: Path) -> Score:
        try:
            values = json.loads(path.read_text())
            classes = {row["name"]: row["iou"] for row in values["classes"]}
            there = [row["name"] for row in values["classes"] if row["pixels"]]
            mean = statistics.fmean(classes[name] for name in (there if self.counted is None else self.counted))
            seconds = values.get("processor_seconds")
            return Score(float(values["pixel_accuracy"]), mean, classes, seconds, _last_loss(path.with_name("log.csv")))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} cannot be read ({error}): remove it, and the run is scored again") from error


def scored_split(recipe: Recipe) -> str:
    """Name the split that the runs of a recipe are scored on: the one for validation, val where it has none."""
    return recipe.validation_split or "val"


def scored_source(recipe: Recipe, dataset: SegmentationDataset) -> Source:
    """Give the images that the runs of a recipe are scored on.

    Args:
        recipe: the settings.
        dataset: the data.

    Raises:
        ValueError: the data set has no such split, or shares its images with the split that is trained on.
    """
    split = scored_split(recipe)
    source = dataset.source(split)
    if shares_images(dataset, split, recipe.split):
        raise ValueError(
            f"{split} of {dataset.name} has images of {recipe.split}, which is trained on: the scores would be those "
            "of training images; train on another split (--set split=...)"
        )
    return source


def _holds(folder: Path, recipe: Recipe, data: Mapping[str, Any]) -> bool:
    try:
        run = Run(folder)
        config = run.config
        images = {split: config["images"][split] for split in data["images"]}
        found = (Path(config["data"]).name, run.classes.names, images)
        return run.recipe == recipe and found == (data["name"], data["classes"], data["images"])
    except (OSError, ValueError, KeyError):
        return False


def _last_loss(log: Path) -> float | None:
    if not log.is_file():
        return None
    with log.open(newline="") as file:
        losses = [row.get("loss") for row in csv.DictReader(file)]
    return float(losses[-1]) if losses and losses[-1] else None


def images_by_class(source: Source, classes: ClassTable) -> dict[str, int]:
    """Count the images that every class is in, by its name.

    Args:
        source: the images; only their masks are read.
        classes: the classes.
    """
    _, facts = read_labels(source, classes)
    return dict(zip(classes.names, facts.images_with[list(classes.ids)].tolist(), strict=True))


def _label(recipe: Recipe) -> str:
    heads = "fcn" if recipe.num_heads == 0 else f"{recipe.reweighting}{recipe.num_heads}"
    parts = [recipe.backbone, heads]
    if recipe.num_heads:
        parts += ["k" + "".join(map(str, recipe.kernel_sizes)), "d" + "".join(map(str, recipe.dilation_rates))]
    parts += ["gp"] if recipe.global_pooling else []
    parts += [] if recipe.auxiliary_weight else ["nods"]
    return "_".join([*parts, f"seed{recipe.seed}"])


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:10]
