"""The paper's Figures 3 and 4 as panels in rows and columns: what networks see, and what the weights of a head do."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.visualization.channels import PARTS, ChannelMaps
from keras_cacnet.visualization.legend import GRAY, HATCH, add_legend, legend_entries
from keras_cacnet.visualization.masks import require_ids

PAGE = 6.69
"""Largest width of a figure in inches: the 17 cm of a page."""

_DPI = 300
_WIDEST, _TALLEST = 1.6, 1.25  # width of a column in inches; height of a panel, of that width
_TITLE, _CAPTION = 8, 5.5  # points
_MOST_DIGITS = 6


@dataclass(frozen=True)
class WeightedImage:
    """An image, its result, and some channels on the way.

    Args:
        image: RGB, uint8 (H, W, 3).
        ids: predicted class indices, (H, W).
        channels: as from `channel_maps`.
        truth: the class indices of the ground truth, (H, W), or None.
    """

    image: np.ndarray
    ids: np.ndarray
    channels: Sequence[ChannelMaps]
    truth: np.ndarray | None = None


def comparison_figure(
    images: Sequence[np.ndarray], columns: Mapping[str, Sequence[np.ndarray]], classes: ClassTable
) -> Figure:
    """Draw a row per image: the image, and its class indices in every column in the colours of the classes.

    Void is striped. The legend below has the classes that occur in any column.

    Args:
        images: RGB, uint8.
        columns: class indices of every image by the title of the column, such as "Ground truth", "Baseline", "Ours".
        classes: the classes.

    Shapes:
        - every image: (H, W, 3)
        - every element of a column: (H, W), as its image

    Returns:
        A figure of matplotlib, at most 17 cm wide; `savefig` writes it, no window is opened.

    Raises:
        ValueError: no images, no columns, a column of another length, or class indices that do not fit their image
            or the classes.

    Example:
        >>> classes = ClassTable(("sky", "sea"), ((90, 160, 220), (20, 60, 140)), ids=(0, 1))
        >>> images, ids = [np.zeros((30, 40, 3), "uint8")], [np.zeros((30, 40), "uint8")]
        >>> figure = comparison_figure(images, {"Ground truth": ids, "Ours": ids}, classes)
        >>> [axes.get_title() for axes in figure.axes]
        ['Image', 'Ground truth', 'Ours']

    Reference:
        Figure 3 of the CaC-Net paper.
    """
    if not images or not columns:
        raise ValueError(f"a figure needs images and columns, got {len(images)} images and {len(columns)} columns")
    for title, labels in columns.items():
        if len(labels) != len(images):
            raise ValueError(f"the column {title!r} has {len(labels)} rows for {len(images)} images")
        for image, ids in zip(images, labels, strict=True):
            require_ids(ids, image)
            classes.to_file(ids)
    shown = [ids for labels in columns.values() for ids in labels]
    figure, grid = panel_grid(["Image", *columns], images, [1] * len(images), shown, classes)
    for row, (image, *labels) in enumerate(zip(images, *columns.values(), strict=True)):
        show_photograph(grid[row, 0], image)
        for axes, ids in zip(grid[row, 1:], labels, strict=True):
            show_labels(axes, ids, classes)
    return figure


def weighting_figure(images: Sequence[WeightedImage], classes: ClassTable) -> Figure:
    """Draw a row per image: the image, the ground truth, maps of X, X* and W, and the result.

    In the maps darker is larger, as in the paper. Every map has its own range, from white to black, which is told below
    it. Several channels of an image stand one below the other. Maps have a position for every `output_stride` pixels
    and are stretched over the image.

    Args:
        images: at least one; with a ground truth all of them or none, which leaves the column out.
        classes: the classes.

    Returns:
        A figure of matplotlib, at most 17 cm wide; `savefig` writes it, no window is opened.

    Raises:
        ValueError: no images, an image without channels, one with and one without ground truth, or class indices that
            do not fit their image or the classes.

    Example:
        >>> from keras_cacnet.visualization.channels import channel_maps, choose_channels
        >>> rng = np.random.default_rng(0)
        >>> x, w = rng.normal(size=(1, 4, 5, 8)), rng.uniform(0, 3, (1, 4, 5, 8))
        >>> maps = {"head_1": {"X": x, "W": w, "X*": x * w}}
        >>> classes = ClassTable(("sky", "sea"), ((90, 160, 220), (20, 60, 140)), ids=(0, 1))
        >>> image, ids = np.zeros((32, 40, 3), "uint8"), np.zeros((32, 40), "uint8")
        >>> channels = channel_maps(maps, choose_channels(maps))
        >>> weighting_figure([WeightedImage(image, ids, channels)], classes).axes[1].get_title()
        '(b) X'

    Reference:
        Figure 4 of the CaC-Net paper.
    """
    if not images:
        raise ValueError("a figure needs at least one image")
    truths = [shown.truth for shown in images if shown.truth is not None]
    if truths and len(truths) < len(images):
        raise ValueError(f"{len(truths)} of {len(images)} images have a ground truth; all must have one, or none")
    for shown in images:
        if not shown.channels:
            raise ValueError("there are no channels to show")
        for ids in (shown.truth, shown.ids):
            if ids is not None:
                require_ids(ids, shown.image)
                classes.to_file(ids)
    names = ["Image", *(["Ground truth"] if truths else []), *PARTS, "Result"]
    titles = [f"({letter}) {name}" for letter, name in zip("abcdef", names, strict=False)]
    heads = {channel.head for shown in images for channel in shown.channels}
    lines, labels = [len(shown.channels) for shown in images], [*truths, *(shown.ids for shown in images)]
    figure, grid = panel_grid(titles, [shown.image for shown in images], lines, labels, classes, _CAPTION)
    top = 0
    for shown in images:
        show_photograph(grid[top, 0], shown.image)
        if shown.truth is not None:
            show_labels(grid[top, 1], shown.truth, classes)
        for line, channel in enumerate(shown.channels, top):
            for axes, part in zip(grid[line, -1 - len(PARTS) : -1], PARTS, strict=True):
                head = f"{channel.head.replace('_', ' ')}, " if len(heads) > 1 else ""
                name = f"{head}channel {channel.channel}\n" if part == PARTS[0] else ""
                _show_map(axes, channel.maps[part], shown.image.shape[:2], name)
        show_labels(grid[top, -1], shown.ids, classes)
        top += len(shown.channels)
    return figure


def value_range(values: np.ndarray) -> str:
    """Write the lowest and the highest value of a map in words, with as many digits as tell them apart.

    Example:
        >>> value_range(np.array([1e-5, 2.3456])), value_range(np.array([1.4991, 1.5012])), value_range(np.ones(3))
        ('0.00 to 2.35', '1.49910 to 1.50120', '1 everywhere')
    """
    lowest, highest = float(np.min(values)), float(np.max(values))
    if lowest == highest:
        return f"{lowest:.3g} everywhere"
    digits = min(max(2 - math.floor(math.log10(highest - lowest)), 0), _MOST_DIGITS)
    return f"{lowest:.{digits}f} to {highest:.{digits}f}"


def panel_grid(
    titles: Sequence[str],
    images: Sequence[np.ndarray],
    lines: Sequence[int],
    labels: Sequence[np.ndarray],
    classes: ClassTable,
    caption: float = 0,
) -> tuple[Figure, np.ndarray]:
    """Make a figure with titles and legend, and its empty axes by line and column: so many lines for every image."""
    wide = min(_WIDEST, PAGE / len(titles))
    entries = legend_entries(np.concatenate([ids.ravel() for ids in labels]), classes, shares=False)
    entries.sort(key=lambda entry: entry[1] is None)
    longest = max(len(text) for text, _ in entries) + 5  # with the swatch; a letter is some 0.6 of its size wide
    columns = max(1, min(len(entries), int(wide * len(titles) * 72 / (0.6 * _CAPTION * longest))))
    tall = [wide * min(_TALLEST, image.shape[0] / image.shape[1]) for image in images]
    heights = [height for height, count in zip(tall, lines, strict=True) for _ in range(count)]
    # Points below every line, for the titles, and for the legend: what the layout finds room for.
    points = (4 + 2.5 * caption) * len(heights) + 3 * _TITLE + 1.65 * _CAPTION * math.ceil(len(entries) / columns)
    figure = Figure((wide * len(titles), sum(heights) + points / 72), dpi=_DPI)
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    grid = figure.subplots(len(heights), len(titles), squeeze=False, height_ratios=heights)
    for axes in grid.flat:
        axes.axis("off")
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(textwrap.fill(title, 22), fontsize=_TITLE, parse_math=False)
    add_legend(figure, entries, columns, loc="outside lower center", fontsize=_CAPTION)
    return figure, grid


def show_photograph(axes: Axes, image: np.ndarray) -> None:
    """Fill an axes of the grid with an image."""
    _framed(axes)
    axes.imshow(image)


def show_labels(axes: Axes, ids: np.ndarray, classes: ClassTable) -> None:
    """Fill an axes of the grid with class indices, in the colours of the classes."""
    colors = np.zeros((256, 4), "uint8")
    colors[: len(classes)] = [(*color, 255) for color in classes.palette]
    # Void lets through what lies below: stripes.
    _framed(axes)
    axes.patch.set(hatch=HATCH, facecolor="white", edgecolor=GRAY)
    axes.imshow(colors[ids], interpolation="nearest")


def _show_map(axes: Axes, values: np.ndarray, size: tuple[int, int], name: str) -> None:
    lowest, highest = float(np.min(values)), float(np.max(values))
    if lowest == highest:  # neither large nor small: light gray
        lowest, highest = lowest - 0.25, highest + 0.75
    _framed(axes)
    height, width = size
    axes.imshow(values, "gray_r", vmin=lowest, vmax=highest, interpolation="nearest", extent=(0, width, height, 0))
    axes.set_xlabel(f"{name}{value_range(values)}", fontsize=_CAPTION, labelpad=2)


def _framed(axes: Axes) -> None:
    axes.axis("on")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(color=GRAY, linewidth=0.4)
