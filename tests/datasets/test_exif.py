"""The orientation that is read: where it is looked for, and nowhere else; the same in the exported models' graph."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_cacnet.datasets import read_image, read_mask
from keras_cacnet.datasets.exif import orientation
from keras_cacnet.datasets.reading import open_image, shown_size
from keras_cacnet.export import exif_orientation as graph

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), "uint8")
XMP = b"<x:xmpmeta xmlns:tiff='t'><rdf:Description tiff:Orientation=\"6\"/></x:xmpmeta>"
SHORT, LONG = 3, 4


def encoded(kind="PNG", **options):
    stream = io.BytesIO()
    Image.fromarray(PIXELS).save(stream, kind, **options)
    return stream.getvalue()


def tiff(value=6, order="<", kind=SHORT, tag=0x0112, count=1):
    packed = struct.pack(f"{order}H" if kind == SHORT else f"{order}I", value).ljust(4, b"\0")
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HIH", 42, 8, 1)
    return head + struct.pack(f"{order}HHI", tag, kind, count) + packed + bytes(4)


def segment(content, kind=0xE1):
    return bytes([0xFF, kind]) + struct.pack(">H", len(content) + 2) + content


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def jpeg(*segments):
    file = encoded("JPEG")
    return file[:2] + b"".join(segments) + file[2:]


def png(*chunks, behind=False):
    file = encoded()
    place = len(file) - 12 if behind else 33
    return file[:place] + b"".join(chunks) + file[place:]


def profile(content):
    """The block as ImageMagick writes it into a text chunk."""
    text = f"\nexif\n{len(content):8}\n{content.hex()}\n".encode()
    return chunk(b"tEXt", b"Raw profile type exif\0" + text)


EXIF = b"Exif\0\0"
FILES = {
    "JPEG": (jpeg(segment(EXIF + tiff())), 6),
    "JPEG, big-endian, LONG": (jpeg(segment(EXIF + tiff(8, ">", LONG))), 8),
    "JPEG, behind other segments": (jpeg(segment(b"x", 0xFE), segment(XMP), segment(EXIF + tiff(3))), 3),
    "JPEG, two segments, the first": (jpeg(segment(EXIF + tiff(6)), segment(EXIF + tiff(3))), 6),
    "JPEG, the first without the tag": (jpeg(segment(EXIF + tiff(tag=0x0110)), segment(EXIF + tiff(3))), 1),
    "JPEG, XMP only": (jpeg(segment(b"http://ns.adobe.com/xap/1.0/\0" + XMP)), 1),
    "JPEG, EXIF without the tag, and XMP": (
        jpeg(segment(EXIF + tiff(tag=0x0110)), segment(b"http://ns.adobe.com/xap/1.0/\0" + XMP)),
        1,
    ),
    "JPEG, as bytes": (jpeg(segment(EXIF + tiff(kind=1))), 1),
    "JPEG, as signed": (jpeg(segment(EXIF + tiff(kind=8))), 6),
    "JPEG, said twice to be EXIF": (jpeg(segment(EXIF * 2 + tiff())), 6),
    "JPEG, out of range": (jpeg(segment(EXIF + tiff(9))), 1),
    "PNG": (png(chunk(b"eXIf", tiff())), 6),
    "PNG, two chunks, the last": (png(chunk(b"eXIf", tiff(6)), chunk(b"eXIf", tiff(3))), 3),
    "PNG, behind the pixels": (png(chunk(b"eXIf", tiff()), behind=True), 1),
    "PNG, XMP": (png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)), 1),
    "PNG, text of ImageMagick": (png(profile(EXIF + tiff())), 1),
    "PNG, text of ImageMagick behind the pixels": (png(profile(EXIF + tiff()), behind=True), 1),
    "PNG, text called exif": (png(chunk(b"tEXt", b"exif\0" + EXIF + tiff())), 1),
}
UPRIGHT = {1: lambda a: a, 3: lambda a: a[::-1, ::-1], 6: lambda a: np.rot90(a, -1), 8: lambda a: np.rot90(a)}


# Compiled, as an export has it: op by op its loops take thirty times as long.
ORIENTATION = tf.function(graph.orientation, input_signature=[tf.TensorSpec((), tf.string), tf.TensorSpec((), tf.bool)])


def in_graph(file):
    return int(ORIENTATION(tf.constant(file), tf.constant(file.startswith(b"\x89PNG"))))


@pytest.mark.parametrize("name", FILES)
def test_library_and_exported_models_turn_alike(name):
    file, expected = FILES[name]
    with open_image(file, name) as image:
        assert orientation(image) == expected
        size = shown_size(image)
        image.load()  # still decodes after its header was searched
    assert in_graph(file) == expected
    read = read_image(file)
    assert read.shape[1::-1] == size
    if name.startswith("PNG"):
        np.testing.assert_array_equal(read, UPRIGHT[expected](PIXELS))


@pytest.mark.filterwarnings("ignore")
def test_library_and_graph_agree_on_damaged_headers():
    """Whatever Pillow opens of files with damaged headers has the orientation that the graph finds."""
    rng = np.random.default_rng(0)
    opened = turned = 0
    for file in (jpeg(segment(XMP), segment(EXIF + tiff())), png(chunk(b"eXIf", tiff(6, ">")))):
        for _ in range(150):
            damaged = bytearray(file)
            for place in rng.integers(2, 120, rng.integers(1, 4)):
                damaged[place] = rng.integers(256)
            try:
                with open_image(bytes(damaged), "damaged") as image:
                    found = orientation(image)
            except ValueError:
                continue
            opened += 1
            turned += found != 1
            assert found == in_graph(bytes(damaged)), bytes(damaged)
    # Else equality would prove nothing.
    assert opened > 100
    assert 20 < turned < opened


@pytest.mark.parametrize("value", [3, 6])
def test_webp_and_tiff(value):
    exif = Image.Exif()
    exif[0x0112] = value
    webp = encoded("WEBP", lossless=True, exif=exif)
    for file in (webp, encoded("TIFF", exif=exif), encoded("TIFF", exif=exif, compression="tiff_lzw")):
        np.testing.assert_array_equal(read_image(file), UPRIGHT[value](PIXELS))
        with open_image(file, "x") as image:
            assert shown_size(image) == UPRIGHT[value](PIXELS).shape[1::-1]
    without = encoded("WEBP", lossless=True, xmp=XMP)
    np.testing.assert_array_equal(read_image(without), PIXELS)


def test_masks_are_turned_by_the_same_rule(tmp_path):
    mask = Image.fromarray(PIXELS[..., 0])
    stream = io.BytesIO()
    mask.save(stream, "PNG")
    file = stream.getvalue()
    path = tmp_path / "mask.png"
    for extra, expected in ((chunk(b"eXIf", tiff()), 6), (chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP), 1)):
        path.write_bytes(file[:33] + extra + file[33:])
        np.testing.assert_array_equal(read_mask(path), UPRIGHT[expected](PIXELS[..., 0]))
