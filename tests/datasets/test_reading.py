"""The reader, against arrays that the files were written from."""

import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from written_images import deep_png, png

from keras_cacnet.datasets import ClassTable, Example, read_example, read_image, read_mask

RNG = np.random.default_rng(0)
COLORS = RNG.integers(0, 256, (6, 9, 3), "uint8")
IDS = RNG.integers(0, 12, (6, 9), "uint8")
# Adam7: first row, first column, row step, column step.
PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def encoded(image, format="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def adam7(pixels):
    """The scan lines of an interlaced PNG."""
    parts = [pixels[r::down, c::across] for r, c, down, across in PASSES]
    return [row.tobytes() for part in parts for row in part if row.size]


def test_plain_rgb():
    np.testing.assert_array_equal(read_image(encoded(Image.fromarray(COLORS))), COLORS)


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.swapaxes(0, 1)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: a.swapaxes(0, 1)[::-1, ::-1]),
        (8, lambda a: np.rot90(a, 1)),
    ],
)
def test_exif_orientation_of_images_and_masks(orientation, upright):
    exif = Image.Exif()
    exif[0x0112] = orientation
    for format in ("PNG", "TIFF"):
        data = encoded(Image.fromarray(COLORS), format, exif=exif)
        np.testing.assert_array_equal(read_image(data), upright(COLORS))
    np.testing.assert_array_equal(read_mask(encoded(Image.fromarray(IDS), exif=exif)), upright(IDS))


def test_exif_orientation_of_a_jpeg():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.fromarray(COLORS), "JPEG", quality=100, subsampling=0, exif=exif)
    # JPEG's rounding at quality 100 stays within a few levels; a wrong turn is off by a hundred.
    assert np.abs(read_image(data).astype(int) - np.rot90(COLORS, -1)).max() <= 6


def test_grayscale_is_repeated():
    for image in (
        Image.fromarray(COLORS[..., 0]),
        Image.merge("LA", [Image.fromarray(COLORS[..., i]) for i in (0, 1)]),
    ):
        np.testing.assert_array_equal(read_image(encoded(image)), COLORS[..., [0, 0, 0]])


def test_one_bit_is_black_and_white():
    data = encoded(Image.fromarray(IDS > 5))
    np.testing.assert_array_equal(read_image(data)[..., 1], np.where(IDS > 5, 255, 0))


def test_alpha_is_dropped():
    rgba = np.concatenate([COLORS, RNG.integers(0, 256, (6, 9, 1), "uint8")], -1)
    np.testing.assert_array_equal(read_image(encoded(Image.fromarray(rgba))), COLORS)


@pytest.mark.parametrize("transparency", [None, bytes(range(0, 240, 20))])
def test_palette_images_give_colours(transparency):
    image = Image.fromarray(IDS).convert("P")
    image.putpalette(COLORS.reshape(-1).tolist())
    options = {} if transparency is None else {"transparency": transparency}
    np.testing.assert_array_equal(read_image(encoded(image, **options)), COLORS.reshape(-1, 3)[IDS])


def test_cmyk_jpeg():
    flat = np.full((16, 16, 3), (200, 90, 40), "uint8")
    data = encoded(Image.fromarray(flat).convert("CMYK"), "JPEG", quality=100)
    # A flat picture loses nothing but rounding.
    assert np.abs(read_image(data).astype(int) - flat).max() <= 2


