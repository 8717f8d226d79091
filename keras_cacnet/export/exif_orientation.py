"""The EXIF orientation of JPEG and PNG files inside a TensorFlow graph."""

from typing import Any

import tensorflow as tf

_EXIF = b"Exif\0\0"
_ORIENTATION = 0x0112
# TIFF: byte order, 42, where the directory is; there a count (2 bytes) and that many entries of 12 bytes: tag, type
# (2 bytes each), count and value (4 bytes each), or where the value is, if that has more than 4 bytes.
_ENTRY = 12
# Bytes of one value, by type; 0 where TIFF has no such type.
_UNITS = (0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8)
# SHORT, LONG, SBYTE, SSHORT, SLONG, IFD and LONG8. Pillow gives BYTE as bytes, not as a number.
_WHOLE_NUMBERS = (3, 4, 6, 8, 9, 13, 16)
# Cameras write EXIF first or second. A file made of millions of empty segments must not keep a server busy.
_MOST_SEGMENTS = 256
# Kinds of segments without length and content, as Pillow takes them.
_BARE = (0x01, 0xC8, *range(0xD0, 0xDA), *range(0xF0, 0xFE))
# How many bytes that belong to nothing may be between two segments of a JPEG.
_MOST_JUNK = 1024


def orientation(file: Any, is_png: Any) -> Any:
    """Read how an image has to be turned to stand upright.

    It is a whole number in the first directory of the EXIF header that stands before the pixels: the Exif segments of a
    JPEG, taken together where there are several, or the last eXIf chunk of a PNG. A damaged directory is read as far as
    Pillow reads it. Not read are XMP, text chunks of PNG, and what is behind the pixels.

    Args:
        file: JPEG or PNG, as a string; damaged or not.
        is_png: whether it is PNG.

    Shapes:
        - file: string ()
        - is_png: bool ()
        - result: int32 ()

    Returns:
        1 to 8, as EXIF numbers them; 1, upright, where nothing (or nothing sensible) is said.

    Example:
        >>> import io
        >>> from PIL import Image
        >>> stream, exif = io.BytesIO(), Image.Exif()
        >>> exif[0x0112] = 6
        >>> Image.new("RGB", (4, 3)).save(stream, "JPEG", exif=exif)
        >>> int(orientation(tf.constant(stream.getvalue()), tf.constant(False)))
        6
    """
    return _tag(tf.cond(is_png, lambda: _png_exif(file), lambda: _jpeg_exif(file)))


def upright_size(size: Any, turned: Any) -> Any:
    """Give the size of an image once it stands upright.

    Args:
        size: as it is stored.
        turned: its orientation.

    Shapes:
        - size: int32 (2,), height and width
        - turned: int32 ()
        - result: int32 (2,)

    Example:
        >>> upright_size(tf.constant([3, 4]), tf.constant(6)).numpy()
        array([4, 3], dtype=int32)
    """
    return tf.where(turned >= 5, size[::-1], size)


