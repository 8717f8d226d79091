"""What the paper's figures are put together from: pictures of equal size in columns, with titles and a legend."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from keras_cacnet.datasets.classes import VOID, ClassTable
from keras_cacnet.visualization.overlay import legend_entries, legend_picture

PAGE = 2000
"""Largest width of a figure in pixels: the 17 cm of a page at 300 dots an inch."""
DPI = 300

_WIDEST_CELL, _TALLEST = 480, 1.25
_MARGIN, _GAP, _ROW_GAP = 16, 12, 20
_TITLE, _CAPTION, _SMALLEST = 34, 24, 12
_TEXT, _OUTLINE, _PAPER = (20, 20, 20), (170, 170, 170), (255, 255, 255)
_STRIPE, _STRIPES = (150, 150, 150), (12, 3)
_FLAT, _MOST_DIGITS = 200, 6


@dataclass(frozen=True)
class Panel:
    """A picture in a figure, uint8 (h, w, 3), and the line below it."""

    picture: np.ndarray
    caption: str = ""


def panel_size(height: int, width: int, columns: int) -> tuple[int, int]:
    """The size at which an image is shown in a figure.

    It fills its column; upright images are narrowed, to be no more than 1.25 times as high as the column is wide.

    Args:
        height: height of the image.
        width: width of the image.
        columns: number of columns of the figure.

    Returns:
        Height and width in pixels.

    Example:
        >>> panel_size(375, 500, columns=4)
        (360, 480)
    """
    cell = _cell(columns)
    scale = min(cell / width, _TALLEST * cell / height)
    return max(1, round(height * scale)), max(1, round(width * scale))


def photograph(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An image at another size, smoothly."""
    if image.shape[:2] == size:
        return image
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.LANCZOS))


def label_map(ids: np.ndarray, classes: ClassTable, size: tuple[int, int]) -> np.ndarray:
    """Class indices in the colours of their classes; void is striped, as no class is.

    Args:
        ids: class indices, and `VOID`.
        classes: the classes.
        size: height and width of the picture; every pixel of it shows one of `ids`.

    Shapes:
        - ids: (H, W)
        - result: (*size, 3)

    Raises:
        ValueError: an index outside the classes.

    Example:
        >>> classes = ClassTable(("sky", "sea"), ((90, 160, 220), (20, 60, 140)), ids=(0, 1))
        >>> label_map(np.array([[0, 1]]), classes, (1, 4))[0, :, 0].tolist()
        [90, 90, 20, 20]
    """
    classes.to_file(ids)
    colors = np.zeros((256, 3), "uint8")
    colors[: len(classes)] = classes.palette
    shown = _nearest(ids, size)
    period, width = _STRIPES
    stripes = np.add.outer(np.arange(size[0]), np.arange(size[1])) % period < width
    void = np.where(stripes[..., None], _STRIPE, _PAPER).astype("uint8")
    return np.where((shown == VOID)[..., None], void, colors[shown])


