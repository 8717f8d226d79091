"""The examples run as a reader would run them, only shorter."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def run(name, *words, **settings):
    return subprocess.run(
        [sys.executable, str(EXAMPLES / name), *map(str, words)],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
        **settings,
    )


def test_own_images(tmp_path):
    rng = np.random.default_rng(0)
    root = tmp_path / "coast"
    for split, count in (("train", 8), ("val", 2)):
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True)
        for index in range(count):
            image = rng.integers(0, 256, (40, 30 + index, 3)).astype("uint8")
            Image.fromarray(image).save(root / "images" / split / f"{index}.jpg")
            Image.fromarray((image[..., 0] > 128).astype("uint8")).save(root / "labels" / split / f"{index}.png")
    (root / "classes.txt").write_text("0 dark 0 0 0\n1 light 255 255 255\n")
    words = (root, "--output", tmp_path / "out", "--backbone", "resnet14_narrow", "--side", 32, "--epochs", 1)
    result = run("own_images.py", *words)
    assert result.returncode == 0, result.stderr
    model = keras.models.load_model(tmp_path / "out" / "model.keras")
    assert model.num_classes == 2
    assert (tmp_path / "out" / "cacnet" / "1" / "saved_model.pb").exists()


@pytest.mark.slow
def test_quickstart(tmp_path):
    result = run("quickstart.py", "--output", tmp_path / "quickstart", "--epochs", 1, "--crop-size", 64)
    assert result.returncode == 0, result.stderr
    assert len(list((tmp_path / "quickstart" / "pictures").glob("*_overlay.png"))) == 4
    assert (tmp_path / "quickstart" / "cacnet" / "1" / "saved_model.pb").exists()
    assert "Next, on photographs" in result.stdout


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_examples_stay_short(name):
    assert len((EXAMPLES / name).read_text().splitlines()) < 80
