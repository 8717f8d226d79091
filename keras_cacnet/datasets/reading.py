"""The one reader of images and masks, for checking, training, evaluation and prediction alike."""

import io
import os

import numpy as np
from PIL import Image

from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.datasets.colored_masks import COLOR_MODES, ColorsError, ids_of_colors, require_distinct_colors
from keras_cacnet.datasets.exif import orientation, upright
from keras_cacnet.datasets.source import Example
from keras_cacnet.files import user_path

MAX_PIXELS = 89_478_485
"""Images with more pixels are refused before they are decoded (256 MiB as RGB, Pillow's own first limit)."""

# Left out on purpose: formats that start other programs (EPS) or hold no photographs.
# Pillow opens MPO, the JPEG of some phones, as JPEG.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
_SIXTEEN_BIT = ("I;16", "I;16B", "I;16L", "I;16N")
# What is lost in a mask's ids by each other format, and how Pillow names those of TIFF that are lossy.
_MASK_FORMATS = ("PNG", "TIFF", "BMP")
_CHANGED_BY = {
    "GIF": "its writers number the colours anew",
    "PPM": "its readers stretch the ids to 0..255",
}
_LOSSY_TIFF = ("jpeg", "tiff_jpeg", "webp")
_PNG_BIT_DEPTH = 24
_TIFF_BITS, _TIFF_PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0


def open_image(file: bytes | str | os.PathLike[str], origin: str) -> Image.Image:
    """Open an image file and read its header; pixels are not decoded yet.

    Args:
        file: the path, or the bytes of the file.
        origin: how errors call it.

    Returns:
        The Pillow image.

    Raises:
        ValueError: the file cannot be opened, is empty, is not an image, or has more than `MAX_PIXELS`
            pixels.
    """
    file = file if isinstance(file, bytes) else user_path(file)
    try:
        image = Image.open(io.BytesIO(file) if isinstance(file, bytes) else file, formats=_FORMATS)
    except FileNotFoundError:
        raise ValueError(f"{origin}: no such file.") from None
    except Image.UnidentifiedImageError:
        size = len(file) if isinstance(file, bytes) else file.stat().st_size
        what = "the file is empty" if size == 0 else f"not an image that can be read ({', '.join(_FORMATS)})"
        raise ValueError(f"{origin}: {what}.") from None
    except OSError as error:
        raise ValueError(f"{origin}: cannot be opened ({error.strerror or error}).") from None
    except Exception as error:
        # Headers are foreign input: Pillow's plugins raise whatever their parsing trips over.
        raise ValueError(f"{origin}: cannot be decoded ({one_line(error)}).") from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        image.close()
        raise ValueError(
            f"{origin}: {width}x{height} pixels are more than {MAX_PIXELS}, the limit against files that "
            "unpack to more than memory holds; scale the image down or cut it into tiles."
        )
    return image


def read_image(file: bytes | str | os.PathLike[str], origin: str | None = None) -> np.ndarray:
    """Decode an image to RGB, the way a viewer shows it.

    The EXIF orientation is applied (`datasets.exif` says where it is looked for). Grayscale is repeated over the
    channels; palettes and CMYK are converted; of 16 bits the upper 8 are kept; an alpha channel is dropped, the colours
    below it stay, as in Pillow's `convert("RGB")`, OpenCV and `tf.io.decode_image`, so that whoever calls an exported
    model sends the same.
    Of an animation the first frame is read.

    Args:
        file: the path, or the bytes of the file.
        origin: how errors call it; the path by default.

    Returns:
        uint8 (height, width, 3).

    Raises:
        ValueError: the file is not an image, is truncated, is too large, or has a pixel type that is not one
            of the above; it names the file.

    Example:
        >>> buffer = io.BytesIO()
        >>> Image.new("CMYK", (4, 3)).save(buffer, "JPEG")
        >>> read_image(buffer.getvalue()).shape
        (3, 4, 3)
    """
    origin = origin or _name(file)
    with open_image(file, origin) as image:
        return rgb(image, origin)


