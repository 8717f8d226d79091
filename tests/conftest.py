"""Fixtures that every test may use."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real photographs and masks beside the checkout; tests that need them skip where they are absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("real photographs are not at ../shared/data")
    return SHARED_DATA


@pytest.fixture(scope="session")
def run_on_jax():
    def run(program, *arguments, devices=1):
        """What a program prints under the JAX backend, on that many devices of the host."""
        done = subprocess.run(
            [sys.executable, "-c", program, *map(str, arguments)],
            env={
                **os.environ,
                "KERAS_BACKEND": "jax",
                "JAX_PLATFORMS": "cpu",
                "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def write_coast():
    def coast(root):
        """Four images to train on and two to score, sea below sky, in a folder of one's own."""
        rng = np.random.default_rng(0)
        root.mkdir(parents=True)
        (root / "classes.txt").write_text("0 sky 90 160 220\n1 sea 20 60 140\n2 Void 0 0 0\n")
        for split, count in (("train", 4), ("val", 2)):
            for kind in ("images", "labels"):
                (root / kind / split).mkdir(parents=True)
            for index in range(count):
                mask = np.zeros((40, 44), "uint8")
                mask[20:] = 1
                image = np.where(mask[..., None] == 1, (20, 60, 140), (90, 160, 220)) + rng.integers(0, 9, (40, 44, 3))
                Image.fromarray(image.astype("uint8")).save(root / "images" / split / f"{index}.png")
                Image.fromarray(mask).save(root / "labels" / split / f"{index}.png")
        return root

    return coast


@pytest.fixture(autouse=True, scope="module")
def seeded_module():
    """What fixtures of a module draw is the same whichever tests ran before."""
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)
