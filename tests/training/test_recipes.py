"""Recipes: the paper's defaults, checks, and the way through JSON."""

import json

import pytest

from keras_cacnet.models import CaCNet
from keras_cacnet.training.recipes import Recipe


def test_defaults_are_the_papers():
    recipe = Recipe()
    assert (recipe.learning_rate, recipe.batch_size, recipe.crop_size, recipe.epochs) == (0.001, 16, 512, 120)
    assert (recipe.momentum, recipe.weight_decay, recipe.poly_power) == (0.9, 1e-4, 0.9)
    assert (recipe.scale_min, recipe.scale_max, recipe.flip) == (0.5, 2.0, True)
    assert (recipe.num_heads, recipe.kernel_sizes, recipe.dilation_rates) == (2, (3,), (1, 2, 3))


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