def test_sixteen_bits_keep_the_upper_eight():
    deep = RNG.integers(0, 2**16, (6, 9), "uint16")
    expected = np.repeat((deep // 256)[..., None], 3, -1)
    np.testing.assert_array_equal(read_image(encoded(Image.fromarray(deep))), expected)
    np.testing.assert_array_equal(read_image(encoded(Image.fromarray(deep), "TIFF")), expected)
    color = RNG.integers(0, 2**16, (6, 9, 3))
    np.testing.assert_array_equal(read_image(deep_png(color)), color // 256)


def test_interlaced_png():
    np.testing.assert_array_equal(read_image(png(adam7(COLORS), 9, 6, 8, 2, interlaced=True)), COLORS)
    np.testing.assert_array_equal(read_mask(png(adam7(IDS), 9, 6, 8, 0, interlaced=True)), IDS)


def test_one_pixel():
    np.testing.assert_array_equal(read_image(encoded(Image.fromarray(COLORS[:1, :1]))), COLORS[:1, :1])
    np.testing.assert_array_equal(read_mask(encoded(Image.fromarray(IDS[:1, :1]))), IDS[:1, :1])


def test_float_images_have_no_range():
    with pytest.raises(ValueError, match=r"x.tif: 32-bit pixels \(F\) have no fixed range"):
        read_image(encoded(Image.fromarray(COLORS[..., 0].astype("float32")), "TIFF"), "x.tif")


@pytest.mark.parametrize("format", ["WEBP", "BMP", "TIFF", "GIF", "PPM"])
def test_other_formats_give_images(format):
    flat = np.full((8, 8, 3), (200, 90, 40), "uint8")
    assert np.abs(read_image(encoded(Image.fromarray(flat), format)).astype(int) - flat).max() <= 4


def test_palette_masks_give_indices():
    image = Image.fromarray(IDS).convert("P")
    image.putpalette(COLORS.reshape(-1).tolist())
    np.testing.assert_array_equal(read_mask(encoded(image)), IDS)
    np.testing.assert_array_equal(read_mask(encoded(image, bits=4)), IDS)
    np.testing.assert_array_equal(read_mask(encoded(image, transparency=0)), IDS)


def test_adaptive_palette_gives_the_indices_in_the_file():
    # The ids of such a file are the palette's, whatever the colours are: `check` says what is wrong with it.
    image = Image.fromarray(COLORS).quantize(8)
    np.testing.assert_array_equal(read_mask(encoded(image)), np.asarray(image))


def test_deep_and_one_bit_masks():
    np.testing.assert_array_equal(read_mask(encoded(Image.fromarray(IDS.astype("uint16")))), IDS)
    np.testing.assert_array_equal(read_mask(encoded(Image.fromarray(IDS > 5))), IDS > 5)
    with pytest.raises(ValueError, match=r"m.png: id 300 in a I;16 mask; ids are 0\.\.255"):
        read_mask(encoded(Image.fromarray(np.array([[300, 1]], "uint16"))), "m.png")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_masks_with_colours_are_refused(mode):
    data = encoded(Image.fromarray(COLORS).convert(mode))
    with pytest.raises(ValueError, match=f"m.png: the mask is {mode}; masks are single-channel class ids"):
        read_mask(data, "m.png")


def test_masks_of_few_bits_are_ambiguous():
    data = png([b"\x01\x23\x45"], 6, 1, 4, color_type=0)
    with pytest.raises(ValueError, match=r"m.png: a grayscale mask with 4 bits .* save it with 8 bits"):
        read_mask(data, "m.png")


def masks():
    """The same ids in every mode in which Pillow writes them."""
    palette = Image.fromarray(IDS).convert("P")
    palette.putpalette(RNG.integers(0, 256, 36).tolist())
    wide = [Image.fromarray(IDS.astype(kind)) for kind in ("uint16", "int32")]
    return [Image.fromarray(IDS), palette, *wide]


WRITERS = [
    *[("PNG", options) for options in ({}, {"optimize": True})],
    *[("TIFF", {"compression": kind}) for kind in (None, "tiff_lzw", "tiff_deflate", "packbits", "zstd", "jpeg")],
    *[("BMP", {}), ("GIF", {}), ("PPM", {}), ("WEBP", {"lossless": True}), ("WEBP", {}), ("JPEG", {})],
]


@pytest.mark.parametrize(("format", "options"), WRITERS)
def test_masks_keep_their_ids_or_are_refused(format, options):
    """Whatever Pillow writes of ids is read as these ids, or refused by name."""
    written = 0
    for image in masks():
        try:
            data = encoded(image, format, **options)
        except (OSError, ValueError, KeyError):
            continue  # Pillow does not write this mode in this format.
        written += 1
        if format in ("PNG", "TIFF", "BMP") and options.get("compression") != "jpeg":
            np.testing.assert_array_equal(read_mask(data), IDS)
        else:
            with pytest.raises(
                ValueError, match=f"m.png: a mask as {format} .*does not keep its ids: .* save it as PNG"
            ):
                read_mask(data, "m.png")
    assert written


def test_what_the_refused_formats_do_to_ids():
    """The reason for each: what Pillow reads back of ids that it has written, or that others write."""
    for format, options in (("GIF", {}), ("JPEG", {}), ("TIFF", {"compression": "jpeg"})):
        # Ids that do not begin at 0, which GIF's writer would leave as they are.
        with Image.open(io.BytesIO(encoded(Image.fromarray(IDS + 3), format, **options))) as image:
            assert not np.array_equal(np.asarray(image), IDS + 3), format
    with Image.open(io.BytesIO(b"P5\n3 1\n20\n\x00\x01\x14")) as image:
        assert np.asarray(image).tolist() == [[0, 13, 255]]


def test_negative_and_stretched_tiff_masks_are_refused():
    for tag, value, message in ((262, 0, "0 is white is read as its negative"), (258, 4, "with 4 bits can mean")):
        data = bytearray(encoded(Image.fromarray(IDS), "TIFF"))
        place = data.index(struct.pack("<HHI", tag, 3, 1)) + 8
        data[place : place + 2] = struct.pack("<H", value)
        with pytest.raises(ValueError, match=f"m.tif: .*{message}"):
            read_mask(bytes(data), "m.tif")


PHOTO = encoded(Image.fromarray(RNG.integers(0, 256, (64, 64, 3), "uint8")), "JPEG")
DRAWING = encoded(Image.fromarray(RNG.integers(0, 256, (64, 64), "uint8")))


@pytest.mark.parametrize("read", [read_image, read_mask])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"these are not the pixels you are looking for", "not an image that can be read"),
        (PHOTO[:10], "cannot be opened"),
        (DRAWING[: len(DRAWING) // 2], "cannot be decoded"),
        (DRAWING[:40], "cannot be decoded|not an image"),
        (DRAWING[:100] + b"\xff" * 200 + DRAWING[300:], "cannot be decoded"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
    ],
)
def test_broken_files_are_named(tmp_path, read, content, message):
    path = tmp_path / "broken é.png"
    path.write_bytes(content)
    for file, origin in ((path, str(path)), (content, "broken")):
        with pytest.raises(ValueError, match=message) as raised:
            read(file, origin)
        assert str(raised.value).startswith(f"{origin}: ")
        assert "\n" not in str(raised.value)


def test_home_is_found_in_every_path(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    Image.fromarray(COLORS).save(tmp_path / "a.png")
    Image.fromarray(IDS).save(tmp_path / "m.png")
    (tmp_path / "classes.txt").write_text("".join(f"{i} c{i} 0 0 0\n" for i in range(12)))
    np.testing.assert_array_equal(read_image("~/a.png"), COLORS)
    np.testing.assert_array_equal(read_mask(Path("~/m.png")), IDS)
    table = ClassTable.from_file("~/classes.txt")
    for kind in (str, Path):
        _, mask = read_example(Example("a", kind("~/a.png"), kind("~/m.png")), table)
        np.testing.assert_array_equal(mask, IDS)
    with pytest.raises(ValueError, match=f"{tmp_path}/nothing.png: no such file"):
        read_mask(Example("a", "~/nothing.png", "~/nothing.png").mask)


@pytest.mark.parametrize("cut", [0.3, 0.7, 0.99])
def test_truncated_photographs_are_named(cut):
    with pytest.raises(ValueError, match="p.jpg: cannot be decoded"):
        read_image(PHOTO[: int(len(PHOTO) * cut)], "p.jpg")


def test_what_is_no_file(tmp_path):
    link = tmp_path / "link.jpg"
    link.symlink_to(tmp_path / "gone.jpg")
    for path, message in ((tmp_path, "Is a directory"), (tmp_path / "no.jpg", "no such file"), (link, "no such file")):
        with pytest.raises(ValueError, match=message) as raised:
            read_image(path)
        assert str(raised.value).startswith(f"{path}: ")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file_is_named(tmp_path):
    path = tmp_path / "secret.jpg"
    path.write_bytes(PHOTO)
    path.chmod(0)
    with pytest.raises(ValueError, match="Permission denied"):
        read_image(path)


def test_links_and_odd_names(tmp_path):
    path = tmp_path / "été à la plage 海.png"
    path.write_bytes(encoded(Image.fromarray(COLORS)))
    link = tmp_path / "link.png"
    link.symlink_to(path)
    for file in (path, link):
        np.testing.assert_array_equal(read_image(file), COLORS)


def test_bombs_are_refused_before_they_unpack():
    huge = png([], 30_000, 30_000, 8, color_type=2)
    with pytest.raises(ValueError, match=r"b.png: cannot be decoded \(DecompressionBombError"):
        read_image(huge, "b.png")
    large = png([], 10_000, 10_000, 8, color_type=2)
    with pytest.warns(Image.DecompressionBombWarning), pytest.raises(ValueError, match="b.png: 10000x10000 pixels"):
        read_image(large, "b.png")


TABLE = ClassTable(tuple("abcdefghijkl"), ((0, 0, 0),) * 12, tuple(range(12)))


def example(image, mask):
    return Example("pair", encoded(image), mask and encoded(mask))


def test_example():
    image, mask = read_example(example(Image.fromarray(COLORS), Image.fromarray(IDS)), TABLE)
    np.testing.assert_array_equal(image, COLORS)
    np.testing.assert_array_equal(mask, IDS)


def test_example_of_two_sizes():
    with pytest.raises(ValueError, match=r"pair \(mask\): the mask is 8x6 pixels, .* \(image\) 9x6; make them"):
        read_example(example(Image.fromarray(COLORS), Image.fromarray(IDS[:, 1:])), TABLE)
    with pytest.raises(ValueError, match="one lies on its side: turn the mask as the image is shown"):
        read_example(example(Image.fromarray(np.rot90(COLORS)), Image.fromarray(IDS)), TABLE)


def test_example_without_mask_or_with_unknown_ids():
    with pytest.raises(ValueError, match=r"pair \(image\): this split has no masks"):
        read_example(example(Image.fromarray(COLORS), None), TABLE)
    with pytest.raises(ValueError, match=r"pair \(mask\): id 77 \(54 pixels\) is not in the class table"):
        read_example(example(Image.fromarray(COLORS), Image.fromarray(np.full_like(IDS, 77))), TABLE)


def test_camvid(shared_data):
    root = shared_data / "camvid"
    table = ClassTable.from_file(root / "classes.txt")
    name = sorted((root / "images" / "val").iterdir())[0].stem
    pair = Example(name, root / "images" / "val" / f"{name}.jpg", root / "labels" / "val" / f"{name}.png")
    image, mask = read_example(pair, table)
    assert image.shape == (360, 480, 3)
    np.testing.assert_array_equal(mask == 255, np.asarray(Image.open(pair.mask)) == 11)


def test_voc_palette_masks_keep_their_ids(shared_data):
    folder = shared_data / "voc2012_sample" / "VOCdevkit" / "VOC2012"
    path = sorted((folder / "SegmentationClass").glob("*.png"))[0]
    assert set(np.unique(read_mask(path))) <= {*range(21), 255}
