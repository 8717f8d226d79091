"""A published data set as it was unpacked: its files found, and what several of its readers share."""

import hashlib
import os
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.datasets.reading import read_mask
from keras_cacnet.datasets.source import Example
from keras_cacnet.files import user_path
from keras_cacnet.wording import listed

CONTEXT_NAMES = tuple(
    (
        "aeroplane bicycle bird boat bottle bus car cat chair cow table dog horse motorbike person pottedplant sheep "
        "sofa train tvmonitor bag bed bench book building cabinet ceiling cloth computer cup door fence floor flower "
        "food grass ground keyboard light mountain mouse curtain platform sign plate road rock shelves sidewalk sky "
        "snow bedclothes track tree truck wall water window wood"
    ).split()
)
"""PASCAL Context's 59 classes in the order of the distribution's `59_labels.txt`, ids 1-59; 0 is everything else."""

_LISTED = 20


@dataclass(frozen=True)
class Layout:
    """What was found of a data set on disk. No image has been opened yet.

    Args:
        name: of the data set, for errors.
        root: the folder that its paths start from.
        classes: with the ids that `read_mask` gives.
        splits: the examples of every split; mask `None` where a split has no masks.
        read_mask: reads a mask file to the ids of `classes`, uint8 (height, width); a ValueError names the file.
        form: which of its published forms this is, in words.
        notes: what else there is to say of a split, such as that it is a part of the official one.
        nested: pairs of splits that share images on purpose.
    """

    name: str
    root: Path
    classes: ClassTable
    splits: Mapping[str, tuple[Example, ...]]
    read_mask: Callable[[Path], np.ndarray] = read_mask
    form: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)
    nested: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        present: dict[Path, dict[str, str]] = {}
        object.__setattr__(
            self,
            "splits",
            {split: tuple(_as_on_disk(e, present) for e in examples) for split, examples in self.splits.items()},
        )

    def fingerprint(self) -> str:
        """Sum up which files there are, their sizes and times of change, without reading them.

        Returns:
            A hexadecimal digest; records made from other files have another.
        """
        digest = hashlib.sha256(self.form.encode())
        states: dict[Path, str] = {}
        for split, examples in self.splits.items():
            for example in examples:
                digest.update(f"\0{split}/{example.name}".encode())
                for path in (example.image, example.mask):
                    if isinstance(path, Path) and path not in states:
                        states[path] = _state(path)
                        digest.update(f"\0{os.path.relpath(path, self.root)} {states[path]}".encode())
        return digest.hexdigest()

    def read_ids(self, mask: bytes | Path, origin: str) -> np.ndarray:
        """Read a mask to the ids of `classes`.

        Args:
            mask: its file.
            origin: how errors call it.

        Returns:
            uint8 (height, width).

        Raises:
            ValueError: it cannot be read, or has ids that are no class.
        """
        assert isinstance(mask, Path)
        ids = self.read_mask(mask)
        if unknown := self.classes.unknown_ids(ids):
            counted = listed(f"{i} ({n} pixel{'' if n == 1 else 's'})" for i, n in unknown.items())
            raise ValueError(
                f"{origin}: {'id' if len(unknown) == 1 else 'ids'} {counted}: not of {self.name}, whose ids are "
                f"{min(self.classes.ids)}-{max(self.classes.ids)}; is it another data set's mask?"
            )
        return ids


def find_root(folder: Path, places: Iterable[str], marker: str, expected: str) -> Path:
    """Find the folder that a data set's paths start from.

    Args:
        folder: what the user has given.
        places: where the data set may lie below it; `.` for the folder itself.
        marker: what tells that it lies there.
        expected: the layout, for the error.

    Returns:
        The first of `places` that has the marker.

    Raises:
        ValueError: none has it; it says what was expected, what was found and what is missing first.

    Example:
        >>> find_root(Path("nowhere"), ["VOC2012"], "JPEGImages", "expected VOC2012/JPEGImages")
        Traceback (most recent call last):
        ValueError: nowhere: does not exist; expected VOC2012/JPEGImages.
    """
    folder = user_path(folder)
    places = list(places)
    if not folder.is_dir():
        raise ValueError(f"{folder}: {'is a file' if folder.exists() else 'does not exist'}; {expected}.")
    for place in places:
        if (folder / place / marker).exists():
            return folder / place
    # The deepest place that is partly there is the one that was meant.
    meant = next((place for place in places if (folder / place).is_dir()), places[0])
    inside = listed(visible_names(folder / meant if (folder / meant).is_dir() else folder))
    raise ValueError(f"{folder}: {folder / meant / marker} is missing; {expected}; found {inside}.")


