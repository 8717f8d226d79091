"""Lists of names, one a line, that say which images a split has."""

import re
import unicodedata
from pathlib import Path, PurePosixPath

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")
"""Images that a folder may have, in lower case; files match in any case."""
_ALL_SUFFIXES = (*IMAGE_SUFFIXES, ".gif", ".ppm", ".pgm", ".pbm")


def plain_stem(name: str) -> str:
    """Give the last part of a path without the suffix of an image, composed as Unicode's NFC.

    Example:
        >>> plain_stem("train/city.v2.png"), plain_stem("city.v2")
        ('city.v2', 'city.v2')
    """
    path = PurePosixPath(name.replace("\\", "/"))
    return unicodedata.normalize("NFC", path.stem if path.suffix.lower() in _ALL_SUFFIXES else path.name)


def listed_stems(path: Path) -> tuple[str, ...]:
    """Read the names in a list, in its order: the first path of each line, without folders and suffix.

    Args:
        path: a text file; a line may go on with the mask's path, or with VOC's -1, 0 or 1.

    Returns:
        The names, each once.

    Raises:
        ValueError: it is not text that can be read.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "train.txt"
        >>> _ = path.write_text("images/a b.jpg labels/a b.png\\n2007_000032 -1\\n\\n")
        >>> listed_stems(path)
        ('a b', '2007_000032')
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read as a list of names ({error}).") from None
    first = (re.split(r"(?<=\.\w{3})\s|(?<=\.\w{4})\s|\s+-?[01]$", line.strip())[0] for line in lines if line.strip())
    return tuple(dict.fromkeys(map(plain_stem, first)))
