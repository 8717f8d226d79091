"""One training run: from a recipe and a data set to a folder with checkpoints, logs and a curve."""

import math
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_cacnet.datasets import check_layout, fingerprint
from keras_cacnet.datasets.source import SegmentationDataset
from keras_cacnet.files import write_atomically, write_json
from keras_cacnet.models.cacnet import CaCNet
from keras_cacnet.models.heads import HEAD_LAYERS
from keras_cacnet.training.checkpoints import Checkpoints, FiniteLoss
from keras_cacnet.training.devices import is_chief
from keras_cacnet.training.feeding import (
    shared_training_batches,
    shared_validation,
    training_source,
    validation_source,
)
from keras_cacnet.training.log import Log
from keras_cacnet.training.loop import Loop
from keras_cacnet.training.losses import SegmentationCrossentropy
from keras_cacnet.training.metrics import MeanIoU, PixelAccuracy
from keras_cacnet.training.optimizers import SGD, LossScaleOptimizer, poly
from keras_cacnet.training.progress import Progress
from keras_cacnet.training.recipes import Recipe
from keras_cacnet.training.resuming import has_checkpoint, require_same, resumed
from keras_cacnet.training.run import Run, begun
from keras_cacnet.training.signals import StopSignals
from keras_cacnet.training.start import network_of, start_record, trained_on
from keras_cacnet.training.workers import lost_workers, require_agreement
from keras_cacnet.visualization import curve

PACKAGES = ("keras-cacnet", "keras", "tensorflow", "keras-cv", "tensorflow-datasets", "numpy", "pillow")


def train(
    recipe: Recipe,
    dataset: SegmentationDataset,
    output: str | Path,
    resume: bool = False,
    verbose: str | int = "auto",
    data: str = "",
    data_dir: str | Path | None = None,
    experiment: str | None = None,
    start_from: str | Path | None = None,
    strategy: tf.distribute.Strategy | None = None,
    save_every: int | None = None,
) -> keras.Model:
    """Train a CaC-Net as the recipe says and leave everything about it in a folder.

    Images of the recipe's split are cropped and augmented; its validation split, where the data set has one, is
    scored on whole images, or, where the network takes images of one size only (`reweighting="fc"`), on windows of
    the crops' size that lie side by side. The best checkpoint is the one with the largest mIoU there.

    The number of devices changes nothing but the time, dropout apart. SIGTERM and SIGINT save the run and stop it.

    Args:
        recipe: the settings.
        dataset: the data.
        output: the folder of the run; new or empty, unless `resume`. Where several machines share a run, a folder
            that all of them see.
        resume: go on from the last checkpoint of that folder, exactly; recipe and data have to be the same, the
            devices need not. Where there is no run yet, it begins.
        verbose: as for `keras.Model.fit`.
        data: how the user named the data, for the record.
        data_dir: where the user said that it lies, for the record.
        experiment: the name of the recipe, for the record.
        start_from: the folder of another run, whose best network this one starts from, with a new optimizer; its
            classes and its network have to be those of this run. A run that goes on needs it no more.
        strategy: the devices; by default those of the scope that this is called in.
        save_every: the number of steps between two checkpoints within an epoch; by default there is one an epoch.

    Returns:
        The trained network, in its last state.

    Raises:
        ValueError: data that cannot be trained on, a recipe that does not fit it or the devices, a validation split
            whose images are trained on, a folder that holds something, or a run to go on from or to start from that
            is of another recipe, network, classes or data.
        NonFiniteTraining: the loss or a weight stopped being finite; the last good checkpoint stays.
        CheckpointError: a checkpoint cannot be written; the last good one stays.
        Stopped: a signal asked for it; everything that was done is saved.
        WorkerLost: another process of the run has died.

    Reference:
        Section 4.1 of the CaC-Net paper, "Training Setting".
    """
    strategy = strategy or tf.distribute.get_strategy()
    with StopSignals() as stop, lost_workers(strategy), _floats_of(recipe):
        output = Path(output)
        chief = is_chief(strategy)
        checkpoints = Checkpoints(output, save_every, chief=chief)
        former = Run(output) if resume and begun(output) else None
        start = _start(former, start_from)
        seen = (former and former.config.get("trained_on")) or trained_on(start, dataset.name, recipe.split)
        source = training_source(recipe, dataset, strategy.num_replicas_in_sync)
        scored = validation_source(recipe, dataset, seen)
        splits = [recipe.split] if scored is None else [recipe.split, str(recipe.validation_split)]
        check_layout(dataset, splits)
        steps_per_epoch = len(source) // recipe.batch_size
        record = _record(recipe, dataset, splits, steps_per_epoch)
        keras.utils.set_random_seed(recipe.seed)
        if former:
            require_same(former, recipe, dataset, record)
        elif chief:
            _claim(output)
        shared = ("recipe", "images", "digests", "steps_per_epoch")
        goes_on = former is not None and has_checkpoint(output)
        require_agreement(strategy, [goes_on, *(record[name] for name in shared)])
        with strategy.scope():
            model, progress, checkpoints.best = (former and resumed(former, chief)) or (
                _compiled(recipe, dataset, steps_per_epoch * recipe.epochs, start),
                Progress(),
                -math.inf,
            )
            validation = None if scored is None else shared_validation(recipe, scored, dataset.classes, strategy)
        if chief and not former:
            write_json(output / "classes.json", dataset.classes.to_json())
            named = {"experiment": experiment, "data": data or dataset.name, "data_dir": data_dir and str(data_dir)}
            past = {"start_from": start and start_record(start), "trained_on": seen}
            write_json(output / "config.json", {**named, **past, **record})
        if progress.epochs >= recipe.epochs:
            return model
        Loop(model, recipe.epochs, steps_per_epoch, validation, progress).run(
            shared_training_batches(recipe, source, dataset.classes, progress.step, strategy),
            _callbacks(output, progress.step, chief),
            checkpoints,
            stop,
            verbose if chief else 0,
        )
    return model


