"""Recipes: the paper's defaults, checks, and the way through JSON."""

import json

import pytest

from keras_cacnet.pipeline import Jitter
from keras_cacnet.training.recipe import Recipe
from keras_cacnet.training.recipe_settings import with_settings


def test_defaults_are_the_papers():
    recipe = Recipe()
    assert (recipe.learning_rate, recipe.batch_size, recipe.crop_size, recipe.epochs) == (0.001, 16, 512, 120)
    assert (recipe.momentum, recipe.weight_decay, recipe.poly_power) == (0.9, 1e-4, 0.9)
    assert (recipe.scale_min, recipe.scale_max, recipe.flip) == (0.5, 2.0, True)
    assert (recipe.num_heads, recipe.kernel_sizes, recipe.dilation_rates) == (2, (3,), (1, 2, 3))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"reweighting": "se", "kernel_sizes": (5,)},
            "kernel_sizes=5 would have no effect: reweighting=se has no kernels",
        ),
        ({"reweighting": "enc", "kernel_sizes": (3, 5)}, "kernel_sizes=3,5 would have no effect: reweighting=enc"),
        ({"reweighting": "none", "dilation_rates": (1,)}, "dilation_rates=1 would have no effect: reweighting=none"),
        ({"num_heads": 0, "kernel_sizes": (5,)}, "kernel_sizes=5 would have no effect: num_heads=0 has no kernels"),
        ({"num_heads": 0, "dilation_rates": (1,)}, "dilation_rates=1 would have no effect: num_heads=0"),
        ({"num_heads": 0, "reweighting": "se"}, "reweighting=se would have no effect: num_heads=0 has no heads"),
        (
            {"num_heads": 1, "kernel_sizes": (1,), "batch_size": 1, "global_pooling": False},
            "batch_size=1 cannot train kernels of size 1",
        ),
        ({"optimizer": "adamw", "momentum": 0.8}, "momentum=0.8 would have no effect: optimizer=adamw has moments"),
        ({"schedule": "cosine", "poly_power": 1.0}, "poly_power=1.0 would have no effect: schedule=cosine"),
        (
            {"validation_split": None, "early_stopping": 3},
            "early_stopping=3 would have no effect: validation_split",
        ),
        ({"loss": "dice", "label_smoothing": 0.1}, "label_smoothing=0.1 would have no effect: loss=dice has none"),
        ({"accumulate": 16}, r"batch_size=16 in as many parts \(accumulate\) cannot train the pooled branch"),
        ({"accumulate": 3}, "batch_size=16 must be a multiple of accumulate=3"),
        (
            {"freeze": "all_but_classifier", "recompute": True},
            "recompute=true would have no effect: nothing before the classifiers has a gradient",
        ),
        ({"seed": 2**32}, r"seed must be 0 or more and below 2\*\*32"),
    ],
)
def test_a_setting_without_effect_is_refused(settings, told):
    with pytest.raises(ValueError, match=told):
        Recipe(**settings)


def test_settings_that_are_the_default_need_no_effect():
    assert Recipe(num_heads=0, reweighting="cac", kernel_sizes=(3,), dilation_rates=(1, 2, 3))
    assert Recipe(batch_size=1, global_pooling=False, num_heads=0)


def test_json_brings_back_the_same_recipe():
    recipe = Recipe(kernel_sizes=(3, 5), seed=7)
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe
    with pytest.raises(ValueError, match=r"no crop; its fields are .*crop_size"):
        Recipe.from_json({"crop": 3})


def test_lists_become_tuples():
    recipe = Recipe(kernel_sizes=[3, 5], dilation_rates=[1])
    assert recipe == Recipe(kernel_sizes=(3, 5), dilation_rates=(1,))
    assert hash(recipe)


def test_the_semantic_encoding_loss_needs_heads():
    with pytest.raises(ValueError, match="se_loss_weight=0.2 needs heads with reweighting='enc'.*num_heads=0"):
        Recipe(reweighting="enc", se_loss_weight=0.2, num_heads=0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("crop_size", 0),
        ("batch_size", 0),
        ("epochs", -1),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("dropout", 1.0),
        ("momentum", -0.1),
        ("scale_max", 0.4),
        ("output_stride", 12),
        ("kernel_sizes", (3, 3, 3)),
        ("seed", -1),
        ("batch_size", 1),
        ("reweighting", "senet"),
        ("precision", "mixed_float16"),
        ("epochs", "3"),
        ("epochs", 2.5),
        ("epochs", True),
        ("epochs", None),
        ("flip", 1),
        ("learning_rate", "0.1"),
        ("kernel_sizes", 3),
        ("kernel_sizes", ()),
        ("kernel_sizes", []),
        ("kernel_sizes", ["3"]),
        ("kernel_sizes", (3.0,)),
        ("dilation_rates", (0,)),
        ("backbone", None),
        ("se_loss_weight", -0.1),
        ("se_loss_weight", 0.2),
        ("loss", "dise"),
        ("class_weights", "median"),
        ("class_weights", "1,x"),
        ("label_smoothing", 1.0),
        ("optimizer", "adam"),
        ("schedule", "cosin"),
        ("warmup_steps", -1),
        ("ema", 1.0),
        ("accumulate", 0),
        ("early_stopping", 0),
        ("brightness", 1.0),
        ("hue", 0.6),
        ("rotation", 181.0),
        ("cutout", -0.1),
    ],
)
def test_values_outside_their_range_are_named(field, value):
    with pytest.raises(ValueError, match=field):
        Recipe(**{field: value})


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("loss=crossentropy+dise", r"no loss is called 'dise'; did you mean dice\?"),
        ("class_weights=median_freq", "did you mean median_frequency"),
        ("optimizer=adam", r"optimizer must be one of sgd, adamw, got 'adam'; did you mean adamw\?"),
        ("schedule=cosin", r"did you mean cosine\?"),
        ("brightnes=0.2", "did you mean brightness"),
    ],
)
def test_wrong_words_are_answered_with_the_nearest(word, told):
    with pytest.raises(ValueError, match=told):
        with_settings(Recipe(), [word])


def test_losses_and_augmentation_as_words():
    words = "loss=crossentropy+0.5*dice class_weights=car:2,pole:3 label_smoothing=0.1 hue=0.1 rotation=10 ema=0.999"
    recipe = with_settings(Recipe(), words.split())
    assert (recipe.loss, recipe.class_weights) == ("crossentropy+0.5*dice", "car:2,pole:3")
    assert (recipe.jitter.hue, recipe.jitter.rotation, recipe.jitter.blur) == (0.1, 10, 0)
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe
    assert Recipe().jitter == Jitter()
