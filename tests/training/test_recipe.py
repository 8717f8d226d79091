"""Recipes: the paper's defaults, checks, and the way through JSON."""

import json

import pytest

from keras_cacnet.training.recipe import Recipe


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
    ],
)
def test_values_outside_their_range_are_named(field, value):
    with pytest.raises(ValueError, match=field):
        Recipe(**{field: value})
