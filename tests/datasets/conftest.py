"""A small folder of images and masks to plant faults in."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from drawn_sets import write_voc
from PIL import Image

CLASSES = "0 sky 90 160 220\n1 sea 20 60 140\n2 land 90 140 60\n3 void 0 0 0\n"


@dataclass
class Planted:
    """A data set's folder."""

    root: Path

    def image(self, split, name, pixels, **options):
        return self._put("images", split, name, pixels, options)

    def mask(self, split, name, ids, **options):
        return self._put("labels", split, name, ids, options)

    def _put(self, part, split, name, pixels, options):
        path = self.root / part / split / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(np.asarray(pixels, "uint8"))
        image.save(path, **options)
        return path


@pytest.fixture
def folder(tmp_path):
    """Splits train (3), val (2) and test (1, no masks) of 80x70 images, nothing wrong with them."""
    planted = Planted(tmp_path / "data")
    for number, (split, count) in enumerate((("train", 3), ("val", 2), ("test", 1))):
        for index in range(count):
            rng = np.random.default_rng([number, index])
            planted.image(split, f"{index}.jpg", rng.integers(0, 256, (70, 80, 3)))
            if split != "test":
                planted.mask(split, f"{index}.png", rng.integers(0, 4, (70, 80)))
    (planted.root / "classes.txt").write_text(CLASSES)
    return planted


@pytest.fixture
def voc_tree(tmp_path, monkeypatch):
    """A tiny VOC, whose records go into the test's own folder."""
    monkeypatch.setenv("KERAS_CACNET_DATA", str(tmp_path / "cache"))
    return write_voc(tmp_path / "voc")
