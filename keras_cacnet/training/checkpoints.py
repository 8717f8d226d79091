"""Checkpoints: the files that hold a network and its run, when they are written, and how they are read back."""

import io
import math
import os
import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np

from keras_cacnet.files import link_or_copy, user_path, write_atomically

_PROGRESS = "progress.npz"
"""Of a checkpoint's archive, beside the entries of Keras."""

_NEWEST_FIRST = ("last", "previous")


@dataclass(frozen=True)
class Progress:
    """How far a run has come.

    Args:
        step: the number of training steps done.
        epochs: the number of epochs done, their validation included.
        metrics: the states of the training metrics, which count from the start of the epoch.
        best: the best score so far.
    """

    step: int = 0
    epochs: int = 0
    metrics: tuple[np.ndarray, ...] = ()
    best: float = -math.inf


class Trained(Protocol):
    """What is saved: a network on its way through a run, as `Loop` takes it there."""

    model: keras.Model
    step: int

    @property
    def progress(self) -> Progress: ...


class NonFiniteTraining(RuntimeError):
    """The loss or a weight is no longer a finite number."""


class TrainingWarning(UserWarning):
    """A run may not do what was meant, or has done less."""


class CheckpointError(OSError):
    """A checkpoint cannot be written; the former one is as it was."""


