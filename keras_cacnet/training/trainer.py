"""One training run: from a recipe and a data set to a folder with checkpoints, logs and a curve."""

import math
import os
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras

from keras_cacnet.datasets.check import check_layout, shares_images
from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.datasets.source import SegmentationDataset, Source
from keras_cacnet.models.cacnet import CaCNet
from keras_cacnet.models.heads import HEAD_LAYERS
from keras_cacnet.pipeline.batches import evaluation_batches, training_batches, window_batches
from keras_cacnet.training.checkpoints import Checkpoints, FiniteLoss
from keras_cacnet.training.files import write_atomically, write_json
from keras_cacnet.training.log import best_score, keep_rows
from keras_cacnet.training.losses import SegmentationCrossentropy
from keras_cacnet.training.metrics import MeanIoU, PixelAccuracy
from keras_cacnet.training.optimizers import SGD, poly
from keras_cacnet.training.recipes import Recipe
from keras_cacnet.training.run import Run
from keras_cacnet.training.start import network_of, start_record, trained_on
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
) -> keras.Model:
    """Train a CaC-Net as the recipe says and leave everything about it in a folder.

    Images of the recipe's split are cropped and augmented; its validation split, where the data set has one, is
    scored on whole images, or, where the network takes images of one size only (`reweighting="fc"`), on windows of
    the crops' size that lie side by side. The best checkpoint is the one with the largest mIoU there.

    Args:
        recipe: the settings.
        dataset: the data.
        output: the folder of the run; new or empty, unless `resume`.
        resume: go on from the last finished epoch of that folder; its recipe has to be the same.
        verbose: as for `keras.Model.fit`.
        data: how the user named the data, for the record.
        data_dir: where the user said that it lies, for the record.
        experiment: the name of the recipe, for the record.
        start_from: the folder of another run, whose best network this one starts from, with a new optimizer; its
            classes and its network have to be those of this run. A run that goes on needs it no more.

    Returns:
        The trained network, in its last state.

    Raises:
        ValueError: data that cannot be trained on, a recipe that does not fit it, a validation split whose images
            are trained on, a folder that holds something, or a run to go on from or to start from that is of another
            recipe, network or classes.
        NonFiniteTraining: the loss or a weight stopped being finite; the last good checkpoint stays.

    Reference:
        Section 4.1 of the CaC-Net paper, "Training Setting".
    """
    output = Path(output)
    former = Run(output) if resume else None
    start = _start(former, start_from)
    seen = (former and former.config.get("trained_on")) or trained_on(start, dataset.name, recipe.split)
    source = dataset.source(recipe.split)
    if len(source) < recipe.batch_size:
        raise ValueError(
            f"batch_size={recipe.batch_size} is more than {dataset.name} has images in {recipe.split}, {len(source)}: "
            "set a smaller batch_size, or add images"
        )
    scored = _validation_source(recipe, dataset, seen)
    check_layout(dataset, [recipe.split] if scored is None else [recipe.split, str(recipe.validation_split)])
    steps_per_epoch = len(source) // recipe.batch_size
    total_steps = steps_per_epoch * recipe.epochs
    keras.utils.set_random_seed(recipe.seed)
    if resume:
        model, best = _resumed(recipe, dataset, output, steps_per_epoch, start)
    else:
        _claim(output)
        model, best = _compiled(recipe, dataset, total_steps, start), -math.inf
        write_json(output / "classes.json", dataset.classes.to_json())
        named = {"experiment": experiment, "data": data or dataset.name, "data_dir": data_dir and str(data_dir)}
        past = {"start_from": start and start_record(start), "trained_on": seen}
        write_json(output / "config.json", {**named, **past, **_record(recipe, dataset, steps_per_epoch)})
    step = int(keras.ops.convert_to_numpy(model.optimizer.iterations))
    epoch = step // steps_per_epoch
    if epoch >= recipe.epochs:
        return model
    keep_rows(output / "log.csv", before_epoch=epoch)
    batches = training_batches(
        source,
        dataset.classes,
        batch_size=recipe.batch_size,
        crop_size=recipe.crop_size,
        steps=total_steps,
        start_step=epoch * steps_per_epoch,
        seed=recipe.seed,
        scale_range=(recipe.scale_min, recipe.scale_max),
        flip=recipe.flip,
    )
    validation = None if scored is None else _validation_batches(recipe, scored, dataset.classes)
    log = keras.callbacks.CSVLogger(str(output / "log.csv"), append=epoch > 0)
    try:
        model.fit(
            batches,
            initial_epoch=epoch,
            epochs=recipe.epochs,
            steps_per_epoch=steps_per_epoch,
            validation_data=validation,
            validation_freq=_validation_epochs(recipe),
            callbacks=[
                FiniteLoss(output),
                log,
                keras.callbacks.TensorBoard(str(output / "tensorboard"), write_graph=False),
                _Curve(output),
                Checkpoints(output, best=best),
            ],
            shuffle=False,
            verbose=verbose,
        )
    finally:
        if log.csv_file is not None:
            log.csv_file.close()
    return model


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
    # Its own last checkpoint holds all; the other run may be gone by now.
    return None if recorded is None or (former.path / "last.keras").exists() else Run(recorded)


