"""What the masks of a set hold, before anyone says what it means: values of one channel, or colours."""

from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from keras_cacnet.datasets.exif import orientation, upright
from keras_cacnet.datasets.reading import gray_bits, one_line, open_image, require_decoded
from keras_cacnet.progress import ProgressBar

MOST_COLORS = 4096
"""A mask with more colours is a photograph, or was saved as one."""

_LOSSY = ("JPEG", "WEBP")


@dataclass(frozen=True)
class MaskPixels:
    """One mask, decoded as it is.

    Args:
        values: the values of its one channel, or its palette's indices, (height, width); None where it has colours.
        palette: RGB of the indices, (n, 3); None where it has no palette.
        rgb: uint8 (height, width, 3) where it has colours; None otherwise.
        is_lossy: whether its format changes values.
        is_bits: whether it has 1 bit a pixel.
    """

    values: np.ndarray | None
    palette: np.ndarray | None
    rgb: np.ndarray | None
    is_lossy: bool
    is_bits: bool

    def packed_colors(self) -> np.ndarray:
        """Give its colours as whole numbers, 65536 R + 256 G + B; gray values are gray colours."""
        if self.rgb is not None:
            return pack(self.rgb)
        assert self.values is not None
        values = self.values.astype("int64") * (255 if self.is_bits else 1)
        return pack(self.palette)[values] if self.palette is not None else values * 0x010101


@dataclass
class MaskContents:
    """What all masks of a set hold together.

    Args:
        values: pixels by value, of masks of one channel.
        colors: pixels by packed colour, of all masks.
        palette_of: the packed colour of each palette index that occurs.
        palettes_agree: whether every index has one colour in all masks.
        colored: how many masks have colours, not one channel; gray ones saved as RGB are not among them.
        lossy: masks whose format changes values.
        bits: masks of 1 bit a pixel.
        count: masks that were read.
        unreadable: the reasons, by the file.
        first_with: a file in which a packed colour occurs.
    """

    values: Counter[int] = field(default_factory=Counter)
    colors: Counter[int] = field(default_factory=Counter)
    palette_of: dict[int, int] = field(default_factory=dict)
    palettes_agree: bool = True
    colored: int = 0
    lossy: int = 0
    bits: int = 0
    count: int = 0
    unreadable: dict[Path, str] = field(default_factory=dict)
    first_with: dict[int, Path] = field(default_factory=dict)


def read_pixels(path: Path) -> MaskPixels:
    """Decode a mask without taking its numbers for ids.

    An alpha channel is dropped. Colours that are all gray are one channel.

    Args:
        path: the file.

    Returns:
        Its pixels, upright.

    Raises:
        ValueError: it cannot be decoded, or is gray of 2 or 4 bits, or of 32-bit fractions.
    """
    origin = str(path)
    with open_image(path, origin) as image:
        turned = orientation(image)
        lossy = image.format in _LOSSY or image.info.get("compression") in ("jpeg", "tiff_jpeg", "webp")
        bits = gray_bits(image, path)
        if bits in (2, 4):
            raise ValueError(f"{origin}: gray of {bits} bits can mean its ids or ids scaled to 0..255; save 8 bits.")
        require_decoded(image, origin)
        palette = None
        if image.mode == "P":
            palette = np.array(image.getpalette("RGB") or [], "uint8").reshape(-1, 3)
        elif image.mode == "F":
            raise ValueError(f"{origin}: the mask has fractions; ids are whole numbers.")
        elif image.mode not in ("1", "L", "I", "I;16", "I;16B", "I;16L", "I;16N"):
            image = _rgb(image, origin)
        pixels = np.asarray(upright(image, turned))
        is_bits = image.mode == "1"
    if pixels.ndim == 2:
        return MaskPixels(pixels.astype("int32"), palette, None, lossy, is_bits)
    if (pixels == pixels[..., :1]).all():
        return MaskPixels(pixels[..., 0].astype("int32"), None, None, lossy, False)
    return MaskPixels(None, None, pixels, lossy, False)


def read_contents(paths: Iterable[Path], progress: ProgressBar) -> MaskContents:
    """Read all masks of a set and sum up what they hold.

    Args:
        paths: the files.
        progress: counts them.

    Returns:
        The sums.
    """
    contents = MaskContents()
    with ThreadPoolExecutor() as readers:
        for path, found in readers.map(_counted, paths):
            progress.add(1)
            if isinstance(found, str):
                contents.unreadable[path] = found
            else:
                _add(contents, path, *found)
    return contents


def pack(rgb: Any) -> np.ndarray:
    """Pack colours, (..., 3), into whole numbers, 65536 R + 256 G + B."""
    rgb = np.asarray(rgb).astype("int64")
    return (rgb[..., 0] << 16) | (rgb[..., 1] << 8) | rgb[..., 2]


def unpack(color: int) -> tuple[int, int, int]:
    """Give red, green and blue of a packed colour.

    Example:
        >>> unpack(0x0A141E)
        (10, 20, 30)
    """
    return color >> 16, color >> 8 & 255, color & 255


def _counted(path: Path) -> tuple[Path, Any]:
    """The mask without its pixels, and these by value and by colour; or what is wrong with it."""
    try:
        pixels = read_pixels(path)
    except ValueError as error:
        return path, str(error).removeprefix(f"{path}: ")
    bare = replace(pixels, values=None, rgb=None)
    if pixels.values is not None:
        low, high = int(pixels.values.min()), int(pixels.values.max())
        if low < 0 or high > 65535:
            return path, f"value {low if low < 0 else high} is no id; ids are 0..255."
        counts = np.bincount(pixels.values.ravel())
        return path, (bare, {value: int(counts[value]) for value in np.flatnonzero(counts).tolist()}, None)
    # Neighbours are mostly alike, and sorting runs of them is much quicker than sorting pixels.
    flat = pack(pixels.rgb).ravel()
    starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
    colors, of_run = np.unique(flat[starts], return_inverse=True)
    if len(colors) > MOST_COLORS:
        return path, (
            f"{len(colors)} colours: a photograph, or a mask that was saved or resized as one; save PNG, without "
            "smoothing."
        )
    counts = np.bincount(of_run, weights=np.diff(starts, append=flat.size)).astype(int)
    return path, (bare, None, dict(zip(colors.tolist(), counts.tolist(), strict=True)))


def _add(
    contents: MaskContents, path: Path, pixels: MaskPixels, values: dict[int, int] | None, colors: dict[int, int]
) -> None:
    contents.count += 1
    contents.lossy += pixels.is_lossy
    contents.bits += pixels.is_bits
    if values is None:
        contents.colored += 1
        found = colors
    else:
        contents.values.update(values)
        if pixels.palette is None:
            white = 255 if pixels.is_bits else 1
            found = {value * white * 0x010101: count for value, count in values.items() if value < 256}
        else:
            packed = pack(pixels.palette).tolist()
            found = {}
            for index, count in values.items():
                color = packed[index] if index < len(packed) else 0
                found[color] = found.get(color, 0) + count
                if contents.palette_of.setdefault(index, color) != color:
                    contents.palettes_agree = False
    contents.colors.update(found)
    for color in found:
        contents.first_with.setdefault(color, path)


def _rgb(image: Image.Image, origin: str) -> Image.Image:
    try:
        return image.convert("RGB")
    except Exception as error:
        # What Pillow's converters raise depends on the file.
        raise ValueError(f"{origin}: cannot be converted to RGB ({one_line(error)}).") from error
