"""What a data set is to the rest of the library: named splits of examples with random access."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.files import user_path
from keras_cacnet.wording import did_you_mean, listed

_TOLD_APART = 3


@dataclass(frozen=True)
class Example:
    """One image and its mask, still encoded.

    Args:
        name: a short name, unique within its split.
        image: the image file or its bytes.
        mask: the mask file or its bytes; None where the split has no masks. A file may be missing: reading it
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

    def __post_init__(self) -> None:
        for part in ("image", "mask"):
            file = getattr(self, part)
            if isinstance(file, str | os.PathLike):
                object.__setattr__(self, part, user_path(file))

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
        where: the file, folder or split.
        message: what is the matter and what mends it.
        kind: what findings of many files have in common, such as "unknown id"; empty where nothing has.
    """

    level: Literal["error", "warning", "note"]
    where: str
    message: str
    kind: str = ""

    def __str__(self) -> str:
        return f"{self.level}: {self.where}: {self.message}".replace("\n", " ")


def grouped(findings: Iterable[Finding]) -> list[str]:
    """Word findings, those of more than three files that say the same, or are of one kind, in one line.

    Args:
        findings: of any level.

    Returns:
        The lines, in the order in which their first findings occur; the first of a kind stands for it.

    Example:
        >>> grouped([Finding("error", name, "no such file.") for name in ("a.png", "b.png", "c.png", "d.png")])
        ['error: a.png, b.png, c.png, d.png: no such file.']
    """
    alike: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        alike.setdefault((finding.level, finding.kind or finding.message), []).append(finding)
    lines = []
    for found in alike.values():
        first = found[0]
        if len(found) > _TOLD_APART:
            others = (os.path.basename(one.where) for one in found[1:])
            lines.append(str(Finding(first.level, listed([first.where, *others], 6), first.message)))
        else:
            lines += map(str, found)
    return lines


def require_no_errors(name: str, findings: Iterable[Finding]) -> None:
    """Raise a ValueError where findings have errors; it counts all and names the first 20.

    Args:
        name: of the data set.
        findings: of any level.

    Example:
        >>> require_no_errors("beaches", [Finding("error", "a.png", "no such file."), Finding("note", "val", "small.")])
        Traceback (most recent call last):
        ValueError: beaches: 1 problem:
          a.png: no such file.
    """
    errors = [finding for finding in findings if finding.level == "error"]
    if errors:
        lines = listed((line.removeprefix("error: ") for line in grouped(errors)), 20, separator="\n  ")
        raise ValueError(f"{name}: {len(errors)} problem{'' if len(errors) == 1 else 's'}:\n  {lines}")


def described(dataset: "SegmentationDataset") -> str:
    """Say in a line what a data set holds: its classes, and how many images its splits have.

    Example:
        >>> from types import SimpleNamespace
        >>> classes = ClassTable(("sky", "sea"), ((90, 160, 220), (20, 60, 140)), ids=(0, 1))
        >>> described(SimpleNamespace(name="coast", classes=classes, splits=("train",), source=lambda split: [0, 0]))
        'coast: 2 classes (sky, sea); train 2 images'
    """
    sizes = ", ".join(f"{split} {len(dataset.source(split)):,}" for split in dataset.splits)
    return f"{dataset.name}: {len(dataset.classes)} classes ({listed(dataset.classes.names, 12)}); {sizes} images"


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
        """Give the examples of a split; a split not in `splits` raises a ValueError that names those."""
        ...

    def layout(self, split: str) -> Sequence[Finding]:
        """Report what is wrong with a split beyond its examples, such as masks without an image."""
        ...


def require_split(split: str, splits: Sequence[str], name: str) -> None:
    """Raise a ValueError where a data set has no such split.

    Example:
        >>> require_split("dev", ("train", "val"), "beaches")
        Traceback (most recent call last):
        ValueError: beaches has no split 'dev'; it has train, val
    """
    if split not in splits:
        raise ValueError(f"{name} has no split {split!r}; it has {listed(splits)}{did_you_mean(split, splits)}")
