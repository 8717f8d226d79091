"""Which way up an image is: where its EXIF orientation is looked for, here and in the exported models alike.

The orientation is a whole number in the first directory of the EXIF header that stands before the pixels: a JPEG's Exif
segments, taken together where there are several, the last `eXIf` chunk of a PNG, a WebP's EXIF chunk. TIFF has the tag
in its own directory, by which Pillow turns it while it decodes. XMP, text chunks of PNG and what is behind the pixels
are not read. A damaged directory is read as far as Pillow reads it; nothing that it holds is an error.
"""

from typing import BinaryIO

from PIL import Image

TAG = 0x0112
_EXIF = b"Exif\0\0"
_ORDERS = {b"II*\0": "little", b"II\0*": "little", b"MM\0*": "big", b"MM*\0": "big", b"MM\0+": "big"}
_MOST_CHUNKS = 256
# Bytes of one value, by type.
_UNITS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
# SHORT, LONG, SBYTE, SSHORT, SLONG, IFD and LONG8.
_WHOLE_NUMBERS = (3, 4, 6, 8, 9, 13, 16)
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
        image: an image that was opened; of a PNG whose pixels are decoded, Pillow tells an `eXIf` chunk too.

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
    if image.format == "PNG":
        file = getattr(image, "fp", None)
        return _tag(_exif_of(image) if file is None else _png_exif(file))
    return 1 if image.format == "TIFF" else _tag(_exif_of(image))


def _exif_of(image: Image.Image) -> bytes:
    """What Pillow has found; a text chunk of a PNG that is called exif is none."""
    found = image.info.get("exif", b"")
    return found.removeprefix(_EXIF) if isinstance(found, bytes) else b""


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


def _png_exif(file: BinaryIO) -> bytes:
    """The TIFF structure in a PNG: eight bytes of start, then chunks of length, kind, content, four of checksum.

    Pillow's `info` would have a text chunk called exif as well.
    """
    place, at, found = file.tell(), 8, b""
    for _ in range(_MOST_CHUNKS):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8 or head[4:] == b"IDAT":
            break
        length = _number(head[:4], "big")
        if head[4:] == b"eXIf":
            found = file.read(length)
        at += 12 + length
    file.seek(place)
    return found


def _tag(tiff: bytes) -> int:
    """The orientation in the first directory: a count (2 bytes) and that many entries of 12 bytes."""
    # Some writers say twice that it is EXIF.
    tiff = tiff.removeprefix(_EXIF)
    order = _ORDERS.get(tiff[:4])
    if order is None:
        return 1
    directory = _number(tiff[4:8], order)
    total = 0
    for entry in range(_number(tiff[directory : directory + 2], order)):
        at = directory + 2 + 12 * entry
        if at + 12 > len(tiff):
            break
        tag, kind, count = (_number(tiff[at + a : at + b], order) for a, b in ((0, 2), (2, 4), (4, 8)))
        place, size = at + 8, count * _UNITS.get(kind, 0)
        if size > 4:
            # As Pillow reads: values that together have more bytes than all of the header are skipped, and one that
            # goes beyond its end ends the directory.
            total += size
            if total > len(tiff):
                continue
            place = _number(tiff[at + 8 : at + 12], order)
            if place + size > len(tiff):
                break
        if tag == TAG and size > 0:
            value = _number(tiff[place : place + _UNITS[kind]], order)
            return value if kind in _WHOLE_NUMBERS and value in _TURNS else 1
    return 1


def _number(digits: bytes, order: str) -> int:
    return int.from_bytes(digits, order)  # type: ignore[arg-type]