class Checkpoints:
    """The checkpoints of one run, written and read back.

    `last.keras` is written after every epoch and every so many steps, `best.keras` whenever the score rises.

    A checkpoint holds the network, its weights, the optimizer's state and the progress of the run. It is written
    under a temporary name and renamed, so a kill leaves the former one, which stays as `previous.keras`. The best one
    is a link to the file of its epoch, which is written once. Weights that are not finite are never written.

    Args:
        folder: where the checkpoints lie.
        every: the number of steps between two checkpoints within an epoch; None for one an epoch.
        monitor: the score that decides what is best; larger is better. Where it is absent, as without
            validation images, the last epoch counts as the best.
        chief: whether this process writes; of the processes of a run only one does.

    Raises:
        ValueError: `every` is less than 1.
        NonFiniteTraining: a weight is not finite.
        CheckpointError: the disk is full or the folder cannot be written.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        every: int | None = None,
        monitor: str = "val_mean_iou",
        chief: bool = True,
    ) -> None:
        if every is not None and every < 1:
            raise ValueError(f"save_every (--save-every) must be at least 1 step, got {every}")
        self.folder = user_path(folder)
        self.every = every
        self.monitor = monitor
        self.best = -math.inf
        self.chief = chief

    @property
    def exist(self) -> bool:
        """Whether the run has come to write a checkpoint."""
        return bool(_there(self.folder))

    def resume(self) -> tuple[keras.Model, Progress]:
        """Load the last checkpoint of the run or, where that is damaged, the one before it.

        A damaged one is put aside as `damaged.keras`, with a warning that says so. All processes of a run have to
        call this, in the scope of their strategy.

        Returns:
            The network with its optimizer, and how far the run had come.

        Raises:
            ValueError: there is no checkpoint, or none is whole; the message names what is wrong with them.
        """
        damages: list[str] = []
        for path in _there(self.folder):
            try:
                verify(path)
                progress = read_progress(path)
            except ValueError as error:
                damages.append(str(error))
                continue
            if damages:
                message = f"{damages[0]}; going on from the checkpoint before it, at step {progress.step}"
                warnings.warn(message, TrainingWarning, stacklevel=2)
                if self.chief:
                    os.replace(self.folder / "last.keras", self.folder / "damaged.keras")
            self.best = progress.best
            return _load(path, compile=True), progress
        found = "; ".join(damages) or f"{self.folder} has none"
        raise ValueError(f"{found}: no checkpoint is left to go on from, start again in a new folder")

    def after_step(self, loop: Trained) -> None:
        """Save where it is time to."""
        if self.every and loop.step % self.every == 0:
            self.save(loop)

    def after_epoch(self, loop: Trained, logs: dict[str, float]) -> None:
        """Save, and keep the checkpoint as the best one where its score is."""
        score = logs.get(self.monitor)
        if score is not None and math.isnan(score):
            score = None  # as where every label is void
        better = (score is not None and score > self.best) or (score is None and self.best == -math.inf)
        if better and score is not None:
            self.best = score
        self.save(loop, better)

    def save(self, loop: Trained, better: bool = False) -> None:
        """Write the state of the run; all its processes have to call this at the same step."""
        for weight in loop.model.variables:
            if not np.all(np.isfinite(keras.ops.convert_to_numpy(weight))):
                raise NonFiniteTraining(f"{weight.path} is not finite after step {loop.step}; {_kept(self.folder)}")
        progress = replace(loop.progress, best=self.best)  # summed over all processes, so all of them ask
        if not self.chief:
            return
        last = self.folder / "last.keras"

        def write(path: Path) -> None:
            write_checkpoint(path, loop.model, progress)
            # The best before the last: an epoch that was broken off between the two is done again.
            if better:
                write_atomically(self.folder / "best.keras", lambda best: link_or_copy(path, best))
            if last.exists():
                write_atomically(self.folder / "previous.keras", lambda former: link_or_copy(last, former))

        try:
            write_atomically(last, write)
        except OSError as error:
            raise CheckpointError(
                f"{last} cannot be written: {error}; {_kept(self.folder)}; mend that and go on (--resume)"
            ) from error


class FiniteLoss(keras.callbacks.Callback):
    """Stops the run at the step whose loss is not finite, before its weights are saved anywhere.

    Args:
        folder: where the checkpoints lie, for the message.
        step: the number of steps done before.

    Raises:
        NonFiniteTraining: the loss is NaN or infinite; the message says at which step.
    """

    def __init__(self, folder: Path, step: int = 0) -> None:
        super().__init__()
        self.folder = folder
        self.step = step

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.step += 1
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            raise NonFiniteTraining(
                f"the loss is {loss} at step {self.step}; {_kept(self.folder)}; "
                "a smaller learning_rate is the usual mend"
            )


def write_checkpoint(path: Path, model: keras.Model, progress: Progress) -> None:
    """Write a network with its optimizer and, in the same archive, the progress of its run.

    Args:
        path: the file, of the suffix .keras; `keras.models.load_model` reads it too.
        model: the network, compiled.
        progress: how far the run has come.
    """
    model.save(path)
    entry = io.BytesIO()
    states = {f"metric_{index}": state for index, state in enumerate(progress.metrics)}
    numbers = {"step": progress.step, "epochs": progress.epochs, "best": progress.best}
    np.savez(entry, allow_pickle=False, **numbers, **states)
    with zipfile.ZipFile(path, "a") as archive:
        # Compressed, or the end of this archive within the other could pass for that of a file cut off behind it.
        archive.writestr(_PROGRESS, entry.getvalue(), zipfile.ZIP_DEFLATED)


def load_checkpoint(path: str | os.PathLike[str], compile: bool = False) -> keras.Model:
    """Load the network of a checkpoint, once every part of the file has been compared with its checksum.

    Args:
        path: the file.
        compile: restore loss, metrics and optimizer too.

    Raises:
        ValueError: the file is damaged; the message names it.
    """
    path = user_path(path)
    verify(path)
    return _load(path, compile)


def read_progress(path: str | os.PathLike[str]) -> Progress:
    """Read how far its run had come from a checkpoint.

    Raises:
        ValueError: the file does not say.
    """
    path = user_path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            values = np.load(io.BytesIO(archive.read(_PROGRESS)), allow_pickle=False)
            states = tuple(values[f"metric_{index}"] for index in range(len(values.files) - 3))
            return Progress(int(values["step"]), int(values["epochs"]), states, float(values["best"]))
    except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
        raise ValueError(f"{path} does not say how far its run had come: {error}") from error


def verify(path: Path) -> None:
    """Compare every part of a checkpoint with its checksum.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
            missing = sorted({"config.json", "model.weights.h5"} - set(archive.namelist()))
    except (OSError, zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if missing:
        raise ValueError(f"{path} is damaged or no model of Keras: there is no {missing[0]} in it")
    if broken:
        raise ValueError(f"{path} is damaged: {broken} in it does not have its checksum")


def _load(path: Path, compile: bool) -> keras.Model:
    try:
        return keras.models.load_model(path, compile=compile)
    except Exception as error:
        raise ValueError(f"{path} cannot be loaded, it may be damaged: {error}") from error


def _there(folder: Path) -> Sequence[Path]:
    return [path for which in _NEWEST_FIRST if (path := folder / f"{which}.keras").exists()]


def _kept(folder: Path) -> str:
    """Words that say which checkpoint there is."""
    return f"the last good checkpoint is {found[0]}" if (found := _there(folder)) else "there is no checkpoint yet"
