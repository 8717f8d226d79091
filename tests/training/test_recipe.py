"""Recipes: the paper's defaults, checks, the way through JSON, and KEY=VALUE read or refused with the mend."""

import json
import re
from dataclasses import fields

import pytest

from keras_cacnet.models import CaCNet
from keras_cacnet.models.settings import REWEIGHTINGS
from keras_cacnet.training.recipe import FROM_SCRATCH, Recipe, origin, setting_text, with_settings


def test_defaults_are_the_papers():
    recipe = Recipe()
    assert (recipe.learning_rate, recipe.batch_size, recipe.crop_size, recipe.epochs) == (0.001, 16, 512, 120)
    assert (recipe.momentum, recipe.weight_decay, recipe.poly_power) == (0.9, 1e-4, 0.9)
    assert (recipe.scale_min, recipe.scale_max, recipe.flip) == (0.5, 2.0, True)
    assert (recipe.num_heads, recipe.kernel_sizes, recipe.dilation_rates) == (2, (3,), (1, 2, 3))


def test_rates_for_the_other_kind_of_start_are_told():
    assert Recipe(**FROM_SCRATCH).rate_warning() is None
    assert Recipe(weights="imagenet").rate_warning() is None
    # The largest rate of the paper, for ADE20K.
    assert Recipe(weights="imagenet", learning_rate=0.004).rate_warning() is None
    told = "learning_rate=0.004 is for a pretrained .*: it would learn little; set learning_rate=0.02 head_factor=1"
    assert re.match(told, Recipe(learning_rate=0.004).rate_warning())
    told = (
        "learning_rate=0.02 is for a backbone that starts from random.* weights=imagenet: set .*=0.001 head_factor=10"
    )
    assert re.match(told, Recipe(weights="imagenet", **FROM_SCRATCH).rate_warning())


@pytest.mark.parametrize("name", REWEIGHTINGS)
def test_every_reweighting_can_be_written_on_the_command_line(name):
    assert with_settings(Recipe(), [f"reweighting={name}"]).reweighting == name


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
    assert recipe.network_arguments()["kernel_sizes"] == (3, 5)
    assert recipe.network_arguments()["input_size"] is None
    with pytest.raises(ValueError, match=r"no crop; its fields are .*crop_size"):
        Recipe.from_json({"crop": 3})


def test_lists_become_tuples():
    recipe = Recipe(kernel_sizes=[3, 5], dilation_rates=[1])
    assert recipe == Recipe(kernel_sizes=(3, 5), dilation_rates=(1,))
    assert hash(recipe)


def test_fc_is_built_for_the_crops():
    arguments = Recipe(reweighting="fc", crop_size=96).network_arguments()
    assert (arguments["reweighting"], arguments["input_size"]) == ("fc", 96)


def test_the_semantic_encoding_loss_reaches_the_network():
    assert Recipe().network_arguments()["se_loss_weight"] == 0
    assert Recipe(reweighting="enc", se_loss_weight=0.2).network_arguments()["se_loss_weight"] == 0.2
    with pytest.raises(ValueError, match="se_loss_weight=0.2 needs heads with reweighting='enc'.*num_heads=0"):
        Recipe(reweighting="enc", se_loss_weight=0.2, num_heads=0)


@pytest.mark.parametrize(
    ("precision", "policy", "computed"),
    [
        ("float32", "float32", "float32"),
        ("bfloat16", "mixed_bfloat16", "bfloat16"),
        ("float16", "mixed_float16", "float16"),
        ("float64", "float64", "float64"),
    ],
)
def test_the_precision_reaches_backbone_and_heads(precision, policy, computed):
    recipe = Recipe(precision=precision, backbone="resnet14_narrow", head_channels=8)
    assert recipe.dtype_policy == policy
    network = CaCNet(3, **recipe.network_arguments())
    for part in (network.backbone, network.decoder, network.auxiliary):
        convolutions = [layer for layer in part.layers if layer.name.endswith("_conv")]
        assert convolutions
        assert {layer.compute_dtype for layer in convolutions} == {computed}
    wide = "float64" if precision == "float64" else "float32"
    assert network.output.dtype == wide
    assert {weight.dtype for weight in network.trainable_variables} == {wide}


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


