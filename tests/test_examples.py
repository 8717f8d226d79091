"""The examples run as a reader would run them, only shorter."""

import contextlib
import importlib.util
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from keras_cacnet.training import FROM_SCRATCH, RECIPES, Recipe, with_settings
from keras_cacnet.training.compiling import rate_warning

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def run(name, *words, **environment):
    return subprocess.run(
        [sys.executable, str(EXAMPLES / name), *map(str, words)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def folder(tmp_path):
    """Five images to train on, fewer than the example's batch, and what file managers leave beside them."""
    rng = np.random.default_rng(0)
    root = tmp_path / "coast"
    for split, count in (("train", 5), ("val", 2)):
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True)
        for index in range(count):
            image = rng.integers(0, 256, (40, 30 + index, 3)).astype("uint8")
            Image.fromarray(image).save(root / "images" / split / f"{index}.jpg")
            Image.fromarray((image[..., 0] > 128).astype("uint8")).save(root / "labels" / split / f"{index}.png")
        for name in (".DS_Store", "._0.jpg", "Thumbs.db"):
            (root / "images" / split / name).write_bytes(b"no image")
    (root / "classes.txt").write_text("0 dark 0 0 0\n1 light 255 255 255\n")
    return root


def test_own_images(folder, tmp_path):
    words = (folder, "--output", "~/out", "--backbone", "resnet14_narrow", "--side", 32, "--epochs", 1)
    result = run("own_images.py", *words, HOME=str(tmp_path))
    assert result.returncode == 0, result.stderr
    model = keras.models.load_model(tmp_path / "out" / "model.keras", compile=True)
    assert model.num_classes == 2
    assert int(model.optimizer.iterations) == 1
    assert (tmp_path / "out" / "cacnet" / "1" / "saved_model.pb").exists()


@pytest.mark.slow
def test_own_images_that_would_train_nothing_are_refused(folder, tmp_path):
    for path in (folder / "images" / "train").glob("[1-4].jpg"):
        path.unlink()
        (folder / "labels" / "train" / f"{path.stem}.png").unlink()
    for words, told in (
        ((), "images/train has 1 images: batch norm needs at least 2 to train"),
        (("--epochs", 0), "--epochs must be at least 1, got 0"),
    ):
        result = run("own_images.py", folder, "--output", tmp_path / "out", *words)
        assert result.returncode != 0
        assert told in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_quickstart(tmp_path):
    result = run("quickstart.py", "--output", tmp_path / "quickstart", "--epochs", 1, "--crop-size", 64)
    assert result.returncode == 0, result.stderr
    assert len(list((tmp_path / "quickstart" / "pictures").glob("*_overlay.png"))) == 4
    assert (tmp_path / "quickstart" / "cacnet" / "1" / "saved_model.pb").exists()
    assert "Next, on photographs" in result.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words", "told"),
    [
        ("own_head.py", ["--output", "head.keras"], "saved and loaded: SeparableHead(channels=64, kernel_size=5)"),
        ("own_backbone.py", ["--output", "backbone.keras"], "written: backbone.keras"),
        ("several_devices.py", ["--devices", "cpu:2", "--batch-size", "4"], "devices: 2"),
    ],
)
def test_short_scripts(name, words, told, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(name, "--data", folder, "--steps", 2, *words)
    assert result.returncode == 0, result.stderr
    assert told in result.stdout


@pytest.mark.parametrize("name", sorted({path.name for path in EXAMPLES.glob("*.py")} - {"colab.py"}))
def test_examples_stay_short(name):
    assert len((EXAMPLES / name).read_text().splitlines()) < 80


def assert_trains_well(text):
    """The commands to type have the rates for random weights, or are those of laptop."""
    commands = [line for line in text.replace("\\\n", " ").splitlines() if "keras-cacnet train --data FOLDER" in line]
    assert commands
    for command in commands:
        words = command.partition("--set ")[2].split()
        recipe = with_settings(Recipe(), words) if words else RECIPES["laptop"].recipe
        assert not words or FROM_SCRATCH.items() <= vars(recipe).items()
        assert rate_warning(recipe) is None


def test_what_the_first_page_tells_to_type_trains_well():
    text = (EXAMPLES.parent / "README.md").read_text()
    assert_trains_well(text)
    snippet = text[text.index("```python") : text.index("model.fit(")]
    rate = re.search(r"poly\(([\d.]+),", snippet)
    # Heads begin at random: the rate is theirs, and the pretrained backbone must not be trained at it.
    assert float(rate[1]) == FROM_SCRATCH["learning_rate"]
    assert 'kc.models.freeze(model, "backbone")' in snippet


def test_the_quickstart_ends_with_what_trains_well():
    assert_trains_well(quickstart_ending())


def quickstart_ending():
    """Its last lines, printed without what comes before."""
    spec = importlib.util.spec_from_file_location("quickstart", EXAMPLES / "quickstart.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        module.what_next()
    return out.getvalue()