def upright(image: Any, turned: Any) -> Any:
    """Turn and mirror an image so that it stands upright.

    Args:
        image: as it is stored.
        turned: its orientation.

    Shapes:
        - image: (H, W, C)
        - turned: int32 ()
        - result: (H, W, C), or (W, H, C)

    Example:
        >>> upright(tf.constant([[[1], [2]]]), tf.constant(6))[..., 0].numpy()  # clockwise by a quarter
        array([[1],
               [2]], dtype=int32)
    """

    def one_of(*numbers: int) -> Any:
        return tf.reduce_any(tf.equal(turned, numbers))

    image = tf.cond(turned >= 5, lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
    image = tf.cond(one_of(2, 3, 6, 7), lambda: tf.reverse(image, [1]), lambda: image)
    return tf.cond(one_of(3, 4, 7, 8), lambda: tf.reverse(image, [0]), lambda: image)


def _jpeg_exif(file: Any) -> Any:
    """The TIFF structure in a JPEG: two bytes of start, then segments of FF, kind, length (with its own two bytes)."""
    end = _length(file)

    def is_segment(at: Any, found: Any) -> Any:
        # DA begins the pixels.
        return (at + 2 < end) & (_number(file, at + 1, 1) != 0xDA)

    def step(at: Any, found: Any) -> tuple[Any, Any]:
        kind, length = _number(file, at + 1, 1), tf.maximum(_number(file, at + 2, 2), 2)
        is_exif = (kind == 0xE1) & (_bytes(file, at + 4, 6) == _EXIF)
        content = tf.cond(is_exif, lambda: _bytes(file, at + 10, length - 8), lambda: tf.constant(b""))
        bare = tf.reduce_any(kind == _BARE)
        return marker(at + 2 + tf.where(bare, tf.zeros_like(length), length)), tf.strings.join([found, content])

    def marker(at: Any) -> Any:
        """Where the next FF is that another byte than FF or 0 follows; the end where there is none nearby."""
        near = tf.io.decode_raw(_bytes(file, at, _MOST_JUNK + 2), tf.uint8)
        here = tf.where((near[:-1] == 0xFF) & (near[1:] != 0xFF) & (near[1:] != 0))
        return tf.concat([at + here[:, 0], [end]], axis=0)[0]

    return _walked(is_segment, step, marker(tf.constant(2, tf.int64)))


def _png_exif(file: Any) -> Any:
    """The TIFF structure in a PNG: eight bytes of start, then chunks of length, kind, content, four of checksum."""
    end = _length(file)

    def is_chunk(at: Any, found: Any) -> Any:
        return (at + 8 <= end) & (_bytes(file, at + 4, 4) != b"IDAT")

    def step(at: Any, found: Any) -> tuple[Any, Any]:
        length = _number(file, at, 4)
        is_exif = _bytes(file, at + 4, 4) == b"eXIf"
        return at + 12 + length, tf.cond(is_exif, lambda: _bytes(file, at + 8, length), lambda: found)

    return _walked(is_chunk, step, tf.constant(8, tf.int64))


def _walked(goes_on: Any, step: Any, start: Any) -> Any:
    state = (start, tf.constant(b""))
    return tf.while_loop(goes_on, step, state, maximum_iterations=_MOST_SEGMENTS, parallel_iterations=1)[1]


def _tag(tiff: Any) -> Any:
    """The orientation that the first directory says, the first where it says several."""
    tiff = _bytes(tiff, tf.where(_bytes(tiff, 0, len(_EXIF)) == _EXIF, len(_EXIF), 0), tf.int32.max)
    head, end = _bytes(tiff, 0, 4), _length(tiff)
    little = _bytes(head, 0, 2) == b"II"
    # Pillow takes 42 in either order, and of big-endian files 43 too.
    known = tf.reduce_any(tf.equal(head, [b"II*\0", b"II\0*", b"MM\0*", b"MM*\0", b"MM\0+"]))
    directory = _number(tiff, 4, 4, little)
    there = _bytes(tiff, directory + 2, _ENTRY * _number(tiff, directory, 2, little))
    whole = _length(there) // _ENTRY * _ENTRY
    entries = tf.reshape(tf.io.decode_raw(_bytes(there, 0, whole), tf.uint8), (-1, _ENTRY))
    tags, kinds = _value(entries[:, :2], little), _value(entries[:, 2:4], little)
    counts, places = _value(entries[:, 4:8], little), _value(entries[:, 8:12], little)
    units = tf.gather(tf.constant(_UNITS, tf.int64), tf.where(kinds < len(_UNITS), kinds, tf.zeros_like(kinds)))
    sizes = counts * units
    outside = sizes > 4
    # As Pillow reads: values that together have more bytes than all of the header are skipped, and one that goes beyond
    # its end ends the directory.
    fits = ~outside | (tf.cumsum(tf.where(outside, sizes, tf.zeros_like(sizes))) <= end)
    broken = outside & fits & (places + sizes > end)
    read = fits & (sizes > 0) & (tf.cumsum(tf.cast(broken, tf.int32)) == 0)
    says = tf.where(known & read & (tags == _ORIENTATION))[:, 0]

    def value() -> Any:
        entry = says[0]
        unit, place = units[entry], directory + 2 + _ENTRY * entry + 8
        digits = _bytes(tiff, tf.where(outside[entry], places[entry], place), unit)
        leading = _bytes(b"\0" * 8, unit, 8)
        number = _number(tf.where(little, digits, tf.strings.join([leading, digits])), 0, 8, little)
        sensible = tf.reduce_any(kinds[entry] == _WHOLE_NUMBERS) & (number >= 1) & (number <= 8)
        return tf.where(sensible, tf.cast(number, tf.int32), 1)

    return tf.cond(tf.size(says) > 0, value, lambda: tf.constant(1))


def _length(text: Any) -> Any:
    return tf.cast(tf.strings.length(text), tf.int64)


def _bytes(text: Any, at: Any, length: Any) -> Any:
    """Bytes of a string; fewer where it ends, none beyond it."""
    at = tf.minimum(tf.cast(at, tf.int64), _length(text))
    return tf.strings.substr(text, at, tf.maximum(tf.cast(length, tf.int64), 0))


def _number(text: Any, at: Any, length: int, little: Any = False) -> Any:
    """An unsigned number in a string, its highest byte first unless `little`; bytes beyond the end are zero."""
    found = tf.strings.substr(tf.strings.join([_bytes(text, at, length), b"\0" * length]), 0, length)
    return _value(tf.ensure_shape(tf.io.decode_raw(found, tf.uint8), (length,)), little)


def _value(digits: Any, little: Any) -> Any:
    digits = tf.cast(digits, tf.int64)
    places = tf.constant([256**place for place in range(digits.shape[-1])], tf.int64)
    return tf.reduce_sum(tf.where(little, digits, digits[..., ::-1]) * places, axis=-1)
