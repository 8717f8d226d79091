"""Figure 3 of the paper: what several networks see in the same images."""

from collections.abc import Mapping, Sequence

import numpy as np

from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.visualization.masks import require_ids
from keras_cacnet.visualization.panels import Panel, figure, label_map, panel_size, photograph


def comparison_figure(
    images: Sequence[np.ndarray], columns: Mapping[str, Sequence[np.ndarray]], classes: ClassTable
) -> np.ndarray:
    """Draw a row per image: the image, and its class indices in every column in the colours of the classes.

    Void is striped. The legend below has the classes that occur in any column.

    Args:
        images: RGB, uint8.
        columns: class indices of every image by the title of the column, such as "Ground truth", "Baseline", "Ours".
        classes: the classes.

    Shapes:
        - every image: (H, W, 3)
        - every element of a column: (H, W), as its image
        - result: (height, width, 3)

    Returns:
        The figure, uint8.

    Raises:
        ValueError: no images, no columns, or class indices that do not fit their image or the classes.

    Example:
        >>> classes = ClassTable(("sky", "sea"), ((90, 160, 220), (20, 60, 140)), ids=(0, 1))
        >>> images, ids = [np.zeros((30, 40, 3), "uint8")], [np.zeros((30, 40), "uint8")]
        >>> comparison_figure(images, {"Ground truth": ids, "Ours": ids}, classes).shape[1]
        1496

    Reference:
        Figure 3 of the CaC-Net paper.
    """
    if not images or not columns:
        raise ValueError(f"a figure needs images and columns, got {len(images)} images and {len(columns)} columns")
    titles = ["Image", *columns]
    rows = []
    for image, *labels in zip(images, *columns.values(), strict=True):
        size = panel_size(image.shape[0], image.shape[1], len(titles))
        row = [[Panel(photograph(image, size))]]
        for ids in labels:
            require_ids(ids, image)
            row.append([Panel(label_map(ids, classes, size))])
        rows.append(row)
    return figure(titles, rows, [ids for labels in columns.values() for ids in labels], classes)
