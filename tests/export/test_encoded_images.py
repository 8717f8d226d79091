"""The signature that takes image files, served without Keras."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from keras_cacnet.datasets.reading import read_image
from keras_cacnet.export import saved_model


def png(width, height):
    """A PNG whose header says what it likes, with hardly any pixels."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">II5B", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(100))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def jpeg(file, width, height):
    """A JPEG with another size in its header."""
    # Start of frame: marker, length, precision, height, width.
    at = file.index(b"\xff\xc0") + 5
    return file[:at] + struct.pack(">HH", height, width) + file[at + 4 :]


def test_files_of_different_sizes_are_answered_at_their_own(serve, photograph, file_of, assert_as_keras):
    files = [
        file_of(photograph(48, 33, 1)),
        file_of(photograph(31, 64, 2), "JPEG", quality=80),
        file_of(photograph(40, 40, 3), "JPEG", progressive=True),
    ]
    result = serve("serve_encoded", files)
    np.testing.assert_array_equal(result["sizes"], [[48, 33], [31, 64], [40, 40]])
    assert result["sizes"].dtype == np.int32
    assert result["class_ids"].shape == (3, 48, 64)
    for file, ids, (height, width) in zip(files, result["class_ids"], result["sizes"], strict=True):
        assert_as_keras(read_image(file)[np.newaxis], ids[np.newaxis, :height, :width])
        assert (ids[height:] == 255).all()
        assert (ids[:, width:] == 255).all()


def test_photographs_stand_upright_as_in_predict(serve, photograph, file_of, assert_as_keras):
    exif = Image.Exif()
    exif[0x0112] = 6
    files = [file_of(photograph(36, 52, 1), kind, exif=exif) for kind in ("JPEG", "PNG")]
    result = serve("serve_encoded", [*files, file_of(photograph(20, 24))])
    np.testing.assert_array_equal(result["sizes"], [[52, 36], [52, 36], [20, 24]])
    for file, ids in zip(files, result["class_ids"], strict=False):
        assert_as_keras(read_image(file)[np.newaxis], ids[np.newaxis])


def test_the_answer_for_a_file_does_not_depend_on_the_others(serve, photograph, file_of):
    file, other = file_of(photograph(30, 42, 1)), file_of(photograph(64, 20, 2))
    alone, together = serve("serve_encoded", [file]), serve("serve_encoded", [other, file])
    assert alone["class_ids"].shape == (1, 30, 42)
    np.testing.assert_array_equal(together["class_ids"][1, :30], alone["class_ids"][0])


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "I;16", "CMYK"])
def test_every_kind_of_pixel_becomes_rgb(serve, photograph, file_of, assert_as_keras, mode):
    image = Image.fromarray(photograph(40, 36))
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype("uint16") * 257 // 2)
    elif mode in ("LA", "RGBA"):
        image.putalpha(Image.fromarray(photograph(40, 36, 1)[..., 0]))
        image = image.convert(mode)
    else:
        image = image.convert(mode)
    file = file_of(image, "JPEG" if mode == "CMYK" else "PNG")
    result = serve("serve_encoded", [file])
    images = read_image(file)[np.newaxis]
    if mode == "CMYK":
        # Pillow and TensorFlow turn CMYK into RGB with different rounding: 1 of 255.
        expected = serve("serving_default", images)["class_ids"]
        assert (result["class_ids"] == expected).mean() > 0.95
    else:
        assert_as_keras(images, result["class_ids"])