def read_list(path: Path) -> tuple[str, ...]:
    """Read a list of ids, one a line: the first word, without folder and ending.

    Args:
        path: the list.

    Returns:
        The ids in the order of the file, composed (NFC).

    Raises:
        ValueError: the file cannot be read, is empty, or has an id twice.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "train.txt")
        >>> _ = path.write_text("2007_000032\\nJPEGImages/2007_000039.jpg SegmentationClass/2007_000039.png\\n")
        >>> read_list(path)
        ('2007_000032', '2007_000039')
    """
    path = user_path(path)
    try:
        lines = unicodedata.normalize("NFC", path.read_text("utf-8-sig")).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: the list of ids cannot be read ({error}).") from None
    ids = [Path(line.split()[0]).stem for line in lines if line.strip()]
    if not ids:
        raise ValueError(f"{path}: the list of ids is empty.")
    seen: set[str] = set()
    for name in ids:
        if name in seen:
            raise ValueError(f"{path}: {name} is in the list twice.")
        seen.add(name)
    return tuple(ids)


def require_no_overlap(name: str, one: str, ids: Iterable[str], other: str, other_ids: Iterable[str]) -> None:
    """Raise a ValueError where two splits share an image: scores on one would be those of training.

    Example:
        >>> require_no_overlap("voc2012", "trainaug", ["a", "b"], "val", ["b"])
        Traceback (most recent call last):
        ValueError: voc2012: 1 id is in trainaug and in val, b the first; ...
    """
    shared = sorted(set(ids) & set(other_ids))
    if shared:
        count = "1 id is" if len(shared) == 1 else f"{len(shared)} ids are"
        raise ValueError(
            f"{name}: {count} in {one} and in {other}, {shared[0]} the first; scores on {other} would be those of "
            "images that were trained on. Take them out of one of the lists."
        )


def subset_notes(splits: Mapping[str, tuple[Example, ...]], official: Mapping[str, int]) -> dict[str, str]:
    """Word a note for each split that has not as many examples as the official one.

    Example:
        >>> subset_notes({"val": (Example("a", b"", b""),)}, {"val": 1449})
        {'val': '1 example; the official split has 1449. Scores on it are not those of the whole set.'}
    """
    return {
        split: f"{len(examples)} example{'' if len(examples) == 1 else 's'}; the official split has "
        f"{official[split]}. Scores on it are not those of the whole set."
        for split, examples in splits.items()
        if split in official and len(examples) != official[split]
    }


def visible_names(folder: Path, ending: str = "") -> list[str]:
    """List the names in a folder, sorted, without hidden ones.

    Args:
        folder: the folder; one that does not exist is empty.
        ending: only names with this ending are listed, without it.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("._a.jpg", "a.jpg", "b.png"):
        ...     (folder / name).touch()
        >>> visible_names(folder), visible_names(folder, ".jpg")
        (['a.jpg', 'b.png'], ['a'])
    """
    names = os.listdir(folder) if folder.is_dir() else []
    return sorted(name.removesuffix(ending) for name in names if name.endswith(ending) and not name.startswith("."))


def require_present(layout: Layout) -> None:
    """Refuse a data set with missing files before the rest is decoded, which takes minutes.

    Args:
        layout: the files.

    Raises:
        ValueError: files are missing; it counts all and names the first 20.
    """
    missing: dict[str, list[Path]] = {"image": [], "mask": []}
    present: dict[Path, set[str]] = {}
    pairs = {(e.image, e.mask) for examples in layout.splits.values() for e in examples}
    files = [(what, p) for pair in pairs for what, p in zip(missing, pair, strict=True) if isinstance(p, Path)]
    for what, path in files:
        if path.parent not in present:
            present[path.parent] = set(os.listdir(path.parent)) if path.parent.is_dir() else set()
        if path.name not in present[path.parent]:
            missing[what].append(path)
    gone = [f"{path}: no such file." for paths in missing.values() for path in sorted(paths)]
    if gone:
        counts = " and ".join(
            f"{len(paths)} {what}{'' if len(paths) == 1 else 's'}" for what, paths in missing.items() if paths
        )
        raise ValueError(
            f"{layout.name}: {counts} {'is' if len(gone) == 1 else 'are'} missing; expected {len(files)} files, "
            f"found {len(files) - len(gone)}:\n  " + listed(gone, _LISTED, separator="\n  ")
        )


def _as_on_disk(example: Example, present: dict[Path, dict[str, str]]) -> Example:
    """The example with its files' names as the folder has them, where they are written in another form of Unicode."""
    changed: dict[str, Any] = {}
    for part in ("image", "mask"):
        path = getattr(example, part)
        if not isinstance(path, Path) or path.name.isascii():
            continue
        if path.parent not in present:
            names = os.listdir(path.parent) if path.parent.is_dir() else []
            present[path.parent] = {unicodedata.normalize("NFC", name): name for name in names}
        name = present[path.parent].get(unicodedata.normalize("NFC", path.name), path.name)
        changed[part] = path.with_name(name)
    return replace(example, **changed) if changed else example


def _state(path: Path) -> str:
    try:
        state = path.stat()
    except OSError:
        return "missing"
    return f"{state.st_size} {state.st_mtime_ns}"
