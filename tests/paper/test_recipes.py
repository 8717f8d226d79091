"""The named recipes against the paper's words, and their commands against the command line that reads them."""

import argparse
import json
import re
import shlex
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest

from keras_cacnet.cli.arguments import add_protocol
from keras_cacnet.datasets import PUBLISHED
from keras_cacnet.evaluation import Protocol
from keras_cacnet.paper import PAPER_RECIPES, recipe_named
from keras_cacnet.paper.recipe_listing import description, table
from keras_cacnet.paper.recipes import protocol_words
from keras_cacnet.training.recipe import Recipe

# Section 4.1 and Tables 1, 9 and 10, typed from the paper; fine-tuning's epochs and rate are ours.
# name: data, trained on, scored on, backbone, heads, pooling, crop, epochs, learning rate, mIoU, pixAcc
PAPER = {
    "pascal_context_fcn_resnet50": "pascal_context/60 train val resnet50 0 False 512 120 0.001 45.8 76.0",
    "pascal_context_cac_resnet50": "pascal_context/60 train val resnet50 2 False 512 120 0.001 52.0 79.8",
    "pascal_context_resnet50": "pascal_context/60 train val resnet50 2 True 512 120 0.001 52.5 80.2",
    "pascal_context_resnet101": "pascal_context/60 train val resnet101 2 True 512 120 0.001 55.4 81.5",
    "voc2012_resnet101": "voc2012 trainaug val resnet101 2 True 512 80 0.002 - -",
    "voc2012_resnet101_finetune": "voc2012 trainval None resnet101 2 True 512 50 0.0002 85.1 None",
    "ade20k_resnet101": "ade20k train val resnet101 2 True 576 180 0.004 46.12 None",
}


def test_there_is_one_for_every_experiment_of_the_paper():
    assert {published.name for published in PAPER_RECIPES} == set(PAPER)
    assert len(PAPER_RECIPES) == len(PAPER)


@pytest.mark.parametrize("name", PAPER)
def test_settings_are_the_papers(name):
    published = recipe_named(name)
    recipe, figure = published.recipe, published.paper
    told = (published.data, recipe.split, recipe.validation_split, recipe.backbone, recipe.num_heads)
    told += (recipe.global_pooling, recipe.crop_size, recipe.epochs, recipe.learning_rate)
    told += ("-", "-") if figure is None else (figure.mean_iou, figure.pixel_accuracy)
    assert " ".join(map(str, told)) == PAPER[name]
    assert (recipe.batch_size, recipe.momentum, recipe.weight_decay, recipe.poly_power) == (16, 0.9, 1e-4, 0.9)
    assert (recipe.scale_min, recipe.scale_max, recipe.flip, recipe.output_stride) == (0.5, 2.0, True, 8)
    assert (recipe.kernel_sizes, recipe.dilation_rates, recipe.reweighting) == ((3,), (1, 2, 3), "cac")
    assert (recipe.auxiliary_weight, recipe.dropout, recipe.head_factor) == (0.2, 0.1, 10.0)
    # Only fine-tuning starts from another network than ImageNet's.
    assert recipe.weights == (None if published.starts_from else "imagenet")


@pytest.mark.parametrize("name", ["pascal_context_resnet50", "pascal_context_resnet101", "ade20k_resnet101"])
def test_memory_is_what_the_benchmark_predicts(name):
    published = recipe_named(name)
    results = Path(__file__).parents[2] / "benchmarks" / "results" / "what_fits.json"
    fits = json.loads(results.read_text())
    found = fits["recipes"][f"{name}, float32"]
    predicted = (fits["fixed"] * found["weights_bytes"] + published.recipe.batch_size * found["image_bytes"]) / 1e9
    said = re.search(r"one GPU with (\d+) GB: a step takes some (\d+) GB", published.hardware)
    assert said is not None
    device, step = map(int, said.groups())
    assert abs(step - predicted) < 1  # whole GB
    assert predicted + fits["reserve_bytes"] / 1e9 < device


