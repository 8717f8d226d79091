"""The files of a folder that someone has brought: what is in it, without what file managers leave behind."""

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Container, Iterable
from functools import cached_property
from pathlib import Path, PurePosixPath

from keras_cacnet.datasets.folder import is_leftover
from keras_cacnet.datasets.split_lists import IMAGE_SUFFIXES, listed_stems, plain_stem
from keras_cacnet.files import user_path

READABLE_SUFFIXES = (*IMAGE_SUFFIXES, ".gif", ".ppm", ".pgm", ".pbm")
"""What Pillow may open here: images, and masks too."""

SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "trn": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "tst": "test",
}
_GLUED = re.compile(r"^(train|valid|val|test)(?=(annot|labels?|masks?|images?)$)")
_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_LIST_FOLDERS = ("", "ImageSets/Segmentation", "ImageSets", "splits")


class SourceTree:
    """The files below a folder, by their path in it.

    Args:
        root: the folder.

    Raises:
        ValueError: there is no such folder, or no file in it.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = user_path(root)
        if not self.root.is_dir():
            state = "is a file" if self.root.exists() else "does not exist"
            raise ValueError(f"{self.root}: {state}; name the folder that has the images and their masks.")
        self.files: dict[str, Path] = {}
        for folder, folders, names in os.walk(self.root, followlinks=True):
            folders[:] = sorted(n for n in folders if not is_leftover(n) and not _leads_back(Path(folder, n)))
            for name in sorted(names):
                if not is_leftover(name):
                    path = Path(folder, name)
                    self.files[path.relative_to(self.root).as_posix()] = path
        if not self.files:
            raise ValueError(f"{self.root}: no files in it; name the folder that has the images and their masks.")

    def having(self, *suffixes: str) -> list[str]:
        """List the files with these suffixes (in lower case; files match in any case)."""
        return [name for name in self.files if PurePosixPath(name).suffix.lower() in suffixes]

    @cached_property
    def images(self) -> list[str]:
        """The files that are images by their suffix."""
        return self.having(*READABLE_SUFFIXES)

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        found = defaultdict(list)
        for name in self.images:
            found[_plain(PurePosixPath(name).name)].append(name)
        return found

    def find_image(
        self, name: str, near: str = "", split: str | None = None, without: Container[str] = ()
    ) -> str | None:
        """Find the image that an annotation names.

        Args:
            name: a file's name, with folders before it or without, by `/` or `\\`.
            near: the path in this tree of the annotation that names it; relative names start there.
            split: the split that it belongs to, where two images have one name.
            without: paths in this tree that it is not.

        Returns:
            Its path in this tree: where the name says it is, or the one file that ends in the name, or that
            has the last part of it; None where there is none, or several and nothing tells which.
        """
        wanted = name.replace("\\", "/")
        folder = PurePosixPath(near).parent
        direct = os.path.normpath(str(folder / wanted)).replace("\\", "/")
        if direct in self.files and direct not in without:
            return direct
        same = [one for one in self._by_name.get(_plain(PurePosixPath(wanted).name), []) if one not in without]
        tail = "/" + _plain(wanted.lstrip("./"))
        found = [other for other in same if f"/{_plain(other)}".endswith(tail)] or same
        if len(found) > 1 and split is not None:
            found = [other for other in found if split_of(PurePosixPath(other).parts[:-1]) == split] or found
        return found[0] if len(found) == 1 else None

    @cached_property
    def split_lists(self) -> dict[str, frozenset[str]]:
        """Read the lists of splits, `train.txt` and the like: split by split the names, without folder and suffix.

        They are looked for in the folder itself, in VOC's `ImageSets/Segmentation`, in `ImageSets` and in `splits`.
        Without lists of their own train and val come from `trainval.txt`, as one list called train.
        """
        texts = [PurePosixPath(name) for name in self.having(".txt")]
        for folder in _LIST_FOLDERS:
            # VOC's tree may lie below VOCdevkit.
            places = [path for path in texts if _is_in(path, folder)]
            lists: dict[str, frozenset[str]] = {}
            for word, split in (*SPLIT_WORDS.items(), ("trainval", "train")):
                path = next((place for place in places if place.stem == word), None)
                if (
                    path is not None
                    and split not in lists
                    and (names := frozenset(listed_stems(self.files[str(path)])))
                ):
                    lists[split] = names
            if lists:
                return lists
        return {}

    def split_in_lists(self, name: str) -> str | None:
        """Give the split whose list names an image or a mask; None where no list does."""
        stem = plain_stem(name)
        return next((split for split, names in self.split_lists.items() if stem in names), None)


def words(text: str) -> list[str]:
    """Split the name of a folder or a file into its words, in lower case, without numbers.

    Example:
        >>> words("Train_labels"), words("val2017"), words("trainannot"), words("JPEGImages")
        (['train', 'labels'], ['val'], ['train', 'annot'], ['jpeg', 'images'])
    """
    spaced = _CAPITAL.sub(" ", unicodedata.normalize("NFC", text))
    parts = re.findall(r"[^\W\d_]+", spaced.lower())
    return [word for part in parts for word in _GLUED.sub(r"\1 ", part).split()]


def split_of(folders: Iterable[str]) -> str | None:
    """Give the split that one of the folders' names says.

    Example:
        >>> split_of(("images", "valid")), split_of(("photos",))
        ('val', None)
    """
    return next((SPLIT_WORDS[word] for folder in folders for word in words(folder) if word in SPLIT_WORDS), None)


def _leads_back(folder: Path) -> bool:
    """Whether a folder is a link to one that it is in."""
    return folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())


def _is_in(path: PurePosixPath, folder: str) -> bool:
    return f"/{path.parent}".endswith(f"/{folder}") if folder else len(path.parts) == 1


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text)
