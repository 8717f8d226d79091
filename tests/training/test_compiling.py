"""The network of a recipe: its arguments, its precision, and rates that do not go with its start."""

import re

import pytest

from keras_cacnet.models import CaCNet
from keras_cacnet.training.compiling import network_arguments, rate_warning
from keras_cacnet.training.recipe import FROM_SCRATCH, Recipe


def test_kernel_sizes_are_one_for_all_heads_or_one_per_head():
    assert network_arguments(Recipe())["kernel_sizes"] == 3
    assert network_arguments(Recipe(kernel_sizes=(3, 5)))["kernel_sizes"] == (3, 5)


def test_fc_is_built_for_the_crops():
    arguments = network_arguments(Recipe(reweighting="fc", crop_size=96))
    assert network_arguments(Recipe())["input_size"] is None
    assert (arguments["reweighting"], arguments["input_size"]) == ("fc", 96)


def test_the_semantic_encoding_loss_reaches_the_network():
    assert network_arguments(Recipe())["se_loss_weight"] == 0
    assert network_arguments(Recipe(reweighting="enc", se_loss_weight=0.2))["se_loss_weight"] == 0.2


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
    assert network_arguments(recipe)["dtype"] == policy
    network = CaCNet(3, **network_arguments(recipe))
    for part in (network.backbone, network.decoder, network.auxiliary):
        convolutions = [layer for layer in part.layers if layer.name.endswith("_conv")]
        assert convolutions
        assert {layer.compute_dtype for layer in convolutions} == {computed}
    wide = "float64" if precision == "float64" else "float32"
    assert network.output.dtype == wide
    assert {weight.dtype for weight in network.trainable_variables} == {wide}


def test_rates_for_the_other_kind_of_start_are_told():
    assert rate_warning(Recipe(**FROM_SCRATCH)) is None
    assert rate_warning(Recipe(weights="imagenet")) is None
    # The largest rate of the paper, for ADE20K.
    assert rate_warning(Recipe(weights="imagenet", learning_rate=0.004)) is None
    told = "learning_rate=0.004 is for a pretrained .*: it would learn little; set learning_rate=0.02 head_factor=1"
    assert re.match(told, rate_warning(Recipe(learning_rate=0.004)))
    told = (
        "learning_rate=0.02 is for a backbone that starts from random.* weights=imagenet: set .*=0.001 head_factor=10"
    )
    assert re.match(told, rate_warning(Recipe(weights="imagenet", **FROM_SCRATCH)))
