"""When a run writes checkpoints: the last one, the one before it and the best one, finite and whole."""

import math
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_cacnet.files import link_or_copy, write_atomically
from keras_cacnet.training.loop import Loop
from keras_cacnet.training.progress import write_checkpoint


class NonFiniteTraining(RuntimeError):
    """The loss or a weight is no longer a finite number."""


class CheckpointError(OSError):
    """A checkpoint cannot be written; the former one is as it was."""


class Checkpoints:
    """Writes `last.keras` after every epoch and every so many steps, `best.keras` whenever the score rises.

    A checkpoint holds the network, its weights, the optimizer's state and the progress of the run. It is written
    under a temporary name and renamed, so a kill leaves the former one, which stays as `previous.keras`. The best one
    is a link to the file of its epoch, which is written once. Weights that are not finite are never written.

    Args:
        folder: where the checkpoints lie.
        every: the number of steps between two checkpoints within an epoch; None for one an epoch.
        monitor: the score that decides what is best; larger is better. Where it is absent, as without
            validation images, the last epoch counts as the best.
        best: the best score so far, for a run that goes on.
        chief: whether this process writes; of those of a run one does.

    Raises:
        ValueError: `every` is less than 1.
        NonFiniteTraining: a weight is not finite.
        CheckpointError: the disk is full or the folder cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        every: int | None = None,
        monitor: str = "val_mean_iou",
        best: float = -math.inf,
        chief: bool = True,
    ) -> None:
        if every is not None and every < 1:
            raise ValueError(f"save_every must be at least 1 step, got {every}")
        self.folder = folder
        self.every = every
        self.monitor = monitor
        self.best = best
        self.chief = chief

    def after_step(self, loop: Loop) -> None:
        """Save where it is time to."""
        if self.every and loop.step % self.every == 0:
            self.save(loop)

    def after_epoch(self, loop: Loop, logs: dict[str, float]) -> None:
        """Save, and keep the checkpoint as the best one where its score is."""
        score = logs.get(self.monitor)
        better = (score is not None and score > self.best) or (score is None and self.best == -math.inf)
        if better and score is not None:
            self.best = score
        self.save(loop, better)

    def save(self, loop: Loop, better: bool = False) -> None:
        """Write the state of the run; all its processes have to call this at the same step."""
        for weight in loop.model.variables:
            if not np.all(np.isfinite(keras.ops.convert_to_numpy(weight))):
                raise NonFiniteTraining(f"{weight.path} is not finite after step {loop.step}; {kept(self.folder)}")
        progress = loop.progress  # summed over all processes, so all of them ask
        if not self.chief:
            return
        last = self.folder / "last.keras"

        def write(path: Path) -> None:
            write_checkpoint(path, loop.model, progress, self.best)
            # The best before the last: an epoch that was broken off between the two is done again.
            if better:
                write_atomically(self.folder / "best.keras", lambda best: link_or_copy(path, best))
            if last.exists():
                write_atomically(self.folder / "previous.keras", lambda former: link_or_copy(last, former))

        try:
            write_atomically(last, write)
        except OSError as error:
            raise CheckpointError(
                f"{last} cannot be written: {error}; {kept(self.folder)}; mend that and go on with --resume"
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
                f"the loss is {loss} at step {self.step}; {kept(self.folder)}; "
                "a smaller learning_rate is the usual mend"
            )


def kept(folder: Path) -> str:
    """Words that say which checkpoint there is."""
    for name in ("last", "previous"):
        if (folder / f"{name}.keras").exists():
            return f"the last good checkpoint is {folder / f'{name}.keras'}"
    return "there is no checkpoint yet"
