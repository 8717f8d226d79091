"""A batch of crops with their masks, as a network sees them in training."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from keras_cacnet.arguments import require_count
from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.visualization.masks import require_ids
from keras_cacnet.visualization.panels import panel_grid, show_labels, show_photograph


def batch_figure(
    images: Sequence[Any] | Any,
    masks: Sequence[Any] | Any,
    classes: ClassTable,
    pairs: int = 3,
) -> Figure:
    """Draw images side by side with their masks in the colours of the classes; void is striped.

    Args:
        images: RGB in 0..255, uint8 or float, as batches of `training_batches` are; arrays or tensors.
        masks: class indices, 255 for void.
        classes: the classes.
        pairs: images in a row.

    Shapes:
        - every image: (H, W, 3)
        - every mask: (H, W), as its image

    Returns:
        A figure of matplotlib, at most 17 cm wide; `savefig` writes it, no window is opened.

    Raises:
        ValueError: no images, another number of masks, images beyond 0..255, or class indices that do not fit their
            image or the classes.

    Example:
        The batches of `fit`, and what a run on your own photographs would see first::

            images, masks = next(iter(train))
            kc.visualization.batch_figure(images, masks, dataset.classes).savefig("batch.png")

            dataset = kc.datasets.open_dataset("photographs")
            recipe = kc.training.Recipe(brightness=0.3, rotation=10)
            images, masks = kc.training.first_crops(recipe, dataset, 12)
            kc.visualization.batch_figure(images, masks, dataset.classes).savefig("crops.png")
    """
    images, masks = [_photograph(image) for image in images], [np.asarray(ids) for ids in masks]
    pairs = min(require_count("pairs", pairs), len(images))
    if not images or len(images) != len(masks):
        raise ValueError(f"a figure needs a mask for every image, got {len(images)} images and {len(masks)} masks")
    for image, ids in zip(images, masks, strict=True):
        require_ids(ids, image)
        classes.to_file(ids)
    firsts = images[::pairs]
    figure, grid = panel_grid(["Image", "Mask"] * pairs, firsts, [1] * len(firsts), masks, classes)
    for index, (image, ids) in enumerate(zip(images, masks, strict=True)):
        row, place = divmod(index, pairs)
        show_photograph(grid[row, 2 * place], image)
        show_labels(grid[row, 2 * place + 1], ids, classes)
    return figure


def _photograph(image: Any) -> np.ndarray:
    """The image in uint8; what augmentation has made of it is rounded."""
    pixels = np.asarray(image)
    if not np.issubdtype(pixels.dtype, np.floating):
        return pixels
    if not (pixels.min() >= 0 and pixels.max() <= 255):
        raise ValueError(f"images are in 0..255; got {pixels.min():g} to {pixels.max():g}")
    return np.rint(pixels).astype("uint8")
