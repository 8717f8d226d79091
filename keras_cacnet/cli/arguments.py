"""Arguments that several commands take, and the types of their values."""

from __future__ import annotations

import argparse
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from keras_cacnet.training.recipe import PRECISIONS, Recipe
from keras_cacnet.training.recipe_settings import with_settings

if TYPE_CHECKING:
    from keras_cacnet import evaluation
    from keras_cacnet.datasets import SegmentationDataset
    from keras_cacnet.paper import PaperRecipe
    from keras_cacnet.training.purposes import PurposeRecipe
    from keras_cacnet.training.run import Run


class AddCommand(Protocol):
    """Adds a command to the parser: its name, what runs it, and its line of help."""

    def __call__(self, name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser: ...


def add_data(parser: argparse.ArgumentParser, required: bool, otherwise: str = "") -> None:
    parser.add_argument(
        "--data",
        required=required,
        help="a folder of images and labels, voc2012, pascal_context/60 or /59, ade20k, or scenes"
        + (f" (default: {otherwise})" if otherwise else ""),
    )
    parser.add_argument("--data-dir", type=Path, help="the folder with VOCdevkit; of scenes, where they are kept")


def add_devices(parser: argparse.ArgumentParser, otherwise: str = "1") -> None:
    parser.add_argument(
        "--devices", help=f"all GPUs, the first N of them, or cpu:N to try it out (default: {otherwise})"
    )


def add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="folder that train wrote")
    add_checkpoint(parser)


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best", help="which checkpoint")


def add_protocol(
    parser: argparse.ArgumentParser, otherwise: str = "every image is shown whole, once, at its own size"
) -> None:
    group = parser.add_argument_group("protocol", f"without these, {otherwise}")

    def option(name: str, text: str, **settings: Any) -> None:
        group.add_argument(name, default=argparse.SUPPRESS, help=text, **settings)

    option("--scales", "such as 0.5,0.75,1.0,1.25,1.5,1.75; their scores are fused (default: 1.0)", type=_numbers)
    option("--flip", "also show every window mirrored", action="store_true")
    option("--crop-size", "side of the windows that slide over larger images (default: no windows)", type=int)
    option("--stride", "distance of the windows, as a share of their size (default: 2/3)", type=_share)
    option("--fusion", "softmax_mean or exp_sum, PyTorch-Encoding's (default: softmax_mean)")
    option("--base-size", "working size: long side of images at scale 1, in pixels (default: their own)", type=int)
    option(
        "--image-size",
        "long side that images are brought to first, as in training (default: the run's)",
        type=int,
    )


def protocol_of(options: argparse.Namespace, trained: Run) -> evaluation.Protocol:
    """Take the protocol that is given, with the run's `image_size` unless it has a size of its own."""
    given = given_protocol(options)
    return trained.protocol if given is None else at_size(trained.recipe.image_size, given)


def at_size(image_size: int | None, given: evaluation.Protocol) -> evaluation.Protocol:
    """Give a protocol an `image_size`, unless it has a size of its own."""
    return given if given.base_size or given.image_size else replace(given, image_size=image_size)


def given_protocol(options: argparse.Namespace) -> evaluation.Protocol | None:
    from keras_cacnet.evaluation import Protocol

    names = [entry.name for entry in fields(Protocol)]
    given = {name: getattr(options, name) for name in names if name in options}
    try:
        return Protocol(**given) if given else None
    except ValueError as error:
        # On the command line a setting is a flag.
        flags = re.sub(rf"\b({'|'.join(names)})\b", lambda name: f"--{name[0].replace('_', '-')}", str(error))
        raise ValueError(flags) from None


def add_recipe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--recipe",
        metavar="NAME",
        help="laptop, finetune, scratch, or a recipe of the paper; see `keras-cacnet recipes`",
    )
    parser.add_argument(
        "--set",
        dest="settings",
        metavar="KEY=VALUE",
        action="extend",
        nargs="+",
        default=argparse.SUPPRESS,
        help="change settings, such as epochs=30 kernel_sizes=3,5; `keras-cacnet recipes NAME` shows them all",
    )


def given_paper_recipe(options: argparse.Namespace) -> PaperRecipe | None:
    from keras_cacnet.paper import recipe_named

    return recipe_named(options.recipe) if options.recipe else None


