"""A published data set as it lies on disk: its files found, and every one of them read once."""

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.datasets.progress import Bar
from keras_cacnet.datasets.reading import read_image, read_mask, size_difference
from keras_cacnet.datasets.source import Example

_LISTED = 20


@dataclass(frozen=True)
class Layout:
    """What was found of a data set on disk. No image has been opened yet.

    Args:
        name: Of the data set, for errors.
        root: The folder that its paths start from.
        classes: With the ids that `read_mask` gives.
        splits: The examples of every split; mask `None` where a split has no masks.
        read_mask: Reads a mask file to the ids of `classes`, uint8 (height, width); a ValueError names the file.
        form: Which of its published forms this is, in words.
        notes: What else there is to say of a split, such as that it is a part of the official one.
        nested: Pairs of splits that share images on purpose.
    """

    name: str
    root: Path
    classes: ClassTable
    splits: Mapping[str, tuple[Example, ...]]
    read_mask: Callable[[Path], np.ndarray] = read_mask
    form: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)
    nested: tuple[tuple[str, str], ...] = ()

    def fingerprint(self) -> str:
        """Sums up which files there are, their sizes and times of change, without reading them.

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


def find_root(folder: Path, places: Iterable[str], marker: str, expected: str) -> Path:
    """Finds the folder that a data set's paths start from.

    Args:
        folder: What the user has given.
        places: Where the data set may lie below it; `.` for the folder itself.
        marker: What tells that it lies there.
        expected: The layout, for the error.

    Returns:
        The first of `places` that has the marker.

    Raises:
        ValueError: None has it; it says what was expected, what was found and what is missing first.

    Example:

    >>> find_root(Path("nowhere"), ["VOC2012"], "JPEGImages", "expected VOC2012/JPEGImages")
    Traceback (most recent call last):
    ValueError: nowhere: does not exist; expected VOC2012/JPEGImages.
    """
    folder = Path(folder).expanduser()
    places = list(places)
    if not folder.is_dir():
        raise ValueError(f"{folder}: {'is a file' if folder.exists() else 'does not exist'}; {expected}.")
    for place in places:
        if (folder / place / marker).exists():
            return folder / place
    # The deepest place that is partly there is the one that was meant.
    meant = next((place for place in places if (folder / place).is_dir()), places[0])
    inside = shown(folder / meant if (folder / meant).is_dir() else folder)
    raise ValueError(f"{folder}: {folder / meant / marker} is missing; {expected}; found {inside}.")


def read_list(path: Path) -> tuple[str, ...]:
    """Reads a list of ids, one a line: the first word, without folder and ending.

    Args:
        path: The list.

    Returns:
        The ids in the order of the file.

    Raises:
        ValueError: The file cannot be read, is empty, or has an id twice.

    Example:

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "train.txt")
    >>> _ = path.write_text("2007_000032\\nJPEGImages/2007_000039.jpg SegmentationClass/2007_000039.png\\n")
    >>> read_list(path)
    ('2007_000032', '2007_000039')
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: the list of ids cannot be read ({error}).") from None
    ids = [Path(line.split()[0]).stem for line in lines if line.strip()]
    if not ids:
        raise ValueError(f"{path}: the list of ids is empty.")
    seen: set[str] = set()
    for name in ids:
        if name in seen:
            raise ValueError(f"{path}: {name} stands in the list twice.")
        seen.add(name)
    return tuple(ids)


def refuse_overlap(name: str, one: str, ids: Iterable[str], other: str, other_ids: Iterable[str]) -> None:
    """Raises a ValueError where two splits share an image: scores on one would be those of training.

    Example:

    >>> refuse_overlap("voc2012", "trainaug", ["a", "b"], "val", ["b"])
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
    """Words a note for each split that has not as many examples as the official one.

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


def examine(layout: Layout, progress: bool = True) -> dict[str, str]:
    """Reads every file of a data set once, before anything is written or trained.

    Args:
        layout: The files.
        progress: Whether to show Keras' progress bar.

    Returns:
        The SHA-256 of every split; see `split_digest`.

    Raises:
        ValueError: Files are missing or cannot be read, masks have another size than their image, or ids that are
            no class. It counts all and names the first 20.
    """
    pairs = {(e.image, e.mask): e for examples in layout.splits.values() for e in examples}
    _refuse_missing(layout, pairs.values())
    problems: list[str] = []
    digests: dict[tuple[Any, Any], bytes] = {}
    bar = Bar(len(pairs) if progress else 0)
    with ThreadPoolExecutor(os.cpu_count()) as readers:
        read = readers.map(lambda example: _read(layout, example), pairs.values())
        for key, (digest, found) in zip(pairs, read, strict=True):
            bar.step()
            problems += found
            digests[key] = digest
    if problems:
        raise ValueError(_list_problems(layout.name, problems))
    return {
        split: split_digest(digests[example.image, example.mask] for example in examples)
        for split, examples in layout.splits.items()
    }


