"""What a table of the paper is here: cells as printed, where they come from, and what is wrong with them."""

import re
from dataclasses import dataclass
from typing import Literal

LOST = "?"
"""How the text of a table, as `rows` reads it, writes a cell that the scan has lost."""

_NUMBER = re.compile(r"\+?(\d+(?:\.\d+)?)[MG]?")


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Args:
        name: our name of the row, unique in its table, where the printed cells do not tell rows apart.
        cells: one a column, as printed; "" where nothing is printed, None where the scan has lost it.
    """

    name: str
    cells: tuple[str | None, ...]


@dataclass(frozen=True)
class Remark:
    """What has to be known about cells before they are quoted.

    Args:
        kind: "lost" in the scan; "misread" by the scan and restored from the text; "contradiction" to another
            place of the paper; "silent" where the paper does not say what the figure needs; "reading", how we
            understand it.
        text: the remark.
        cells: the cells meant, as (row, column); none means the whole table.
    """

    kind: Literal["lost", "misread", "contradiction", "silent", "reading"]
    text: str
    cells: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Table:
    """A table of the paper; a row is a method, also where the paper prints it as a column.

    Args:
        number: its number in the paper.
        caption: what it shows, in our words.
        dataset: the data set.
        split: what is scored.
        backbone: the backbone; "by row" where a column tells it, None where the paper does not.
        protocol: how images are shown to the network, as far as the paper says.
        unit: unit of the figures.
        columns: names of the columns, as printed.
        rows: the rows, in the paper's order.
        remarks: gaps, contradictions and readings.
        transposed: whether the paper prints our rows as columns.
        reference: the row that the paper compares the others with, in tables of ablations.
    """

    number: int
    caption: str
    dataset: str
    split: str
    backbone: str | None
    protocol: str
    unit: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    remarks: tuple[Remark, ...] = ()
    transposed: bool = False
    reference: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the rows."""
        return tuple(row.name for row in self.rows)

    def cell(self, row: str, column: str) -> str | None:
        """Give a cell as printed.

        Args:
            row: name of the row.
            column: name of the column.

        Returns:
            The cell; "" where nothing is printed, None where the scan has lost it.

        Raises:
            ValueError: no such row or column; the message names those there are.

        Example:
            >>> from keras_cacnet.paper import TABLES
            >>> TABLES[7].cell("APCNet", "Parameters")
            '+10M'
        """
        if row not in self.names:
            raise ValueError(f"Table {self.number} has no row {row!r}; its rows are {', '.join(self.names)}")
        if column not in self.columns:
            raise ValueError(f"Table {self.number} has no column {column!r}; it has {', '.join(self.columns)}")
        return self.rows[self.names.index(row)].cells[self.columns.index(column)]

    def value(self, row: str, column: str) -> float | None:
        """Give a cell as a number, without its sign "+" and its unit.

        Args:
            row: name of the row.
            column: name of the column.

        Returns:
            The number, in `unit`; None where the cell is lost or empty.

        Raises:
            ValueError: no such row or column, or a cell that is no number.

        Example:
            >>> from keras_cacnet.paper import TABLES
            >>> TABLES[7].value("APCNet", "Parameters")
            10.0
            >>> TABLES[3].value("H = 2", "pixAcc") is None  # lost in the scan
            True
        """
        cell = self.cell(row, column)
        if not cell:
            return None
        number = _NUMBER.fullmatch(cell)
        if number is None:
            raise ValueError(f"Table {self.number}, {row!r}, {column!r} is {cell!r} and no number")
        return float(number[1])

    def remarks_on(self, row: str, column: str) -> tuple[Remark, ...]:
        """Find the remarks on a cell, those on the whole table left out."""
        return tuple(remark for remark in self.remarks if (row, column) in remark.cells)


def rows(text: str) -> tuple[Row, ...]:
    """Read rows from lines of `name | cell | cell ...`.

    Example:
        >>> rows("FCN | ResNet50 |  | ?")
        (Row(name='FCN', cells=('ResNet50', '', None)),)
    """
    lines = [[cell.strip() for cell in line.split("|")] for line in text.strip().splitlines()]
    return tuple(Row(name, tuple(None if cell == LOST else cell for cell in cells)) for name, *cells in lines)
