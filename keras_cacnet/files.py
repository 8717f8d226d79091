"""Paths as users give them, and files that are whole or not there."""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def user_path(path: str | os.PathLike[str]) -> Path:
    """Take a path as a user gives it: `~` and `~name` mean the home folder.

    Every public function that takes a path passes it through this one.

    Example:
        >>> user_path("runs/mine").as_posix(), user_path("~/runs").is_absolute()
        ('runs/mine', True)
    """
    return Path(path).expanduser()


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
