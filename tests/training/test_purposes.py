"""Recipes by purpose: fitted to the data, and what the user sets stays."""

from dataclasses import replace

import pytest
from PIL import Image

from keras_cacnet.datasets import Example
from keras_cacnet.training import RECIPES
from keras_cacnet.training.compiling import network_arguments, rate_warning
from keras_cacnet.training.purposes import fitted

LAPTOP = RECIPES["laptop"]


@pytest.fixture
def images(tmp_path):
    def source(count, size=(100, 75)):
        path = tmp_path / f"{size[0]}.png"
        Image.new("RGB", size).save(path)
        return [Example(str(index), path, None) for index in range(count)]

    return source


@pytest.mark.parametrize(
    ("size", "working", "crop"),
    [((100, 75), 384, 256), ((188, 250), 384, 256), ((480, 360), 480, 320), ((4000, 3000), 512, 336)],
)
def test_images_are_brought_to_a_working_size(images, size, working, crop):
    recipe, reasons = fitted(LAPTOP, images(4, size))
    assert (recipe.image_size, recipe.crop_size) == (working, crop)
    assert f"{max(size)} pixels: image_size={working} crop_size={crop}" in reasons[0]
    recipe, _ = fitted(replace(LAPTOP, recipe=replace(LAPTOP.recipe, image_size=64)), images(4, size), ["image_size"])
    assert (recipe.image_size, recipe.crop_size) == (64, 32)


@pytest.mark.parametrize(
    ("count", "batch", "epochs"),
    [(3142, 16, 8), (367, 16, 46), (20, 5, 100), (2, 2, 100), (3, 2, 100)],
)
def test_small_sets_have_smaller_batches_and_more_epochs(images, count, batch, epochs):
    recipe, reasons = fitted(LAPTOP, images(count))
    assert (recipe.batch_size, recipe.epochs) == (batch, epochs)
    assert recipe.epochs * (count // recipe.batch_size) >= LAPTOP.steps or epochs == 100
    assert f"epochs={epochs} of" in reasons[1]
    assert 4 <= recipe.epochs / recipe.validate_every <= 6


@pytest.mark.parametrize("given", [[], ["batch_size"]])
def test_one_image_is_too_few_for_the_pooled_branch(images, given):
    told = "^1 training image is too few for the pooled branch, .* add images, at least 2 are needed, or set global_"
    with pytest.raises(ValueError, match=told):
        fitted(LAPTOP, images(1), given)
    unpooled = replace(LAPTOP, recipe=replace(LAPTOP.recipe, global_pooling=False))
    assert fitted(unpooled, images(1))[0].batch_size == 1


def test_what_is_set_stays(images):
    asked = replace(LAPTOP, recipe=replace(LAPTOP.recipe, epochs=3, batch_size=7, crop_size=96))
    recipe, _ = fitted(asked, images(50), ["epochs", "batch_size", "crop_size", "image_size"])
    assert recipe == asked.recipe


def test_recipes_fit_each_other():
    for one in RECIPES.values():
        assert rate_warning(one.recipe) is None or one.starts_from
        assert f"--recipe {one.name} " in one.command
    finetune = RECIPES["finetune"].recipe
    assert {**network_arguments(finetune), "weights": "imagenet"} == network_arguments(LAPTOP.recipe)