@contextmanager
def _floats_of(recipe: Recipe) -> Iterator[None]:
    # By `floatx` Keras chooses the type of the loss in the logs, which float64 is asked for to compare.
    before = keras.config.floatx()
    keras.config.set_floatx("float64" if recipe.precision == "float64" else before)
    try:
        yield
    finally:
        keras.config.set_floatx(before)


def _callbacks(output: Path, step: int, chief: bool) -> list[keras.callbacks.Callback]:
    finite = FiniteLoss(output, step)
    if not chief:
        return [finite]
    return [
        finite,
        Log(output / "log.csv"),
        keras.callbacks.TensorBoard(str(output / "tensorboard"), write_graph=False),
        _Curve(output),
    ]


class _Curve(keras.callbacks.Callback):
    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        write_atomically(self.folder / "curve.png", lambda path: curve(self.folder / "log.csv", path))


def _start(former: Run | None, start_from: str | Path | None) -> Run | None:
    if former is None:
        return None if start_from is None else Run(start_from)
    recorded = (former.config.get("start_from") or {}).get("run")
    if start_from is not None and str(Path(start_from).absolute()) != recorded:
        raise ValueError(f"{former.path} started from {recorded or 'no other run'}, not from {start_from}")
    # Its own checkpoints hold all; the other run may be gone by now.
    return None if recorded is None or has_checkpoint(former.path) else Run(recorded)


def _compiled(recipe: Recipe, dataset: SegmentationDataset, total_steps: int, start: Run | None) -> keras.Model:
    num_classes = len(dataset.classes)
    if start is None:
        # On one device as well, so that a run can go on with more.
        model = CaCNet(num_classes, **recipe.network_arguments(), synchronized=True)
    else:
        model = network_of(start, recipe, dataset.classes)
    sgd = SGD(
        poly(recipe.learning_rate, total_steps, recipe.poly_power),
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        multipliers=[(HEAD_LAYERS, recipe.head_factor)],
    )
    model.compile(
        # Small gradients would vanish in float16.
        optimizer=LossScaleOptimizer(sgd) if recipe.precision == "float16" else sgd,
        loss=SegmentationCrossentropy(),
        metrics=[MeanIoU(num_classes), PixelAccuracy(num_classes)],
        jit_compile=False,
    )
    return model


def _claim(output: Path) -> None:
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ValueError(f"{output} holds something already: name a new folder, or go on with --resume")
    output.mkdir(parents=True, exist_ok=True)


def _record(
    recipe: Recipe, dataset: SegmentationDataset, splits: Sequence[str], steps_per_epoch: int
) -> dict[str, Any]:
    return {
        "recipe": recipe.to_json(),
        "images": {split: len(dataset.source(split)) for split in dataset.splits},
        "digests": {split: fingerprint(dataset, split) for split in splits},
        "steps_per_epoch": steps_per_epoch,
        "command": sys.argv,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "hardware": {"processors": os.cpu_count(), "machine": platform.machine()},
    }
