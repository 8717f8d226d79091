"""Check one example: its files decoded, or by their headers only; and all examples of a source, in threads."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from keras_cacnet.datasets.classes import VOID, ClassTable
from keras_cacnet.datasets.colored_masks import ColorsError
from keras_cacnet.datasets.exif import orientation
from keras_cacnet.datasets.reading import (
    channel_bits,
    check_mask_format,
    open_image,
    read_image,
    read_mask,
    shown_size,
    size_difference,
)
from keras_cacnet.datasets.source import Example, Finding, Source
from keras_cacnet.progress import ProgressBar

ReadIds = Callable[[bytes | Path, str], np.ndarray]
"""Read a mask, a file or its bytes, to ids, uint8 (height, width); a ValueError names the file by the second."""

_DARK = 16
"""A deep image whose upper byte is always below has 12 bits or fewer, as of microscopes and thermal cameras."""

_BLACK = 1
"""An image of 8 bits with no value above was divided by 255, or is black."""

_Result = TypeVar("_Result")


@dataclass
class ExampleFacts:
    """What one example holds.

    Args:
        example: the example.
        findings: what is wrong with it.
        size: width and height of the image as it is shown; None where it does not decode.
        counts: pixels per id of the mask file, 256 of them; None where there is none that decodes.
        image_digest: the SHA-256 of the image file; empty where it cannot be read.
        checksum: see `example_checksum`.
        rotated: whether the EXIF orientation turns or mirrors the image.
        black: whether the image, of 8 bits, has no value above 1.
    """

    example: Example
    findings: list[Finding] = field(default_factory=list)
    size: tuple[int, int] | None = None
    counts: np.ndarray | None = None
    image_digest: str = ""
    checksum: bytes = b""
    rotated: bool = False
    black: bool = False


def examine_example(example: Example, classes: ClassTable, read_ids: ReadIds | None = None) -> ExampleFacts:
    """Read an example and collect all that is wrong with it.

    Args:
        example: the example.
        classes: the data set's classes.
        read_ids: the reader of its mask, where the ids in the file are not those of the classes; else `read_mask`.

    Returns:
        What it holds.
    """
    one = ExampleFacts(example)
    data = b""
    try:
        data = _bytes(example.image, example.image_origin)
        one.image_digest = hashlib.sha256(data).hexdigest()
        pixels = read_image(data, example.image_origin)
        one.size = (pixels.shape[1], pixels.shape[0])
        with open_image(data, example.image_origin) as image:
            one.rotated = orientation(image) > 1
            # Colour of 16 bits is RGB to Pillow, as that of 8 is.
            deep, highest = image.mode.startswith("I") or channel_bits(image, data) == 16, int(pixels.max())
            if deep and highest < _DARK:
                used, shade = 8 + highest.bit_length(), "nearly black" if highest else "black"
                text = f"16 bits, of which only the lower {used} are used: it is read {shade}; stretch it to 0..65535."
                one.findings.append(Finding("warning", example.image_origin, text, kind="dark"))
            one.black = not deep and highest <= _BLACK
    except ValueError as error:
        one.findings.append(_finding(example.image_origin, error))
    ids, one.counts, found = examine_mask(example, classes, read_ids)
    one.findings += found
    one.checksum = example_checksum(example.name, data, ids)
    if ids is None:
        return one
    mask_size = (ids.shape[1], ids.shape[0])
    if one.size is not None and mask_size != one.size:
        one.findings.append(_other_size(example, one.size, mask_size, one.rotated))
    return one


def examine_mask(
    example: Example, classes: ClassTable, read_ids: ReadIds | None = None
) -> tuple[np.ndarray | None, np.ndarray | None, list[Finding]]:
    """Read the mask of an example and collect what is wrong with its labels.

    Args:
        example: the example.
        classes: the data set's classes.
        read_ids: the reader of its mask, where the ids in the file are not those of the classes; else `read_mask`.

    Returns:
        The ids, uint8 (height, width), and the pixels per id, 256 of them, both None where there is no mask that
        decodes; and the findings: that it does not decode, ids that are no class, ids that were renumbered, a mask that
        is void all over, and one of 0 and 255 where there are more classes.
    """
    if example.mask is None:
        return None, None, []
    try:
        if read_ids is None:
            ids = read_mask(example.mask, example.mask_origin, classes)
        else:
            ids = read_ids(example.mask, example.mask_origin)
    except ValueError as error:
        return None, None, [_finding(example.mask_origin, error)]
    findings = []
    if unknown := classes.unknown_ids(ids):
        findings.append(Finding("error", example.mask_origin, classes.unknown_text(unknown), kind="unknown id"))
    counts = np.bincount(ids.ravel(), minlength=256)
    used = [i for i in np.flatnonzero(counts).tolist() if i not in (*classes.void_ids, VOID)]
    if not used:
        text = "all void: nothing in it is trained or scored."
        findings.append(Finding("warning", example.mask_origin, text, kind="void mask"))
    elif read_ids is None and len(classes) > 2 and np.flatnonzero(counts).tolist() == [0, VOID]:
        text = f"holds only 0 and {VOID}, and {VOID} is void: is it black and white, where others have ids?"
        findings.append(Finding("warning", example.mask_origin, text, kind="black and white"))
    elif read_ids is None and (moved := _moved_by_palette(example, used, classes)):
        findings.append(Finding("error", example.mask_origin, moved))
    return ids, counts, findings


def examine_headers(example: Example, classes: ClassTable) -> list[Finding]:
    """Collect what the headers of an example's files show to be wrong; no pixel is decoded.

    Args:
        example: the example.
        classes: the data set's classes.

    Returns:
        Errors only.
    """
    findings = []
    image_size, rotated = None, False
    try:
        with open_image(example.image, example.image_origin) as image:
            image_size, rotated = shown_size(image), orientation(image) > 1
    except ValueError as error:
        findings.append(_finding(example.image_origin, error))
    if example.mask is None:
        message = "this split has no masks; only prediction can use it."
        return [*findings, Finding("error", example.image_origin, message)]
    try:
        with open_image(example.mask, example.mask_origin) as mask:
            check_mask_format(mask, example.mask, example.mask_origin, classes)
            if image_size is not None and shown_size(mask) != image_size:
                findings.append(_other_size(example, image_size, shown_size(mask), rotated))
    except ValueError as error:
        findings.append(_finding(example.mask_origin, error))
    return findings


def for_all(
    function: Callable[[Example], _Result], source: Source, bar: ProgressBar | None = None
) -> Iterator[_Result]:
    """Call a function on all examples of a source, in several threads.

    Args:
        function: of an example.
        source: the examples.
        bar: counts the examples, or None.

    Returns:
        What it returned, in the order of the source.

    Example:
        >>> list(for_all(lambda example: example.name, [Example("a", b"", None), Example("b", b"", None)]))
        ['a', 'b']
    """
    with ThreadPoolExecutor(os.cpu_count()) as readers:
        for result in readers.map(lambda index: function(source[index]), range(len(source))):
            if bar is not None:
                bar.add(1)
            yield result


def progress_bar(total: int) -> ProgressBar | None:
    """Count a number of files that are read; None where there are none."""
    return ProgressBar("reading", total) if total else None


def example_checksum(name: str, image: bytes, ids: np.ndarray | None) -> bytes:
    """Sum up one example: its name, the bytes of its image file, and the ids of its mask.

    Args:
        name: of the example; only what follows the last slash counts.
        image: the encoded image.
        ids: uint8 (height, width), or None.

    Returns:
        A SHA-256, which does not depend on how the mask is compressed.
    """
    # Names of files need not be text.
    text = name.rsplit("/", 1)[-1].encode("utf-8", "surrogateescape")
    digest = hashlib.sha256(text + b"\0" + hashlib.sha256(image).digest())
    if ids is not None:
        digest.update(f"{ids.shape}".encode() + np.ascontiguousarray(ids).tobytes())
    return digest.digest()


def _moved_by_palette(example: Example, used: Sequence[int], classes: ClassTable) -> str | None:
    """Tell where a mask's own palette says that its ids are not those of the class table.

    Saving colours with an adaptive palette numbers them anew: every colour is one of the table's, but is at another
    index than there.
    """
    assert example.mask is not None
    with open_image(example.mask, example.mask_origin) as mask:
        if mask.mode != "P":
            return None
        flat = mask.getpalette("RGB") or []
    colors = {i: tuple(flat[3 * i : 3 * i + 3]) for i in used}
    # One colour more may be void's, which the table does not have.
    if len(set(colors.values()) - set(classes.palette)) > 1:
        return None
    for file_id, name, color in zip(classes.ids, classes.names, classes.palette, strict=True):
        if colors.get(file_id, color) != color and colors[file_id] in classes.palette:
            other = classes.names[classes.palette.index(colors[file_id])]
            return (
                f"its palette shows id {file_id}, {name!r} in the class table, in the colour of {other!r}: the "
                "ids were numbered anew when it was saved (adaptive palette); save indices, not colours, or let "
                "`keras-cacnet import` read the colours."
            )
    return None


def _bytes(file: bytes | Path, origin: str) -> bytes:
    if isinstance(file, bytes):
        return file
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"{origin}: no such file.") from None
    except OSError as error:
        raise ValueError(f"{origin}: cannot be opened ({error.strerror}).") from None


def _other_size(example: Example, image_size: tuple[int, int], mask_size: tuple[int, int], rotated: bool) -> Finding:
    kind = "unturned mask" if rotated and mask_size == image_size[::-1] else ""
    text = size_difference(example, image_size, mask_size)
    return Finding("error", example.mask_origin, text.removeprefix(f"{example.mask_origin}: "), kind)


def _finding(origin: str, error: ValueError) -> Finding:
    kind = "colors" if isinstance(error, ColorsError) else ""
    return Finding("error", origin, str(error).removeprefix(f"{origin}: "), kind)
