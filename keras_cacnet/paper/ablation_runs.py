"""Runs in folders named by what they are, trained and scored at most once."""

import gc
import hashlib
import json
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf

from keras_cacnet.datasets import shares_images
from keras_cacnet.datasets.source import SegmentationDataset, Source
from keras_cacnet.evaluation.protocol import Protocol
from keras_cacnet.evaluation.scoring import evaluate
from keras_cacnet.files import write_json
from keras_cacnet.pipeline.batches import evaluation_batches
from keras_cacnet.training.checkpoints import TrainingWarning
from keras_cacnet.training.recipe import Recipe
from keras_cacnet.training.start import Job
from keras_cacnet.training.trainer import train


class Score(NamedTuple):
    """The scores of one run, as shares."""

    pixel_accuracy: float
    mean_iou: float


class Runs:
    """Training runs that rows and tables share.

    The folder of a run is named by its recipe, seed included, and by the data: the name, classes and numbers of
    images. Two rows of the same recipe have one run. A run that was broken off goes on from its last checkpoint;
    scores are kept beside it, one file a protocol.

    Args:
        folder: where the runs are; made where it is not there.
        dataset: the data.
        data: how the user named it, for the record.
        data_dir: where the user said that it lies, for the record.
        verbose: as for `keras.Model.fit`.
        strategy: the devices to train on; by default those of the scope that a run is trained in.
    """

    def __init__(
        self,
        folder: str | Path,
        dataset: SegmentationDataset,
        data: str = "",
        data_dir: str | Path | None = None,
        verbose: str | int = "auto",
        strategy: tf.distribute.Strategy | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.dataset = dataset
        self.data = data
        self.data_dir = data_dir
        self.verbose = verbose
        self.strategy = strategy

    def path(self, recipe: Recipe) -> Path:
        """The folder of a run."""
        splits = {recipe.split, scored_split(recipe)}
        data = {
            "name": Path(self.dataset.name).name,
            "classes": self.dataset.classes.names,
            "images": {split: len(self.dataset.source(split)) for split in sorted(splits)},
        }
        return self.folder / f"{_label(recipe)}_{_digest({'recipe': recipe.to_json(), 'data': data})}"

    def scores_path(self, recipe: Recipe, protocol: Protocol) -> Path:
        """The file of a run's scores under a protocol."""
        return self.path(recipe) / f"evaluation_{scored_split(recipe)}_{_digest(protocol.to_json())}.json"

    def score(self, recipe: Recipe, protocol: Protocol) -> Score:
        """Train and score a run, or what of it is not there yet.

        The last checkpoint is scored: the best one was chosen on the images that are scored here.

        Args:
            recipe: the settings, with the seed.
            protocol: how images are shown to the network.

        Returns:
            The scores.

        Raises:
            ValueError: whatever `train` and `evaluate` refuse, or a split without a labelled pixel.
            NonFiniteTraining: the loss or a weight stopped being finite.
        """
        path = self.scores_path(recipe, protocol)
        if path.is_file():
            return _read(path)
        folder = path.parent
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
            progress=self.verbose != 0,
            count=len(source),
            protocol=protocol,
        )
        if not report.pixels:
            raise ValueError(f"{self.dataset.name} has no labelled pixel in {split}: there is nothing to score")
        facts = {"split": split, "checkpoint": "last", "protocol": protocol.to_json()}
        write_json(path, {**facts, **report.to_json()})
        del model
        gc.collect()  # networks refer to themselves; without this the next one would be built beside this one
        return _read(path)


def scored_split(recipe: Recipe) -> str:
    """The split that the runs of a recipe are scored on: the one for validation, val where it has none."""
    return recipe.validation_split or "val"


def scored_source(recipe: Recipe, dataset: SegmentationDataset) -> Source:
    """The images that the runs of a recipe are scored on.

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


def _read(path: Path) -> Score:
    try:
        values = json.loads(path.read_text())
        return Score(float(values["pixel_accuracy"]), float(values["mean_iou"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} cannot be read ({error}): remove it, and the run is scored again") from error


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
