"""The EXIF orientation inside the graph, against Pillow's."""

import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from keras_cacnet.datasets.reading import read_image
from keras_cacnet.export.exif_orientation import orientation, upright, upright_size

READ = tf.function(orientation, input_signature=[tf.TensorSpec((), tf.string), tf.TensorSpec((), tf.bool)])
TURN = tf.function(upright, input_signature=[tf.TensorSpec((None, None, 3), tf.uint8), tf.TensorSpec((), tf.int32)])


def read(file):
    return int(READ(tf.constant(file), tf.constant(file.startswith(b"\x89PNG"))))


def exif(value):
    tags = Image.Exif()
    tags[0x0112] = value
    return tags


def tiff(entries, order="<", directory=8, count=None):
    """A TIFF structure with entries of tag, type and the bytes of the value."""
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, directory)
    head += bytes(directory - 8) + struct.pack(f"{order}H", len(entries) if count is None else count)
    made = [struct.pack(f"{order}HHI", tag, kind, 1) + value.ljust(4, b"\0") for tag, kind, value in entries]
    # Behind the entries stands where the next directory is: nowhere.
    return head + b"".join(made) + bytes(4)


def jpeg(file, *segments):
    """A JPEG with segments before all others, of kind and content."""
    parts = [bytes([0xFF, kind]) + struct.pack(">H", len(content) + 2) + content for kind, content in segments]
    return file[:2] + b"".join(parts) + file[2:]


def png(file, content):
    """A PNG with an eXIf chunk behind its header."""
    chunk = struct.pack(">I", len(content)) + b"eXIf" + content + struct.pack(">I", zlib.crc32(b"eXIf" + content))
    return file[:33] + chunk + file[33:]


@pytest.mark.parametrize("value", range(1, 9))
def test_images_are_turned_as_pillow_turns_them(photograph, file_of, value):
    image = Image.fromarray(photograph(20, 28))
    image.getexif()[0x0112] = value
    expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(TURN(np.asarray(image), tf.constant(value)), expected)
    assert upright_size(tf.constant([20, 28]), tf.constant(value)).numpy().tolist() == [*expected.shape[:2]]
    for kind, options in [("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True})]:
        assert read(file_of(image, kind, exif=exif(value), **options)) == value


SHORT, LONG = 3, 4
SIX = {"<": b"\6\0", ">": b"\0\6"}
ENTRIES = {
    "first": ([(0x0112, SHORT)], {}),
    "among others": ([(0x010F, SHORT), (0x0112, SHORT), (0x0132, SHORT)], {}),
    "far away": ([(0x0112, SHORT)], {"directory": 300}),
    "one promised that is not there": ([(0x0112, SHORT)], {"count": 2}),
}


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", ENTRIES)
def test_every_form_of_the_tag_is_read(photograph, file_of, kind, order):
    entries, options = ENTRIES[kind]
    content = tiff([(tag, of, SIX[order]) for tag, of in entries], order, **options)
    file = file_of(photograph(8, 12), "JPEG")
    comment, colours = (0xFE, b"a comment"), (0xE2, b"ICC_PROFILE\0" + bytes(3000))
    for made in (
        jpeg(file, (0xE1, b"Exif\0\0" + content)),
        jpeg(file, comment, (0xE1, b"http://ns.adobe.com/xap/1.0/\0"), colours, (0xE1, b"Exif\0\0" + content)),
        png(file_of(photograph(8, 12)), content),
    ):
        assert read(made) == 6
        # Pillow agrees, where it does not warn of what is missing.
        if kind != "one promised that is not there":
            assert read_image(made).shape == (12, 8, 3)


def test_of_two_tags_the_first_counts(photograph, file_of):
    content = tiff([(0x0112, SHORT, b"\6\0"), (0x0112, SHORT, b"\3\0")])
    file = jpeg(file_of(photograph(8, 12), "JPEG"), (0xE1, b"Exif\0\0" + content))
    assert read(file) == 6
    assert read_image(file).shape == (12, 8, 3)


@pytest.mark.parametrize("order", "<>")
def test_the_tag_may_be_long(photograph, file_of, order):
    content = tiff([(0x0112, LONG, struct.pack(f"{order}I", 8))], order)
    file = jpeg(file_of(photograph(8, 12), "JPEG"), (0xE1, b"Exif\0\0" + content))
    assert read(file) == 8
    assert read_image(file).shape == (12, 8, 3)


def test_what_is_not_sensible_is_upright(photograph, file_of):
    file = file_of(photograph(8, 12), "JPEG")
    senseless = [
        b"",
        b"II*",
        b"XX*\0" + bytes(40),
        tiff([(0x0112, SHORT, b"\x09\0")]),
        tiff([(0x0112, SHORT, b"\0\0")]),
        tiff([(0x0112, 7, b"\6\0")]),
        tiff([(0x0113, SHORT, b"\6\0")]),
        tiff([(0x0112, SHORT, b"\6\0")])[:-10],
        tiff([(0x0112, SHORT, b"\6\0")])[:4] + b"\xff\xff\xff\xff" + bytes(20),
    ]
    for content in senseless:
        assert read(jpeg(file, (0xE1, b"Exif\0\0" + content))) == 1, content
        assert read(png(file_of(photograph(8, 12)), content)) == 1, content
    assert read(jpeg(file, (0xE1, tiff([(0x0112, SHORT, b"\6\0")])))) == 1
    assert read(file) == read(b"") == read(b"\xff\xd8\xff") == read(b"\x89PNG\r\n\x1a\n\0\0") == 1


def test_any_bytes_are_read_to_the_end(photograph, file_of):
    rng = np.random.default_rng(0)
    content = b"Exif\0\0" + tiff([(0x0112, SHORT, b"\6\0")])
    for file in (
        jpeg(file_of(photograph(8, 12), "JPEG"), (0xE1, content)),
        png(file_of(photograph(8, 12)), content[6:]),
    ):
        assert read(file) == 6
        for _ in range(150):
            damaged = bytearray(file[: rng.integers(100, len(file))])
            damaged[3:100] = [rng.integers(256) if rng.random() < 0.05 else byte for byte in damaged[3:100]]
            assert 1 <= read(bytes(damaged)) <= 8


def test_no_file_keeps_a_server_busy(photograph, file_of):
    """A step through a segment takes some ten operations: two million of them would take minutes."""
    turned = (0xE1, b"Exif\0\0" + tiff([(0x0112, SHORT, b"\6\0")]))
    file = file_of(photograph(8, 12), "JPEG")
    assert read(jpeg(file, *[(0xE0, b"")] * 60, turned)) == 6
    assert read(jpeg(file, *[(0xE0, b"")] * 70, turned)) == 1
    assert read(b"\xff\xd8" + b"\xff\xe0\0\2" * 2_000_000) == 1
    assert read(b"\xff\xd8" + b"\xff\xe0\0\0" * 10) == 1


def test_what_stands_among_the_pixels_is_no_segment(photograph, file_of):
    content = tiff([(0x0112, SHORT, b"\6\0")])
    assert read(jpeg(file_of(photograph(8, 12), "JPEG"), (0xDA, b""), (0xE1, b"Exif\0\0" + content))) == 1
    file = file_of(photograph(8, 12))
    pixels = file.index(b"IDAT") - 4
    chunk = png(file, content)[33 : len(png(file, content)) - len(file) + 33]
    assert read(file[:pixels] + chunk + file[pixels:]) == 6
    assert read(file[:-12] + chunk + file[-12:]) == 1
