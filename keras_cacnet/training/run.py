"""The folder that a training run leaves: its record, its classes, its checkpoints, and what may follow from them."""

import csv
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.evaluation.protocol import Protocol
from keras_cacnet.files import user_path
from keras_cacnet.models.adapting import Adapted, adapted, weighted_layers
from keras_cacnet.models.presets import with_record
from keras_cacnet.training.checkpoint_file import load_checkpoint
from keras_cacnet.training.compiling import network_arguments
from keras_cacnet.training.recipe import Recipe
from keras_cacnet.wording import listed

if TYPE_CHECKING:
    from keras_cacnet.visualization import History

VALIDATION_FILE, TIMES_FILE = "validation.json", "times.csv"

_LISTED = 21


class Run:
    """A training run, by the folder that `keras-cacnet train` has written.

    It holds `config.json` (recipe, data, versions), `classes.json`, `best.keras`, `last.keras` and `previous.keras`
    (network, weights, optimizer, progress), `log.csv`, `times.csv`, `validation.json` (the confusion matrix on the
    validation images), `curve.png` and `tensorboard/`.

    Args:
        path: the folder.

    Raises:
        FileNotFoundError: the folder is not there or is no run.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = user_path(path)
        if not self.path.is_dir():
            raise FileNotFoundError(f"{self.path} is not a folder: give the --output folder of `keras-cacnet train`")
        if not begun(self.path):
            raise FileNotFoundError(f"{self.path} has no config.json: give the --output folder of `keras-cacnet train`")

    @property
    def config(self) -> dict[str, Any]:
        """Everything that `config.json` says."""
        config = _read_json(self.path / "config.json")
        if not isinstance(config, dict) or "recipe" not in config:
            raise ValueError(f"{self.path / 'config.json'} is not the record of a run: give a folder that train wrote")
        return config

    @property
    def recipe(self) -> Recipe:
        """The settings of the run."""
        return Recipe.from_json(self.config["recipe"])

    @property
    def protocol(self) -> Protocol:
        """How images are shown to the network: whole and once, brought to the recipe's `image_size`."""
        return Protocol(image_size=self.recipe.image_size)

    @property
    def classes(self) -> ClassTable:
        """The classes that the network predicts."""
        return ClassTable.from_json(_read_json(self.path / "classes.json"))

    @property
    def history(self) -> "History":
        """The results of the run by epoch.

        Raises:
            FileNotFoundError, ValueError: the run has not finished an epoch.
        """
        from keras_cacnet.visualization import History

        return History(self.path / "log.csv")

    @property
    def validation(self) -> dict[str, Any] | None:
        """What training counted on its validation images after the best epoch: "epoch", "mean_iou", "confusion"."""
        path = self.path / VALIDATION_FILE
        return _read_json(path)["best"] if path.is_file() else None

    @property
    def seconds(self) -> dict[int, float]:
        """How long every epoch took, its validation included; empty where the run did not write it."""
        path = self.path / TIMES_FILE
        rows = csv.DictReader(path.read_text().splitlines()) if path.is_file() else ()
        return {int(row["epoch"]): float(row["seconds"]) for row in rows}

    def checkpoint(self, which: str = "best") -> Path:
        """Find a checkpoint.

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
        """Load the network of a checkpoint, which knows its classes and its working size.

        Args:
            which: "best", "last" or "previous".
            compile: restore loss, metrics and optimizer too.

        Raises:
            ValueError: the file is damaged; the message names it.
        """
        return with_record(load_checkpoint(self.checkpoint(which), compile), self.path)

    def data(self, data: str | None = None, data_dir: str | os.PathLike[str] | None = None) -> tuple[str, str | None]:
        """Name the data of the run, as `open_dataset` takes them, or others that are given.

        Args:
            data: the name or the folder of others.
            data_dir: where they lie, or where the run's lie now.

        Returns:
            Name or folder, and where it lies.
        """
        config = self.config
        lies = None if data_dir is None else os.fspath(data_dir)
        if data not in (None, config["data"]):
            return data, lies
        return config["data"], lies or config.get("data_dir")

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
        raise ValueError(
            f"{self.path} was trained on the classes {listed(ours, _LISTED)}; {owner} has {listed(theirs, _LISTED)}"
            f"{first}"
        )

    def require_same(self, settings: dict[str, Any], classes: ClassTable, owner: str, mend: str | None = None) -> None:
        """Refuse to go on with another recipe or other classes than the run was started with.

        Args:
            settings: of the recipe, as `Recipe.to_json` gives them.
            classes: those of the data.
            owner: the name of the data.
            mend: what to do about other classes; by default to resume with those of the run, or to start anew.

        Raises:
            ValueError: they differ; the message says in what, and how to start a new run from the weights.
        """
        before = self.recipe.to_json()
        if changed := [f"{key} {before[key]!r} -> {new!r}" for key, new in settings.items() if before[key] != new]:
            raise ValueError(
                f"{self.path} was started with another recipe: {', '.join(changed)}; resume it with its own, or "
                f"{self._anew()}"
            )
        self.require_classes(classes, owner)
        if self.classes != classes:
            raise ValueError(
                f"{self.path} was started with other colours or ids of its classes than {owner} has; "
                f"{mend or self._with_those()}"
            )

    def require_files(self, images: dict[str, int], digests: dict[str, str], mend: str | None = None) -> None:
        """Refuse to go on with other files than the run was started with.

        Args:
            images: the number of images of every split.
            digests: the digest of every split that is used.
            mend: what to do about it; by default to resume with those of the run, or to start anew.

        Raises:
            ValueError: they differ; the message says in what, and how to mend it.
        """
        config = self.config
        for split, found in digests.items():
            if config["digests"].get(split) != found:
                raise ValueError(
                    f"{self.path} was started with other files in {split}: {config['images'].get(split)} images there, "
                    f"{images[split]} now, and their contents differ; {mend or self._with_those()}"
                )

    def network_for(self, recipe: Recipe, classes: ClassTable) -> Adapted:
        """Load the network of the best checkpoint for another run to start from, without its optimizer.

        Args:
            recipe: the settings of the run that starts; those of the network have to be this run's.
            classes: the classes of its data. Where their names or their order are others than this run's, the
                classifiers are drawn anew and all else is kept.

        Returns:
            The network, not compiled, and which of its layers have their weights from this run.

        Raises:
            ValueError: other settings of the network, or weights that the recipe asks for as well; the message names
                what differs.
            FileNotFoundError: this run has no checkpoint yet.

        Reference:
            Section 4.3 of the CaC-Net paper: trained on the augmented set, fine-tuned on train and val.
        """
        if recipe.weights is not None:
            raise ValueError(
                f"weights={recipe.weights!r} and the network of {self.path} cannot both be the start: set weights=none"
            )
        there, here = _network(self.recipe), _network(recipe)
        if changed := [f"{k} is {there[k]!r} there and {here[k]!r} here" for k in here if there[k] != here[k]]:
            raise ValueError(f"{self.path} cannot be the start, its network is another: {', '.join(changed)}")
        network = self.load_model("best")
        if classes.names == self.classes.names:
            return Adapted(network, tuple(weighted_layers(network)), {})
        return adapted(network, new_classes=True, num_classes=len(classes))

    def _with_those(self) -> str:
        return f"resume it with those, or {self._anew()}"

    def _anew(self) -> str:
        return f"to train on from its weights as a run of its own: --start-from {self.path} --output NEW"


def begun(folder: str | os.PathLike[str]) -> bool:
    """Tell whether a folder holds a run, be it before its first checkpoint."""
    return (user_path(folder) / "config.json").is_file()


def _network(recipe: Recipe) -> dict[str, Any]:
    arguments = network_arguments(recipe)
    del arguments["weights"], arguments["dtype"]
    arguments["precision"] = recipe.precision  # the setting's name rather than the policy's
    return arguments


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
