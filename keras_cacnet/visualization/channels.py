"""Which channels of a head a figure shows, and their maps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

PARTS = ("X", "X*", "W")
"""The maps of a head: its features, their product with the weights, and the weights; in the order of Figure 4."""

Maps = Mapping[str, Mapping[str, Any]]
"""X, W and X* by head, every one (1, h, w, c), as `CaCNet.weighting_maps` gives them."""


@dataclass(frozen=True)
class ChannelMaps:
    """One channel of one head at every position.

    Args:
        head: name of the head.
        channel: index of the channel.
        maps: "X", "X*" and "W", each (h, w), float32.
    """

    head: str
    channel: int
    maps: Mapping[str, np.ndarray]


def choose_channels(
    maps: Maps, count: int = 3, seed: int = 0, by: str | Sequence[int] = "random"
) -> dict[str, tuple[int, ...]]:
    """Choose the channels to show of every head: at random as the paper does, by what W changes, or as listed.

    Channels whose features X are the same everywhere, such as dead ones after a ReLU, show nothing: by "random"
    they are taken only where there are no others.

    Args:
        maps: X, W and X* by head, as `CaCNet.weighting_maps` gives them.
        count: number of channels per head; of no meaning to a list.
        seed: the draw of "random"; the same seed and maps give the same channels.
        by: "random", "largest-change" (see `channel_changes`), or the channels themselves.

    Shapes:
        - every map: (1, h, w, c)

    Returns:
        Channel indices by head: a list as it was given, the largest change first, those drawn ascending; all
        channels where a head has no more than `count`.

    Raises:
        ValueError: `count` below 1, no heads, maps of another shape, another rule, a channel that a head does not
            have or that is listed twice, or "largest-change" where W is the same everywhere.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(1, 4, 5, 8))
        >>> len(choose_channels({"head_1": {"X": x, "W": x, "X*": x}})["head_1"])
        3

    Reference:
        Figure 4 of the CaC-Net paper.
    """
    if count < 1:
        raise ValueError(f"the number of channels must be at least 1, got {count!r}")
    if not maps:
        raise ValueError("there are no weighting maps: the model has no CaC head")
    if isinstance(by, str) and by not in ("random", "largest-change"):
        raise ValueError(f"channels are chosen by 'random', 'largest-change' or a list such as 3,17,40; got {by!r}")
    chosen: dict[str, tuple[int, ...]] = {}
    for number, (head, parts) in enumerate(maps.items()):
        arrays = require_maps(head, parts)
        if not isinstance(by, str):
            chosen[head] = _listed(head, by, arrays["X"].shape[-1])
            continue
        if by == "largest-change":
            chosen[head] = tuple(np.argsort(-_changes(head, arrays), kind="stable")[:count].tolist())
            continue
        varies = np.ptp(arrays["X"], axis=(0, 1)) > 0
        order = np.random.default_rng((seed, number)).permutation(len(varies))
        # A stable sort keeps the drawn order among the channels that vary.
        order = order[np.argsort(~varies[order], kind="stable")]
        chosen[head] = tuple(sorted(order[:count].tolist()))
    return chosen


def channel_changes(maps: Maps) -> dict[str, np.ndarray]:
    """Measure how much of X* each channel owes to weights that differ between positions.

    With w the mean of W over positions, weighted by `|X|`, it is the mean over positions of `|X* - w X| = |X| |W - w|`:
    what is left of X* when the best single weight of the whole channel, such as SE-Net's, is taken away. It is 0
    for a dead channel and where W is the same everywhere, and grows with the features: a large change is one that the
    classifier can see.

    Args:
        maps: X, W and X* by head, as `CaCNet.weighting_maps` gives them.

    Shapes:
        - every map: (1, h, w, c)
        - every result: (c,)

    Returns:
        The changes by head, float64.

    Raises:
        ValueError: maps of another shape, or a head whose W is the same everywhere in every channel, as with
            `reweighting="se"` and `"enc"`.

    Example:
        >>> x = np.ones((1, 1, 2, 2))
        >>> w = np.array([[[[1.0, 0.5], [1.0, 1.5]]]])
        >>> channel_changes({"head_1": {"X": x, "W": w, "X*": x * w}})["head_1"].tolist()
        [0.0, 0.5]
    """
    return {head: _changes(head, require_maps(head, parts)) for head, parts in maps.items()}


def channel_maps(maps: Maps, channels: Mapping[str, Sequence[int]]) -> list[ChannelMaps]:
    """Take single channels out of the maps of all.

    Args:
        maps: X, W and X* by head, as `CaCNet.weighting_maps` gives them.
        channels: the channels of every head to take, as from `choose_channels`.

    Returns:
        The channels, in that order.

    Raises:
        ValueError: a head that is not in the maps, a channel that it does not have, no channels at all, or maps of
            another shape.
    """
    taken = []
    for head, wanted in channels.items():
        if head not in maps:
            raise ValueError(f"there are no weighting maps of {head!r}; there are {', '.join(maps)}")
        arrays = require_maps(head, maps[head])
        for channel in _listed(head, wanted, arrays["X"].shape[-1]):
            taken.append(ChannelMaps(head, channel, {part: arrays[part][..., channel] for part in PARTS}))
    if not taken:
        raise ValueError("there are no channels to show")
    return taken


def require_maps(head: str, parts: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Require the maps of a head, as float32 (h, w, c); a ValueError where one is missing or of another shape."""
    if missing := [part for part in PARTS if part not in parts]:
        raise ValueError(f"the maps of {head} lack {', '.join(missing)}")
    arrays = {part: np.asarray(parts[part]).astype("float32") for part in PARTS}
    shapes = {part: array.shape for part, array in arrays.items()}
    if len(set(shapes.values())) > 1 or arrays["X"].ndim != 4 or len(arrays["X"]) != 1:
        raise ValueError(f"the maps of {head} must have one shape (1, h, w, c), got {shapes}")
    return {part: array[0] for part, array in arrays.items()}


def _changes(head: str, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    weights = arrays["W"].astype("float64")
    if not np.ptp(weights, axis=(0, 1)).any():
        raise ValueError(
            f"the weights W of {head} are the same at every position, as with reweighting='se' and 'enc': no channel "
            "changes more than another; choose channels at random or list them"
        )
    size = np.abs(arrays["X"].astype("float64"))
    total = size.sum(axis=(0, 1))
    single = (size * weights).sum(axis=(0, 1)) / np.where(total > 0, total, 1)
    return (size * np.abs(weights - single)).mean(axis=(0, 1))


def _listed(head: str, channels: Sequence[int], known: int) -> tuple[int, ...]:
    listed = tuple(channels)
    for place, channel in enumerate(listed):
        if not 0 <= channel < known:
            raise ValueError(f"{head} has the channels 0 to {known - 1}, not {channel}")
        if channel in listed[:place]:
            raise ValueError(f"channel {channel} is listed twice")
    return listed
