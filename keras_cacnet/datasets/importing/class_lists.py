"""Lists of classes as other tools write them: names, and colours or ids where they are given."""

import csv
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_cacnet.datasets.classes import VOID, ClassTable
from keras_cacnet.datasets.importing.source_tree import SourceTree
from keras_cacnet.datasets.palettes import voc_colors
from keras_cacnet.files import user_path

_NAMES_OF_LISTS = (
    *("classes.txt", "class_names.txt", "labels.txt", "labelmap.txt", "label_colors.txt", "class_dict.csv"),
    *("classes.csv", "_classes.csv", "class_dict_seg.csv", "labels.csv"),
)
_VOID_NAMES = ("void", "__ignore__", "ignore")
BACKGROUND_NAMES = ("background", "_background_", "__background__")
_FORMS = (
    "`id name R G B`, `name R G B`, `R G B name`, `name:R,G,B::` (CVAT), `id name` or `name`, one class a line, or CSV "
    "with a header such as name,r,g,b"
)
_ID, _NAME, _RGB = r"(?P<id>\d+)\s*[:\s,]\s*", r"(?P<name>\S.*?)", r"(?P<rgb>\d+[\s,]+\d+[\s,]+\d+)"
# The first that fits every line.
_PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        _ID + _NAME + r"[\s,]+" + _RGB,
        _RGB + r"[\s,]+" + _NAME,
        _NAME + r"\s*[:,\s]\s*" + _RGB + r"(:.*)?",
        _ID + _NAME,
        _NAME,
    )
)


@dataclass(frozen=True)
class NamedClass:
    """One line of a list of classes.

    Args:
        name: the class's name.
        color: RGB; None where the list has no colours.
        id: the number in mask files; None where the list has no numbers.
    """

    name: str
    color: tuple[int, int, int] | None = None
    id: int | None = None

    @property
    def is_void(self) -> bool:
        """Whether the name says that it is neither trained nor scored."""
        return self.name.lower() in _VOID_NAMES


def read_class_list(path: str | os.PathLike[str]) -> tuple[NamedClass, ...]:
    """Read a list of classes in one of the usual forms.

    Args:
        path: a text or CSV file, UTF-8.

    Returns:
        The classes in the file's order; those named void, ignore or `__ignore__` are void.

    Raises:
        ValueError: it cannot be read, has no classes, repeats a name, a colour or an id, or a number is out of range.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "labelmap.txt"
        >>> _ = path.write_text("# label:color_rgb:parts:actions\\nsky:90,160,220::\\nsea:20,60,140::\\n")
        >>> [(one.name, one.color) for one in read_class_list(path)]
        [('sky', (90, 160, 220)), ('sea', (20, 60, 140))]
    """
    path = user_path(path)
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read as a list of classes ({error}).") from None
    lines = [line for line in (line.split("#")[0].strip() for line in text.splitlines()) if line]
    rows = _csv_rows(lines) if path.suffix.lower() == ".csv" else None
    if rows is None:
        pattern = next((one for one in _PATTERNS if all(map(one.fullmatch, lines))), None)
        if not lines or pattern is None:
            raise ValueError(f"{path}: no list of classes; expected {_FORMS}.")
        rows = [match.groupdict() for line in lines if (match := pattern.fullmatch(line))]
    found = tuple(_named(row, path) for row in rows)
    kept = [one for one in found if not one.is_void]
    if not kept:
        raise ValueError(f"{path}: no class that is not void; expected {_FORMS}.")
    of_each: dict[str, list[Any]] = {
        "name": [one.name for one in kept],
        "colour": [one.color for one in found if one.color is not None],
        "id": [one.id for one in found if one.id is not None],
    }
    for what, values in of_each.items():
        for value in values:
            if values.count(value) > 1:
                raise ValueError(f"{path}: {what} {value!r} is there twice; give each class one of its own.")
    return found


def find_class_list(tree: SourceTree) -> Path | None:
    """Find the list of classes in a source, such as classes.txt, labelmap.txt or class_dict.csv; the highest first."""
    found = [name for name in tree.files if name.rsplit("/", 1)[-1].lower() in _NAMES_OF_LISTS]
    found.sort(key=lambda name: (name.count("/"), _NAMES_OF_LISTS.index(name.rsplit("/", 1)[-1].lower())))
    return tree.files[found[0]] if found else None


