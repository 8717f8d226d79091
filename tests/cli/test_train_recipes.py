"""`keras-cacnet train` with recipes by purpose, and without one."""

import json
import shlex

import numpy as np
import pytest
from PIL import Image

from keras_cacnet.cli import main
from keras_cacnet.training import Run
from keras_cacnet.training.purposes import RECIPES
from small_networks import small_networks

SMALL = ["--set", "backbone=resnet14_narrow", "weights=none", "head_channels=8", "num_heads=1", "dilation_rates=1"]


@pytest.fixture(scope="module")
def coast(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "coast"
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 1)):
        for index in range(count):
            mask = np.zeros((40, 48), "uint8")
            mask[20:] = 1
            image = np.where(mask[..., None] == 1, 60, 200) + rng.integers(0, 9, (40, 48, 3))
            for kind, pixels in (("images", image.astype("uint8")), ("labels", mask)):
                (root / kind / split).mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(root / kind / split / f"{index}.png")
    (root / "classes.txt").write_text("0 sky 90 160 220\n1 sea 20 60 140\n")
    return root


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_CACNET_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache" / "features"


def test_laptop_and_then_finetune_in_one_command(coast, tmp_path, capsys, cache, monkeypatch):
    monkeypatch.setattr("keras_cacnet.training.purposes._MOST_EPOCHS", 7)
    output = tmp_path / "run"
    words = [
        "train",
        "--recipe",
        "finetune",
        "--data",
        str(coast),
        "--output",
        str(output),
        "--verbose",
        "0",
        "--no-report",
        *SMALL,
    ]
    with small_networks():
        assert main([*words, "image_size=40", "epochs=1"]) == 0
    printed = capsys.readouterr().out
    assert f"first: laptop, in {output}-laptop; then finetune, in {output}" in printed
    assert "better still" not in printed
    assert "fitted: images have long sides of up to 48 pixels: image_size=40 crop_size=16" in printed
    first, run = Run(f"{output}-laptop"), Run(output)
    assert (first.recipe.freeze, first.recipe.cached_views, run.recipe.freeze) == ("backbone", 4, "backbone_norms")
    assert (first.recipe.epochs, run.recipe.epochs) == (8, 1)
    assert run.config["start_from"]["run"] == str(first.path)
    assert len(list(cache.iterdir())) == 1
    assert run.protocol.image_size == 40
    frozen, tuned = first.load_model("last"), run.load_model("last")
    assert not frozen.backbone.trainable_variables
    assert tuned.backbone.trainable_variables
    assert main(["evaluate", str(output), "--data", str(coast)]) == 0
    assert json.loads((output / "evaluation_val.json").read_text())["protocol"]["image_size"] == 40


@pytest.mark.parametrize(
    ("words", "there", "name"),
    [([], True, "laptop"), ([], False, None), (["--set", "backbone=resnet18"], True, None)],
)
def test_without_a_recipe(coast, tmp_path, capsys, monkeypatch, words, there, name):
    def found(backbone):
        if not there:
            raise FileNotFoundError
        return tmp_path

    seen = []
    monkeypatch.setattr("keras_cacnet.models.efficientnet_lite.imagenet_file", found)
    monkeypatch.setattr("keras_cacnet.training.train", lambda job, strategy, verbose: seen.append(job))
    assert main(["train", "--data", str(coast), "--output", str(tmp_path / "run"), *words]) == 0
    (job,) = seen
    printed = capsys.readouterr().out
    assert job.recipe_name == name
    assert ("recipe: laptop" in printed) == (name == "laptop")
    assert (f"better still: {RECIPES['finetune'].title}" in printed) == (name == "laptop")
    assert ("recipe: none, for --set describes the network, so the rest is the paper's: crop_size=512" in printed) == (
        bool(words)
    )
    assert ("pip install 'keras-cacnet[imagenet]'" in printed) == (not there)
    assert job.recipe.freeze == (RECIPES["laptop"].recipe.freeze if name else "none")


def test_the_command_that_goes_further_takes_this_run(coast, tmp_path, capsys):
    run = tmp_path / "a run"
    words = ["train", "--recipe", "laptop", "--data", str(coast), "--output", str(run), "--verbose", "0", "--no-report"]
    with small_networks():
        assert main([*words, *SMALL, "image_size=40", "epochs=1"]) == 0
    (better,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("better still: "))
    command = shlex.split(better[better.index("keras-cacnet ") :])
    with small_networks():
        assert main([*command[1:], "--verbose", "0", "--no-report", "--set", "epochs=1"]) == 0
    assert Run(f"{run}-finetune").config["start_from"]["run"] == str(run)
    assert Run(f"{run}-finetune").recipe.image_size == 40


def test_recipes_lists_those_by_purpose_first(capsys):
    assert main(["recipes"]) == 0
    printed = capsys.readouterr().out
    assert printed.index("laptop") < printed.index("finetune") < printed.index("pascal_context_resnet50")
    assert main(["recipes", "laptop"]) == 0
    shown = capsys.readouterr().out
    assert "keras-cacnet train --recipe laptop --data FOLDER --output RUN" in shown
    assert "ours: laptop" in shown
    assert main(["recipes", "labtop"]) == 2
    assert "did you mean laptop?" in capsys.readouterr().err
