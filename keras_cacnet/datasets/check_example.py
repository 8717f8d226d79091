"""What `check` looks at in one example: its files, decoded or by their headers alone."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from keras_cacnet.datasets.classes import VOID, ClassTable
from keras_cacnet.datasets.reading import (
    open_image,
    orientation,
    read_image,
    read_mask,
    refuse_mask_format,
    shown_size,
    size_difference,
)
from keras_cacnet.datasets.source import Example, Finding


@dataclass
class ExampleFacts:
    """What one example holds.

    Args:
        example: The example.
        findings: What is wrong with it.
        size: Width and height of the image as it is shown; None where it does not decode.
        counts: Pixels per id of the mask file; None where there is none that decodes.
        digest: Of the image file; empty where it cannot be read.
        rotated: Whether the EXIF orientation turns or mirrors the image.
    """

    example: Example
    findings: list[Finding] = field(default_factory=list)
    size: tuple[int, int] | None = None
    counts: np.ndarray | None = None
    digest: str = ""
    rotated: bool = False


def inspect(example: Example, classes: ClassTable) -> ExampleFacts:
    """Reads an example and collects all that is wrong with it.

    Args:
        example: The example.
        classes: The data set's classes.

    Returns:
        What it holds.
    """
    one = ExampleFacts(example)
    mask_size = None
    try:
        data = _bytes(example.image, example.image_origin)
        one.digest = hashlib.sha256(data).hexdigest()
        height, width = read_image(data, example.image_origin).shape[:2]
        one.size = (width, height)
        with open_image(data, example.image_origin) as image:
            one.rotated = orientation(image) in range(2, 9)
    except ValueError as error:
        one.findings.append(_finding(example.image_origin, error))
    if example.mask is None:
        return one
    try:
        data = _bytes(example.mask, example.mask_origin)
        ids = read_mask(data, example.mask_origin)
        mask_size = (ids.shape[1], ids.shape[0])
        classes.to_training(ids, example.mask_origin)
    except ValueError as error:
        one.findings.append(_finding(example.mask_origin, error))
    if mask_size is None:
        return one
    if one.size is not None and mask_size != one.size:
        message = size_difference(example, one.size, mask_size)
        one.findings.append(_finding(example.mask_origin, ValueError(message)))
    one.counts = np.bincount(ids.ravel(), minlength=256)
    used = [i for i in np.flatnonzero(one.counts).tolist() if i not in (*classes.void_ids, VOID)]
    if not used:
        one.findings.append(Finding("warning", example.mask_origin, "all void: nothing in it is trained or scored."))
    elif moved := _moved_by_palette(data, example.mask_origin, used, classes):
        one.findings.append(Finding("error", example.mask_origin, moved))
    return one


def inspect_headers(example: Example) -> list[Finding]:
    """Collects what the headers of an example's files show to be wrong; no pixel is decoded.

    Args:
        example: The example.

    Returns:
        Errors alone.
    """
    findings = []
    image_size = None
    try:
        with open_image(example.image, example.image_origin) as image:
            image_size = shown_size(image)
    except ValueError as error:
        findings.append(_finding(example.image_origin, error))
    if example.mask is None:
        message = "this split has no masks; only prediction can use it."
        return [*findings, Finding("error", example.image_origin, message)]
    try:
        with open_image(example.mask, example.mask_origin) as mask:
            refuse_mask_format(mask, example.mask, example.mask_origin)
            if image_size is not None and shown_size(mask) != image_size:
                raise ValueError(size_difference(example, image_size, shown_size(mask)))
    except ValueError as error:
        findings.append(_finding(example.mask_origin, error))
    return findings


def _moved_by_palette(data: bytes, origin: str, used: Sequence[int], classes: ClassTable) -> str | None:
    """Tells where a mask's own palette says that its ids are not those of the class table.

    Saving colours with an adaptive palette numbers them anew: every colour is one of the table's, but stands
    at another index than there.
    """
    with open_image(data, origin) as mask:
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
                "ids were numbered anew when it was saved (adaptive palette); save indices, not colours."
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


def _finding(origin: str, error: ValueError) -> Finding:
    return Finding("error", origin, str(error).removeprefix(f"{origin}: "))
