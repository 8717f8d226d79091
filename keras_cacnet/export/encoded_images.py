"""The signature that takes JPEG and PNG files: headers are read, and judged, before any pixel is decoded."""

from typing import Any

import tensorflow as tf

from keras_cacnet.datasets.classes import VOID
from keras_cacnet.export.exif_orientation import orientation, upright, upright_size
from keras_cacnet.export.signatures import Serve, SharedNetwork

_JPEG = b"\xff\xd8\xff"
# The length of a PNG's first chunk is 13 bytes, its name IHDR; width and height follow, 4 bytes each, big-endian.
_PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
_HEAD = len(_PNG) + 8


def encoded_signature(network: SharedNetwork, max_pixels: int) -> Serve:
    """Give the class of every pixel of JPEG and PNG files of different sizes.

    Every image is turned upright by its EXIF orientation and shown to the network by itself and at its own size, so its
    classes depend on no other image.

    Args:
        network: of the export.
        max_pixels: the most pixels of a request, see `read_headers`.

    Shapes:
        - image_bytes: string (B,)
        - class_ids: int32 (B, H, W), of the largest height and the largest width; `VOID` outside of an image
        - sizes: int32 (B, 2), height and width of each image, upright

    Returns:
        A function from files to `class_ids` and `sizes`.
    """

    def serve(image_bytes: Any) -> dict[str, Any]:
        sizes, orientations = read_headers(image_bytes, max_pixels)
        largest = tf.reduce_max(sizes, axis=0)
        with tf.control_dependencies([sizes]):
            image_bytes = tf.identity(image_bytes)

        def class_ids(image: tuple[Any, Any, Any]) -> Any:
            file, size, turned = image
            ids = network.class_ids(tf.cast(decode(file, size, turned)[tf.newaxis], tf.float32))
            below, right = tf.unstack(largest - size)
            return tf.pad(ids[0], [[0, below], [0, right]], constant_values=VOID)

        ids = tf.map_fn(
            class_ids,
            (image_bytes, sizes, orientations),
            fn_output_signature=tf.TensorSpec((None, None), tf.int32),
            # One after the other: several at once would take as many times the memory.
            parallel_iterations=1,
        )
        return {"class_ids": ids, "sizes": sizes}

    return serve


def read_headers(image_bytes: Any, max_pixels: int) -> tuple[Any, Any]:
    """Read from the headers of images how large they are and how they stand, and fail where one must not be decoded.

    A file of some kilobytes can unpack to gigabytes, and so can two narrow images, one high and one wide, that are
    padded to one size. So the limit is on the answer as a whole.

    Args:
        image_bytes: files, as strings.
        max_pixels: the most pixels of all images together, each padded to the largest height and width.

    Shapes:
        - image_bytes: string (B,)
        - sizes: int32 (B, 2)
        - orientations: int32 (B,)

    Returns:
        Heights and widths of the upright images, and their EXIF orientations. The tensors fail with
        InvalidArgumentError where there are no images, or one is empty, is neither JPEG nor PNG, has no pixels, or they
        are too many; the message names it, counted from 0.
    """
    count = tf.size(image_bytes)
    sizes, orientations, faults = tf.map_fn(
        lambda file: _read_header(file, max_pixels),
        image_bytes,
        fn_output_signature=(
            tf.TensorSpec((2,), tf.int32),
            tf.TensorSpec((), tf.int32),
            tf.TensorSpec((), tf.string),
        ),
    )
    some = tf.debugging.Assert(count > 0, ["the request has no images"], name="some")
    faulty = tf.reshape(tf.where(tf.not_equal(faults, "")), (-1,))
    named = tf.strings.join(["image ", tf.strings.as_string(faulty), ": ", tf.gather(faults, faulty)])
    sound = tf.debugging.Assert(tf.size(faulty) == 0, [tf.strings.reduce_join(named, separator="; ")], name="images")
    with tf.control_dependencies([some, sound]):
        height, width = tf.unstack(tf.cast(tf.reduce_max(sizes, axis=0), tf.int64))
        padded = tf.cast(count, tf.int64) * height * width
    fits = tf.debugging.Assert(
        padded <= max_pixels,
        [
            tf.strings.join(
                [
                    tf.strings.as_string(count),
                    " images padded to ",
                    _words(height, width),
                    f" have more than the {max_pixels} pixels that a request may have: send fewer, or those of "
                    "one size together",
                ]
            )
        ],
        name="request",
    )
    with tf.control_dependencies([fits]):
        return tf.identity(sizes), tf.identity(orientations)


def decode(file: Any, size: Any, turned: Any) -> Any:
    """Decode an image to RGB, and turn it upright.

    The pixels are those of Pillow's `convert("RGB")`: grey is repeated, palettes are looked up, alpha is dropped, of
    16 bits the upper 8 are kept.

    Args:
        file: JPEG or PNG, as a string.
        size: height and width of the upright image, from `read_headers`.
        turned: EXIF orientation, from `read_headers`.

    Shapes:
        - file: string ()
        - size: int32 (2,)
        - turned: int32 ()
        - result: uint8 (H, W, 3)

    Returns:
        The image. The tensor fails with InvalidArgumentError where the file is truncated or damaged.
    """
    with tf.control_dependencies([size]):
        # TensorFlow's own choice for JPEG is a faster transform that is up to 17 of 255 off. The operation takes PNG
        # as well. Its name stands in the error, which else says little of a damaged file.
        image = tf.io.decode_jpeg(
            file, channels=3, dct_method="INTEGER_ACCURATE", name="image_is_truncated_or_damaged_if_this_fails"
        )
    # The decoder must not make more of a file than its header says.
    stored = tf.reshape(image, tf.concat([upright_size(size, turned), [3]], axis=0))
    return tf.ensure_shape(upright(stored, turned), (None, None, 3))


def _read_header(file: Any, max_pixels: int) -> tuple[Any, Any, Any]:
    head = tf.strings.substr(tf.strings.join([tf.strings.substr(file, 0, _HEAD), b"\0" * _HEAD]), 0, _HEAD)
    is_jpeg = tf.strings.substr(head, 0, len(_JPEG)) == _JPEG
    is_png = tf.strings.substr(head, 0, len(_PNG)) == _PNG
    size = tf.cond(
        is_jpeg,
        lambda: tf.image.extract_jpeg_shape(file, name="jpeg_header_is_damaged_if_this_fails")[:2],
        lambda: tf.io.decode_raw(tf.strings.substr(head, len(_PNG), 8), tf.int32, little_endian=False)[::-1],
    )
    turned = orientation(file, is_png)
    size = upright_size(tf.ensure_shape(size, (2,)), turned)
    height, width = tf.unstack(tf.cast(size, tf.int64))
    words = _words(height, width)
    faults = [
        (tf.strings.length(file) == 0, "it is empty"),
        (~(is_jpeg | is_png), "it is neither JPEG nor PNG"),
        ((height < 1) | (width < 1), tf.strings.join(["it has ", words, " pixels"])),
        (
            height * width > max_pixels,
            tf.strings.join([words, f" pixels are more than {max_pixels}, the limit: scale it down"]),
        ),
    ]
    fault = tf.constant("")
    for is_so, text in reversed(faults):
        fault = tf.where(is_so, text, fault)
    return size, turned, fault


def _words(height: Any, width: Any) -> Any:
    return tf.strings.join([tf.strings.as_string(height), "x", tf.strings.as_string(width)])
