"""How an image is shown to the network when it is scored: at which scales, mirrored, in which windows."""

import math
import operator
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

FUSIONS = {
    "softmax_mean": "the mean of the softmaxes over mirror images and scales",
    "exp_sum": "PyTorch-Encoding's: the sum over scales of exp(logits + logits of the mirror image)",
}
"""What `fusion` may be, in words. Overlapping windows are averaged by both."""

_MOST_TERMS = 100


@dataclass(frozen=True)
class Protocol:
    """A way to score images: scales, mirror images, windows and how their scores become one.

    An image is resized to every scale, bilinearly with half-pixel centres. Where it is larger than `crop_size`,
    windows of that size slide over it; the last of a row or column, and an image that is smaller, are filled up
    on the right and at the bottom with black, as in training. Scores where windows overlap are averaged, resized
    back to the image and fused over the scales. The defaults show the image once, whole, as it is.

    Args:
        scales: factors of the image's sides, or of `base_size`.
        flip: also show the mirror image of every window, and mirror its scores back.
        crop_size: side of the windows, in pixels; None shows every scaled image whole.
        stride: distance of the windows, as a share of `crop_size`; rounded down to pixels. Of no meaning without
            windows.
        fusion: "softmax_mean" or "exp_sum", see `FUSIONS`.
        base_size: working size: the long side of the image at scale 1, in pixels, as PyTorch-Encoding has it (520);
            None takes the image's own.
        image_size: long side that an image is brought to first, smoothed where that is smaller, as in training with a
            recipe of that `image_size`; its scores are of its own size all the same. Not together with `base_size`.

    Raises:
        ValueError: no scales or one that is not positive, a size that is not a whole number from 1 on, a stride
            outside (0, 1] or without windows, a `flip` that is neither true nor false, or another fusion.

    Example:
        >>> Protocol((0.5, 1.0), flip=True, crop_size=512).to_text()
        'scales 0.5, 1.0 of the image, mirrored as well, windows of 512 pixels every 341 (2/3), softmax_mean'

    Reference:
        Section 4.1 of the CaC-Net paper averages over scales and flips; the windows are PyTorch-Encoding's. Its
        resizing aligns corners, ours does not, so scores differ in the digits behind.
    """

    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    crop_size: int | None = None
    stride: float = 2 / 3
    fusion: str = "softmax_mean"
    base_size: int | None = None
    image_size: int | None = None

    def __post_init__(self) -> None:
        given = self.scales
        try:
            object.__setattr__(self, "scales", tuple(float(scale) for scale in given))
        except (TypeError, ValueError):
            raise ValueError(f"scales must be positive numbers, at least one; got {given!r}") from None
        if not self.scales or not all(0 < scale < math.inf for scale in self.scales):
            raise ValueError(f"scales must be positive numbers, at least one; got {self.scales}")
        for name in ("crop_size", "base_size", "image_size"):
            value = getattr(self, name)
            if value is None:
                continue
            # Whole numbers of NumPy are taken, and become Python's, which JSON can hold.
            if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1:
                raise ValueError(f"{name} must be at least 1 pixel, and a whole number; got {value!r}")
            object.__setattr__(self, name, operator.index(value))
        if self.base_size is not None and self.image_size is not None:
            raise ValueError(
                f"base_size={self.base_size} and image_size={self.image_size} are both the long side at scale 1: give "
                "image_size as a recipe has it, or base_size as PyTorch-Encoding does"
            )
        if self.flip not in (True, False):
            raise ValueError(f"flip must be True or False, got {self.flip!r}")
        object.__setattr__(self, "flip", bool(self.flip))
        object.__setattr__(self, "stride", float(self.stride))
        if not 0 < self.stride <= 1:
            raise ValueError(
                f"stride must lie in (0, 1], as a share of crop_size, got {self.stride}: above 1 the windows would "
                "leave gaps"
            )
        if self.crop_size is None and self.stride != Protocol.stride:
            raise ValueError(
                f"stride={self.stride} is the distance of windows: give their size as well, such as crop_size=512"
            )
        if self.fusion not in FUSIONS:
            raise ValueError(f"fusion must be {' or '.join(map(repr, FUSIONS))}, got {self.fusion!r}")

    @classmethod
    def of(cls, model: Any) -> "Protocol":
        """Show images whole and once, brought to the size that a model was trained at, where it knows one.

        Args:
            model: of a run with a recipe of some `image_size`, or another, which has images at their own size.
        """
        size = getattr(model, "image_size", None)
        return cls(image_size=size if isinstance(size, int) else None)

    @property
    def plain(self) -> bool:
        """Whether images are shown once, whole and at their own size, so that there is nothing to fuse."""
        sizes = (self.crop_size, self.base_size, self.image_size)
        return self.scales == (1.0,) and not self.flip and sizes == (None, None, None)

    @property
    def step(self) -> int | None:
        """Distance of the windows in pixels; None without windows."""
        # 2/3 of a multiple of 3 must not lose a pixel to the rounding of floats; nor must `scaled_size` gain one.
        return None if self.crop_size is None else max(1, math.floor(self.crop_size * self.stride + 1e-6))

    def scaled_size(self, height: int, width: int, scale: float) -> tuple[int, int]:
        """Compute the size of an image at a scale.

        The long side is rounded up, the short one follows it to the nearest pixel.

        Example:
            >>> Protocol().scaled_size(333, 500, 0.75)
            (250, 375)
            >>> Protocol(base_size=520).scaled_size(333, 500, 0.75)
            (260, 390)
            >>> Protocol(image_size=256).scaled_size(333, 500, 1.0)
            (170, 256)
        """
        long, short = max(height, width), min(height, width)
        scaled = max(1, math.ceil((self.base_size or self.image_size or long) * scale - 1e-6))
        other = max(1, math.floor(short * scaled / long + 0.5))
        return (scaled, other) if height > width else (other, scaled)

    def to_json(self) -> dict[str, Any]:
        """Give everything as plain Python values, with the windows' distance in pixels."""
        return {**asdict(self), "scales": list(self.scales), "stride_pixels": self.step}

    def to_text(self) -> str:
        """Say the protocol in one line; with a single view there is nothing to fuse."""
        scales = ", ".join(map(str, self.scales))
        base = "the image" if self.base_size is None else f"a long side of {self.base_size} pixels"
        base += "" if self.image_size is None else f", brought to a long side of {self.image_size} pixels"
        share = Fraction(self.stride).limit_denominator(_MOST_TERMS)
        windows = "whole" if self.step is None else f"windows of {self.crop_size} pixels every {self.step} ({share})"
        mirrored = "mirrored as well" if self.flip else "not mirrored"
        text = f"scale{'s'[: len(self.scales) > 1]} {scales} of {base}, {mirrored}, {windows}"
        alone = len(self.scales) == 1 and not self.flip and self.crop_size is None
        return text if alone else f"{text}, {self.fusion}"


WHOLE = Protocol()
"""Every image whole, once, at its own size."""