def gray_map(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A map of one channel in gray, darker where it is larger: white is its lowest value, black its highest.

    Args:
        values: the map.
        size: height and width of the picture; every pixel of it shows one of the values.

    Shapes:
        - values: (h, w)
        - result: (*size, 3)

    Returns:
        The picture; light gray throughout where all values are the same.

    Example:
        >>> gray_map(np.array([[0.0, 0.2, 1.0]]), (1, 3))[0, :, 0].tolist()
        [255, 204, 0]
    """
    values = np.asarray(values, "float64")
    lowest, highest = values.min(), values.max()
    if lowest == highest:
        return np.full((*size, 3), _FLAT, "uint8")
    gray = np.rint(255 * (highest - values) / (highest - lowest)).astype("uint8")
    return np.repeat(_nearest(gray, size)[..., None], 3, axis=-1)


def value_range(values: np.ndarray) -> str:
    """The lowest and the highest value of a map, in words, with as many digits as tell them apart.

    Example:
        >>> value_range(np.array([1e-5, 2.3456])), value_range(np.array([1.4991, 1.5012])), value_range(np.ones(3))
        ('0.00 to 2.35', '1.49910 to 1.50120', '1 everywhere')
    """
    lowest, highest = float(np.min(values)), float(np.max(values))
    if lowest == highest:
        return f"{lowest:.3g} everywhere"
    digits = min(max(2 - math.floor(math.log10(highest - lowest)), 0), _MOST_DIGITS)
    return f"{lowest:.{digits}f} to {highest:.{digits}f}"


def figure(
    titles: Sequence[str],
    rows: Sequence[Sequence[Sequence[Panel]]],
    labels: Sequence[np.ndarray],
    classes: ClassTable,
) -> np.ndarray:
    """Put a figure together.

    Args:
        titles: one per column.
        rows: for every row, for every column, the panels that stand there one below the other, from the top.
        labels: the class indices that are shown; the legend has the classes that occur, the largest first, void last.
        classes: the classes.

    Shapes:
        - every label: (H, W)
        - result: (height, width, 3)

    Returns:
        The figure, uint8, at most `PAGE` wide.
    """
    cell = _cell(len(titles))
    left = [_MARGIN + column * (cell + _GAP) for column in range(len(titles))]
    # Room for captions is kept below every panel of a row, so that panels side by side stand level.
    below = [_CAPTION + _GAP // 2 if any(panel.caption for panels in row for panel in panels) else 0 for row in rows]
    heights = [max(_height(panels, room) for panels in row) for row, room in zip(rows, below, strict=True)]
    top = [_MARGIN + _TITLE + _GAP + sum(heights[:index]) + index * _ROW_GAP for index in range(len(rows))]
    legend = _legend(labels, classes, left[-1] + cell - _MARGIN)
    width = max(left[-1] + cell + _MARGIN, legend.width + 2 * _MARGIN)
    end = top[-1] + heights[-1] + _GAP
    page = Image.new("RGB", (width, end + legend.height + _MARGIN), _PAPER)
    draw = ImageDraw.Draw(page)
    for x, title in zip(left, titles, strict=True):
        _write(draw, title, (x + cell // 2, _MARGIN + _TITLE // 2), _TITLE, cell)
    for y, room, row in zip(top, below, rows, strict=True):
        for x, panels in zip(left, row, strict=True):
            at = y
            for panel in panels:
                high, wide = panel.picture.shape[:2]
                corner = (x + (cell - wide) // 2, at)
                # Around the picture, not on it: white parts of a map would melt into the paper.
                draw.rectangle((corner[0] - 1, at - 1, corner[0] + wide, at + high), outline=_OUTLINE)
                page.paste(Image.fromarray(panel.picture), corner)
                if panel.caption:
                    _write(draw, panel.caption, (x + cell // 2, at + high + room // 2), _CAPTION, cell)
                at += high + room + _GAP
    page.paste(legend, ((width - legend.width) // 2, end))
    return np.asarray(page)


def save_figure(picture: np.ndarray, path: str | Path) -> None:
    """Write a figure as PNG that is 17 cm wide in print, or less.

    Args:
        picture: uint8 (height, width, 3).
        path: the PNG.
    """
    Image.fromarray(picture).save(path, format="PNG", dpi=(DPI, DPI))


def _cell(columns: int) -> int:
    return min(_WIDEST_CELL, (PAGE - 2 * _MARGIN - (columns - 1) * _GAP) // columns)


def _height(panels: Sequence[Panel], room: int) -> int:
    return sum(panel.picture.shape[0] + room + _GAP for panel in panels) - _GAP


def _nearest(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    rows, columns = (
        ((np.arange(shown) + 0.5) * have / shown).astype("int64")
        for have, shown in zip(values.shape, size, strict=True)
    )
    return values[np.ix_(rows, columns)]


def _write(draw: ImageDraw.ImageDraw, text: str, middle: tuple[int, int], size: int, room: int) -> None:
    while size > _SMALLEST and _font(size).getlength(text) > room:
        size -= 1
    draw.text(middle, text, fill=_TEXT, font=_font(size), anchor="mm")


def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)


def _legend(labels: Sequence[np.ndarray], classes: ClassTable, room: int) -> Image.Image:
    entries = legend_entries(np.concatenate([ids.ravel() for ids in labels]), classes, shares=False)
    entries.sort(key=lambda entry: entry[1] is None)
    picture = legend_picture(entries, room, _CAPTION)
    # Without the paper to its right, so that it can stand in the middle.
    used = int(np.flatnonzero((picture != _PAPER).any(axis=(0, 2))).max()) + 1
    return Image.fromarray(picture[:, : used + _GAP])
