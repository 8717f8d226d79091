"""Maps such as a network with two heads gives."""

import numpy as np
import pytest

from keras_cacnet.datasets import ClassTable


def maps_of(channels=8, heads=2, size=(4, 5)):
    rng = np.random.default_rng(0)
    maps = {}
    for head in range(1, heads + 1):
        x, w = rng.normal(size=(1, *size, channels)), rng.uniform(0, 3, (1, *size, channels))
        maps[f"head_{head}"] = {"X": x, "W": w, "X*": x * w}
    return maps


@pytest.fixture
def make_maps():
    return maps_of


@pytest.fixture
def coast():
    return ClassTable(("sky", "sea"), ((90, 160, 220), (20, 60, 140)), ids=(0, 1))
