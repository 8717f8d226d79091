"""How far a run has come, and the file that holds it together with the network: a checkpoint."""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

_ENTRY = "progress.npz"
"""Of a checkpoint's archive, beside those of Keras."""


@dataclass(frozen=True)
class Progress:
    """How far a run has come.

    Args:
        step: the number of training steps done.
        epochs: the number of epochs done, their validation included.
        metrics: the states of the training metrics, which count from the start of the epoch.
    """

    step: int = 0
    epochs: int = 0
    metrics: tuple[np.ndarray, ...] = ()


def write_checkpoint(path: Path, model: keras.Model, progress: Progress, best: float) -> None:
    """Write a network with its optimizer and, in the same archive, the progress of its run.

    Args:
        path: the file, of the suffix .keras.
        model: the network, compiled.
        progress: how far the run has come.
        best: the best score so far.
    """
    model.save(path)
    entry = io.BytesIO()
    states = {f"metric_{index}": state for index, state in enumerate(progress.metrics)}
    np.savez(entry, allow_pickle=False, step=progress.step, epochs=progress.epochs, best=best, **states)
    with zipfile.ZipFile(path, "a") as archive:
        # Compressed, or the end of this archive within the other could pass for that of a file cut off behind it.
        archive.writestr(_ENTRY, entry.getvalue(), zipfile.ZIP_DEFLATED)


def check_checkpoint(path: Path) -> None:
    """Compare every part of a checkpoint with its checksum.

    Args:
        path: the file.

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


def read_progress(path: Path) -> tuple[Progress, float]:
    """Read the progress of a run, and the best score so far, from a checkpoint.

    Args:
        path: the file.

    Raises:
        ValueError: the file holds none.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            values = np.load(io.BytesIO(archive.read(_ENTRY)), allow_pickle=False)
            states = tuple(values[f"metric_{index}"] for index in range(len(values.files) - 3))
            return Progress(int(values["step"]), int(values["epochs"]), states), float(values["best"])
    except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
        raise ValueError(f"{path} does not say how far its run had come: {error}") from error