def rgb(image: Image.Image, origin: str) -> np.ndarray:
    """Take the pixels of an image that Pillow has opened, as `read_image` does.

    Args:
        image: the image; one that has been decoded before is turned by its EXIF orientation all the same.
        origin: how errors call it.

    Returns:
        uint8 (height, width, 3).

    Raises:
        ValueError: as `read_image`.
    """
    turned = orientation(image)
    require_decoded(image, origin)
    if image.mode in ("F", "I") and image.format != "PNG":
        raise ValueError(f"{origin}: 32-bit pixels ({image.mode}) have no fixed range; save it with 8 or 16 bits.")
    try:
        image = upright(image, turned)
        if image.mode in _SIXTEEN_BIT or image.mode == "I":
            gray = (np.asarray(image) >> 8).astype("uint8")
            return np.repeat(gray[..., None], 3, axis=-1)
        if image.mode == "P" and "transparency" in image.info:
            # Straight to RGB Pillow warns of the transparency that it drops.
            image = image.convert("RGBA")
        return np.array(image.convert("RGB"))
    except Exception as error:
        raise ValueError(f"{origin}: cannot be converted to RGB ({one_line(error)}).") from error


def read_mask(
    file: bytes | str | os.PathLike[str], origin: str | None = None, classes: ClassTable | None = None
) -> np.ndarray:
    """Decode a mask to the ids in the file.

    A palette PNG gives its indices, never its colours; grayscale of 8 and 16 bits gives its values, 1 bit
    gives 0 and 1; RGB gives the ids of the classes that have its colours. The EXIF orientation is applied, as for
    images.

    Args:
        file: the path, or the bytes of the file.
        origin: how errors call it; the path by default.
        classes: the classes, whose colours RGB masks may have; without them such masks are refused.

    Returns:
        uint8 (height, width).

    Raises:
        ValueError: the file cannot be decoded, has colours that are no class's, is of a format that changes ids (all
            but PNG, TIFF and BMP, and TIFF that was compressed as a photograph), or has an id above 255; it names the
            file.

    Example:
        >>> buffer = io.BytesIO()
        >>> mask = Image.fromarray(np.array([[0, 1, 255]], "uint8"), "P")
        >>> mask.putpalette([10, 20, 30] * 256)
        >>> mask.save(buffer, "PNG")
        >>> read_mask(buffer.getvalue())
        array([[  0,   1, 255]], dtype=uint8)
    """
    origin = origin or _name(file)
    with open_image(file, origin) as image:
        check_mask_format(image, file, origin, classes)
        turned = orientation(image)
        require_decoded(image, origin)
        if classes is not None and image.mode in COLOR_MODES:
            return ids_of_colors(np.asarray(upright(image.convert("RGB"), turned)), classes, origin)
        ids = np.array(upright(image, turned))
    if ids.dtype == bool:
        return ids.astype("uint8")
    if ids.min() < 0 or ids.max() > 255:
        wrong = ids.max() if ids.max() > 255 else ids.min()
        raise ValueError(f"{origin}: id {wrong} in a {image.mode} mask; ids are 0..255, and 255 is void; save 8 bits.")
    return ids.astype("uint8")


def check_mask_format(
    image: Image.Image, file: bytes | str | os.PathLike[str], origin: str, classes: ClassTable | None = None
) -> None:
    """Refuse a mask whose header shows that its pixels are neither ids nor the colours of classes.

    Args:
        image: the mask, opened.
        file: the path, or the bytes of the file.
        origin: how the error calls it.
        classes: the classes, where masks may have their colours.

    Raises:
        ValueError: a format or a compression that changes ids, colours, or gray of 2 or 4 bits.
    """
    kind, why = str(image.format), ""
    if kind not in _MASK_FORMATS:
        why = _CHANGED_BY.get(kind, "its compression changes them")
    elif kind == "TIFF" and (compression := image.info.get("compression")) in _LOSSY_TIFF:
        kind, why = f"TIFF with {compression} compression", "that changes them"
    if why:
        raise ValueError(f"{origin}: a mask as {kind} does not keep its ids: {why}; save it as PNG.")
    if classes is not None and image.mode in COLOR_MODES:
        require_distinct_colors(classes, origin)
    elif image.mode not in ("P", "L", "1", "I", *_SIXTEEN_BIT):
        raise ColorsError(
            f"{origin}: the mask is {image.mode}; masks are single-channel class ids (a grayscale or a "
            "palette PNG). Replace each colour by the id of its class and save one channel without alpha."
        )
    if kind == "TIFF" and image.tag_v2.get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO:  # type: ignore[attr-defined]
        raise ValueError(f"{origin}: a TIFF in which 0 is white is read as its negative; save the mask as PNG.")
    bits = gray_bits(image, file)
    if bits is not None and bits != 8:
        # Pillow stretches 2 and 4 bits to 0..255, as PNG defines gray; ids may be meant unstretched.
        raise ValueError(
            f"{origin}: a grayscale mask with {bits} bits can mean its ids or ids scaled to 0..255; "
            "save it with 8 bits."
        )