def given_purpose(options: argparse.Namespace) -> PurposeRecipe | None:
    """Find the recipe by purpose that `--recipe` names, if it names one; refuse a name that no recipe has."""
    from keras_cacnet.paper import PAPER_RECIPES
    from keras_cacnet.training.purposes import RECIPES, recipe_for

    names = [published.name for published in PAPER_RECIPES]
    if options.recipe is None or options.recipe in names:
        return None
    return RECIPES.get(options.recipe) or recipe_for(options.recipe, names)


def fitted_recipe(purpose: PurposeRecipe, dataset: SegmentationDataset, words: Sequence[str]) -> Recipe:
    """Fit the recipe to these data, with the settings that words change, and say why it is so."""
    from keras_cacnet.training.purposes import fitted

    asked = with_settings(purpose.recipe, words)
    keys = [word.partition("=")[0].strip() for word in words]
    recipe, reasons = fitted(replace(purpose, recipe=asked), dataset.source(asked.split), keys)
    for reason in reasons:
        print(f"fitted: {reason}")
    return recipe


def set_keys(options: argparse.Namespace) -> list[str]:
    """List the settings that `--set` and `--precision` change, by name."""
    words = [word.partition("=")[0].strip() for word in getattr(options, "settings", ())]
    return words + ["precision"] * ("precision" in options)


def add_precision(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--precision",
        choices=tuple(PRECISIONS),
        default=argparse.SUPPRESS,
        help="what the network computes in, short for --set precision=...",
    )


def given_settings(options: argparse.Namespace, recipe: Recipe) -> Recipe:
    """Change a recipe by the words of `--set` and `--precision`."""
    changed = with_settings(recipe, settings := getattr(options, "settings", ()))
    if (precision := getattr(options, "precision", None)) is None:
        return changed
    if any(word.partition("=")[0].strip() == "precision" for word in settings) and changed.precision != precision:
        raise ValueError(f"--precision {precision} and --set precision={changed.precision} differ: give one of them")
    return replace(changed, precision=precision)


@contextmanager
def naming_the_run(run: str | None) -> Iterator[None]:
    """Say of data that cannot be opened whose they are, where they are those of a run."""
    try:
        yield
    except (ValueError, OSError) as error:
        if run is None:
            raise
        raise ValueError(f"{error} ({run} was trained on them; --data names others)") from error


@contextmanager
def warnings_in_a_line(kind: type[Warning] | None = None) -> Iterator[None]:
    """Print warnings of a kind, by default a run's, as one line each, without the line of code that gave them."""
    from keras_cacnet.training import TrainingWarning

    kind = kind or TrainingWarning
    with warnings.catch_warnings():
        show = warnings.showwarning

        def shown(message: Warning | str, category: type[Warning], *place: Any) -> None:
            if issubclass(category, kind):
                print(f"warning: {message}", file=sys.stderr)
            else:
                show(message, category, *place)

        warnings.simplefilter("always", kind)
        warnings.showwarning = shown  # type: ignore[assignment]
        yield


def verbosity(text: str) -> str | int:
    if text not in ("auto", "0", "1", "2"):
        raise argparse.ArgumentTypeError(f"{text!r} is none of auto, 0, 1, 2")
    if text == "auto":
        # A bar in a file is thousands of lines.
        return "auto" if sys.stdout.isatty() else 2
    return int(text)


def opacity(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no opacity: give a number from 0 (photograph only) to 1")
    return value


def channels(text: str) -> str | tuple[int, ...]:
    if text in ("random", "largest-change"):
        return text
    try:
        return tuple(map(int, text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is none of random, largest-change, or a list such as 3,17"
        ) from None


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(map(float, text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers such as 0.5,0.75,1.0") from None


def shares(text: str) -> tuple[float, ...]:
    try:
        return tuple(map(float, text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of shares such as 0.8,0.1,0.1") from None


def _share(text: str) -> float:
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"{text!r} is no share such as 2/3 or 0.5") from None


def size(text: str) -> tuple[int, int]:
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdigit() and int(side) > 0 for side in sides):
        raise argparse.ArgumentTypeError(f"{text!r} is no size: give 512 or HEIGHTxWIDTH such as 360x480")
    return int(sides[0]), int(sides[-1])