# None of these values is a default, so a setting that was not read would show.
OTHER = {
    "split": ("trainaug", "trainaug"),
    "validation_split": ("none", None),
    "backbone": ("resnet101", "resnet101"),
    "weights": ("a folder/with = in it", "a folder/with = in it"),
    "output_stride": ("16", 16),
    "head_channels": ("64", 64),
    "num_heads": ("3", 3),
    "kernel_sizes": ("5", (5,)),
    "dilation_rates": ("1,2,3,4", (1, 2, 3, 4)),
    "reweighting": ("se", "se"),
    "se_loss_weight": ("0.2", 0.2),
    "global_pooling": ("false", False),
    "auxiliary_weight": ("0", 0.0),
    "dropout": ("0.5", 0.5),
    "crop_size": ("96", 96),
    "batch_size": ("8", 8),
    "epochs": ("3", 3),
    "learning_rate": ("2e-2", 0.02),
    "head_factor": ("1", 1.0),
    "momentum": ("0.8", 0.8),
    "weight_decay": ("0.0005", 0.0005),
    "poly_power": ("1.5", 1.5),
    "scale_min": ("0.75", 0.75),
    "scale_max": ("1.5", 1.5),
    "flip": ("False", False),
    "precision": ("bfloat16", "bfloat16"),
    "seed": ("7", 7),
    "validate_every": ("2", 2),
    "freeze": ("backbone", "backbone"),
    "loss_stride": ("8", 8),
    "image_size": ("480", 480),
    "cached_views": ("2", 2),
    "cached_dtype": ("float32", "float32"),
}
# What a setting needs beside it, to have an effect.
WITH = {
    "se_loss_weight": {"reweighting": "enc"},
    "cached_views": {"freeze": "backbone"},
    "cached_dtype": {"freeze": "backbone", "cached_views": 2},
}


@pytest.mark.parametrize("name", [entry.name for entry in fields(Recipe)])
def test_every_setting_is_read_as_its_type_and_written_as_it_is_read(name):
    text, value = OTHER[name]
    before = Recipe(**WITH.get(name, {}))
    changed = with_settings(before, [f"{name}={text}"])
    assert getattr(changed, name) == value
    assert type(getattr(changed, name)) is type(value)
    assert changed != before
    assert with_settings(changed, [f"{name}={setting_text(getattr(before, name))}"]) == before
    assert with_settings(before, [f"{name}={setting_text(value)}"]) == changed
    assert origin(name).whose in ("paper", "ours")


def test_several_settings_and_the_last_counts():
    words = ["num_heads=2", "kernel_sizes=(3, 5)", "epochs=9", "epochs = 4"]
    assert with_settings(Recipe(seed=5), words) == Recipe(seed=5, kernel_sizes=(3, 5), epochs=4)


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("epochs", "'epochs' is no setting: write KEY=VALUE"),
        ("=3", "'=3' is no setting"),
        (
            "epoch=3",
            r"no setting is called 'epoch'; did you mean epochs\? The settings are split, .*seed",
        ),
        ("learning-rate=3", r"did you mean learning_rate\?"),
        ("zzz=3", r"no setting is called 'zzz'\. The settings are"),
        ("epochs=many", "epochs must be a whole number, such as epochs=120; got 'many'"),
        ("epochs=1.5", "epochs must be a whole number, such as epochs=120; got '1.5'"),
        ("epochs=", "epochs must be a whole number, such as epochs=120; got ''"),
        ("epochs=none", "epochs must be a whole number, such as epochs=120; got 'none'"),
        ("learning_rate=fast", "learning_rate must be a number, such as learning_rate=0.001; got 'fast'"),
        ("flip=yes", "flip must be true or false, such as flip=true; got 'yes'"),
        ("flip=1", "flip must be true or false"),
        (
            "dilation_rates=1;2",
            "must be whole numbers, separated by commas, such as dilation_rates=1,2,3",
        ),
        ("kernel_sizes=", "kernel_sizes must be whole numbers"),
        ("backbone=", "backbone must be a name, such as backbone=resnet50; got ''"),
        ("weights=", "weights must be a name, or none, such as weights=imagenet; got ''"),
        ("epochs=0", "epochs must be at least 1, got 0"),
        ("learning_rate=nan", "learning_rate must be a positive number, got nan"),
        ("reweighting=senet", "reweighting must be one of cac, fixed"),
        ("precision=half", "precision must be one of float32, bfloat16, float16, float64, got 'half'"),
    ],
)
def test_a_wrong_setting_is_answered_by_the_right_one(word, told):
    with pytest.raises(ValueError, match=told):
        with_settings(Recipe(), [word])
