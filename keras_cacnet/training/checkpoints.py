"""Callbacks that keep a run safe: checkpoints that are whole and finite, and a stop at the first bad loss."""

import math
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_cacnet.training.files import link_or_copy, write_atomically


class NonFiniteTraining(RuntimeError):
    """The loss or a weight is no longer a finite number."""


class Checkpoints(keras.callbacks.Callback):
    """Writes `last.keras` after every epoch and `best.keras` whenever the validation score rises.

    A checkpoint holds the network, its weights and the optimizer's state. It is written under a temporary name
    and renamed, so a kill leaves the former one. The best one is a link to the file of its epoch, which is written
    once. Weights that are not finite are never written.

    Args:
        folder: where the checkpoints lie.
        monitor: the score that decides what is best; larger is better. Where it is absent, as without
            validation images, the last epoch counts as the best.
        best: the best score so far, for a run that goes on.

    Raises:
        NonFiniteTraining: a weight is not finite at the end of an epoch.
    """

    def __init__(self, folder: Path, monitor: str = "val_mean_iou", best: float = -math.inf) -> None:
        super().__init__()
        self.folder = folder
        self.monitor = monitor
        self.best = best

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        for weight in self.model.variables:
            if not np.all(np.isfinite(keras.ops.convert_to_numpy(weight))):
                raise NonFiniteTraining(f"{weight.path} is not finite after epoch {epoch + 1}; {_kept(self.folder)}")
        score = (logs or {}).get(self.monitor)
        better = (score is not None and score > self.best) or (score is None and self.best == -math.inf)

        def save(path: Path) -> None:
            self.model.save(path)
            # The best before the last: an epoch that was broken off between the two is done again.
            if better:
                write_atomically(self.folder / "best.keras", lambda best: link_or_copy(path, best))

        write_atomically(self.folder / "last.keras", save)
        if better:
            self.best = -math.inf if score is None else float(score)


class FiniteLoss(keras.callbacks.Callback):
    """Stops the run at the step whose loss is not finite, before its weights are saved anywhere.

    Args:
        folder: where the checkpoints lie, for the message.

    Raises:
        NonFiniteTraining: the loss is NaN or infinite; the message says at which step.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            step = int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))
            raise NonFiniteTraining(
                f"the loss is {loss} at step {step}; {_kept(self.folder)}; a smaller learning_rate is the usual mend"
            )


def _kept(folder: Path) -> str:
    if (folder / "last.keras").exists():
        return f"the last good checkpoint is {folder / 'last.keras'}"
    return "there is no checkpoint yet"