def gray_bits(image: Image.Image, file: bytes | str | os.PathLike[str]) -> int | None:
    return channel_bits(image, file) if image.mode == "L" else None


def channel_bits(image: Image.Image, file: bytes | str | os.PathLike[str]) -> int | None:
    """Give the bits of a channel as the file has them, which Pillow's mode does not tell; None but for PNG and TIFF."""
    if image.format == "TIFF":
        return int(image.tag_v2.get(_TIFF_BITS, (1,))[0])  # type: ignore[attr-defined]
    if image.format != "PNG":
        return None
    if isinstance(file, bytes):
        return file[_PNG_BIT_DEPTH]
    with user_path(file).open("rb") as stream:
        return stream.read(_PNG_BIT_DEPTH + 1)[_PNG_BIT_DEPTH]


def read_example(example: Example, classes: ClassTable) -> tuple[np.ndarray, np.ndarray]:
    """Read an image and its mask, and hold them against each other and the classes.

    Args:
        example: from a `Source`.
        classes: the data set's classes.

    Returns:
        The image, uint8 (height, width, 3), and the mask, uint8 (height, width) with 0..n-1 and `VOID`.

    Raises:
        ValueError: one of both cannot be read, there is no mask, their sizes differ, or the mask has ids that
            are not in the table; it names the file.
    """
    if example.mask is None:
        raise ValueError(f"{example.image_origin}: this split has no masks; only prediction can use it.")
    image = read_image(example.image, example.image_origin)
    ids = read_mask(example.mask, example.mask_origin, classes)
    if image.shape[:2] != ids.shape:
        raise ValueError(size_difference(example, (image.shape[1], image.shape[0]), (ids.shape[1], ids.shape[0])))
    return image, classes.to_training(ids, example.mask_origin)


def size_difference(example: Example, image_size: tuple[int, int], mask_size: tuple[int, int]) -> str:
    """Word the error for a mask of another size than its image.

    Args:
        example: the pair.
        image_size: width and height of the image as it is shown.
        mask_size: width and height of the mask as it is shown.

    Returns:
        One line that names both files, both sizes and the mend.
    """
    text = (
        f"{example.mask_origin}: the mask is {mask_size[0]}x{mask_size[1]} pixels, the image "
        f"{example.image_origin} {image_size[0]}x{image_size[1]}; "
    )
    if mask_size == image_size[::-1]:
        return text + "one lies on its side: turn the mask as the image is shown, by EXIF if it has an orientation."
    return text + "make them the same size (resize masks with nearest neighbour)."


def shown_size(image: Image.Image) -> tuple[int, int]:
    """Give width and height as a viewer shows them, without decoding pixels.

    Args:
        image: an opened image.

    Returns:
        The size, with both numbers exchanged where the EXIF orientation turns the image by a quarter.
    """
    width, height = image.size
    return (height, width) if orientation(image) in (5, 6, 7, 8) else (width, height)


def require_decoded(image: Image.Image, origin: str) -> None:
    try:
        image.load()
    except Exception as error:
        # The same foreign input: truncated data shows as OSError, SyntaxError, struct.error and others.
        raise ValueError(f"{origin}: cannot be decoded ({one_line(error)}).") from error


def _name(file: bytes | str | os.PathLike[str]) -> str:
    return f"{len(file)} bytes" if isinstance(file, bytes) else str(file)


def one_line(error: Exception) -> str:
    """Give the type and the message of an error, without line breaks."""
    return " ".join(f"{type(error).__name__}: {error}".split())
