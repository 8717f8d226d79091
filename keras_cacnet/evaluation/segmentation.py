"""What a network saw in one photograph: masks, areas, pictures, and files of them."""

import io
import os
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.evaluation.coco import to_coco
from keras_cacnet.files import writable_file, write_atomically, write_json
from keras_cacnet.visualization import overlay, save_ids
from keras_cacnet.wording import did_you_mean, listed

_SHOWN = 3


class Area(NamedTuple):
    """How much of a photograph is of a class: pixels, and their share of all."""

    pixels: int
    share: float


class Segmentation:
    """The classes of a photograph's pixels.

    Args:
        image: the photograph as it was seen, upright.
        ids: the class index of every pixel.
        classes: the classes.
        name: how the photograph is called.
        score: gives the probabilities of all classes when they are asked for.

    Shapes:
        - image: uint8 (H, W, 3)
        - ids: uint8 (H, W)
        - probabilities: float32 (H, W, classes)

    Example:
        >>> classes = ClassTable(("sky", "sea"), ((90, 160, 220), (20, 60, 140)), ids=(0, 1))
        >>> ids = np.array([[0, 0, 0, 1]], "uint8")
        >>> beach = Segmentation(np.zeros((1, 4, 3), "uint8"), ids, classes, "beach.jpg")
        >>> beach
        Segmentation of beach.jpg, 4x1 pixels: sky 75.0 %, sea 25.0 %
        >>> beach.mask("sea").tolist(), beach.areas()["sky"]
        ([[False, False, False, True]], Area(pixels=3, share=0.75))
    """

    def __init__(
        self,
        image: np.ndarray,
        ids: np.ndarray,
        classes: ClassTable,
        name: str,
        score: Callable[[], np.ndarray] | None = None,
    ) -> None:
        self.image = image
        self.ids = ids
        self.classes = classes
        self.name = name
        self._score = score

    @cached_property
    def probabilities(self) -> np.ndarray:
        """The probability of every class at every pixel: predicted when first asked for, and kept.

        They take 4 bytes for every pixel and class: 1 GB for 12 megapixels and 21 classes.
        """
        if self._score is None:
            raise ValueError(f"{self.name}: there are no probabilities beside these ids")
        return self._score()

    def mask(self, name: str | int) -> np.ndarray:
        """Tell where a class is.

        Args:
            name: of the class, or its index.

        Returns:
            bool (H, W).

        Raises:
            ValueError: there is no such class; the message has those that are.
        """
        names = self.classes.names
        if isinstance(name, str) and name not in names:
            raise ValueError(f"there is no class {name!r}{did_you_mean(name, names)}; there is {listed(names, 21)}")
        index = names.index(name) if isinstance(name, str) else name
        if isinstance(index, bool | float) or not 0 <= index < len(names):
            raise ValueError(f"there is no class {index!r}; classes are 0 to {len(names) - 1}, or go by their names")
        return self.ids == index

    def areas(self) -> dict[str, Area]:
        """Measure how much of the photograph every class has: pixels and share, also of those that are not there."""
        counts = np.bincount(self.ids.ravel(), minlength=len(self.classes))
        return {
            name: Area(int(count), float(count / self.ids.size))
            for name, count in zip(self.classes.names, counts, strict=False)
        }

    def overlay(self, alpha: float = 0.5, legend: bool = True) -> Image.Image:
        """Show the photograph in the colours of the classes, see `visualization.overlay`, as a Pillow image."""
        return Image.fromarray(overlay(self.image, self.ids, self.classes, alpha, legend))

    def to_coco(self, image_id: int = 1) -> dict[str, Any]:
        """Give the masks as COCO has them: one annotation for every class that is there, run-length encoded.

        Raises:
            ImportError: pycocotools is not installed (extra `coco`).
        """
        return to_coco([self], first_id=image_id)

    def save_coco(self, path: str | os.PathLike[str]) -> None:
        """Write `to_coco` as a JSON file."""
        write_json(writable_file(path), self.to_coco())

    def save_ids(self, path: str | os.PathLike[str]) -> None:
        """Write the ids of the classes as palette PNG, as masks of the data set are, see `visualization.save_ids`."""
        write_atomically(writable_file(path), partial(save_ids, self.ids, classes=self.classes))

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.overlay().save(file, "PNG")
        return file.getvalue()

    def __repr__(self) -> str:
        height, width = self.ids.shape
        found = sorted(((area.share, name) for name, area in self.areas().items() if area.pixels), reverse=True)
        shares = listed((f"{name} {100 * share:.1f} %" for share, name in found), _SHOWN)
        return f"Segmentation of {self.name}, {width}x{height} pixels: {shares}"
