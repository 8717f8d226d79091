"""The folder that a training run leaves: configuration, classes, checkpoints, logs."""

import json
from pathlib import Path
from typing import Any

import keras

from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.training.progress import check_checkpoint
from keras_cacnet.training.recipes import Recipe

_LISTED = 21


class Run:
    """Reads the folder that `keras-cacnet train` writes.

    It holds `config.json` (recipe, data, versions), `classes.json`, `best.keras`, `last.keras` and `previous.keras`
    (network, weights, optimizer, progress), `log.csv`, `curve.png` and `tensorboard/`.

    Args:
        path: the folder.

    Raises:
        FileNotFoundError: the folder is not there or is no run.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            raise FileNotFoundError(f"{self.path} is not a folder: give the --output folder of `keras-cacnet train`")
        if not begun(self.path):
            raise FileNotFoundError(f"{self.path} has no config.json: give the --output folder of `keras-cacnet train`")

    @property
    def config(self) -> dict[str, Any]:
        """Everything that `config.json` says."""
        return _read_json(self.path / "config.json")

    @property
    def recipe(self) -> Recipe:
        """The settings of the run."""
        return Recipe.from_json(self.config["recipe"])

    @property
    def classes(self) -> ClassTable:
        """The classes that the network predicts."""
        return ClassTable.from_json(_read_json(self.path / "classes.json"))

    def require_classes(self, classes: ClassTable, owner: str) -> None:
        """Refuse other classes than those of the run.

        Args:
            classes: to compare by their names, in order.
            owner: whose they are, for the message.

        Raises:
            ValueError: they differ; the message names both and the first difference.
        """
        ours, theirs = self.classes.names, classes.names
        if ours == theirs:
            return
        place = next((i for i, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), None)
        first = "" if place is None else f"; class {place} is {ours[place]!r} there and {theirs[place]!r} here"
        raise ValueError(f"{self.path} was trained on the classes {_shown(ours)}; {owner} has {_shown(theirs)}{first}")

    def checkpoint(self, which: str = "best") -> Path:
        """The path of a checkpoint.

        Args:
            which: "best", "last", or "previous" for the one before the last.

        Raises:
            ValueError: another name.
            FileNotFoundError: no such checkpoint, as before the end of the first epoch.
        """
        if which not in ("best", "last", "previous"):
            raise ValueError(f"which must be 'best', 'last' or 'previous', got {which!r}")
        path = self.path / f"{which}.keras"
        if not path.is_file():
            raise FileNotFoundError(f"{path} is not there: the run has not finished its first epoch")
        return path

    def load_model(self, which: str = "best", compile: bool = False) -> keras.Model:
        """Load the network of a checkpoint.

        Args:
            which: "best", "last" or "previous".
            compile: restore loss, metrics and optimizer too.

        Raises:
            ValueError: the file is damaged; the message names it.
        """
        path = self.checkpoint(which)
        check_checkpoint(path)
        try:
            return keras.models.load_model(path, compile=compile)
        except Exception as error:
            raise ValueError(f"{path} cannot be loaded, it may be damaged: {error}") from error


def begun(folder: str | Path) -> bool:
    """Whether a folder holds a run, be it before its first checkpoint."""
    return (Path(folder) / "config.json").is_file()


def _shown(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
