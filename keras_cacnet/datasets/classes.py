"""The table of classes of a data set: names, colours, and the ids in its mask files."""

import operator
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from keras_cacnet.wording import listed, ranges_text

VOID = 255
"""The void label in every mask that leaves a reader: pixels that are neither trained nor scored."""


@dataclass(frozen=True)
class ClassTable:
    """The classes that are trained and scored, and how mask files write them.

    Mask files use the ids of `ids` and `void_ids`; training uses 0..n-1 in the order of `names`, and `VOID`.

    Args:
        names: one name per class, void left out; at most 255, as masks have 8 bits and 255 is void.
        palette: one RGB triple per class, 0..255.
        ids: the id of each class in mask files, 0..254.
        void_ids: ids in mask files that are void, beside 255, which always is.
        void_palette: colours that are void, of masks that write classes as colours.

    Raises:
        ValueError: no classes or more than 255, tables of different lengths, an id or a name given twice, an id or a
            colour out of range.

    Example:
        >>> table = ClassTable(("sky", "sea"), ((90, 160, 220), (20, 60, 140)), ids=(1, 2), void_ids=(0,))
        >>> table.to_training(np.array([[0, 1, 2, 255]], "uint8"), origin="beach.png")
        array([[255,   0,   1, 255]], dtype=uint8)
    """

    names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    ids: tuple[int, ...]
    void_ids: tuple[int, ...] = ()
    void_palette: tuple[tuple[int, int, int], ...] = field(default=(), compare=False)
    _training_of: np.ndarray = field(init=False, repr=False, compare=False)
    _known: np.ndarray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.names:
            raise ValueError("A class table needs at least one class that is not void; names is empty.")
        if not len(self.names) == len(self.palette) == len(self.ids):
            raise ValueError(
                "A class table needs one name, one colour and one id per class; received "
                f"{len(self.names)} names, {len(self.palette)} colours and {len(self.ids)} ids."
            )
        if len(self.names) > VOID:
            raise ValueError(
                f"{len(self.names)} classes: masks have 8 bits and {VOID} is void, so there are at most {VOID} "
                "classes; merge some of them."
            )
        object.__setattr__(self, "names", tuple(self.names))
        object.__setattr__(self, "palette", tuple(_color(color) for color in self.palette))
        object.__setattr__(self, "void_palette", tuple(_color(color) for color in self.void_palette))
        object.__setattr__(self, "ids", tuple(_id(i, VOID - 1, f" ({VOID} is void)") for i in self.ids))
        object.__setattr__(self, "void_ids", tuple(_id(i, VOID) for i in self.void_ids))
        for what, values in (("name", self.names), ("id", (*self.ids, *self.void_ids))):
            if twice := _duplicates(values):
                raise ValueError(f"Each class {what} may occur once in a class table; {twice[0]!r} does not.")
        training_of = np.full(256, VOID, "uint8")
        training_of[list(self.ids)] = np.arange(len(self.ids), dtype="uint8")
        known = np.zeros(256, bool)
        known[[*self.ids, *self.void_ids, VOID]] = True
        object.__setattr__(self, "_training_of", training_of)
        object.__setattr__(self, "_known", known)

    def __len__(self) -> int:
        return len(self.names)

    def to_training(self, mask: np.ndarray, origin: str) -> np.ndarray:
        """Renumber the ids of a mask file to class indices.

        Args:
            mask: whole numbers of any type, the ids as the file has them.
            origin: the file, for the error.

        Returns:
            uint8 of the same shape: 0..n-1, and `VOID`.

        Raises:
            ValueError: an id that is not in the table, or numbers that are not whole; it names the file, the ids and
                how many pixels have them.

        Example:
            >>> table = ClassTable(("sky", "sea"), ((90, 160, 220), (20, 60, 140)), ids=(0, 1))
            >>> table.to_training(np.array([[0, 7]], "uint8"), origin="beach.png")
            Traceback (most recent call last):
            ValueError: beach.png: id 7 (1 pixel) is not in the class table, which knows 0, 1 and void 255; ...
        """
        try:
            unknown = self.unknown_ids(mask)
        except ValueError as error:
            raise ValueError(f"{origin}: {error}") from None
        if unknown:
            raise ValueError(f"{origin}: {self.unknown_text(unknown)}")
        return self._training_of[np.asarray(mask, "uint8")]

    def unknown_ids(self, mask: np.ndarray) -> dict[int, int]:
        """Count the pixels of a mask file whose id is not in the table.

        Args:
            mask: whole numbers of any type, the ids as the file has them.

        Returns:
            Pixels per unknown id, by ascending id; empty where all are known.

        Raises:
            ValueError: the numbers are not whole.

        Example:
            >>> table = ClassTable(("sky", "sea"), ((90, 160, 220), (20, 60, 140)), ids=(0, 1))
            >>> table.unknown_ids(np.array([[0, 7, 7, -1]]))
            {-1: 1, 7: 2}
        """
        mask = np.asarray(mask)
        if mask.dtype.kind not in "bui":
            raise ValueError(f"the mask is {mask.dtype}; ids are whole numbers, such as uint8.")
        mask = mask.astype("uint8") if mask.dtype == bool else mask
        if mask.dtype == "uint8" and self._known[mask].all():
            return {}
        found = zip(*(part.tolist() for part in np.unique(mask, return_counts=True)), strict=True)
        return {i: count for i, count in found if not (0 <= i <= VOID and self._known[i])}

    def unknown_text(self, unknown: dict[int, int]) -> str:
        """Word the error for ids that are not in the table.

        Args:
            unknown: pixels per id, as `unknown_ids` counts them.

        Example:
            >>> table = ClassTable(("sky", "sea"), ((90, 160, 220), (20, 60, 140)), ids=(0, 1))
            >>> print(table.unknown_text({7: 2}))
            id 7 (2 pixels) is not in the class table, which knows 0, 1 and void 255; add the class to classes.txt, or
            write 255 where the pixel shall not be trained.
        """
        counted = listed(f"{i} ({count} pixel{'' if count == 1 else 's'})" for i, count in unknown.items())
        ids, verb = ("id", "is") if len(unknown) == 1 else ("ids", "are")
        return (
            f"{ids} {counted} {verb} not in the class table, which knows {ranges_text(self.ids)} and void "
            f"{ranges_text({*self.void_ids, VOID})}; add the class to classes.txt, or write {VOID} where the pixel "
            "shall not be trained."
        )

    def to_file(self, indices: np.ndarray) -> np.ndarray:
        """Renumber class indices to the ids that mask files of this data set have.

        Args:
            indices: integers, 0..n-1 or `VOID`.

        Returns:
            uint8 of the same shape.

        Raises:
            ValueError: an index that is neither a class nor `VOID`.

        Example:
            >>> table = ClassTable(("sky", "sea"), ((90, 160, 220), (20, 60, 140)), ids=(1, 2))
            >>> table.to_file(np.array([[0, 1, VOID]]))
            array([[  1,   2, 255]], dtype=uint8)
        """
        indices = np.asarray(indices)
        wrong = (indices != VOID) & ((indices < 0) | (indices >= len(self)))
        if wrong.any():
            raise ValueError(
                f"Class indices are 0..{len(self) - 1} or {VOID} (void); received {int(indices[wrong].flat[0])}."
            )
        file_of = np.full(256, VOID, "uint8")
        file_of[: len(self)] = self.ids
        return file_of[indices]

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> "ClassTable":
        """Read `classes.txt`.

        One class a line: `index name R G B`. `#` starts a comment, names may contain spaces, and an entry
        named void (in upper or lower case) is an id that is neither trained nor scored; there may be several.

        Args:
            path: the file, UTF-8.

        Returns:
            The classes by ascending index.

        Raises:
            ValueError: the file cannot be read or has no classes, or a line is not as above or repeats an
                index or a name; it names the file, the line and what is expected.

        Example:
            >>> import pathlib, tempfile
            >>> path = pathlib.Path(tempfile.mkdtemp()) / "classes.txt"
            >>> _ = path.write_text("0 sky 90 160 220\\n1 open sea 20 60 140\\n2 void 0 0 0\\n")
            >>> ClassTable.from_file(path).names
            ('sky', 'open sea')
        """
        from keras_cacnet.datasets.classes_file import read_classes

        return read_classes(path)

    def to_text(self) -> str:
        """Render the table as `classes.txt`.

        Returns:
            What `from_file` reads.

        Example:
            >>> ClassTable(("sky",), ((90, 160, 220),), ids=(1,), void_ids=(0,)).to_text()
            '1 sky 90 160 220\\n0 void 0 0 0\\n'
        """
        from keras_cacnet.datasets.classes_file import classes_text

        return classes_text(self)

    def to_json(self) -> dict[str, Any]:
        """Render the table as plain lists and dictionaries.

        Returns:
            What `from_json` reads.

        Example:
            >>> ClassTable(("sky",), ((90, 160, 220),), ids=(1,), void_ids=(0,)).to_json()
            {'classes': [{'id': 1, 'name': 'sky', 'color': [90, 160, 220]}], 'void_ids': [0], 'void_palette': []}
        """
        rows = zip(self.ids, self.names, self.palette, strict=True)
        return {
            "classes": [{"id": i, "name": name, "color": list(color)} for i, name, color in rows],
            "void_ids": list(self.void_ids),
            "void_palette": [list(color) for color in self.void_palette],
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "ClassTable":
        """Read what `to_json` has written.

        Args:
            value: the dictionary.

        Returns:
            An equal table.

        Raises:
            ValueError: a key is missing, or the table is not valid.

        Example:
            >>> table = ClassTable(("sky",), ((90, 160, 220),), ids=(1,), void_ids=(0,))
            >>> ClassTable.from_json(table.to_json()) == table
            True
        """
        try:
            rows = value["classes"]
            return cls(
                names=tuple(row["name"] for row in rows),
                palette=tuple(tuple(row["color"]) for row in rows),
                ids=tuple(row["id"] for row in rows),
                void_ids=tuple(value["void_ids"]),
                void_palette=tuple(value.get("void_palette", ())),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(
                "A class table has 'classes' (each with 'id', 'name' and 'color') and 'void_ids'; "
                f"{error!r} in {value!r}."
            ) from None


def _id(value: Any, last: int, note: str = "") -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = -1
    if isinstance(value, bool) or not 0 <= number <= last:
        raise ValueError(f"Ids in mask files are whole numbers in 0..{last}{note}; not {value!r}.")
    return number


def _color(color: Any) -> tuple[int, int, int]:
    try:
        red, green, blue = (operator.index(value) for value in color)
    except (TypeError, ValueError):
        red = green = blue = -1
    if not all(0 <= value <= 255 for value in (red, green, blue)):
        raise ValueError(f"A class colour is three whole numbers in 0..255, red, green, blue; not {color!r}.")
    return red, green, blue


def _duplicates(values: Iterable[Any]) -> list[Any]:
    seen: set[Any] = set()
    return [value for value in values if value in seen or seen.add(value)]  # type: ignore[func-returns-value]
