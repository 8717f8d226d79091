"""Paths as users give them, and files that are whole or not there."""

import hashlib
import json
import os
import shutil
import tempfile
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def user_path(path: str | os.PathLike[str]) -> Path:
    """Take a path as a user gives it: `~` and `~name` mean the home folder.

    Every public function that takes a path passes it through this one.

    Raises:
        ValueError: it is an address, such as of a bucket, which would become a folder of that name.

    Example:
        >>> user_path("runs/mine").as_posix(), user_path("~/runs").is_absolute()
        ('runs/mine', True)
        >>> user_path("gs://bucket/run")
        Traceback (most recent call last):
        ValueError: gs://bucket/run is an address, and files are read and written as paths only: download it ...
    """
    if "://" in os.fspath(path):
        raise ValueError(
            f"{path} is an address, and files are read and written as paths only: download it or mount its bucket first"
        )
    return Path(path).expanduser()


def writable_folder(path: str | os.PathLike[str]) -> Path:
    """Refuse a folder that could not be written, before the work whose results shall go there; nothing is made yet.

    Args:
        path: the folder, which may be made later; `~` is the home folder.

    Returns:
        The path.

    Raises:
        ValueError: a file is in the way.
        OSError: nothing can be written there, or where it would be made.

    Example:
        >>> writable_folder("made/later").as_posix()
        'made/later'
    """
    folder = user_path(path)
    require_writable(folder, folder)
    return folder


def writable_file(path: str | os.PathLike[str]) -> Path:
    """Refuse a file that could not be written, before the work whose results shall go there; nothing is made yet.

    Args:
        path: the file; `~` is the home folder.

    Returns:
        The path.

    Raises:
        ValueError: it is a folder, or a file is in the way.
        OSError: nothing can be written in its folder.

    Example:
        >>> writable_file("scores.json").name
        'scores.json'
    """
    file = user_path(path)
    if file.is_dir():
        raise ValueError(f"{file} is a folder, and a file is needed: name a file in it")
    require_writable(file, file.parent)
    return file


def require_writable(path: Path, folder: Path) -> None:
    """Refuse a place where nothing can be written, tried out in the nearest folder that is there.

    Args:
        path: what is to be written.
        folder: the folder that it goes into, or that it is; it may be made later.

    Raises:
        ValueError: something that is no folder is in the way.
        OSError: nothing can be written there.
    """
    there = folder
    while not os.path.lexists(there):
        there = there.parent
    if not there.is_dir():
        raise ValueError(f"{there} is no folder, and a folder is needed: name another one")
    try:
        # The bits of a folder say nothing of read-only file systems, root or access lists.
        with tempfile.TemporaryDirectory(prefix=".writable-", dir=there):
            pass
    except OSError as error:
        raise type(error)(
            f"{path} cannot be written: {error.strerror} in {there}; name a place in which you may write"
        ) from error


def existing(path: Path) -> Path:
    """Find a file under the name that its folder has for it: `é` may be one character there, or two (as macOS has it).

    Args:
        path: the file.

    Returns:
        `path`, or the file beside it that looks the same, where `path` itself is not there.

    Example:
        >>> existing(Path("nowhere.png")).name
        'nowhere.png'
    """
    if path.name.isascii() or path.exists() or not path.parent.is_dir():
        return path
    name = unicodedata.normalize("NFC", path.name)
    return next((other for other in path.parent.iterdir() if unicodedata.normalize("NFC", other.name) == name), path)


def visible_files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """List the files of a folder with these suffixes, by name, without what file managers leave there.

    Args:
        folder: the folder.
        suffixes: in lower case, with the dot; files match in any case.

    Returns:
        The paths, sorted. Names that begin with a dot (macOS' `._NAME.jpg` among them) are left out.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("b.JPG", "a.jpg", "._a.jpg", "notes.txt"):
        ...     (folder / name).touch()
        >>> [path.name for path in visible_files(folder, (".jpg",))]
        ['a.jpg', 'b.JPG']
    """
    return sorted(
        path
        for path in folder.iterdir()
        if not path.name.startswith(".") and path.suffix.lower() in suffixes and path.is_file()
    )


def write_atomically(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` make a file under a temporary name beside `path`, then rename it to `path`.

    A reader finds the former file or the new one, never a part, however the process ends.

    Args:
        path: where the file shall be.
        write: called with the temporary path, of the same suffix as `path`.

    Raises:
        OSError: the folder cannot be written, or the disk is full; `path` is then as it was.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "note.txt"
        >>> write_atomically(target, lambda path: path.write_text("whole"))
        >>> target.read_text(), len(list(target.parent.iterdir()))
        ('whole', 1)
    """
    temporary = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def link_or_copy(path: Path, copy: Path) -> None:
    """Give a file a second name, or copy it where the file system has no links.

    A file that `write_atomically` replaces later stays what it was under its second name.
    """
    copy.unlink(missing_ok=True)
    try:
        os.link(path, copy)
    except OSError:
        shutil.copyfile(path, copy)


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, atomically."""
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text))


def json_digest(value: Any) -> str:
    """Sum up plain values, for the name of what depends on them.

    Example:
        >>> json_digest({"a": 1, "b": 2}) == json_digest({"b": 2, "a": 1})
        True
    """
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:10]