def class_table(classes: Sequence[NamedClass]) -> ClassTable:
    """Make the table of classes that all have an id; those without a colour get VOC's for it, or a free one."""
    kept = [one for one in classes if not one.is_void]
    taken = {one.color for one in kept}
    spare = iter([color for color in voc_colors(256)[1:] if color not in taken])
    colors = voc_colors(256)
    palette = []
    for one in kept:
        assert one.id is not None
        color = one.color
        if color is None:
            color = colors[one.id] if colors[one.id] not in taken else next(spare)
            taken.add(color)
        palette.append(color)
    # In classes.txt `#` begins a comment.
    names = tuple(" ".join(one.name.replace("#", " ").split()) or f"class_{one.id}" for one in kept)
    return ClassTable(names, tuple(palette), tuple(one.id for one in kept if one.id is not None))


def classes_of_labels(labels: Sequence[str], wanted: Sequence[NamedClass] | None) -> ClassTable:
    """Make the table for labelled shapes: background, id 0, and the labels from 1 on.

    Args:
        labels: the labels that occur, in their order; void ones among them are no class.
        wanted: the classes that a user has listed, in place of all labels; one of them may be the background.

    Returns:
        The classes.

    Raises:
        ValueError: none of the labels is wanted, or there are too many.

    Example:
        >>> classes_of_labels(["cat", "dog", "__ignore__"], None).names
        ('background', 'cat', 'dog')
    """
    named = tuple(NamedClass(label) for label in labels) if wanted is None else tuple(wanted)
    if wanted is not None and not {one.name for one in named} & set(labels):
        raise ValueError(
            f"none of the classes {', '.join(one.name for one in named)} is a label of the set; it has "
            f"{', '.join(labels)}"
        )
    grounds = [one for one in named if one.name.lower() in BACKGROUND_NAMES]
    ground = grounds[0] if grounds else NamedClass("background", (0, 0, 0))
    shapes = [one for one in named if one not in grounds and not one.is_void]
    if len(shapes) >= VOID:
        raise ValueError(f"{len(shapes)} labels: masks have 8 bits, so there are at most {VOID - 1}; list those wanted")
    numbered = [NamedClass(one.name, one.color, number) for number, one in enumerate([ground, *shapes])]
    return class_table(numbered)


def _csv_rows(lines: Sequence[str]) -> list[dict[str, str | None]] | None:
    """The rows of a CSV file by `id`, `name` and `rgb`; None where its first line is no header."""
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines)]
    heads = [head.lower() for head in rows[0]] if rows else []
    width = len(heads)

    def column(*starts: str) -> int | None:
        return next((i for start in starts for i, head in enumerate(heads) if head == start), None)

    name = column("name", "class", "label", "class_name", "label_name")
    if name is None:
        return None
    index = column("id", "index", "class_id", "label_id", "value", "pixel value")
    channels = [column(long, long[0]) for long in ("red", "green", "blue")]
    has_colors = None not in channels
    return [
        {
            "name": row[name],
            "id": None if index is None else row[index],
            "rgb": " ".join(row[i] for i in channels if i is not None) if has_colors else None,
        }
        for row in ((cells + [""] * width)[:width] for cells in rows[1:])
    ]


def _named(row: dict[str, str | None], path: Path) -> NamedClass:
    name = str(row["name"])
    given_id, rgb = row.get("id"), row.get("rgb")
    try:
        class_id = None if given_id is None else int(given_id)
        parts = None if rgb is None else tuple(int(part) for part in re.split(r"[\s,]+", rgb.strip()))
    except ValueError:
        raise ValueError(f"{path}: {name!r}: ids and colours are whole numbers; not {row}.") from None
    if parts is not None and (len(parts) != 3 or max(parts) > 255):
        raise ValueError(f"{path}: colour {parts} of {name!r} is out of range; each of R G B is 0..255.")
    if class_id is not None and class_id > VOID:
        raise ValueError(f"{path}: id {class_id} of {name!r} is above {VOID}.")
    color = None if parts is None else (parts[0], parts[1], parts[2])
    return NamedClass(name, color, class_id)
