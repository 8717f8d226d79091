"""Tables for notebooks: as HTML, and as data frames where pandas is installed."""

import html
import importlib
from collections.abc import Iterable, Sequence
from typing import Any


def html_table(columns: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    """Render a table as HTML: text on the left, figures on the right, all of it escaped.

    Args:
        columns: the names of the columns; the first holds text.
        rows: the cells, as text.
        caption: what the table shows.

    Example:
        >>> html_table(("class", "IoU"), [("<sky>", "0.7500")])
        '<table><thead><tr><th style="text-align:left">class</th><th>IoU</th></tr></thead><tbody><tr><td ...
    """
    left = ' style="text-align:left"'

    def line(cells: Sequence[str], tag: str) -> str:
        written = (f"<{tag}{left if not at else ''}>{html.escape(cell)}</{tag}>" for at, cell in enumerate(cells))
        return f"<tr>{''.join(written)}</tr>"

    told = f"<caption{left}>{html.escape(caption)}</caption>" if caption else ""
    body = "".join(line(row, "td") for row in rows)
    return f"<table>{told}<thead>{line(columns, 'th')}</thead><tbody>{body}</tbody></table>"


def require_pandas(what: str) -> Any:
    """Import pandas, which nothing else here needs.

    Args:
        what: what is asked for, for the message.

    Raises:
        ImportError: pandas is not installed.
    """
    try:
        return importlib.import_module("pandas")
    except ImportError as error:
        raise ImportError(f"{what} as a data frame needs pandas ({error}): pip install pandas") from error
