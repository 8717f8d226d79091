"""The file of a checkpoint: a network with its optimizer and, in the same archive, the progress of its run."""

import io
import math
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from keras_cacnet.files import user_path

_PROGRESS = "progress.npz"
"""Of a checkpoint's archive, beside the entries of Keras."""


@dataclass(frozen=True)
class Progress:
    """How far a run has come.

    Args:
        step: the number of training steps done.
        epochs: the number of epochs done, their validation included.
        metrics: the states of the training metrics, which count from the start of the epoch.
        best: the best score so far.
        waited: the number of scores since then.
    """

    step: int = 0
    epochs: int = 0
    metrics: tuple[np.ndarray, ...] = ()
    best: float = -math.inf
    waited: int = 0


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
    numbers = {name: getattr(progress, name) for name in ("step", "epochs", "best", "waited")}
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
    return load_network(path, compile)


def read_progress(path: str | os.PathLike[str]) -> Progress:
    """Read how far its run had come from a checkpoint.

    Raises:
        ValueError: the file does not say.
    """
    path = user_path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            values = np.load(io.BytesIO(archive.read(_PROGRESS)), allow_pickle=False)
            metrics = sum(name.startswith("metric_") for name in values.files)
            states = tuple(values[f"metric_{index}"] for index in range(metrics))
            waited = int(values["waited"]) if "waited" in values else 0  # runs of before have none
            return Progress(int(values["step"]), int(values["epochs"]), states, float(values["best"]), waited)
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


def load_network(path: Path, compile: bool) -> keras.Model:
    """Load the network of a checkpoint that is whole; ValueError where Keras cannot."""
    try:
        return keras.models.load_model(path, compile=compile)
    except Exception as error:
        raise ValueError(f"{path} cannot be loaded, it may be damaged: {error}") from error
