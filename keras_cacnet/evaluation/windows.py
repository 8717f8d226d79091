"""Where windows lie along one side of a scaled image, and which of its pixels each of them stands for."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Taps:
    """Bilinear interpolation along one axis: output k is `x[low[k]] * low_weight[k] + x[high[k]] * high_weight[k]`.

    Shapes:
        - low, high: int32 (n,)
        - low_weight, high_weight: float32 (n,)
    """

    low: np.ndarray
    high: np.ndarray
    low_weight: np.ndarray
    high_weight: np.ndarray

    def __getitem__(self, part: slice) -> "Taps":
        return Taps(self.low[part], self.high[part], self.low_weight[part], self.high_weight[part])

    def arrays(self) -> tuple[np.ndarray, ...]:
        """Give the four arrays, as a compiled function takes them."""
        return self.low, self.high, self.low_weight, self.high_weight


@dataclass(frozen=True)
class Window:
    """A window along one side of a scaled image.

    Args:
        size: pixels that the network sees; those past `inside.low` are padding.
        inside: takes the window's pixels from the image.
        first: the first pixel of the image whose scores the window has a share in.
        back: adds the window's scores, divided by the number of windows that overlap there, to the pixels of the
            image from `first` on.
    """

    size: int
    inside: Taps
    first: int
    back: Taps

    @property
    def last(self) -> int:
        """The pixel of the image behind the last one that the window has a share in."""
        return self.first + len(self.back.low)


def windows(
    length: int, scaled: int, crop_size: int | None, step: int | None, shown: int | None = None
) -> Iterator[Window]:
    """Lay windows over one side of an image, from its start to its end.

    Resizing and averaging are linear, and the number of windows over a pixel is known beforehand. So scores need
    not be put together at the scaled size: what a window adds to the image depends only on that window.

    Args:
        length: pixels of the image.
        scaled: pixels of the scaled image.
        crop_size: pixels of a window; None makes one of the whole side.
        step: distance of the windows; None where `crop_size` is.
        shown: pixels of what the windows are taken from, where that is a smaller copy of the image.

    Example:
        >>> [(len(window.inside.low), window.first, window.last) for window in windows(10, 20, 8, 6)]
        [(8, 0, 4), (8, 3, 7), (8, 6, 10)]
    """
    size = scaled if crop_size is None or step is None else crop_size
    count = 1 if step is None else -(-max(0, scaled - size) // step) + 1
    starts = [index * (step or 0) for index in range(count)]
    overlap = np.zeros(scaled)
    for start in starts:
        overlap[start : start + size] += 1
    there, back = interpolation(shown or length, scaled), interpolation(scaled, length)
    for start in starts:
        stop = min(start + size, scaled)
        mine = [(index >= start) & (index < stop) for index in (back.low, back.high)]
        touched = np.flatnonzero(mine[0] | mine[1])
        if not touched.size:
            # An image reduced from a far larger scale passes over pixels; a window of those alone adds nothing.
            continue
        part = slice(int(touched[0]), int(touched[-1]) + 1)
        taps = back[part]
        low, high = (np.clip(index - start, 0, stop - start - 1) for index in (taps.low, taps.high))
        low_weight = np.where(mine[0][part], taps.low_weight / overlap[taps.low], 0).astype("float32")
        high_weight = np.where(mine[1][part], taps.high_weight / overlap[taps.high], 0).astype("float32")
        yield Window(size, there[start:stop], part.start, Taps(low, high, low_weight, high_weight))


def interpolation(length: int, resized: int) -> Taps:
    """Interpolate bilinearly with half-pixel centres and without smoothing, as `tf.image.resize` does it.

    Args:
        length: pixels there are.
        resized: pixels wanted.

    Example:
        >>> taps = interpolation(2, 4)
        >>> taps.low.tolist(), taps.high_weight.tolist()
        ([0, 0, 0, 1], [0.75, 0.25, 0.75, 0.25])
    """
    centres = (np.arange(resized) + 0.5) * length / resized - 0.5
    below = np.floor(centres)
    fraction = (centres - below).astype("float32")
    low, high = (np.clip(index, 0, length - 1).astype("int32") for index in (below, below + 1))
    return Taps(low, high, 1 - fraction, fraction)
