"""A photograph under its classes, with a legend beside it and never on it."""

from collections.abc import Collection

import numpy as np
from PIL import Image

from keras_cacnet.datasets.classes import VOID, ClassTable
from keras_cacnet.visualization.legend import legend_entries, legend_strip
from keras_cacnet.visualization.masks import require_ids

SMALLEST, LARGEST = 480, 1920
"""The long side of an overlay, in pixels: smaller photographs are enlarged, larger ones reduced."""


def overlay(
    image: np.ndarray,
    ids: np.ndarray,
    classes: ClassTable,
    alpha: float = 0.5,
    legend: bool = True,
    untinted: Collection[str] = ("background",),
) -> np.ndarray:
    """Colour a photograph by its classes, and put a legend below it.

    Regions are tinted in their class' colour and outlined in it undiluted, so that the legend can be matched on
    dark and on bright ground. The legend lists the classes that occur, the largest first, with their share of
    all pixels. Void is left as the photograph is, and so is a class named background.

    Photographs whose long side is below 480 pixels are enlarged by a whole factor, those above 1920 reduced, so
    that text and regions can be read; a legend wider than the photograph widens the picture.

    Args:
        image: RGB, uint8.
        ids: class indices, and `VOID`.
        classes: the classes.
        alpha: opacity of the tint, 0 to 1.
        legend: whether the legend is there.
        untinted: names of classes that are left as the photograph is, in any case of letters; unknown ones do nothing.

    Shapes:
        - image: (H, W, 3)
        - ids: (H, W)
        - result: (height, width, 3)

    Returns:
        The picture, uint8.

    Raises:
        ValueError: image and ids that do not fit, an index outside the classes, or an `alpha` out of range.

    Example:
        >>> classes = ClassTable(("sky", "sea"), ((90, 160, 220), (20, 60, 140)), ids=(0, 1))
        >>> image = np.zeros((48, 64, 3), "uint8")
        >>> overlay(image, np.zeros((48, 64), "uint8"), classes, legend=False).shape
        (384, 512, 3)
    """
    require_ids(ids, image)
    require_alpha(alpha)
    classes.to_file(ids)
    colors = np.zeros((256, 3), "uint8")
    colors[: len(classes)] = classes.palette
    names = {name.casefold() for name in untinted}
    bare = np.isin(ids, [VOID, *(index for index, name in enumerate(classes.names) if name.casefold() in names)])
    opacity = np.where(bare, 0.0, alpha)[..., None].astype("float32")
    tinted = (image * (1 - opacity) + colors[ids] * opacity + 0.5).astype("uint8")
    shown, shown_ids = _at_display_size(tinted, np.where(bare, VOID, ids))
    edges = _edges(shown_ids, width=max(1, round(max(shown_ids.shape) / 800))) & (shown_ids != VOID)
    shown = np.where(edges[..., None], colors[shown_ids], shown)
    if not legend:
        return shown
    # Text that can be read where the picture is shown whole on a screen.
    size = max(14, round(max(shown.shape[:2]) / 52))
    return _stack(shown, legend_strip(legend_entries(ids, classes), width=shown.shape[1], size=size))


def require_alpha(alpha: float) -> None:
    """Refuse what is no opacity.

    Raises:
        ValueError: it is not between 0 and 1.

    Example:
        >>> require_alpha(0.5)
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be 0 (photograph only) to 1 (colours only), got {alpha!r}")


def _at_display_size(picture: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    height, width = ids.shape
    long_side = max(height, width)
    if long_side < SMALLEST:
        factor = -(-SMALLEST // long_side)
        picture = picture.repeat(factor, axis=0).repeat(factor, axis=1)
        return picture, ids.repeat(factor, axis=0).repeat(factor, axis=1)
    if long_side <= LARGEST:
        return picture, ids
    size = tuple(max(1, round(side * LARGEST / long_side)) for side in (width, height))
    reduced = Image.fromarray(picture).resize(size, Image.Resampling.BOX)
    reduced_ids = Image.fromarray(ids.astype("uint8")).resize(size, Image.Resampling.NEAREST)
    return np.asarray(reduced), np.asarray(reduced_ids)


def _edges(ids: np.ndarray, width: int) -> np.ndarray:
    edges = np.zeros(ids.shape, bool)
    for step in range(1, width + 1):
        for axis in (0, 1):
            near, far = (slice(None),) * axis + (slice(None, -step),), (slice(None),) * axis + (slice(step, None),)
            differs = ids[near] != ids[far]
            edges[near] |= differs
            edges[far] |= differs
    return edges


def _stack(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    canvas = np.full((len(above) + len(below), max(above.shape[1], below.shape[1]), 3), 255, "uint8")
    canvas[: len(above), : above.shape[1]] = above
    canvas[len(above) :, : below.shape[1]] = below
    return canvas
