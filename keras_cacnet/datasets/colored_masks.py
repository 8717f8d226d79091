"""Masks that write classes as the colours of `classes.txt`, read in place."""

import numpy as np

from keras_cacnet.datasets.classes import VOID, ClassTable
from keras_cacnet.wording import listed

COLOR_MODES = ("RGB", "RGBA")
"""Pillow's modes of masks with colours; alpha is dropped."""


class ColorsError(ValueError):
    """A mask has colours that mean no class."""


def require_distinct_colors(classes: ClassTable, origin: str) -> None:
    """Refuse a mask with colours where two classes have the same one.

    Args:
        classes: the data set's classes.
        origin: how the error calls the mask.

    Raises:
        ColorsError: two classes, or a class and void, have one colour.
    """
    names = dict(zip(classes.palette[::-1], classes.names[::-1], strict=True))
    for name, color in zip(classes.names, classes.palette, strict=True):
        other = "void" if color in classes.void_palette else names[color]
        if other != name:
            raise ColorsError(
                f"{origin}: the mask has colours, and in classes.txt {name!r} and {other!r} have one colour, "
                f"{' '.join(map(str, color))}; give each its own."
            )


def ids_of_colors(rgb: np.ndarray, classes: ClassTable, origin: str) -> np.ndarray:
    """Give the ids of the classes whose colours a mask has.

    Args:
        rgb: uint8 (height, width, 3).
        classes: the data set's classes.
        origin: how the error calls the mask.

    Returns:
        uint8 (height, width): ids as in mask files, void as 255.

    Raises:
        ColorsError: colours that are neither a class's nor void's; it names them and counts their pixels.

    Example:
        >>> table = ClassTable(("sky", "sea"), ((90, 160, 220), (20, 60, 140)), ids=(1, 2))
        >>> ids_of_colors(np.array([[[20, 60, 140], [90, 160, 220]]], "uint8"), table, "beach.png")
        array([[2, 1]], dtype=uint8)
    """
    entries = [*zip(classes.palette, classes.ids, strict=True), *((color, VOID) for color in classes.void_palette)]
    pairs = sorted((red << 16 | green << 8 | blue, number) for (red, green, blue), number in entries)
    keys, ids = np.array([key for key, _ in pairs]), np.array([number for _, number in pairs], "uint8")
    wide = rgb.astype("int32")
    packed = wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]
    place = np.minimum(np.searchsorted(keys, packed), len(keys) - 1)
    strange = packed[keys[place] != packed]
    if strange.size:
        colors, counts = np.unique(strange, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        counted = listed(
            f"{color >> 16} {color >> 8 & 255} {color & 255} ({count} pixel{'' if count == 1 else 's'})"
            for color, count in zip(colors[order].tolist(), counts[order].tolist(), strict=True)
        )
        raise ColorsError(
            f"{origin}: the mask has colours, and {counted} {'is' if len(colors) == 1 else 'are'} not in classes.txt; "
            "add them there, or as void, `ID void R G B`, if they are not to be trained."
        )
    return ids[place]