def example_digest(name: str, image: bytes, ids: np.ndarray | None) -> bytes:
    """Sums up one example: its name, the bytes of its image file, and the ids of its mask.

    Args:
        name: The id of the example.
        image: The encoded image.
        ids: uint8 (height, width), or None.

    Returns:
        A SHA-256, which does not depend on how the mask is compressed.
    """
    digest = hashlib.sha256(name.encode() + b"\0" + hashlib.sha256(image).digest())
    if ids is not None:
        digest.update(f"{ids.shape}".encode() + np.ascontiguousarray(ids).tobytes())
    return digest.digest()


def split_digest(examples: Iterable[bytes]) -> str:
    """Sums up the digests of a split's examples, in their order.

    Example:

    >>> split_digest([b"one", b"two"]) == split_digest([b"two", b"one"])
    False
    """
    return hashlib.sha256(b"".join(examples)).hexdigest()


def shown(folder: Path) -> str:
    """Lists the first entries of a folder, for errors.

    Example:

    >>> import tempfile
    >>> shown(Path(tempfile.mkdtemp()))
    'nothing'
    """
    names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return (", ".join(names[:8]) + more) if names else "nothing"


def _refuse_missing(layout: Layout, examples: Iterable[Example]) -> None:
    """Tells of missing files before the rest is decoded, which takes minutes."""
    missing: dict[str, list[Path]] = {"image": [], "mask": []}
    total = 0
    present: dict[Path, set[str]] = {}
    for example in examples:
        for what, path in (("image", example.image), ("mask", example.mask)):
            if not isinstance(path, Path):
                continue
            total += 1
            if path.parent not in present:
                present[path.parent] = set(os.listdir(path.parent)) if path.parent.is_dir() else set()
            if path.name not in present[path.parent]:
                missing[what].append(path)
    gone = [path for paths in missing.values() for path in paths]
    if gone:
        counts = " and ".join(
            f"{len(paths)} {what}{'' if len(paths) == 1 else 's'}" for what, paths in missing.items() if paths
        )
        verb = "is" if len(gone) == 1 else "are"
        listed = "".join(f"\n  {path}: no such file." for path in gone[:_LISTED])
        more = f"\n  and {len(gone) - _LISTED} more" if len(gone) > _LISTED else ""
        raise ValueError(
            f"{layout.name}: {counts} {verb} missing; expected {total} files, found {total - len(gone)}:{listed}{more}"
        )


def _read(layout: Layout, example: Example) -> tuple[bytes, list[str]]:
    assert isinstance(example.image, Path)
    problems = []
    size, data, ids = None, b"", None
    try:
        data = example.image.read_bytes()
        pixels = read_image(data, example.image_origin)
        size = (pixels.shape[1], pixels.shape[0])
    except OSError as error:
        problems.append(f"{example.image}: cannot be opened ({error.strerror}).")
    except ValueError as error:
        problems.append(str(error))
    if isinstance(example.mask, Path):
        try:
            ids = layout.read_mask(example.mask)
            if unknown := layout.classes.unknown_ids(ids):
                listed = ", ".join(f"{i} ({n} pixel{'' if n == 1 else 's'})" for i, n in unknown.items())
                raise ValueError(
                    f"{example.mask}: {'id' if len(unknown) == 1 else 'ids'} {listed}: not of {layout.name}, whose ids "
                    f"are {min(layout.classes.ids)}-{max(layout.classes.ids)}; is it another data set's mask?"
                )
        except ValueError as error:
            problems.append(str(error))
        if size is not None and ids is not None and ids.shape != size[::-1]:
            problems.append(size_difference(example, size, (ids.shape[1], ids.shape[0])))
    return example_digest(example.name, data, ids), problems


def _list_problems(name: str, problems: list[str]) -> str:
    lines = "".join(f"\n  {problem}" for problem in problems[:_LISTED])
    more = f"\n  and {len(problems) - _LISTED} more" if len(problems) > _LISTED else ""
    return f"{name}: {len(problems)} problem{'' if len(problems) == 1 else 's'}:{lines}{more}"


def _state(path: Path) -> str:
    try:
        state = path.stat()
    except OSError:
        return "missing"
    return f"{state.st_size} {state.st_mtime_ns}"
