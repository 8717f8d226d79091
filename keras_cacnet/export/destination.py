"""Where an export is put: what is refused before it is made, and how it gets there whole or not at all."""

import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import tensorflow as tf

from keras_cacnet.files import require_writable, write_atomically

EXTRA = "assets.extra"
"""The one folder of a SavedModel that servers leave to its owner."""

TEMPORARY = "make room there, or set TMPDIR to another folder"
"""What can be done where temporary files do not fit."""


def require_folder_place(path: Path, overwrite: bool) -> None:
    """Refuse a path at which a SavedModel must not or cannot be written.

    Args:
        path: where the SavedModel is to be.
        overwrite: whether another SavedModel may be replaced.

    Raises:
        ValueError: `path` is a file, a link, a mount point or no name, lies in a file, or is a folder that is not empty
            without `overwrite`, or is no SavedModel with it.
        OSError: nothing can be written there.
    """
    if path.name in ("", ".."):
        raise ValueError(f"{path} is no name for a folder of its own: give one, such as cacnet/1")
    require_writable(path, path.parent)
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise ValueError(
            f"{path} is a {'link' if path.is_symlink() else 'file'}; a SavedModel is a folder: name another place"
        )
    if path.is_mount():
        raise ValueError(f"{path} is a mount point, which cannot be replaced whole: name a folder in it, {path}/1")
    if not path.exists() or not any(path.iterdir()):
        return
    if not overwrite:
        raise ValueError(
            f"{path} is not empty: name another folder, or replace what is there with overwrite=True (--overwrite)"
        )
    if not (path / "saved_model.pb").is_file():
        raise ValueError(f"{path} holds other things than a SavedModel and is not replaced: name another folder")


def require_file_place(path: Path, suffix: str, overwrite: bool) -> None:
    """Refuse a path at which an export that is one file must not or cannot be written.

    Args:
        path: where the file is to be.
        suffix: what its name has to end in.
        overwrite: whether a file may be replaced.

    Raises:
        ValueError: another suffix, a folder or a link, a file without `overwrite`, or a path in a file.
        OSError: nothing can be written there.
    """
    if path.suffix != suffix:
        raise ValueError(f"{path} does not end in {suffix}, by which the file is known: name it {path.name}{suffix}")
    require_writable(path, path.parent)
    if path.is_symlink() or path.is_dir():
        raise ValueError(
            f"{path} is a {'link' if path.is_symlink() else 'folder'}; the export is a file: name another place"
        )
    if path.exists() and not overwrite:
        raise ValueError(f"{path} is there already: name another file, or replace it with overwrite=True (--overwrite)")


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Let the caller write a folder under a temporary name beside `path`, then rename it to `path`.

    Where anything fails, what was at `path` is there as before, and nothing else is left.

    Args:
        path: where the folder is to be; one that is there is replaced.

    Returns:
        The temporary name, at which nothing is yet.

    Raises:
        OSError: something could not be written; the message names `path`.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "cacnet" / "1"
        >>> with whole_folder(target) as folder:
        ...     folder.mkdir()
        >>> target.is_dir(), [path.name for path in target.parent.iterdir()]
        (True, ['1'])
    """
    mark = uuid.uuid4().hex[:8]
    partial, former = (path.with_name(f".{path.name}.{kind}-{mark}") for kind in ("partial", "former"))
    with one_line_errors(path), _parents(path):
        try:
            yield partial
            replaced = path.exists()
            if replaced:
                path.rename(former)
            try:
                partial.rename(path)
            except BaseException:
                if replaced:
                    former.rename(path)
                raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(former, ignore_errors=True)


def write_whole_file(path: Path, content: bytes) -> None:
    """Write a file under a temporary name beside `path`, then rename it to `path`; as `whole_folder` does.

    Args:
        path: where the file is to be; one that is there is replaced.
        content: of the file.

    Raises:
        OSError: it could not be written; the message names `path`.
    """
    with one_line_errors(path), _parents(path):
        write_atomically(path, lambda partial: partial.write_bytes(content))


@contextmanager
def one_line_errors(path: Path, mend: str = "make room there, or name another place") -> Iterator[None]:
    """Turn what the system or TensorFlow says of a failed write into one line that names the path and the mend.

    Args:
        path: what is being written.
        mend: what can be done.

    Raises:
        OSError: of the kind that was raised; of TensorFlow's errors always this one.

    Example:
        >>> try:
        ...     with one_line_errors(Path("cacnet/1")):
        ...         raise OSError(28, "No space left on device")
        ... except OSError as error:
        ...     print(error)
        cacnet/1 cannot be written: No space left on device; make room there, or name another place
    """
    try:
        yield
    except tf.errors.OpError as error:
        # TensorFlow's nodes and temporary files are before the reason and behind it.
        said = re.sub(r"\s*\[(Op:|\[).*", "", error.message, flags=re.DOTALL).strip()
        raise OSError(f"{path} cannot be written: {said.rpartition('; ')[2]}; {mend}") from error
    except OSError as error:
        raise type(error)(f"{path} cannot be written: {error.strerror or error}; {mend}") from error


@contextmanager
def _parents(path: Path) -> Iterator[None]:
    """Make the folders above a path, and take away again those that were made for nothing."""
    missing = [folder for folder in path.parents if not folder.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for folder in missing:
            with suppress(OSError):
                folder.rmdir()
        raise
