"""One training run: from a recipe and a data set to a folder with checkpoints, logs and a curve."""

import csv
import math
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras

from keras_cacnet.datasets.check import check_layout
from keras_cacnet.datasets.source import SegmentationDataset, Source
from keras_cacnet.models.cacnet import CaCNet
from keras_cacnet.models.heads import HEAD_LAYERS
from keras_cacnet.models.reweighting import positions
from keras_cacnet.pipeline.batches import evaluation_batches, training_batches
from keras_cacnet.training.checkpoints import Checkpoints, FiniteLoss
from keras_cacnet.training.files import write_atomically, write_json
from keras_cacnet.training.losses import SegmentationCrossentropy
from keras_cacnet.training.metrics import MeanIoU, PixelAccuracy
from keras_cacnet.training.optimizers import SGD, poly
from keras_cacnet.training.recipes import Recipe
from keras_cacnet.training.run import Run
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
) -> keras.Model:
    """Train a CaC-Net as the recipe says and leave everything about it in a folder.

    Images of the recipe's split are cropped and augmented; its validation split, where the data set has one, is
    scored on whole images. The best checkpoint is the one with the largest mIoU there.

    Args:
        recipe: the settings.
        dataset: the data.
        output: the folder of the run; new or empty, unless `resume`.
        resume: go on from the last finished epoch of that folder; its recipe has to be the same.
        verbose: as for `keras.Model.fit`.
        data: how the user named the data, for the record.
        data_dir: where the user said that it lies, for the record.
        experiment: the name of the recipe, for the record.

    Returns:
        The trained network, in its last state.

    Raises:
        ValueError: data that cannot be trained on, a recipe that does not fit it, a folder that holds
            something, or a resumed run of another recipe or other classes.
        NonFiniteTraining: the loss or a weight stopped being finite; the last good checkpoint stays.

    Reference:
        Section 4.1 of the CaC-Net paper, "Training Setting".
    """
    output = Path(output)
    scored = _validation_source(recipe, dataset)
    source = dataset.source(recipe.split)
    check_layout(dataset, [recipe.split] if scored is None else [recipe.split, str(recipe.validation_split)])
    _require_validation_size(recipe, dataset)
    steps_per_epoch = max(len(source) // recipe.batch_size, 1)
    total_steps = steps_per_epoch * recipe.epochs
    keras.utils.set_random_seed(recipe.seed)
    if resume:
        model, best = _resumed(recipe, dataset, output, steps_per_epoch)
    else:
        _claim(output)
        model, best = _compiled(recipe, len(dataset.classes), total_steps), -math.inf
        write_json(output / "classes.json", dataset.classes.to_json())
        named = {"experiment": experiment, "data": data or dataset.name, "data_dir": data_dir and str(data_dir)}
        write_json(output / "config.json", {**named, **_record(recipe, dataset, steps_per_epoch)})
    step = int(keras.ops.convert_to_numpy(model.optimizer.iterations))
    epoch = step // steps_per_epoch
    if epoch >= recipe.epochs:
        return model
    _keep_rows(output / "log.csv", before_epoch=epoch)
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
    validation = None if scored is None else evaluation_batches(scored, dataset.classes)
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


def _validation_source(recipe: Recipe, dataset: SegmentationDataset) -> Source | None:
    split = recipe.validation_split
    if split is None or (split == "val" and split not in dataset.splits):
        return None
    return dataset.source(split)


def _require_validation_size(recipe: Recipe, dataset: SegmentationDataset) -> None:
    """Refuse, before the first epoch, images that a network for one size could not score after it."""
    size = recipe.network_arguments()["input_size"]
    if size is None or "val" not in dataset.splits:
        return
    for images, _ in evaluation_batches(dataset.source("val"), dataset.classes):
        height, width = images.shape[1:3]
        if positions((height, width), recipe.output_stride) != positions((size, size), recipe.output_stride):
            raise ValueError(
                f"reweighting={recipe.reweighting!r} takes images of crop_size={size} alone, {size}x{size}, and "
                f"{dataset.name} has an image of {height}x{width} in val, where images are scored whole: bring "
                "its images to one square size and crop to that, or choose another reweighting"
            )


def _compiled(recipe: Recipe, num_classes: int, total_steps: int) -> keras.Model:
    model = CaCNet(num_classes, **recipe.network_arguments())
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
    recipe: Recipe, dataset: SegmentationDataset, output: Path, steps_per_epoch: int
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
        return _compiled(recipe, len(dataset.classes), steps_per_epoch * recipe.epochs), -math.inf
    model = run.load_model("last", compile=True)
    finished = int(keras.ops.convert_to_numpy(model.optimizer.iterations)) // steps_per_epoch
    scores = [
        float(row["val_mean_iou"])
        for row in _rows(output / "log.csv")
        if int(row["epoch"]) < finished and _is_number(row.get("val_mean_iou"))
    ]
    return model, max(scores, default=-math.inf)


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


def _rows(log: Path) -> list[dict[str, str]]:
    if not log.exists():
        return []
    with log.open(newline="") as file:
        return list(csv.DictReader(file))


def _keep_rows(log: Path, before_epoch: int) -> None:
    """Drop what a killed run logged of epochs whose checkpoint it did not live to write."""
    rows = _rows(log)
    kept = [row for row in rows if int(row["epoch"]) < before_epoch]
    if len(kept) == len(rows):
        return

    def write(path: Path) -> None:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(kept)

    write_atomically(log, write)


def _is_number(text: str | None) -> bool:
    try:
        return text is not None and math.isfinite(float(text))
    except ValueError:
        return False
