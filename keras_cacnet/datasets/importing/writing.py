"""Write the standard folder from a source, so that a break loses nothing and a second run goes on."""

import hashlib
import io
import json
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np
from PIL import Image

from keras_cacnet.datasets.classes import VOID, ClassTable
from keras_cacnet.datasets.exif import orientation, upright
from keras_cacnet.datasets.importing.forms import Item
from keras_cacnet.datasets.importing.source_tree import SourceTree
from keras_cacnet.datasets.reading import open_image, read_image
from keras_cacnet.datasets.source import Finding
from keras_cacnet.datasets.split_lists import IMAGE_SUFFIXES, plain_stem
from keras_cacnet.files import write_atomically, write_json
from keras_cacnet.progress import ProgressBar

_JOURNAL = ".import.jsonl"
_SUFFIX_OF = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "TIFF": ".tif", "BMP": ".bmp", "WEBP": ".webp"}


@dataclass(frozen=True)
class Entry:
    """What became of one item; a line of the journal.

    Args:
        path: the item's.
        is_written: whether it is in the result.
        findings: why it was left out, or that its mask was turned.
        ids: the ids in its mask.
    """

    path: str
    is_written: bool
    findings: tuple[Finding, ...]
    ids: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Render it as plain values, which `from_json` reads."""
        return {**vars(self), "findings": [vars(finding) for finding in self.findings]}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Entry":
        """Read what `to_json` has written."""
        findings = tuple(Finding(**finding) for finding in value["findings"])
        return cls(value["path"], value["is_written"], findings, tuple(value["ids"]))


@dataclass(frozen=True)
class Target:
    """The folder that is written.

    Args:
        folder: its path.
        fingerprint: sums up the source and all choices: what has the same is the same import.
        classes: the classes.
    """

    folder: Path
    fingerprint: str
    classes: ClassTable

    def finished(self) -> dict[str, Any] | None:
        """Give the report of this very import, where it is finished.

        Returns:
            The report; None where there is something to do.

        Raises:
            ValueError: the folder holds something else.
        """
        report = self.folder / "import.json"
        if report.is_file():
            found = json.loads(report.read_text("utf-8"))
            if found.get("fingerprint") == self.fingerprint:
                return found
        elif self._journal()[:1] == [{"fingerprint": self.fingerprint}] or not _has_files(self.folder):
            return None
        raise ValueError(
            f"{self.folder}: holds other files, or an import of other files or with other choices; name a new folder, "
            "or remove this one"
        )

    def write(self, items: Sequence[tuple[Item, str]], progress: Callable[[str, int], ProgressBar]) -> list["Entry"]:
        """Write the images and masks; what a broken run has written is not written again.

        Args:
            items: the images and their splits.
            progress: called with a title and a number of files, gives what counts them.

        Returns:
            What became of each item.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        done = {entry["path"]: Entry.from_json(entry) for entry in self._journal()[1:]}
        bar = progress("writing", len(items))
        names = unique_names([item.path for item, _ in items])
        todo = [(*entry, name) for entry, name in zip(items, names, strict=True) if entry[0].path not in done]
        bar.add(len(items) - len(todo))
        with (self.folder / _JOURNAL).open("w", encoding="utf-8") as journal, ThreadPoolExecutor() as writers:
            # Written anew, without the line that a kill has cut short.
            _log(journal, {"fingerprint": self.fingerprint}, *(entry.to_json() for entry in done.values()))
            try:
                for entry in writers.map(lambda one: self._write(*one), todo):
                    done[entry.path] = entry
                    _log(journal, entry.to_json())
                    bar.add(1)
            except BaseException:
                # Leaving the block would wait for all files that are still to do.
                writers.shutdown(cancel_futures=True)
                raise
        return [done[item.path] for item, _ in items]

    def finish(self, classes: ClassTable, report: dict[str, Any]) -> None:
        """Write `classes.txt`, without which the folder is no data set, and the report."""
        text = classes.to_text()
        write_atomically(self.folder / "classes.txt", lambda path: path.write_text(text, "utf-8"))
        write_json(self.folder / "import.json", {**report, "fingerprint": self.fingerprint})
        (self.folder / _JOURNAL).unlink(missing_ok=True)

    def _journal(self) -> list[dict[str, Any]]:
        path = self.folder / _JOURNAL
        lines = path.read_text("utf-8").splitlines() if path.is_file() else []
        entries = []
        for line in lines:
            try:
                entries.append(json.loads(line))
            except json.JSONDecodeError:
                break
        return entries

    def _write(self, item: Item, split: str, name: str) -> "Entry":
        try:
            data = item.image.read_bytes() if isinstance(item.image, Path) else item.image()
            suffix, data, size, turned = _image(data, item.path)
            findings: tuple[Finding, ...] = ()
            ids = None if item.draw is None else item.draw(size)
            if ids is not None and ids.shape != size[::-1]:
                ids = _turned(ids, size, turned)
                findings = (Finding("note", item.path, "its mask was turned upright with it, as EXIF says."),)
        except (ValueError, OSError) as error:
            text = f"left out: {str(error).removeprefix(f'{item.path}: ')}"
            return Entry(item.path, False, (Finding("warning", item.path, text),))
        place = self.folder / "images" / split
        place.mkdir(parents=True, exist_ok=True)
        write_atomically(place / f"{name}{suffix}", lambda path: path.write_bytes(data))
        found: tuple[int, ...] = ()
        if ids is not None:
            found = tuple(np.unique(ids).tolist())
            place = self.folder / "labels" / split
            place.mkdir(parents=True, exist_ok=True)
            write_atomically(place / f"{name}.png", partial(_save_mask, ids, self.classes))
        return Entry(item.path, True, findings, found)


