"""Runs in folders named by what they are, trained and scored at most once."""

import csv
import gc
import json
import statistics
import time
import warnings
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_cacnet.datasets import fingerprint, shares_images
from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.datasets.label_checking import read_labels
from keras_cacnet.datasets.source import SegmentationDataset, Source
from keras_cacnet.evaluation.protocol import Protocol
from keras_cacnet.evaluation.scoring import evaluate
from keras_cacnet.files import json_digest, user_path, write_json
from keras_cacnet.paper.ablation_elsewhere import Elsewhere, Score
from keras_cacnet.paper.ablation_rows import FULL_NETWORK
from keras_cacnet.pipeline.batches import evaluation_batches
from keras_cacnet.training.checkpoints import TrainingWarning
from keras_cacnet.training.recipe import Recipe
from keras_cacnet.training.run import Run, begun
from keras_cacnet.training.start import Job
from keras_cacnet.training.trainer import train

_MEND = "name another --output, or give the former data"


class Runs:
    """Training runs that rows and tables share.

    The folder of a run is named by its recipe, seed included, and by the data: the name, classes and numbers of
    images. Two rows of the same recipe have one run, and runs from before a recipe had all its settings are found. A
    run that was broken off goes on from its last checkpoint; scores are kept beside it, one file a protocol. Neither
    is taken where images, masks or the table of classes have changed since, see `require_data`.

    Args:
        folder: where the runs are; made where it is not there.
        dataset: the data.
        data: how the user named it, for the record.
        data_dir: where the user said that it lies, for the record.
        verbose: as for `keras.Model.fit`.
        strategy: the devices to train on; by default those of the scope that a run is trained in.
        counted: names of the classes whose IoU counts in the mean; where None, those that are in the scored masks.
        scored_only: train and score nothing, and give only the scores that are there.
        elsewhere: scores of runs that were trained elsewhere, see `scores_elsewhere`; those in the folder come first.
        first: the recipe of the run that every run starts from, which has the heads and the seed of that run.
        digests: the `fingerprint` of splits, where they are known; the others are read when they are needed, once.
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
        elsewhere: Elsewhere | None = None,
        first: Recipe | None = None,
        digests: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = user_path(folder)
        self.dataset = dataset
        self.data = data
        self.data_dir = data_dir
        self.verbose = verbose
        self.strategy = strategy
        self.counted = counted
        self.scored_only = scored_only
        self.elsewhere = elsewhere or {}
        self.first = first
        self._digests = dict(digests or {})

    def path(self, recipe: Recipe) -> Path:
        """The folder of a run."""
        return self._path(recipe, self._first_of(recipe))

    def _path(self, recipe: Recipe, first: Recipe | None) -> Path:
        splits = {recipe.split, scored_split(recipe)}
        data = {
            "name": Path(self.dataset.name).name,
            "classes": self.dataset.classes.names,
            "images": {split: len(self.dataset.source(split)) for split in sorted(splits)},
        }
        named = {"recipe": recipe.to_json(), "data": data}
        if first is not None:
            return self.folder / f"{_label(recipe)}_{json_digest(named | {'first': first.to_json()})}"
        path = self.folder / f"{_label(recipe)}_{json_digest(named)}"
        if path.is_dir():
            return path
        # A setting that is new since then, at its default, gives the same recipe another name.
        others = sorted(self.folder.glob(f"{_label(recipe)}_*"))
        return next((one for one in others if _holds(one, recipe, data)), path)

    def _first_of(self, recipe: Recipe) -> Recipe | None:
        if self.first is None:
            return None
        return replace(self.first, seed=recipe.seed, **{name: getattr(recipe, name) for name in FULL_NETWORK})

    def scores_path(self, recipe: Recipe, protocol: Protocol) -> Path:
        """The file of a run's scores under a protocol."""
        return self.path(recipe) / f"evaluation_{scored_split(recipe)}_{json_digest(protocol.to_json())}.json"

    def scored(self, recipe: Recipe, protocol: Protocol) -> bool:
        """Whether a run's scores under a protocol are there, in the folder or from elsewhere."""
        return self.scores_path(recipe, protocol).is_file() or (recipe, protocol) in self.elsewhere

    def digest(self, split: str) -> str:
        """The `fingerprint` of a split."""
        if split not in self._digests:
            self._digests[split] = fingerprint(self.dataset, split)
        return self._digests[split]

    def require_data(self, recipe: Recipe, protocol: Protocol) -> None:
        """Refuse a run in the folder, and its scores, that are of other data than there are now.

        Contents are compared, wherever they lie. Scores from before a digest was kept with them are taken where their
        run has none of the split that is scored.

        Args:
            recipe: the settings, with the seed.
            protocol: how images are shown to the network.

        Raises:
            ValueError: another image or mask of a split, or other ids or colours of the classes; the message names
                run, split and what to do. Or a record that cannot be read.
        """
        first = self._first_of(recipe)
        runs = [(recipe, self._path(recipe, first)), *([(first, self._path(first, None))] if first else [])]
        for settings, folder in runs:
            if begun(folder):
                run = Run(folder)
                run.require_same(settings.to_json(), self.dataset.classes, self.dataset.name, _MEND)
                digests = {split: self.digest(split) for split in run.config["digests"]}
                run.require_files({split: len(self.dataset.source(split)) for split in digests}, digests, _MEND)
        path, split = self.scores_path(recipe, protocol), scored_split(recipe)
        if path.is_file() and _values(path).get("digest") not in (None, self.digest(split)):
            raise ValueError(
                f"{path.parent} was scored on other files in {split} than {self.dataset.name} has now ({path.name}); "
                f"{_MEND}"
            )

    def score(self, recipe: Recipe, protocol: Protocol) -> Score | None:
        """Train and score a run, or what of it is not there yet.

        The last checkpoint is scored: the best one was chosen on the images that are scored here.

        Args:
            recipe: the settings, with the seed.
            protocol: how images are shown to the network.

        Returns:
            The scores; None where they are not there and `scored_only` asks for no others.

        Raises:
            ValueError: whatever `require_data`, `train` and `evaluate` refuse, or a split without a labelled pixel.
            NonFiniteTraining: the loss or a weight stopped being finite.
        """
        self.require_data(recipe, protocol)
        path = self.scores_path(recipe, protocol)
        if path.is_file():
            return self._read(path)
        if (recipe, protocol) in self.elsewhere:
            return self.elsewhere[recipe, protocol]
        if self.scored_only:
            return None
        folder, began = path.parent, time.process_time()
        whole = not begun(folder)
        start_from = None
        if whole and (first := self._first_of(recipe)) is not None:
            self._train(first, start_from := self._path(first, None))
        model = self._train(recipe, folder, start_from)
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
        facts = {"split": split, "digest": self.digest(split), "checkpoint": "last", "processor_seconds": spent}
        write_json(path, {**facts, "protocol": protocol.to_json(), **report.to_json()})
        del model
        gc.collect()  # networks refer to themselves; without this the next one would be built beside this one
        return self._read(path)

    def _train(self, recipe: Recipe, folder: Path, start_from: Path | None = None) -> keras.Model:
        job = Job(
            recipe,
            self.dataset,
            folder,
            resume=True,
            start_from=start_from,
            data=self.data,
            data_dir=self.data_dir,
        )
        with warnings.catch_warnings():
            # Trained already for another row, or stopped before it was scored.
            warnings.filterwarnings("ignore", message=".* is finished", category=TrainingWarning)
            return train(job, self.strategy, self.verbose)

    def _read(self, path: Path) -> Score:
        values = _values(path)
        try:
            classes = {row["name"]: row["iou"] for row in values["classes"]}
            there = [row["name"] for row in values["classes"] if row["pixels"]]
            mean = statistics.fmean(classes[name] for name in (there if self.counted is None else self.counted))
            seconds = values.get("processor_seconds")
            return Score(float(values["pixel_accuracy"]), mean, classes, seconds, _last_loss(path.with_name("log.csv")))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _unreadable(path, error) from error


def _values(path: Path) -> dict[str, Any]:
    """What a file of scores holds."""
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path} cannot be read ({error}): remove it, and the run is scored again")


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
