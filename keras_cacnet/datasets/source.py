"""What a data set is to the rest of the library: named splits of examples with random access."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from keras_cacnet.datasets.classes import ClassTable


@dataclass(frozen=True)
class Example:
    """One image and its mask, still encoded.

    Args:
        name: A short name, unique within its split.
        image: The image file or its bytes.
        mask: The mask file or its bytes; None where the split has no masks. A file may be missing: reading it
            says so.

    Example:

    >>> Example("beach", Path("images/train/beach.jpg"), None).image_origin
    'images/train/beach.jpg'
    >>> Example("scenes/train/3", b"...", b"...").mask_origin
    'scenes/train/3 (mask)'
    """

    name: str
    image: bytes | Path
    mask: bytes | Path | None

    @property
    def image_origin(self) -> str:
        """How errors call the image: its path where it has one."""
        return str(self.image) if isinstance(self.image, Path) else f"{self.name} (image)"

    @property
    def mask_origin(self) -> str:
        """How errors call the mask: its path where it has one."""
        return str(self.mask) if isinstance(self.mask, Path) else f"{self.name} (mask)"


@dataclass(frozen=True)
class Finding:
    """Something that a check has to tell.

    Args:
        level: `error` where training or scores would be wrong, `warning` where they may be, `note` otherwise.
        where: The file, folder or split.
        message: What is the matter and what mends it.
    """

    level: Literal["error", "warning", "note"]
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.level}: {self.where}: {self.message}"


class Source(Protocol):
    """The examples of one split: random access in a fixed order, from any thread."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Example: ...


class SegmentationDataset(Protocol):
    """A data set: its classes and its splits."""

    @property
    def name(self) -> str: ...

    @property
    def classes(self) -> ClassTable: ...

    @property
    def splits(self) -> tuple[str, ...]: ...

    def source(self, split: str) -> Source:
        """Gives the examples of a split; a split not in `splits` raises a ValueError that names those."""
        ...

    def layout(self, split: str) -> Sequence[Finding]:
        """Tells what is wrong with a split beyond its examples, such as masks without an image."""
        ...


def check_split(split: str, splits: Sequence[str], name: str) -> None:
    """Raises a ValueError where a data set has no such split.

    Example:

    >>> check_split("dev", ("train", "val"), "beaches")
    Traceback (most recent call last):
    ValueError: beaches has no split 'dev'; it has train, val.
    """
    if split not in splits:
        raise ValueError(f"{name} has no split {split!r}; it has {', '.join(splits)}.")