def fingerprint(tree: SourceTree, choices: Sequence[Any]) -> str:
    """Sum up a source, by the sizes and times of its files, and the choices of an import."""
    digest = hashlib.sha256(json.dumps([str(tree.root.resolve()), *choices], default=str).encode())
    for name, path in tree.files.items():
        state = path.stat()
        digest.update(f"{name}\0{state.st_size}\0{state.st_mtime_ns}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def unique_names(paths: Sequence[str]) -> list[str]:
    """Name the images of one flat folder: by their own names where these differ, else with their folders'.

    Args:
        paths: in the source.

    Returns:
        The names, without suffix, in Unicode's composed form; they differ in more than case.

    Example:
        >>> unique_names(["a/1.jpg", "b/1.jpg", "b/2.jpg"])
        ['a_1', 'b_1', '2']
    """
    stems = Counter(plain_stem(path).casefold() for path in paths)
    names: list[str] = []
    taken: set[str] = set()
    for path in paths:
        name = plain_stem(path)
        if stems[name.casefold()] > 1:
            parts = (*PurePosixPath(path).parts[:-1], name)
            name = unicodedata.normalize("NFC", "_".join(parts))
        free, number = name, 2
        while free.casefold() in taken:
            free, number = f"{name}_{number}", number + 1
        taken.add(free.casefold())
        names.append(free)
    return names


def _image(data: bytes, origin: str) -> tuple[str, bytes, tuple[int, int], int]:
    """Suffix, bytes, width and height as shown, and the EXIF orientation; formats that `Folder` lacks become PNG."""
    pixels = read_image(data, origin)
    with open_image(data, origin) as image:
        turned, kind = orientation(image), str(image.format)
    suffix = _SUFFIX_OF.get(kind)
    if suffix not in IMAGE_SUFFIXES:
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        suffix, data = ".png", stream.getvalue()
    return suffix, data, (pixels.shape[1], pixels.shape[0]), turned


def _turned(ids: np.ndarray, size: tuple[int, int], turned: int) -> np.ndarray:
    found = np.asarray(upright(Image.fromarray(ids), turned))
    if found.shape != size[::-1]:
        raise ValueError(
            f"its mask has {ids.shape[1]}x{ids.shape[0]} pixels, the image {size[0]}x{size[1]}; bring them to one size."
        )
    return found


def _save_mask(ids: np.ndarray, classes: ClassTable, path: Path) -> None:
    """An id PNG that shows its classes in their colours, void in white."""
    palette = np.full((VOID + 1, 3), 255, "uint8")
    palette[list(classes.ids)] = classes.palette
    mask = Image.fromarray(ids)
    mask.putpalette(palette.tobytes())
    mask.save(path)


def _has_files(folder: Path) -> bool:
    return folder.exists() and (not folder.is_dir() or any(not name.startswith(".") for name in os.listdir(folder)))


def _log(journal: IO[str], *entries: dict[str, Any]) -> None:
    journal.writelines(json.dumps(entry) + "\n" for entry in entries)
    journal.flush()
