"""The EXIF orientation of JPEG and PNG files inside a TensorFlow graph."""

from typing import Any

import tensorflow as tf

_ORIENTATION = 0x0112
_SHORT, _LONG = 3, 4
# TIFF: byte order, 42, where the directory is; there a count (2 bytes) and that many entries of 12 bytes: tag, type
# (2 bytes each), count and value (4 bytes each).
_ENTRY = 12
# Cameras write EXIF first or second. A file made of thousands of empty segments must not keep a server busy.
_MOST_SEGMENTS = 64


def orientation(file: Any, is_png: Any) -> Any:
    """Read how an image has to be turned to stand upright.

    It is found where Pillow finds it, in the Exif segment of a JPEG and in the eXIf chunk of a PNG before its pixels.
    Not read are XMP, and text chunks of PNG.

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
    return _tag(tf.cond(is_png, lambda: _png_chunk(file), lambda: _jpeg_segment(file)))


def upright_size(size: Any, turned: Any) -> Any:
    """The size of an image once it stands upright.

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


def _jpeg_segment(file: Any) -> Any:
    """The TIFF structure in a JPEG: two bytes of start, then segments of FF, kind, length (with its own two bytes)."""

    def is_segment(at: Any) -> Any:
        # DA begins the pixels.
        return (_number(file, at, 1) == 0xFF) & (_number(file, at + 1, 1) != 0xDA)

    def step(at: Any) -> tuple[Any, Any]:
        length = _number(file, at + 2, 2)
        is_exif = (_number(file, at + 1, 1) == 0xE1) & (_bytes(file, at + 4, 6) == b"Exif\0\0")
        return at + 2 + length, tf.cond(is_exif, lambda: _bytes(file, at + 10, length - 8), lambda: tf.constant(""))

    return _search(file, 2, is_segment, step)


def _png_chunk(file: Any) -> Any:
    """The TIFF structure in a PNG: eight bytes of start, then chunks of length, kind, content, four of checksum."""

    def is_chunk(at: Any) -> Any:
        return _bytes(file, at + 4, 4) != b"IDAT"

    def step(at: Any) -> tuple[Any, Any]:
        length = _number(file, at, 4)
        is_exif = _bytes(file, at + 4, 4) == b"eXIf"
        return at + 12 + length, tf.cond(is_exif, lambda: _bytes(file, at + 8, length), lambda: tf.constant(""))

    return _search(file, 8, is_chunk, step)


def _search(file: Any, start: int, goes_on: Any, step: Any) -> Any:
    end = tf.cast(tf.strings.length(file), tf.int64)
    _, found = tf.while_loop(
        lambda at, found: (at < end) & (found == "") & goes_on(at),
        lambda at, _: step(at),
        (tf.constant(start, tf.int64), tf.constant("")),
        maximum_iterations=_MOST_SEGMENTS,
        parallel_iterations=1,
    )
    return found


def _tag(tiff: Any) -> Any:
    """The orientation that the first directory says; the first one, as Pillow takes it, where it says several."""
    little = _bytes(tiff, 0, 4) == b"II*\0"
    known = little | (_bytes(tiff, 0, 4) == b"MM\0*")
    directory = _number(tiff, 4, 4, little)
    there = _bytes(tiff, directory + 2, _ENTRY * _number(tiff, directory, 2, little))
    whole = tf.strings.length(there) // _ENTRY * _ENTRY
    entries = tf.reshape(tf.io.decode_raw(tf.strings.substr(there, 0, whole), tf.uint8), (-1, _ENTRY))
    kind, short = _value(entries[:, 2:4], little), _value(entries[:, 8:10], little)
    value = tf.where(kind == _SHORT, short, _value(entries[:, 8:12], little))
    says = known & (_value(entries[:, :2], little) == _ORIENTATION) & ((kind == _SHORT) | (kind == _LONG))
    first = tf.concat([value[says], [1]], axis=0)[0]
    return tf.cast(tf.where((first >= 1) & (first <= 8), first, 1), tf.int32)


def _bytes(text: Any, at: Any, length: Any) -> Any:
    """Bytes of a string; fewer where it ends, none beyond it."""
    at = tf.minimum(tf.cast(at, tf.int64), tf.cast(tf.strings.length(text), tf.int64))
    return tf.strings.substr(text, at, tf.maximum(tf.cast(length, tf.int64), 0))


def _number(text: Any, at: Any, length: int, little: Any = False) -> Any:
    """An unsigned number in a string, its highest byte first unless `little`; bytes beyond the end are zero."""
    found = tf.strings.substr(tf.strings.join([_bytes(text, at, length), b"\0" * length]), 0, length)
    return _value(tf.ensure_shape(tf.io.decode_raw(found, tf.uint8), (length,)), little)


def _value(digits: Any, little: Any) -> Any:
    digits = tf.cast(digits, tf.int64)
    places = tf.constant([256**place for place in range(digits.shape[-1])], tf.int64)
    return tf.reduce_sum(tf.where(little, digits, digits[..., ::-1]) * places, axis=-1)
