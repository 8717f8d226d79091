"""A small set to bring into every form: images of noise, and masks of rectangles."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_cacnet.datasets import Folder, check_dataset, read_example, read_image

COLORS = np.array([[90, 160, 220], [20, 60, 140], [90, 140, 60]], "uint8")
NAMES = ("sky", "sea", "land")
TABLE = "".join(f"{name} {r} {g} {b}\n" for name, (r, g, b) in zip(NAMES, COLORS.tolist(), strict=True))


@dataclass
class Drawn:
    """Images and masks by name; the masks have ids 0, 1 and 2, each in every one."""

    images: dict[str, np.ndarray]
    masks: dict[str, np.ndarray]

    def write_images(self, folder, suffix=".jpg", ending=""):
        folder.mkdir(parents=True, exist_ok=True)
        for name, pixels in self.images.items():
            Image.fromarray(pixels).save(folder / f"{name}{ending}{suffix}")

    def write_masks(self, folder, convert=lambda mask: mask, suffix=".png", ending="", **options):
        folder.mkdir(parents=True, exist_ok=True)
        for name, mask in self.masks.items():
            converted = convert(mask)
            image = converted if isinstance(converted, Image.Image) else Image.fromarray(converted)
            image.save(folder / f"{name}{ending}{suffix}", **options)

    def expected(self, name):
        return self.masks[name]


@pytest.fixture(scope="session")
def drawn():
    images, masks = {}, {}
    for number in range(10):
        rng = np.random.default_rng(number)
        height, width = 64 + number % 2, 70
        mask = np.zeros((height, width), "uint8")
        mask[20:, 10:40] = 1
        mask[30 + number :, 30:60] = 2
        images[f"scene_{number}"] = rng.integers(0, 256, (height, width, 3), dtype="uint8")
        masks[f"scene_{number}"] = mask
    return Drawn(images, masks)


@pytest.fixture
def assert_imported(drawn):
    """Hold a result against the drawn masks, pixel for pixel, by the names of its images; and `check` is clean."""

    def check(folder: Path, count=10, index_of=(0, 1, 2), name_of=lambda name: name):
        data = Folder(folder)
        seen = []
        for split in data.splits:
            for example in data.source(split):
                image, mask = read_example(example, data.classes)
                name = name_of(example.name)
                expected = np.array(index_of, "uint8")[drawn.masks[name]]
                np.testing.assert_array_equal(mask, expected, err_msg=name)
                assert image.shape == drawn.images[name].shape
                if example.image.suffix != ".jpg":
                    np.testing.assert_array_equal(image, drawn.images[name])
                seen.append(name)
        assert len(seen) == len(set(seen)) == count
        assert check_dataset(data, progress=False).findings == ()
        return data

    return check


@pytest.fixture
def snapshot():
    """Every file below a folder, its bytes and its time."""

    def take(folder):
        return {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in sorted(folder.rglob("*")) if p.is_file()}

    return take


@pytest.fixture
def same_image():
    return lambda one, other: np.array_equal(read_image(one), read_image(other))