BAD = {
    "empty": (lambda file: b"", "image 1: it is empty"),
    "text": (lambda file: b"hello", "image 1: it is neither JPEG nor PNG"),
    "gif": (lambda file: b"GIF89a" + bytes(20), "image 1: it is neither JPEG nor PNG"),
    "only a signature": (lambda file: b"\x89PNG\r\n\x1a\n", "image 1: it is neither JPEG nor PNG"),
    "0x0": (lambda file: png(0, 0), "image 1: it has 0x0 pixels"),
    "0x7": (lambda file: png(0, 7), "image 1: it has 7x0 pixels"),
    "PNG bomb": (lambda file: png(30_000, 30_000), "image 1: 30000x30000 pixels are more than 16777216, the limit"),
    "JPEG bomb": (lambda file: jpeg(file, 30_000, 30_001), "image 1: 30001x30000 pixels are more than 16777216"),
    "largest PNG": (lambda file: png(2**31 - 1, 2**31 - 1), "image 1: 2147483647x2147483647 pixels are more than"),
    "negative PNG": (lambda file: png(2**32 - 1, 2**32 - 1), "image 1: it has -1x-1 pixels"),
    "JPEG without pixels": (lambda file: jpeg(file, 0, 0), "jpeg_header_is_damaged(.|\n)*Invalid JPEG data"),
    "truncated header": (lambda file: file[:100], "jpeg_header_is_damaged(.|\n)*Invalid JPEG data"),
    "truncated JPEG": (lambda file: file[:-200], "image_is_truncated_or_damaged(.|\n)*Invalid JPEG data"),
    "PNG with few pixels": (lambda file: png(40, 40), "image_is_truncated_or_damaged(.|\n)*Invalid PNG data"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_fails_the_request_with_its_reason(serve, photograph, file_of, kind):
    make, message = BAD[kind]
    good = file_of(photograph(64, 64), "JPEG")
    with pytest.raises(RuntimeError, match=message):
        serve("serve_encoded", [good, make(good)])
    # The server goes on.
    assert serve("serve_encoded", [good])["sizes"].tolist() == [[64, 64]]


def test_all_bad_files_are_named(serve, photograph, file_of):
    with pytest.raises(RuntimeError, match="image 0: it is empty; image 2: it is neither JPEG nor PNG"):
        serve("serve_encoded", [b"", file_of(photograph(8, 8)), b"hello"])


def test_no_files_are_no_request(serve):
    with pytest.raises(RuntimeError, match="the request has no images"):
        serve("serve_encoded", np.zeros(0, "object"))


def test_padding_counts(serve):
    with pytest.raises(RuntimeError, match="2 images padded to 16000000x16000000 have more than the 16777216 pixels"):
        serve("serve_encoded", [png(1, 16_000_000), png(16_000_000, 1)])


def test_the_limit_is_the_exports_own(model, photograph, file_of, tmp_path):
    import tensorflow as tf

    loaded = tf.saved_model.load(saved_model(model, tmp_path / "1", max_pixels=3000))
    encoded = loaded.signatures["serve_encoded"]
    files = [file_of(photograph(50, 30)), file_of(photograph(50, 30, 1))]
    assert encoded(image_bytes=tf.constant(files))["class_ids"].shape == (2, 50, 30)
    with pytest.raises(tf.errors.InvalidArgumentError, match="3 images padded to 50x30 have more than the 3000"):
        encoded(image_bytes=tf.constant([*files, files[0]]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="50x61 pixels are more than 3000"):
        encoded(image_bytes=tf.constant([file_of(photograph(50, 61))]))
    for other in (0, -1, True, 1e6, "1000", 2**63):
        with pytest.raises(ValueError, match="max_pixels .* must be a whole number, at least 1"):
            saved_model(model, tmp_path / "2", max_pixels=other)


def test_photographs(serve, assert_as_keras, shared_data):
    folder = shared_data / "voc2012_sample" / "VOCdevkit" / "VOC2012" / "JPEGImages"
    files = [file.read_bytes() for file in sorted(folder.glob("*.jpg"))[:3]]
    result = serve("serve_encoded", files)
    for file, ids, (height, width) in zip(files, result["class_ids"], result["sizes"], strict=True):
        assert_as_keras(read_image(file)[np.newaxis], ids[np.newaxis, :height, :width])
