"""Which way up an image is: where its EXIF orientation is looked for, here and in the exported models alike.

The orientation is what the first directory of the EXIF block says, as a SHORT or a LONG. The block is a JPEG's first
Exif segment, among its first 64 segments and before its pixels; a PNG's first `eXIf` chunk, before its pixels; a WebP's
EXIF chunk. TIFF has the tag in its own directory, by which Pillow turns it while it decodes. XMP, text chunks of PNG
and blocks behind the pixels are not read, as browsers do not read them.
"""

from typing import BinaryIO

from PIL import Image

TAG = 0x0112
_SHORT, _LONG = 3, 4
_MOST_SEGMENTS = 64
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def orientation(image: Image.Image) -> int:
    """Read how an image has to be turned to stand upright.

    Args:
        image: an image that was opened; its pixels need not be decoded.

    Returns:
        1 to 8, as EXIF numbers them; 1, upright, where nothing (or nothing sensible) is said, and for TIFF.

    Example:
        >>> import io
        >>> stream, exif = io.BytesIO(), Image.Exif()
        >>> exif[0x0112] = 6
        >>> Image.new("RGB", (4, 3)).save(stream, "JPEG", exif=exif)
        >>> orientation(Image.open(stream))
        6
    """
    if image.format == "WEBP":
        return _tag(image.info.get("exif", b"").removeprefix(b"Exif\0\0"))
    find = {"JPEG": _jpeg_segment, "MPO": _jpeg_segment, "PNG": _png_chunk}.get(str(image.format))
    file = getattr(image, "fp", None)
    if find is None or file is None:
        return 1
    place = file.tell()
    try:
        return _tag(find(file))
    finally:
        file.seek(place)


def upright(image: Image.Image, turned: int) -> Image.Image:
    """Turn and mirror an image so that it stands upright.

    Args:
        image: as it is stored.
        turned: its orientation.

    Example:
        >>> upright(Image.new("RGB", (4, 3)), 6).size
        (3, 4)
    """
    return image.transpose(_TURNS[turned]) if turned in _TURNS else image


def _jpeg_segment(file: BinaryIO) -> bytes:
    """The TIFF structure in a JPEG: two bytes of start, then segments of FF, kind, length (with its own two bytes)."""
    at = 2
    for _ in range(_MOST_SEGMENTS):
        file.seek(at)
        head = file.read(10)
        if head[:1] != b"\xff" or head[1:2] == b"\xda":
            break
        length = _number(head[2:4], "big")
        if head[1:2] == b"\xe1" and head[4:10] == b"Exif\0\0" and (found := file.read(max(length - 8, 0))):
            return found
        at += 2 + length
    return b""


def _png_chunk(file: BinaryIO) -> bytes:
    """The TIFF structure in a PNG: eight bytes of start, then chunks of length, kind, content, four of checksum."""
    at = 8
    for _ in range(_MOST_SEGMENTS):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8 or head[4:] == b"IDAT":
            break
        length = _number(head[:4], "big")
        if head[4:] == b"eXIf" and (found := file.read(length)):
            return found
        at += 12 + length
    return b""


def _tag(tiff: bytes) -> int:
    """The orientation in the first directory: a count (2 bytes) and that many entries of 12 bytes."""
    order = {b"II*\0": "little", b"MM\0*": "big"}.get(tiff[:4])
    if order is None:
        return 1
    directory = _number(tiff[4:8], order)
    for entry in range(_number(tiff[directory : directory + 2], order)):
        at = directory + 2 + 12 * entry
        if at + 12 > len(tiff):
            break
        tag, kind = _number(tiff[at : at + 2], order), _number(tiff[at + 2 : at + 4], order)
        if tag == TAG and kind in (_SHORT, _LONG):
            value = _number(tiff[at + 8 : at + (10 if kind == _SHORT else 12)], order)
            return value if value in _TURNS else 1
    return 1


def _number(digits: bytes, order: str) -> int:
    return int.from_bytes(digits, order)  # type: ignore[arg-type]
