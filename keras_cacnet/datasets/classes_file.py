"""The text of classes.txt: a class a line, `index name R G B`."""

import os
import re
from typing import NamedTuple

from keras_cacnet.datasets.classes import VOID, ClassTable
from keras_cacnet.files import user_path

_FORM = "`index name R G B`, as in `0 sky 128 128 128`"
_LINE = re.compile(r"(?P<id>\d+)\s+(?P<name>\S.*?)\s+(?P<color>\d+\s+\d+\s+\d+)")


class OtherList(ValueError):
    """The first line of a list of classes is not `index name R G B`; `import_folder` reads other lists."""


class _Entry(NamedTuple):
    """A line: a class, or an id that is void."""

    id: int
    name: str
    color: tuple[int, int, int]

    @property
    def is_void(self) -> bool:
        return self.name.lower() == "void"


def read_classes(path: str | os.PathLike[str]) -> ClassTable:
    """Read `classes.txt`, see `ClassTable.from_file`.

    Args:
        path: the file, UTF-8.

    Returns:
        The classes by ascending index.

    Raises:
        OtherList: the first line is not as it should be.
        ValueError: the file cannot be read or has no classes, or a line is not as it should be or repeats an index or a
            name; it names the file, the line and what is expected.

    Example:
        >>> import tempfile
        >>> path = user_path(tempfile.mkdtemp()) / "classes.txt"
        >>> _ = path.write_text("1 open sea 20 60 140\\n0 sky 90 160 220  # from the horizon up\\n")
        >>> read_classes(path).names
        ('sky', 'open sea')
    """
    path = user_path(path)
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not UTF-8 text; save it as UTF-8, one class a line: {_FORM}.") from None
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}).") from None
    first_line: dict[int | str, int] = {}
    entries: list[_Entry] = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.split("#")[0].strip()
        if not line:
            continue
        where = f"{path}, line {number}"
        if (match := _LINE.fullmatch(line)) is None:
            # Later it is a slip of the pen.
            kind = ValueError if entries else OtherList
            raise kind(f"{where}: {line!r} is not a class; expected {_FORM}.")
        entry = _entry(match, where)
        for what, value in (("index", entry.id), ("name", entry.name)):
            if what == "name" and entry.is_void:
                continue
            if value in first_line:
                raise ValueError(
                    f"{path}, line {number}: {what} {value!r} is in line {first_line[value]} "
                    f"already; give each class {'an index' if what == 'index' else 'a name'} of its own."
                )
            first_line[value] = number
        entries.append(entry)
    classes = sorted(entry for entry in entries if not entry.is_void)
    void = [entry for entry in entries if entry.is_void]
    if not classes:
        raise ValueError(f"{path}: no classes; write one a line: {_FORM}.")
    return ClassTable(
        names=tuple(entry.name for entry in classes),
        palette=tuple(entry.color for entry in classes),
        ids=tuple(entry.id for entry in classes),
        void_ids=tuple(sorted(entry.id for entry in void if entry.id != VOID)),
        void_palette=tuple(entry.color for entry in void),
    )


def classes_text(table: ClassTable) -> str:
    """Render a table as `classes.txt`.

    Args:
        table: the classes.

    Returns:
        What `read_classes` reads.

    Example:
        >>> classes_text(ClassTable(("sky",), ((90, 160, 220),), ids=(1,), void_ids=(0,)))
        '1 sky 90 160 220\\n0 void 0 0 0\\n'
    """
    rows = zip(table.ids, table.names, table.palette, strict=True)
    lines = [f"{i} {name} {red} {green} {blue}\n" for i, name, (red, green, blue) in rows]
    return "".join((*lines, *(f"{i} void 0 0 0\n" for i in table.void_ids)))


def _entry(match: re.Match[str], where: str) -> _Entry:
    red, green, blue = (int(value) for value in match["color"].split())
    entry = _Entry(int(match["id"]), match["name"], (red, green, blue))
    if max(entry.color) > 255:
        raise ValueError(
            f"{where}: colour {red} {green} {blue} of {entry.name!r} is out of range; each of R G B is 0..255."
        )
    if entry.id > (VOID if entry.is_void else VOID - 1):
        raise ValueError(
            f"{where}: index {entry.id} of {entry.name!r} is out of range; masks are 8-bit, so classes are "
            f"0..{VOID - 1}, and {VOID} is void."
        )
    return entry