def _validation_source(recipe: Recipe, dataset: SegmentationDataset, seen: Sequence[str]) -> Source | None:
    split = recipe.validation_split
    if split is None or (split == "val" and split not in dataset.splits):
        return None
    for other in seen:
        if shares_images(dataset, split, other.removeprefix(f"{dataset.name}/")):
            raise ValueError(
                f"validation_split={split!r} has images of {other}, which the network is trained on: its scores would "
                "be those of training images; set validation_split=none, or train on another split"
            )
    return dataset.source(split)


def _validation_batches(recipe: Recipe, scored: Source, classes: ClassTable) -> Any:
    if recipe.input_size is None:
        return evaluation_batches(scored, classes)
    return window_batches(scored, classes, recipe.input_size)


def _compiled(recipe: Recipe, dataset: SegmentationDataset, total_steps: int, start: Run | None) -> keras.Model:
    num_classes = len(dataset.classes)
    if start is None:
        model = CaCNet(num_classes, **recipe.network_arguments())
    else:
        model = network_of(start, recipe, dataset.classes)
    model.compile(
        optimizer=SGD(
            poly(recipe.learning_rate, total_steps, recipe.poly_power),
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            multipliers=[(HEAD_LAYERS, recipe.head_factor)],
        ),
        loss=SegmentationCrossentropy(),
        metrics=[MeanIoU(num_classes), PixelAccuracy(num_classes)],
        jit_compile=False,
    )
    return model


def _resumed(
    recipe: Recipe, dataset: SegmentationDataset, output: Path, steps_per_epoch: int, start: Run | None
) -> tuple[keras.Model, float]:
    run = Run(output)
    before, now = run.recipe.to_json(), recipe.to_json()
    if before != now:
        changed = ", ".join(f"{key} {before[key]!r} -> {now[key]!r}" for key in now if before.get(key) != now[key])
        raise ValueError(f"{output} was started with another recipe: {changed}; resume it with its own")
    if run.classes != dataset.classes:
        raise ValueError(f"{output} was started with other classes than {dataset.name} has")
    if run.config["steps_per_epoch"] != steps_per_epoch:
        raise ValueError(
            f"{output} was started with {run.config['steps_per_epoch']} steps an epoch, the data now gives "
            f"{steps_per_epoch}: resume it with the images it was started with"
        )
    if not (output / "last.keras").exists():
        return _compiled(recipe, dataset, steps_per_epoch * recipe.epochs, start), -math.inf
    model = run.load_model("last", compile=True)
    finished = int(keras.ops.convert_to_numpy(model.optimizer.iterations)) // steps_per_epoch
    return model, best_score(output / "log.csv", finished)


def _claim(output: Path) -> None:
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ValueError(f"{output} holds something already: name a new folder, or go on with --resume")
    output.mkdir(parents=True, exist_ok=True)


def _record(recipe: Recipe, dataset: SegmentationDataset, steps_per_epoch: int) -> dict[str, Any]:
    return {
        "recipe": recipe.to_json(),
        "images": {split: len(dataset.source(split)) for split in dataset.splits},
        "steps_per_epoch": steps_per_epoch,
        "command": sys.argv,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "hardware": {"processors": os.cpu_count(), "machine": platform.machine()},
    }


def _validation_epochs(recipe: Recipe) -> list[int]:
    epochs = list(range(recipe.validate_every, recipe.epochs + 1, recipe.validate_every))
    return epochs if recipe.epochs in epochs else [*epochs, recipe.epochs]
