"""The checkpoints of a run: when they are written, which is the best, and from which a run goes on."""

import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np

from keras_cacnet.files import link_or_copy, user_path, write_atomically
from keras_cacnet.training.averaging import averaged, swap_averages
from keras_cacnet.training.checkpoint_file import Progress, load_network, read_progress, verify, write_checkpoint

_NEWEST_FIRST = ("last", "previous")


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

    Where the optimizer keeps moving averages of the weights, these are the network's in the file, and the weights that
    are trained on are in the optimizer's state in their place.

    Args:
        folder: where the checkpoints lie.
        every: the number of steps between two checkpoints within an epoch; None for one an epoch.
        monitor: the score that decides what is best; larger is better. Where it is absent, as without
            validation images, the last epoch counts as the best.
        chief: whether this process writes; of the processes of a run only one does.
        patience: the number of scores in a row that are no better than the best, after which the run is to stop.

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
        patience: int | None = None,
    ) -> None:
        if every is not None and every < 1:
            raise ValueError(f"save_every (--save-every) must be at least 1 step, got {every}")
        self.folder = user_path(folder)
        self.every = every
        self.monitor = monitor
        self.best = -math.inf
        self.waited = 0
        self.chief = chief
        self.patience = patience

    @property
    def exist(self) -> bool:
        """Whether the run has come to write a checkpoint."""
        return bool(_there(self.folder))

    @property
    def out_of_patience(self) -> bool:
        """Whether the score has not risen for so long that the run is to stop."""
        return self.patience is not None and self.waited >= self.patience

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
            self.best, self.waited = progress.best, progress.waited
            model = load_network(path, compile=True)
            swap_averages(model)
            return model, progress
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
        if score is not None:
            self.best, self.waited = (score, 0) if better else (self.best, self.waited + 1)
        self.save(loop, better)
        if self.out_of_patience:
            loop.model.stop_training = True

    def save(self, loop: Trained, better: bool = False) -> None:
        """Write the state of the run; all its processes have to call this at the same step."""
        with averaged(loop.model):
            self._save(loop, better)

    def _save(self, loop: Trained, better: bool) -> None:
        for weight in loop.model.variables:
            if not np.all(np.isfinite(keras.ops.convert_to_numpy(weight))):
                raise NonFiniteTraining(f"{weight.path} is not finite after step {loop.step}; {_kept(self.folder)}")
        # Summed over all processes, so all of them ask.
        progress = replace(loop.progress, best=self.best, waited=self.waited)
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


def _there(folder: Path) -> Sequence[Path]:
    return [path for which in _NEWEST_FIRST if (path := folder / f"{which}.keras").exists()]


def _kept(folder: Path) -> str:
    """Words that say which checkpoint there is."""
    return f"the last good checkpoint is {found[0]}" if (found := _there(folder)) else "there is no checkpoint yet"
