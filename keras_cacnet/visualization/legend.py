"""Legends: the classes that occur in a picture, with their colours and their shares of the pixels."""

import math
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.patches import Patch

from keras_cacnet.datasets.classes import VOID, ClassTable

HATCH, GRAY = "////////", "0.6"
"""How void is drawn: striped, as no class is."""

_LONGEST_NAME = 40
_DPI = 64  # a power of two: pixels divided by it are exact, and the picture is not one pixel short

Entry = tuple[str, tuple[int, int, int] | None]
"""Text and colour of a line; the colour of void is None."""


def legend_entries(ids: np.ndarray, classes: ClassTable, shares: bool = True) -> list[Entry]:
    """List the lines of a legend: the classes that occur, the largest first.

    Args:
        ids: class indices, and `VOID`.
        classes: the classes.
        shares: whether every class is followed by its share of the pixels.

    Shapes:
        - ids: any

    Returns:
        Pairs of text and colour; the colour of void is None.

    Example:
        >>> classes = ClassTable(("sky", "sea"), ((90, 160, 220), (20, 60, 140)), ids=(0, 1))
        >>> legend_entries(np.array([[1, 1, 1, 255]]), classes)
        [('sea 75.0 %', (20, 60, 140)), ('void 25.0 %', None)]
    """
    counts = np.bincount(ids.ravel(), minlength=256)
    entries: list[Entry] = []
    for index in np.argsort(-counts, kind="stable"):
        if not counts[index]:
            break
        share = 100 * counts[index] / ids.size
        name = "void" if index == VOID else classes.names[index]
        if len(name) > _LONGEST_NAME:
            name = name[: _LONGEST_NAME - 1] + "…"
        text = name if not shares else f"{name} {share:.1f} %" if share >= 0.1 else f"{name} <0.1 %"
        entries.append((text, None if index == VOID else classes.palette[index]))
    return entries


def add_legend(figure: Figure, entries: list[Entry], columns: int, **options: Any) -> Legend:
    """Add a legend to a figure.

    Args:
        figure: matplotlib's.
        entries: as from `legend_entries`.
        columns: the number of columns.
        options: as for `matplotlib.figure.Figure.legend`, such as `loc` and `fontsize`.
    """
    swatches = [
        Patch(facecolor="white", edgecolor=GRAY, hatch=HATCH, linewidth=0.5)
        if color is None
        else Patch(facecolor=np.array(color) / 255, edgecolor=GRAY, linewidth=0.5)
        for _, color in entries
    ]
    spacing = {"handlelength": 1.2, "handleheight": 1.2, "columnspacing": 1.2}
    legend = figure.legend(swatches, [""] * len(entries), ncols=columns, frameon=False, **spacing, **options)
    for text, (words, _) in zip(legend.get_texts(), entries, strict=True):
        # Names are shown as they are: "$" begins no formula, "_" hides nothing.
        text.set_parse_math(False)
        text.set_text(words)
    return legend


def legend_strip(entries: list[Entry], width: int, size: int) -> np.ndarray:
    """Draw a legend as a picture, in as many columns as the width allows.

    Args:
        entries: as from `legend_entries`.
        width: wanted width in pixels; the result is wider where one entry does not fit.
        size: size of the text in pixels.

    Shapes:
        - result: (height, at least width, 3)

    Returns:
        The picture, uint8.

    Example:
        >>> legend_strip([("sky 100.0 %", (90, 160, 220))], width=200, size=14).shape[1]
        200
    """
    figure = Figure(dpi=_DPI)
    canvas = FigureCanvasAgg(figure)
    place: dict[str, Any] = {"loc": "upper left", "borderaxespad": 0, "fontsize": size * 72 / _DPI}
    legend = add_legend(figure, entries, 1, **place)
    extent = legend.get_window_extent(canvas.get_renderer())
    # As many as fit if all were as wide as the widest, and the space between them were none.
    for columns in range(min(len(entries), int(width // extent.width)), 0, -1):
        legend.remove()
        legend = add_legend(figure, entries, columns, **place)
        extent = legend.get_window_extent(canvas.get_renderer())
        if extent.width <= width:
            break
    figure.set_size_inches(max(width, math.ceil(extent.width)) / _DPI, math.ceil(extent.height) / _DPI)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
