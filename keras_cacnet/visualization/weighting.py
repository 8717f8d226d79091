"""Figure 4 of the paper: what the weights of a CaC head do to some channels."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from keras_cacnet.datasets.classes import VOID, ClassTable
from keras_cacnet.visualization.masks import require_ids
from keras_cacnet.visualization.overlay import legend_entries, overlay

PARTS = ("X", "W", "X*")
"""The maps of a head: its features, the weights, and their product."""

_WIDE, _NARROW, _DPI = 9.0, 7.0, 110
_FLATTEST, _TALLEST = 0.1, 1.4
_TITLE, _LEGEND_LINE = 0.42, 0.22


def choose_channels(maps: Mapping[str, Mapping[str, Any]], count: int = 3, seed: int = 0) -> dict[str, tuple[int, ...]]:
    """Draw the channels to show, as the paper does at random.

    Channels whose features X are the same everywhere, such as dead ones after a ReLU, show nothing: they are
    taken only where there are no others.

    Args:
        maps: X, W and X* by head, as `CaCNet.weighting_maps` gives them.
        count: number of channels per head.
        seed: the draw; the same seed and maps give the same channels.

    Shapes:
        - every map: (1, h, w, c)

    Returns:
        Channel indices by head, ascending; all channels where a head has no more than `count`.

    Raises:
        ValueError: `count` below 1, no heads, or maps of another shape.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(1, 4, 5, 8))
        >>> len(choose_channels({"head_1": {"X": x, "W": x, "X*": x}})["head_1"])
        3
    """
    if count < 1:
        raise ValueError(f"the number of channels must be at least 1, got {count!r}")
    if not maps:
        raise ValueError("there are no weighting maps: the model has no CaC head")
    chosen = {}
    for number, (head, parts) in enumerate(maps.items()):
        features = _maps_of(head, parts)["X"]
        varies = np.ptp(features, axis=(0, 1)) > 0
        order = np.random.default_rng((seed, number)).permutation(features.shape[-1])
        # A stable sort keeps the drawn order among the channels that vary.
        order = order[np.argsort(~varies[order], kind="stable")]
        chosen[head] = tuple(sorted(int(channel) for channel in order[:count]))
    return chosen


def weighting_figure(
    image: np.ndarray,
    ids: np.ndarray,
    maps: Mapping[str, Mapping[str, Any]],
    classes: ClassTable,
    channels: Mapping[str, Sequence[int]],
) -> Figure:
    """Draw the image, the result, and for some channels of every head the features X, weights W and product X*.

    As in the paper, darker is larger. Every panel has its own range, from its lowest to its highest value, which
    stands above it.

    Args:
        image: RGB, uint8.
        ids: predicted class indices.
        maps: X, W and X* by head, as `CaCNet.weighting_maps` gives them.
        classes: the classes.
        channels: the channels of every head to show, as from `choose_channels`.

    Shapes:
        - image: (H, W, 3)
        - ids: (H, W)
        - every map: (1, h, w, c)

    Returns:
        A figure that belongs to no window; `figure.savefig(path)` writes it.

    Raises:
        ValueError: image and ids that do not fit, maps that lack a part or have another shape, a head that is
            not in the maps, or a channel that it does not have.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x, w = rng.normal(size=(1, 4, 5, 8)), rng.uniform(0, 3, (1, 4, 5, 8))
        >>> maps = {"head_1": {"X": x, "W": w, "X*": x * w}}
        >>> classes = ClassTable(("sky", "sea"), ((90, 160, 220), (20, 60, 140)), ids=(0, 1))
        >>> image, ids = np.zeros((32, 40, 3), "uint8"), np.zeros((32, 40), "uint8")
        >>> len(weighting_figure(image, ids, maps, classes, choose_channels(maps)).axes)  # 2 + 3 channels of 3
        11

    Reference:
        Figure 4 of the CaC-Net paper.
    """
    require_ids(ids, image)
    rows = _rows(maps, channels)
    aspect = float(np.clip(image.shape[0] / image.shape[1], _FLATTEST, _TALLEST))
    width = _WIDE if aspect <= 1 else _NARROW
    heights = [width / 2 * aspect, *[width / 3 * aspect] * len(rows)]
    heights = [height + _TITLE for height in heights]
    entries = legend_entries(ids, classes)
    height = sum(heights) + _LEGEND_LINE * -(-len(entries) // 3) + 0.2
    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    grid = figure.add_gridspec(len(heights), 6, height_ratios=heights)
    # Whatever its resolution, a picture or a map covers the image's extent, so that positions can be compared.
    extent = (0, image.shape[1], image.shape[0], 0)
    for column, (title, shown) in enumerate((("image", np.full_like(ids, VOID)), ("result", ids))):
        axes = figure.add_subplot(grid[0, 3 * column : 3 * column + 3])
        axes.imshow(overlay(image, shown, classes, alpha=0.6, legend=False), extent=extent)
        _bare(axes, title)
    for row, (head, channel, parts) in enumerate(rows, 1):
        for column, part in enumerate(PARTS):
            axes = figure.add_subplot(grid[row, 2 * column : 2 * column + 2])
            plane = parts[part][..., channel]
            axes.imshow(plane, cmap="gray_r", interpolation="nearest", extent=extent)
            origin = f"{head}, channel {channel}" if column == 0 else ""
            _bare(axes, f"{origin}\n{part}   {plane.min():.3g} to {plane.max():.3g}")
    handles = [
        Patch(
            facecolor="none" if color is None else tuple(value / 255 for value in color), edgecolor="gray", label=text
        )
        for text, color in entries
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(3, len(handles)), fontsize=9, frameon=False)
    return figure


def _rows(
    maps: Mapping[str, Mapping[str, Any]], channels: Mapping[str, Sequence[int]]
) -> list[tuple[str, int, dict[str, np.ndarray]]]:
    rows = []
    for head, wanted in channels.items():
        if head not in maps:
            raise ValueError(f"there are no weighting maps of {head!r}; there are {', '.join(maps)}")
        parts = _maps_of(head, maps[head])
        known = parts["X"].shape[-1]
        for channel in wanted:
            if not 0 <= channel < known:
                raise ValueError(f"{head} has the channels 0 to {known - 1}, not {channel}")
            rows.append((head, channel, parts))
    if not rows:
        raise ValueError("there are no channels to show")
    return rows


def _maps_of(head: str, parts: Mapping[str, Any]) -> dict[str, np.ndarray]:
    if missing := [part for part in PARTS if part not in parts]:
        raise ValueError(f"the maps of {head} lack {', '.join(missing)}")
    arrays = {part: np.asarray(parts[part]).astype("float32") for part in PARTS}
    shapes = {part: array.shape for part, array in arrays.items()}
    if len(set(shapes.values())) > 1 or arrays["X"].ndim != 4 or len(arrays["X"]) != 1:
        raise ValueError(f"the maps of {head} must have one shape (1, h, w, c), got {shapes}")
    return {part: array[0] for part, array in arrays.items()}


def _bare(axes: Any, title: str) -> None:
    axes.set_title(title, fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])
