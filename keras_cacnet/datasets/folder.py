"""A folder of your own images and masks, read in place."""

import os
import shlex
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_cacnet.arguments import require_count
from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.datasets.classes_file import OtherList
from keras_cacnet.datasets.reading import read_example
from keras_cacnet.datasets.source import Example, Finding, SegmentationDataset, described, require_split
from keras_cacnet.datasets.split_lists import IMAGE_SUFFIXES, listed_stems
from keras_cacnet.files import user_path
from keras_cacnet.tables import html_table, require_pandas
from keras_cacnet.wording import listed

MASK_SUFFIX = ".png"
_SUFFIXES = ", ".join(IMAGE_SUFFIXES)
_KNOWN_SPLITS = ("train", "val", "test")
_EXPECTED = (
    "expected images/train/NAME.jpg (or .png, .tif, .bmp, .webp) with labels/train/NAME.png, the same under val, "
    "and classes.txt (`index name R G B`, one class a line)"
)
# What file managers and archives leave behind, beside names that begin with a dot.
_LEFTOVERS = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "@eadir", "__macosx")


class OtherLayout(ValueError):
    """A folder is there, and is not laid out as a `Folder`; `import_folder` may read it."""


class Folder:
    """A data set in a folder.

        images/{train,val,test}/NAME.jpg    or .jpeg, .png, .tif, .tiff, .bmp, .webp, in any case
        labels/{train,val,test}/NAME.png    one channel of class ids; test may have none
        classes.txt                         `index name R G B`; an entry named void is not trained or scored

    Or without folders of splits, where train.txt, val.txt and test.txt beside `classes.txt` list the names, one a line:

        images/NAME.jpg
        labels/NAME.png
        train.txt, val.txt, test.txt

    Masks may be RGB where all of their colours are in `classes.txt`. Nothing is copied. The order is that of the names.
    Hidden files and what file managers leave behind are ignored. An image and its mask have one name, in whichever form
    of Unicode each is written.

    Args:
        path: the folder.

    Raises:
        OtherLayout: it is not such a folder; the error says what was expected, what was found and what is the
            first thing missing.
        ValueError: there is no such folder, or `classes.txt` is not valid.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> for part in ("images", "labels"):
        ...     (root / part / "train").mkdir(parents=True)
        >>> _ = (root / "classes.txt").write_text("0 sky 90 160 220\\n1 sea 20 60 140\\n")
        >>> _ = (root / "images" / "train" / "beach.jpg").write_bytes(b"...")
        >>> data = Folder(root)
        >>> data.splits, len(data.source("train")), data.source("train")[0].mask.name
        (('train',), 1, 'beach.png')
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = user_path(path)
        self.name = str(self.path)
        if not self.path.is_dir():
            state = "is a file" if self.path.exists() else "does not exist"
            raise ValueError(f"{self.path}: {state}; {_EXPECTED}.")
        found = listed(sorted(_entries(self.path)))
        for missing in ("images", "classes.txt"):
            if not (self.path / missing).exists():
                raise OtherLayout(
                    f"{self.path}: not a data set: {self.path / missing} is missing; {_EXPECTED}; found {found}. "
                    f"{import_command(self.path)} reads other layouts."
                )
        images = self.path / "images"
        names = [name for name in _entries(images) if (images / name).is_dir()] if images.is_dir() else []
        self._lists = {} if names else self._split_lists()
        names = names or list(self._lists)
        self.splits = (
            *(split for split in _KNOWN_SPLITS if split in names),
            *sorted(set(names) - set(_KNOWN_SPLITS)),
        )
        if not self.splits:
            inside = listed(sorted(_entries(images))) if images.is_dir() else "a file"
            raise OtherLayout(
                f"{images}: no split: {images / 'train'} is missing, and so is a list of names, "
                f"{self.path / 'train.txt'}; {_EXPECTED}; found {inside} in images. "
                f"{import_command(self.path)} splits images by chance."
            )
        try:
            self.classes = ClassTable.from_file(self.path / "classes.txt")
        except OtherList as error:
            way = f"{import_command(self.path)} reads other lists, such as names only or CSV."
            raise ValueError(f"{error} {way}") from None
        self._listings: dict[str, _Listing] = {}

    def __repr__(self) -> str:
        return f"<{described(self)}>"

    def source(self, split: str) -> Sequence[Example]:
        """Give the examples of a split, by name.

        Args:
            split: one of `splits`.

        Returns:
            The examples. `mask` is None where the split has no `labels` folder and is `test`.

        Raises:
            ValueError: there is no such split.
        """
        return self._listing(split).examples

    def layout(self, split: str) -> Sequence[Finding]:
        """Report what is wrong with the names in a split; no file is opened.

        Args:
            split: one of `splits`.

        Returns:
            An empty split, images without a mask and masks without an image, two images or masks of one name,
            files that are left out.

        Raises:
            ValueError: there is no such split.
        """
        return self._listing(split).findings

    def to_dataframe(self) -> Any:
        """List every image in a row: its split, its name, its file and that of its mask.

        Raises:
            ImportError: pandas is not installed.
        """
        pandas = require_pandas("a data set")
        rows = [
            {"split": split, "name": one.name, "image": str(one.image), "mask": one.mask and str(one.mask)}
            for split in self.splits
            for one in self.source(split)
        ]
        return pandas.DataFrame(rows)

    def plot(self, split: str = "train", count: int = 6) -> Any:
        """Draw images of a split beside their masks, evenly taken from it, as a figure of matplotlib.

        Args:
            split: one of `splits`, with masks.
            count: the number of images.

        Raises:
            ValueError: there is no such split, no image in it, or an image or a mask that cannot be read.
        """
        from keras_cacnet.visualization import batch_figure

        source = self.source(split)
        places = dict.fromkeys(np.linspace(0, len(source) - 1, require_count("count", count)).astype(int).tolist())
        pairs = [read_example(source[place], self.classes) for place in places] if source else []
        return batch_figure([image for image, _ in pairs], [mask for _, mask in pairs], self.classes)

    def _repr_html_(self) -> str:
        sizes = [(split, f"{len(self.source(split)):,}") for split in self.splits]
        table = zip(self.classes.ids, self.classes.names, self.classes.palette, strict=True)
        rows = [(name, str(index), "#{:02x}{:02x}{:02x}".format(*color)) for index, name, color in table]
        return html_table(("split", "images"), sizes, self.name) + html_table(("class", "id", "colour"), rows)

    def _listing(self, split: str) -> "_Listing":
        require_split(split, self.splits, self.name)
        if split not in self._listings:
            if self._lists:
                self._listings[split] = _Listing(self.path, split, "", self._lists[split])
            else:
                self._listings[split] = _Listing(self.path, split, split)
        return self._listings[split]

    def _split_lists(self) -> dict[str, Path]:
        return {split: path for split in _KNOWN_SPLITS if (path := self.path / f"{split}.txt").is_file()}


class _Listing:
    """The files of one split, paired by name.

    Args:
        root: the folder of the data set.
        split: its name.
        below: the folder of its images and of its masks, in `images` and in `labels`.
        names: the list of its names, where the folders hold all splits.
    """

    def __init__(self, root: Path, split: str, below: str, names: Path | None = None) -> None:
        self._root = root
        self.findings: list[Finding] = []
        image_folder, mask_folder = root / "images" / below, root / "labels" / below
        images = self._by_stem(image_folder, IMAGE_SUFFIXES)
        if not images:
            deeper = sum(_count_below(image_folder / name, IMAGE_SUFFIXES) for name in _entries(image_folder))
            text = f"no images ({_SUFFIXES})"
            if deeper:
                text += f", but {deeper} in subfolders: {import_command(root)} reads those"
            self.findings.append(Finding("warning" if split == "test" else "error", str(image_folder), f"{text}."))
        has_masks = mask_folder.is_dir()
        masks = self._by_stem(mask_folder, (MASK_SUFFIX,)) if has_masks else {}
        if names is not None:
            wanted = listed_stems(names)
            for stem in wanted:
                if stem not in images:
                    text = f"{stem} has no image in {image_folder}."
                    self.findings.append(Finding("error", str(names), text))
            images = {stem: images[stem] for stem in wanted if stem in images}
            masks = {stem: masks[stem] for stem in wanted if stem in masks}
            has_masks = bool(masks) or split != "test"
        self.examples: list[Example] = []
        for stem, paths in sorted(images.items()):
            mask: Path | None = masks[stem][0] if stem in masks else mask_folder / f"{stem}{MASK_SUFFIX}"
            if not has_masks and split == "test":
                mask = None
            elif has_masks and stem not in masks:
                self.findings.append(
                    Finding("error", str(mask), f"missing: the mask of {paths[0]}.", kind="missing mask")
                )
            self.examples.extend(Example(stem, path, mask) for path in paths)
        if not has_masks and split != "test" and images:
            self.findings.append(
                Finding(
                    "error",
                    str(mask_folder),
                    f"missing: the folder with the masks of {len(images)} images.",
                    kind="no masks",
                )
            )
        for stem, paths in sorted(masks.items()):
            if stem not in images:
                self.findings.append(
                    Finding(
                        "error",
                        str(paths[0]),
                        f"no image: {image_folder / stem} ({_SUFFIXES}) is missing.",
                        kind="missing image",
                    )
                )

    def _by_stem(self, folder: Path, suffixes: tuple[str, ...]) -> dict[str, list[Path]]:
        files = defaultdict(list)
        left_out, deeper = [], 0
        for name in sorted(_entries(folder)):
            path = folder / name
            if not path.is_dir() and path.suffix.lower() in suffixes:
                files[unicodedata.normalize("NFC", path.stem)].append(path)
            else:
                count = _count_below(path, suffixes)
                what = "image" if suffixes is IMAGE_SUFFIXES else "mask"
                held = f" ({count} {what}{'s'[: count > 1]})" if count else ""
                left_out.append(f"{name}{'/' if path.is_dir() else ''}{held}")
                deeper += count
        if left_out:
            text = f"left out, not {', '.join(suffixes)}: {listed(left_out)}."
            if deeper:
                text += f" Subfolders are not read: {import_command(self._root)} reads them too."
            self.findings.append(Finding("warning", str(folder), text, kind="left out"))
        for stem, paths in files.items():
            if len(paths) > 1:
                names = [path.name for path in paths]
                if len({unicodedata.normalize("NFC", name) for name in names}) < len(names):
                    # They look the same; what differs has to be shown.
                    names = [ascii(name) for name in names]
                self.findings.append(
                    Finding("error", str(paths[0]), f"{' and '.join(names)} have one name, {stem!r}; keep one of them.")
                )
        return dict(files)


def whole_name(dataset: SegmentationDataset, named: str = "") -> str:
    """Name a data set for a record that is read from other working directories: a folder by its whole path.

    Args:
        dataset: the data set.
        named: what the user called it, where it is no folder; by default its own name.
    """
    return str(dataset.path.absolute()) if isinstance(dataset, Folder) else named or dataset.name


def is_leftover(name: str) -> bool:
    """Tell hidden files, and what file managers and archives leave behind, by the name.

    Example:
        >>> is_leftover("._beach.jpg"), is_leftover("Thumbs.db"), is_leftover("beach.jpg")
        (True, True, False)
    """
    return name.startswith(".") or name.lower() in _LEFTOVERS


def import_command(folder: Path) -> str:
    """Word the command that writes a folder anew in the standard layout, for a message.

    Example:
        >>> import_command(Path("my photographs"))
        "`keras-cacnet import 'my photographs' --output NEW_FOLDER`"
    """
    return f"`keras-cacnet import {shlex.quote(str(folder))} --output NEW_FOLDER`"


def _count_below(path: Path, suffixes: tuple[str, ...]) -> int:
    """The number of files with one of some suffixes in a folder, however deep; 0 of a file."""
    names = (name for _, _, files in os.walk(path) for name in files if not is_leftover(name))
    return sum(name.lower().endswith(suffixes) for name in names)


def _entries(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if not is_leftover(name)]
