"""The EXIF orientation inside the graph, against Pillow's."""

import io
import struct
import warnings
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


def by_pillow(file):
    """What Pillow reads in the EXIF header, without XMP; upright where that is no whole number from 1 to 8."""
    tags = Image.Exif()
    with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(file)) as image:
        try:
            tags.load(image.info.get("exif", b""))
        except (SyntaxError, struct.error):
            return 1
        value = tags.get(0x0112, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


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


def chunk(content, kind=b"eXIf"):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(file, content):
    """A PNG with an eXIf chunk behind its header."""
    return file[:33] + chunk(content) + file[33:]


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
    assert read(jpeg(file, *[(0xE0, b"")] * 250, turned)) == 6
    assert read(jpeg(file, *[(0xE0, b"")] * 260, turned)) == 1
    assert read(b"\xff\xd8" + b"\xff\xe0\0\2" * 2_000_000) == 1
    assert read(b"\xff\xd8" + (b"\xff\xe0\0\2" + bytes(500)) * 20_000) == 1
    head = file_of(photograph(8, 12))[:33]
    assert read(head + chunk(b"", b"teSt") * 250 + chunk(turned[1][6:])) == 6
    assert read(head + chunk(b"", b"teSt") * 2_000_000 + chunk(turned[1][6:])) == 1
    assert read(b"\xff\xd8" + b"\xff\xe0\0\0" * 10) == 1


SIX_TAG = tiff([(0x0112, SHORT, b"\6\0")])
TURNED = (0xE1, b"Exif\0\0" + SIX_TAG)
ADOBE = (0xEE, b"Adobe\0d\0\0\0\0\0")
COMMENT = (0xFE, b"\xff\xe1 is no segment here")
JPEGS = {
    "behind others": lambda file: jpeg(file, (0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0"), ADOBE, COMMENT, TURNED),
    "after fill bytes": lambda file: file[:2] + b"\xff" * 9 + jpeg(file, TURNED)[2:],
    "before fill bytes": lambda file: jpeg(file, TURNED).replace(SIX_TAG, SIX_TAG + b"\xff\xff\xff"),
    "after stray bytes": lambda file: jpeg(file, COMMENT, TURNED).replace(b"here", b"here\0\1\xff\0\2\xff"),
    "after a restart marker": lambda file: file[:2] + b"\xff\xd3" + jpeg(file, TURNED)[2:],
    "behind the tables": lambda file: file[:20] + jpeg(file, TURNED)[2 : 6 + len(TURNED[1])] + file[20:],
    "cut in two": lambda file: jpeg(file, (0xE1, TURNED[1][:20]), COMMENT, (0xE1, b"Exif\0\0" + TURNED[1][20:])),
    "named twice": lambda file: jpeg(file, (0xE1, b"Exif\0\0" + TURNED[1])),
    "in the second segment alone": lambda file: jpeg(file, (0xE1, b"Exif\0\0"), TURNED),
    "behind another header": lambda file: jpeg(file, (0xE1, b"Exif\0\0" + tiff([])), TURNED),
    "in another segment": lambda file: jpeg(file, (0xE2, TURNED[1])),
    "among the pixels": lambda file: file[:-2] + jpeg(file, TURNED)[2 : 6 + len(TURNED[1])] + file[-2:],
}
UPRIGHT = ("behind another header", "in another segment", "among the pixels")


@pytest.mark.parametrize("kind", JPEGS)
def test_where_a_jpeg_may_have_it(photograph, file_of, kind):
    file = JPEGS[kind](file_of(photograph(8, 12), "JPEG"))
    assert read(file) == by_pillow(file) == (1 if kind in UPRIGHT else 6)
    assert read_image(file).shape == ((8, 12, 3) if kind in UPRIGHT else (12, 8, 3))


def test_an_mpo_file_as_phones_write_it(photograph, file_of):
    images = [Image.fromarray(photograph(8, 12, seed)) for seed in range(2)]
    file = file_of(images[0], "MPO", save_all=True, append_images=images[1:], exif=exif(8))
    with Image.open(io.BytesIO(file)) as image:
        assert image.format == "MPO"
    assert read(file) == by_pillow(file) == 8


def test_where_a_png_may_have_it(photograph, file_of):
    file = file_of(photograph(8, 12))
    pixels = file.index(b"IDAT") - 4
    three = tiff([(0x0112, SHORT, b"\3\0")])
    for made, value in [
        (file[:pixels] + chunk(SIX_TAG) + file[pixels:], 6),
        (file[:33] + chunk(three) + chunk(SIX_TAG) + file[33:], 6),
        (file[:33] + chunk(b"Exif\0\0" + SIX_TAG) + file[33:], 6),
        (file[:33] + chunk(SIX_TAG, b"exIf") + file[33:], 1),
        (file[:-12] + chunk(SIX_TAG) + file[-12:], 1),
        (file + chunk(SIX_TAG), 1),
    ]:
        assert read(made) == by_pillow(made) == value


def random_tiff(rng):
    """A header as cameras write it, or nearly: of any types, counts and places, and now and then damaged."""
    order = rng.choice(["<", ">"])
    head = {"<": [b"II*\0"] * 9 + [b"II\0*"], ">": [b"MM\0*"] * 9 + [b"MM*\0"]}[order]
    directory = int(rng.choice([8, 8, 8, 12, 40]))
    tags = sorted(rng.choice([0x010E, 0x010F, 0x0110, 0x011B, 0x0128, 0x0132, 0x8769], rng.integers(0, 5), False))
    tags.insert(rng.integers(0, len(tags) + 1), 0x0112)
    values = b""
    start = directory + 2 + 12 * len(tags) + 4
    entries = b""
    for tag in tags:
        units = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 0: 1, 99: 3}
        kind = int(rng.choice([*[3] * 30, *[4] * 5, *units] if tag == 0x0112 else list(units)))
        count = int(rng.choice([*[1] * 12, 0, 2, 3, 5]))
        unit = units[kind]
        number = int(rng.choice([*range(1, 9), *range(1, 9), 0, 9, 255]))
        code = {1: "B", 2: "H", 4: "I", 8: "Q"}.get(unit, "B")
        content = struct.pack(f"{order}{count}{code}", *[number] * count).ljust(unit * count, b"\0")
        place = content.ljust(4, b"\0")
        if len(content) > 4:
            beyond = int(rng.choice([0] * 12 + [3, 10**6]))
            place = struct.pack(f"{order}I", start + len(values) + beyond)
            values += content
        entries += struct.pack(f"{order}HHI", tag, kind, count) + place
    made = head[rng.integers(len(head))] + struct.pack(f"{order}I", directory) + bytes(directory - 8)
    made = bytearray(made + struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + values)
    if rng.random() < 0.2:
        made = made[: rng.integers(0, len(made) + 1)]
    if made and rng.random() < 0.2:
        for at in rng.integers(0, len(made), rng.integers(1, 4)):
            made[at] = rng.integers(0, 256)
    return bytes(made)


def test_any_header_is_read_as_pillow_reads_it(photograph, file_of):
    rng = np.random.default_rng(0)
    files = file_of(photograph(8, 12), "JPEG"), file_of(photograph(8, 12))
    found = []
    for number in range(1000):
        content = random_tiff(rng)
        if number % 2:
            file = png(files[1], content)
        else:
            cut = rng.integers(0, len(content) + 1) if rng.random() < 0.1 else len(content)
            parts = [content[:cut], content[cut:]] if cut < len(content) else [content]
            file = jpeg(files[0], *[(0xE1, b"Exif\0\0" + part) for part in parts])
        found.append(read(file))
        assert found[-1] == by_pillow(file), (number, content)
    # Else equality would prove nothing.
    assert min(np.bincount(found)[1:]) > 40
