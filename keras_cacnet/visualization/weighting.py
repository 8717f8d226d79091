"""Figure 4 of the paper: what the weights of a CaC head do to some channels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.visualization.channels import PARTS, ChannelMaps
from keras_cacnet.visualization.masks import require_ids
from keras_cacnet.visualization.panels import Panel, figure, gray_map, label_map, panel_size, photograph, value_range


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


def weighting_figure(images: Sequence[WeightedImage], classes: ClassTable) -> np.ndarray:
    """Draw a row per image: the image, the ground truth, maps of X, X* and W, and the result.

    In the maps darker is larger, as in the paper. Every map has its own range, from white to black, which stands below
    it. Several channels of an image stand one below the other. Maps have a position for every `output_stride` pixels
    and are stretched over the image.

    Args:
        images: at least one; with a ground truth all of them or none, which leaves the column out.
        classes: the classes.

    Shapes:
        - result: (height, width, 3)

    Returns:
        The figure, uint8.

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
        >>> weighting_figure([WeightedImage(image, ids, channels)], classes).shape[1]
        2000

    Reference:
        Figure 4 of the CaC-Net paper.
    """
    if not images:
        raise ValueError("a figure needs at least one image")
    truths = [shown.truth for shown in images if shown.truth is not None]
    if truths and len(truths) < len(images):
        raise ValueError(f"{len(truths)} of {len(images)} images have a ground truth; all must have one, or none")
    names = ["Image", *(["Ground truth"] if truths else []), *PARTS, "Result"]
    titles = [f"({letter}) {name}" for letter, name in zip("abcdef", names, strict=False)]
    heads = {channel.head for shown in images for channel in shown.channels}
    rows = []
    for shown in images:
        size = panel_size(shown.image.shape[0], shown.image.shape[1], len(titles))
        labels = [ids for ids in (shown.truth, shown.ids) if ids is not None]
        for ids in labels:
            require_ids(ids, shown.image)
        if not shown.channels:
            raise ValueError("there are no channels to show")
        pictures = [[Panel(label_map(ids, classes, size))] for ids in labels]
        maps = [[_map_panel(channel, part, size, len(heads) > 1) for channel in shown.channels] for part in PARTS]
        rows.append([[Panel(photograph(shown.image, size))], *pictures[:-1], *maps, pictures[-1]])
    return figure(titles, rows, [*truths, *(shown.ids for shown in images)], classes)


def _map_panel(channel: ChannelMaps, part: str, size: tuple[int, int], name_head: bool) -> Panel:
    values = channel.maps[part]
    words = value_range(values)
    if part == PARTS[0]:
        head = f"{channel.head.replace('_', ' ')}, " if name_head else ""
        words = f"{head}channel {channel.channel}: {words}"
    return Panel(gray_map(values, size), words)
