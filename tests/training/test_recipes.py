"""Recipes by purpose: fitted to the data, and what the user sets stays."""

from dataclasses import replace

import pytest
from PIL import Image

from keras_cacnet.datasets import Example
from keras_cacnet.evaluation import Protocol
from keras_cacnet.training import RECIPES
from keras_cacnet.training.recipes import fitted

LAPTOP = RECIPES["laptop"]


@pytest.fixture
def images(tmp_path):
    def source(count, size=(100, 75)):
        path = tmp_path / f"{size[0]}.png"
        Image.new("RGB", size).save(path)
        return [Example(str(index), path, None) for index in range(count)]

    return source


@pytest.mark.parametrize(("size", "crop"), [((100, 75), 112), ((75, 100), 112), ((480, 360), 480), ((4000, 3000), 512)])
def test_whole_images_fit_into_the_crops(images, size, crop):
    recipe, reasons = fitted(LAPTOP, images(4, size))
    assert recipe.crop_size == crop
    assert f"crop_size={crop}" in reasons[0]
    assert ("brought to image_size=512" in reasons[0]) == (max(size) > 512)
    assert max(Protocol(image_size=recipe.image_size).scaled_size(size[1], size[0], recipe.scale_max)) <= crop


@pytest.mark.parametrize(
    ("count", "batch", "epochs"),
    [(3142, 16, 10), (367, 16, 46), (20, 5, 100), (2, 2, 100), (3, 2, 100)],
)
def test_small_sets_have_smaller_batches_and_more_epochs(images, count, batch, epochs):
    recipe, reasons = fitted(LAPTOP, images(count))
    assert (recipe.batch_size, recipe.epochs) == (batch, epochs)
    assert recipe.epochs * (count // recipe.batch_size) >= LAPTOP.steps or epochs == 100
    assert f"epochs={epochs} of" in reasons[1]
    assert 4 <= recipe.epochs / recipe.validate_every <= 6


def test_what_is_set_stays(images):
    asked = replace(LAPTOP, recipe=replace(LAPTOP.recipe, epochs=3, batch_size=7, crop_size=96))
    recipe, reasons = fitted(asked, images(50), ["epochs", "batch_size", "crop_size"])
    assert recipe == asked.recipe
    assert not reasons


def test_recipes_fit_each_other():
    for one in RECIPES.values():
        assert one.recipe.rate_warning() is None or one.starts_from
        assert f"--recipe {one.name} " in one.command
    finetune = RECIPES["finetune"].recipe
    assert {**finetune.network_arguments(), "weights": "imagenet"} == LAPTOP.recipe.network_arguments()
