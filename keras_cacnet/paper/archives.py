"""Archives whose bytes follow from their content alone: fixed times, owners and modes."""

import gzip
import io
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

ENDINGS = {"tar": (".tgz", ".tar.gz"), "zip": (".zip",)}
"""How the names of both kinds of archives end."""

_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can say
_TAR_TIME = 315532800  # the same in seconds
_MODE = 0o644


def write_archive(path: Path, kind: str, members: Iterable[tuple[str, bytes]]) -> None:
    """Write files into a new archive, one after the other.

    Equal members in equal order give equal bytes, whenever and wherever they are written.

    Args:
        path: the archive.
        kind: "tar" (gzipped) or "zip".
        members: names with slashes, and contents; only one content is held at a time.

    Raises:
        OSError: the archive cannot be written.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "notes.tgz"
        >>> write_archive(path, "tar", [("a/b.txt", b"note")])
        >>> list(read_archive(path, "tar"))
        [('a/b.txt', b'note')]
    """
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members:
                entry = zipfile.ZipInfo(name, _TIME)
                entry.create_system, entry.external_attr = 3, _MODE << 16  # as if on Unix, wherever it is
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, content)
        return
    with (
        path.open("wb") as file,
        gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode = len(content), _TAR_TIME, _MODE
            archive.addfile(member, io.BytesIO(content))


def read_archive(path: Path, kind: str) -> Iterator[tuple[str, bytes]]:
    """Read the files of an archive in their order, one at a time.

    Args:
        path: the archive.
        kind: "tar" (gzipped) or "zip".

    Returns:
        An iterator over names and contents; folders have none and are left out.

    Raises:
        ValueError: it is no such archive, or is damaged; from the iteration.
    """
    try:
        if kind == "zip":
            with zipfile.ZipFile(path) as archive:
                for entry in archive.infolist():
                    if not entry.is_dir():
                        yield entry.filename, archive.read(entry)
            return
        with tarfile.open(path, "r:gz") as packed:
            for member in packed:
                if not member.isdir():
                    file = packed.extractfile(member) if member.isfile() else None
                    yield member.name, b"" if file is None else file.read()
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} cannot be read as {' or '.join(ENDINGS[kind])}: {error}") from error
