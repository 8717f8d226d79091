"""The network that a run starts from: that of another run, as in fine-tuning."""

from pathlib import Path
from typing import Any

import keras

from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.training.recipes import Recipe
from keras_cacnet.training.run import Run

CHECKPOINT = "best"
"""The checkpoint of the other run that is taken."""


def network_of(run: Run, recipe: Recipe, classes: ClassTable) -> keras.Model:
    """Load the network of another run, to be trained on; its optimizer stays behind.

    Args:
        run: the other run.
        recipe: the settings of the run that starts; those of the network have to be the other's.
        classes: the classes of its data; their names have to be the other's, in the same order.

    Returns:
        The network of the other run's best checkpoint, not compiled.

    Raises:
        ValueError: other classes, other settings of the network, or weights that the recipe asks for as well; the
            message names what differs.
        FileNotFoundError: the other run has no checkpoint yet.

    Reference:
        Section 4.3 of the CaC-Net paper: trained on the augmented set, fine-tuned on train and val.
    """
    if recipe.weights is not None:
        raise ValueError(
            f"weights={recipe.weights!r} and the network of {run.path} cannot both be the start: set weights=none"
        )
    if difference := _other_classes(run.classes.names, classes.names):
        raise ValueError(f"{run.path} cannot be the start: {difference}")
    there, here = _network(run.recipe), _network(recipe)
    if changed := [f"{key} is {there[key]!r} there and {here[key]!r} here" for key in here if there[key] != here[key]]:
        raise ValueError(f"{run.path} cannot be the start, its network is another: {', '.join(changed)}")
    return run.load_model(CHECKPOINT)


def trained_on(run: Run | None, dataset: str, split: str) -> list[str]:
    """The splits that a network has seen, its former runs included, as DATASET/SPLIT.

    Args:
        run: the run that it starts from, if any.
        dataset: name of the data set that it is trained on now.
        split: the split of it.
    """
    before = [] if run is None else list(run.config.get("trained_on", ()))
    seen = f"{dataset}/{split}"
    return before if seen in before else [*before, seen]


def start_record(run: Run) -> dict[str, Any]:
    """What config.json tells of the run that another starts from."""
    return {"run": str(Path(run.path).absolute()), "checkpoint": CHECKPOINT, "experiment": run.config.get("experiment")}


def _network(recipe: Recipe) -> dict[str, Any]:
    arguments = recipe.network_arguments()
    del arguments["weights"], arguments["dtype"]
    arguments["precision"] = recipe.precision  # the setting's name rather than the policy's
    return arguments


def _other_classes(there: tuple[str, ...], here: tuple[str, ...]) -> str:
    if len(there) != len(here):
        return f"it has {len(there)} classes, the data has {len(here)}"
    differing = [index for index, names in enumerate(zip(there, here, strict=True)) if names[0] != names[1]]
    if not differing:
        return ""
    first = differing[0]
    more = f" (and {len(differing) - 1} more differ)" if len(differing) > 1 else ""
    return f"its class {first} is {there[first]!r}, the data's is {here[first]!r}{more}"
