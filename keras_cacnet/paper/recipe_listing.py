"""The recipes to read: all of them as a table, and one in full."""

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import fields

from keras_cacnet.paper.recipes import BESIDE_SETTINGS, PAPER_RECIPES, PaperRecipe
from keras_cacnet.training.purposes import RECIPES, PurposeRecipe
from keras_cacnet.training.recipe import Recipe, origin
from keras_cacnet.training.recipe_settings import setting_text

NOT_RUN = "not run yet"
_COLUMNS = ("name", "data", "split", "backbone", "crop", "epochs", "lr", "paper's mIoU", "ours")
_WIDTH = 118


def table(recipes: Iterable[PaperRecipe] = PAPER_RECIPES) -> str:
    """A line for every recipe.

    Example:
        >>> print(table(PAPER_RECIPES[-1:]))
        name              data    split  backbone   crop  epochs  lr     paper's mIoU  ours
        ade20k_resnet101  ade20k  train  resnet101  576   180     0.004  46.12         not run yet
    """
    rows: list[Sequence[str]] = [_COLUMNS]
    for one in recipes:
        recipe = one.recipe
        settings = (recipe.split, recipe.backbone, recipe.crop_size, recipe.epochs, recipe.learning_rate)
        figure = "not given" if one.paper is None else str(one.paper.mean_iou)
        rows.append((one.name, one.data, *map(setting_text, settings), figure, one.result or NOT_RUN))
    return _aligned(rows)


def purpose_table(recipes: Iterable[PurposeRecipe] = tuple(RECIPES.values())) -> str:
    """A line for every recipe by purpose.

    Example:
        >>> print(purpose_table([RECIPES["scratch"]]).splitlines()[0])
        name     what for                                                            backbone  time            accuracy
    """
    rows: list[Sequence[str]] = [("name", "what for", "backbone", "time", "accuracy")]
    rows += [(one.name, one.title, one.recipe.backbone, one.time, one.accuracy) for one in recipes]
    return _aligned(rows)


def purpose_description(purpose: PurposeRecipe) -> str:
    """A recipe by purpose in full: its command, what it takes, and every setting with who chose it.

    Example:
        >>> print(purpose_description(RECIPES["laptop"]).splitlines()[2])
        train     keras-cacnet train --recipe laptop --data FOLDER --output RUN
    """
    facts = {"train": purpose.command, "hardware": purpose.hardware, "time": purpose.time, "accuracy": purpose.accuracy}
    if purpose.starts_from:
        facts["begins"] = f"with {purpose.starts_from}, in RUN-{purpose.starts_from}, where --start-from names no run"
    if purpose.next:
        facts["next"] = f"--recipe {purpose.next} --start-from RUN: {RECIPES[purpose.next].title}"
    lines = [f"{purpose.name}: {purpose.title}", ""]
    for name, text in facts.items():
        lines += [f"{name:<10}{text}"] if name == "train" else _wrapped(f"{name:<10}", text)
    defaults = Recipe()
    rows: list[Sequence[str]] = [("setting", "value", "who chose it", "what it is")]
    for entry in fields(purpose.recipe):
        value = getattr(purpose.recipe, entry.name)
        same = value == getattr(defaults, entry.name)
        whose = str(origin(entry.name)) if same else f"ours: {purpose.name}"
        rows.append((entry.name, setting_text(value), whose, entry.metadata["help"]))
    fitting = "crop_size, batch_size, epochs and validate_every are fitted to the data, and said before the run begins"
    return "\n".join([*lines, "", _aligned(rows), "", fitting])


def description(published: PaperRecipe) -> str:
    """A recipe in full: its commands, the paper's figure, and every setting with who chose it.

    Example:
        >>> from keras_cacnet.paper import recipe_named
        >>> print(description(recipe_named("ade20k_resnet101")).splitlines()[0])
        ade20k_resnet101: CaC-Net with ResNet-101 on ADE20K, Table 9
    """
    recipe = published.recipe
    scored = f"scored on {recipe.validation_split}" if recipe.validation_split else "nothing left to score"
    facts = {
        "data": f"{published.data}, {published.num_classes} classes; trained on {recipe.split}, {scored}",
        "train": published.train_command(),
        "evaluate": published.evaluate_command() or "no images with masks are left; the test server scores",
        "submit": published.submit_command() or "there is no test server",
        "protocol": published.protocol.to_text(),
        "hardware": published.hardware,
        "paper": str(published.paper or "gives no figure"),
        "result": published.result or NOT_RUN,
    }
    lines = [f"{published.name}: {published.title}", ""]
    for name, text in facts.items():
        # Commands stay in one piece, to be copied.
        whole = text.startswith("keras-cacnet")
        lines += [f"{name:<10}{text}"] if whole else _wrapped(f"{name:<10}", text)
    rows: list[Sequence[str]] = [("setting", "value", "who chose it", "what it is")]
    for entry in fields(recipe):
        origin = str(published.origin(entry.name))
        rows.append((entry.name, setting_text(getattr(recipe, entry.name)), origin, entry.metadata["help"]))
    lines += ["", _aligned(rows), "", "Ours too, though no setting:"]
    for choice in BESIDE_SETTINGS:
        lines += _wrapped("- ", choice)
    return "\n".join(lines)


def _wrapped(start: str, text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=start, subsequent_indent=" " * len(start))


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in padded)
