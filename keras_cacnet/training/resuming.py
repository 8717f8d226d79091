"""Going on with a run: only with the recipe and the data it was started with, from its newest good checkpoint."""

import os
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import keras

from keras_cacnet.datasets.source import SegmentationDataset
from keras_cacnet.training.progress import Progress, check_checkpoint, read_progress
from keras_cacnet.training.recipes import Recipe
from keras_cacnet.training.run import Run

_ORDER = ("last", "previous")


class Resumed(NamedTuple):
    """A run as it was when its checkpoint was written."""

    model: keras.Model
    progress: Progress
    best: float


def has_checkpoint(folder: Path) -> bool:
    """Whether a run has come to write a checkpoint."""
    return any((folder / f"{which}.keras").exists() for which in _ORDER)


def resumed(run: Run, chief: bool = True) -> Resumed | None:
    """Load the last checkpoint of a run or, where that is damaged, the one before it.

    A damaged one is put aside as `damaged.keras`, with a warning that says so.

    Args:
        run: the run.
        chief: whether this process is the one of the run that writes.

    Returns:
        The network with its optimizer, and how far the run had come; None where it has no checkpoint yet.

    Raises:
        ValueError: no checkpoint is whole; the message names what is wrong with them.
    """
    damages = []
    for which in _ORDER:
        path = run.path / f"{which}.keras"
        if not path.exists():
            continue
        try:
            check_checkpoint(path)
            progress, best = read_progress(path)
        except ValueError as error:
            damages.append(str(error))
            continue
        if damages:
            warnings.warn(
                f"{damages[0]}; going on from the checkpoint before it, at step {progress.step}", stacklevel=2
            )
            if chief:
                os.replace(run.path / "last.keras", run.path / "damaged.keras")
        return Resumed(run.load_model(which, compile=True), progress, best)
    if damages:
        raise ValueError(f"{'; '.join(damages)}: no checkpoint is left to go on from, start again in a new folder")
    return None


def require_same(run: Run, recipe: Recipe, dataset: SegmentationDataset, record: dict[str, Any]) -> None:
    """Refuse to go on with another recipe, other classes or other images than a run was started with.

    Args:
        run: the run.
        recipe: the settings that it shall go on with.
        dataset: the data.
        record: what `config.json` would say of them, with the digests of the splits.

    Raises:
        ValueError: they differ; the message says in what, and how to start a new run from the weights.
    """
    anew = f"to train on from its weights as a run of its own: --start-from {run.path} --output NEW"
    before, now = run.recipe.to_json(), recipe.to_json()
    if changed := [f"{key} {before[key]!r} -> {now[key]!r}" for key in now if before[key] != now[key]]:
        raise ValueError(
            f"{run.path} was started with another recipe: {', '.join(changed)}; resume it with its own, or {anew}"
        )
    run.require_classes(dataset.classes, dataset.name)
    if run.classes != dataset.classes:
        raise ValueError(f"{run.path} was started with other colours or ids of its classes than {dataset.name} has")
    config = run.config
    for split, found in record["digests"].items():
        if config["digests"].get(split) != found:
            raise ValueError(
                f"{run.path} was started with other files in {split}: {config['images'].get(split)} images there, "
                f"{record['images'][split]} now, and their contents differ; resume it with those, or {anew}"
            )
