"""Recipes by purpose, and how they are fitted to a data set. Those of the paper are in `keras_cacnet.paper`."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from keras_cacnet.datasets.reading import open_image
from keras_cacnet.datasets.source import Source
from keras_cacnet.training.recipe import FROM_SCRATCH, ONE_IMAGE, Recipe
from keras_cacnet.training.recipe_settings import setting_text
from keras_cacnet.wording import did_you_mean

_SAMPLE = 200
_SMALLEST = 384
_CROP_STEP = 16
_SCORES = 6
_MOST_EPOCHS = 100


@dataclass(frozen=True)
class PurposeRecipe:
    """Settings for a purpose, to be fitted to any data set.

    Args:
        name: the name.
        title: what it is for.
        recipe: the settings before they are fitted.
        steps: training steps that smaller data sets get as well, by up to 100 epochs.
        hardware: what it is meant to run on.
        time: how long it takes there.
        accuracy: what to expect.
        starts_from: the recipe whose network this one starts from.
        next: the recipe that takes a run of this one further.
    """

    name: str
    title: str
    recipe: Recipe
    steps: int
    hardware: str
    time: str
    accuracy: str
    starts_from: str | None = None
    next: str = ""
    command: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "command", f"keras-cacnet train --recipe {self.name} --data FOLDER --output RUN")


_LAPTOP = Recipe(
    backbone="efficientnet_lite0",
    weights="imagenet",
    output_stride=16,
    head_channels=128,
    # Its head could not reach the network through a frozen backbone.
    auxiliary_weight=0.0,
    freeze="backbone",
    loss_stride=4,
    image_size=512,
    crop_size=512,
    epochs=8,
    learning_rate=0.02,
    head_factor=1.0,
    # A little smaller than what is scored: it scores better so, and costs less.
    scale_min=0.75,
    scale_max=1.05,
    cached_views=4,
)

RECIPES = {
    one.name: one
    for one in (
        PurposeRecipe(
            name="laptop",
            title="good masks in minutes: heads on a frozen EfficientNet-Lite0 with ImageNet weights, features cached",
            recipe=_LAPTOP,
            steps=1000,
            hardware="2 CPU cores; the features of 1,000 images take 0.7 to 1.1 GB of disk",
            time="3 to 7 minutes for 367 to 2,742 images, on 2 cores",
            accuracy="mIoU 0.51 on VOC at half size (10 classes), 0.51 on CamVid",
            next="finetune",
        ),
        PurposeRecipe(
            name="finetune",
            title="laptop, then the whole network at a low rate",
            recipe=replace(
                _LAPTOP,
                weights=None,
                # Batches of 16 crops have other statistics than ImageNet; taking them on undoes the start.
                freeze="backbone_norms",
                loss_stride=2,
                cached_views=0,
                epochs=4,
                learning_rate=0.002,
                scale_min=0.75,
                scale_max=1.5,
            ),
            steps=1000,
            hardware="a GPU, or a CPU and patience",
            time="an hour for 2,742 images, on 2 cores",
            accuracy="mIoU 0.53 on VOC at half size where laptop has 0.51, after 513 steps",
            starts_from="laptop",
        ),
        PurposeRecipe(
            name="scratch",
            title="a ResNet-18 from random weights, for images that are no photographs",
            recipe=Recipe(
                backbone="resnet18",
                head_channels=128,
                image_size=512,
                crop_size=256,
                batch_size=8,
                epochs=30,
                scale_min=0.75,
                scale_max=1.5,
                learning_rate=FROM_SCRATCH["learning_rate"],
                head_factor=FROM_SCRATCH["head_factor"],
            ),
            steps=5000,
            hardware="a GPU, or a CPU and hours",
            time="hours on a CPU",
            accuracy="far below a pretrained start's on photographs, see docs/results.md",
        ),
    )
}
"""The recipes by purpose, by name."""


def recipe_for(name: str, others: Collection[str] = ()) -> PurposeRecipe:
    """Find a recipe by its name.

    Args:
        name: the name.
        others: further names there are, for the message.

    Raises:
        ValueError: there is none; the message has the nearest name and all names.

    Example:
        >>> recipe_for("labtop")
        Traceback (most recent call last):
        ValueError: no recipe is called 'labtop'; did you mean laptop? There are laptop, finetune, scratch
    """
    if name not in RECIPES:
        names = [*RECIPES, *others]
        hint = did_you_mean(name, names) or "."
        raise ValueError(f"no recipe is called {name!r}{hint} There are {', '.join(names)}")
    return RECIPES[name]


def fitted(purpose: PurposeRecipe, source: Source, given: Sequence[str] = ()) -> tuple[Recipe, list[str]]:
    """Fit a recipe to the number and the size of the images.

    Small images are enlarged and large ones reduced, crops are two thirds of their long side, small sets have smaller
    batches and more epochs, and validation images are scored about six times. What the user has set stays.

    Args:
        purpose: the recipe.
        source: the images that it is trained on.
        given: settings that stay as they are, by name.

    Returns:
        The settings, and the reasons in one line each.

    Raises:
        ValueError: an image that cannot be opened; it is named. Or one image for a network with a pooled branch.

    Example:
        >>> class Nothing(list): ...
        >>> fitted(RECIPES["laptop"], Nothing())[1]
        []
    """
    if not len(source):
        return purpose.recipe, []
    recipe, reasons = purpose.recipe, []
    if len(source) == 1 and recipe.global_pooling:
        raise ValueError(ONE_IMAGE)
    found: dict[str, Any] = {}
    longest = _longest(source)
    if "image_size" not in given and recipe.image_size is not None:
        # Features are a coarse grid: of small images they are too few.
        found["image_size"] = min(max(longest, _SMALLEST), recipe.image_size)
    recipe = replace(recipe, **found)
    if "crop_size" not in given:
        share = (recipe.image_size or longest) * 2 // 3 // _CROP_STEP
        found["crop_size"] = min(max(share, 1) * _CROP_STEP, recipe.crop_size)
    recipe = replace(recipe, **found)
    sizes = f"image_size={setting_text(recipe.image_size)} crop_size={recipe.crop_size}"
    reasons.append(f"images have long sides of up to {longest} pixels: {sizes}")
    batch = max(2, min(recipe.batch_size, len(source) // 4))
    if "batch_size" not in given:
        found["batch_size"] = min(batch, len(source))
    recipe = replace(recipe, **found)
    steps = max(1, len(source) // recipe.batch_size)
    epochs = max(recipe.epochs, min(-(-purpose.steps // steps), _MOST_EPOCHS))
    if "epochs" not in given:
        found["epochs"] = epochs
        reasons.append(
            f"{len(source):,} images: epochs={epochs} of {steps} step{'s'[: steps > 1]} with "
            f"batch_size={recipe.batch_size}, {epochs * steps:,} in all"
        )
    if "validate_every" not in given and "epochs" not in given:
        found["validate_every"] = -(-epochs // _SCORES)
    return replace(recipe, **found), reasons


def _longest(source: Source) -> int:
    """The longest side of some images, spread over the source; of each its header is read."""
    count = len(source)
    sides = []
    for index in sorted({place * count // min(count, _SAMPLE) for place in range(min(count, _SAMPLE))}):
        example = source[index]
        with open_image(example.image, example.image_origin) as image:
            sides.append(max(image.size))
    return max(sides)
