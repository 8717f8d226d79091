"""Files that are whole or not there: written under a temporary name, synchronised, renamed."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any


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