@pytest.mark.parametrize("name", PAPER)
def test_what_is_ours_is_said_to_be_ours(name):
    published = recipe_named(name)
    own = {entry.name for entry in fields(Recipe) if published.origin(entry.name).whose == "ours"}
    silent = {"head_channels", "auxiliary_weight", "dropout", "head_factor", "se_loss_weight"}
    silent |= {"precision", "seed", "validate_every"}
    silent |= {"image_size", "freeze", "loss_stride", "cached_views", "cached_dtype"}  # the paper has none of these
    silent |= {"loss", "class_weights", "label_smoothing", "warmup_steps", "ema", "accumulate", "recompute"}
    silent |= {"early_stopping"}
    if name == "voc2012_resnet101_finetune":
        assert own == silent | {"epochs", "learning_rate"}
    else:
        assert own == silent | {"validation_split"}
    assert set(published.origins) <= {entry.name for entry in fields(Recipe)}


@pytest.mark.parametrize("name", PAPER)
def test_data_sets_exist_and_have_as_many_classes(name, tmp_path):
    published = recipe_named(name)
    assert published.data in PUBLISHED
    import_module(f"keras_cacnet.datasets.{published.data.partition('/')[0]}")
    import tensorflow_datasets as tfds

    builder, _, config = published.data.partition("/")
    made = tfds.builder_cls(builder)(config=config or None, data_dir=tmp_path)
    assert len(made.class_table()) == published.num_classes


@pytest.mark.parametrize("name", PAPER)
def test_the_evaluation_line_gives_the_protocol_back(name):
    published = recipe_named(name)
    command = published.evaluate_command("a run", "my data")
    assert published.protocol.crop_size == published.recipe.crop_size
    assert published.protocol.flip
    assert len(published.protocol.scales) > 1
    if published.recipe.validation_split is None:
        assert command is None
        return
    words = shlex.split(command)
    start = words.index("--scales")
    assert words[:start] == [
        *("keras-cacnet", "evaluate", "a run", "--data", published.data, "--data-dir", "my data"),
        *("--split", "val", "--checkpoint", "last"),
    ]
    assert parsed(words[start:]) == published.protocol


def test_archives_go_to_the_servers_that_there_are():
    for published in PAPER_RECIPES:
        command = published.submit_command("a run", "my data")
        if published.name not in ("voc2012_resnet101_finetune", "ade20k_resnet101"):
            assert command is None
            continue
        words = shlex.split(command)
        start = words.index("--output")
        assert words[:start] == ["keras-cacnet", "submit", published.data, "a run", "--data-dir", "my data"]
        assert words[start + 2 : start + 4] == ["--checkpoint", "last"]
        assert parsed(words[start + 4 :]) == published.protocol


def test_the_guide_has_the_commands_of_the_recipes():
    text = (Path(__file__).resolve().parents[2] / "docs" / "paper.md").read_text()
    lines = re.sub(r" \\\n\s+", " ", text).splitlines()
    told = {line.strip() for line in lines if re.match(r"    keras-cacnet (train|evaluate|submit)", line)}
    told = {line for line in told if any(published.name in line for published in PAPER_RECIPES)}
    known = {published.train_command() for published in PAPER_RECIPES}
    known |= {published.evaluate_command() for published in PAPER_RECIPES}
    known |= {published.submit_command() for published in PAPER_RECIPES}
    assert len(told) == 9
    assert told <= known


@pytest.mark.parametrize(
    "protocol",
    [Protocol(), Protocol((0.75, 1.25), True, 96, 0.5, "exp_sum", 520), Protocol(crop_size=32, stride=1.0)],
)
def test_words_of_a_protocol(protocol):
    assert parsed(protocol_words(protocol)) == protocol


def parsed(words):
    parser = argparse.ArgumentParser()
    add_protocol(parser)
    return Protocol(**vars(parser.parse_args(words)))


def test_the_table_and_the_full_text_say_what_has_not_been_run():
    lines = table().splitlines()
    assert len(lines) == 1 + len(PAPER)
    for published, line in zip(PAPER_RECIPES, lines[1:], strict=True):
        assert line.startswith(f"{published.name} ")
        assert line.endswith(published.result or "not run yet")
        text = description(published)
        for entry in fields(Recipe):
            assert f"\n{entry.name} " in text
        assert f"\ntrain     {published.train_command()}\n" in text
        assert (published.evaluate_command() or "test server") in text
        assert (str(published.paper) if published.paper else "gives no figure") in text


def test_an_unknown_name_is_answered_by_the_nearest():
    with pytest.raises(ValueError, match=r"'pascal_context_resnet55'; did you mean pascal_context_resnet50\?"):
        recipe_named("pascal_context_resnet55")
    with pytest.raises(ValueError, match="no recipe is called 'coco'. There are pascal_context_fcn_resnet50, .*ade20k"):
        recipe_named("coco")
