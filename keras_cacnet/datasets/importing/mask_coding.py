"""How masks write classes: as ids, as colours, or as black and white; decided by what all of them hold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from keras_cacnet.datasets.classes import VOID, ClassTable
from keras_cacnet.datasets.importing.class_lists import BACKGROUND_NAMES, NamedClass, class_table
from keras_cacnet.datasets.importing.mask_pixels import MaskContents, MaskPixels, unpack
from keras_cacnet.datasets.source import Finding
from keras_cacnet.wording import listed

CODINGS = ("ids", "colors", "binary")
"""The values of a channel are ids; colours mean classes; from half white on it is the object."""

_MOST_CLASSES = VOID - 1
_SOFT = 0.05
"""Black and white masks may have so many gray pixels, from smoothing or JPEG; they are cut at 128."""
_RARE = 1e-4
_STRAY = 0.01
"""So many pixels may have colours that are in no list, from smoothed edges; they become void."""
_GAP = 20


@dataclass(frozen=True)
class Coding:
    """A decision on how masks write classes.

    Args:
        what: the end of a sentence that says it.
        classes: the classes, with the ids that `decode` gives.
        decode: gives the ids of a mask, uint8, void as 255.
        findings: rules that were applied, and pixels that are no class.
    """

    what: str
    classes: ClassTable
    decode: Callable[[MaskPixels], np.ndarray]
    findings: tuple[Finding, ...] = ()


def decide_coding(contents: MaskContents, wanted: Sequence[NamedClass] | None, coding: str | None = None) -> Coding:
    """Decide how masks write classes.

    Args:
        contents: what they hold.
        wanted: the classes by name, with colours or ids where they are known; None where nothing is.
        coding: one of `CODINGS`; None to find it out.

    Returns:
        The decision.

    Raises:
        ValueError: no mask can be decoded, or what they hold does not fit the classes or has no sense as masks; it says
            what was found and what mends it.
    """
    if not contents.count:
        path, why = next(iter(contents.unreadable.items()))
        raise ValueError(f"no mask can be read; {path}: {why}")
    decide = {"ids": _ids, "colors": _colors, "binary": _binary}[coding or _guessed(contents, wanted)]
    return decide(contents, wanted)


def _guessed(contents: MaskContents, wanted: Sequence[NamedClass] | None) -> str:
    has_colors = wanted is not None and all(one.color is not None for one in wanted)
    has_ids = wanted is not None and all(one.id is not None for one in wanted)
    if contents.colored or not contents.palettes_agree:
        return "colors"
    if contents.bits == contents.count or _is_black_and_white(contents):
        return "binary"
    if wanted is None:
        return "colors" if _is_stretched(contents) else "ids"
    known = {_packed(one.color) for one in wanted if one.color is not None}
    if has_colors and not has_ids and set(contents.colors) <= known:
        # An index that is in the list as well is as good as its colour only where the list says which index it is.
        return "colors"
    return "ids"


def _is_black_and_white(contents: MaskContents) -> bool:
    if contents.palette_of:
        return set(contents.colors) == {0, 0xFFFFFF}
    values, total = contents.values, sum(contents.values.values())
    if set(values) <= {0, 255}:
        return 255 in values
    between = sum(count for value, count in values.items() if 32 <= value < 224)
    return len(values) > 16 and max(values) <= 255 and between <= _SOFT * total and 255 in values


def _is_stretched(contents: MaskContents) -> bool:
    """Whether gray levels are far apart, as ids stretched for the eye are."""
    levels = sorted(contents.values)
    if contents.palette_of or len(levels) < 3 or levels[-1] > 255:
        return False
    return min(after - before for before, after in pairwise(levels)) >= _GAP


def _binary(contents: MaskContents, wanted: Sequence[NamedClass] | None) -> Coding:
    names = [one for one in wanted or () if not one.is_void]
    if len(names) > 2:
        raise ValueError(
            f"the masks are black and white, and the list has {len(names)} classes ({listed(one.name for one in names)}"
            "): give a list of two, or of the object only"
        )
    ground, thing = NamedClass("background", (0, 0, 0)), NamedClass("foreground", (255, 255, 255))
    if len(names) == 2:
        ground, thing = sorted(names, key=lambda one: one.name.lower() not in BACKGROUND_NAMES)
        if None not in (first := (names[0].id, names[1].id)):
            ground, thing = names if first[0] < first[1] else names[::-1]  # type: ignore[operator]
    elif names:
        thing = names[0]
    classes = class_table([NamedClass(ground.name, ground.color, 0), NamedClass(thing.name, thing.color, 1)])
    soft = sum(count for value, count in contents.values.items() if 0 < value < 255 and not contents.bits)
    notes = []
    if soft:
        share = soft / sum(contents.values.values())
        text = f"{share:.2%} of the pixels are neither black nor white (smoothed, or JPEG): cut at 128 of 255."
        notes.append(Finding("note", "masks", text))

    def decode(pixels: MaskPixels) -> np.ndarray:
        values = pixels.rgb.max(-1) if pixels.rgb is not None else pixels.values
        if pixels.palette is not None:
            values = pixels.palette.max(-1)[pixels.values]
        assert values is not None
        return (values >= (1 if pixels.is_bits else 128)).astype("uint8")

    return Coding(f"black is {ground.name}, white is {thing.name}", classes, decode, tuple(notes))


def _ids(contents: MaskContents, wanted: Sequence[NamedClass] | None) -> Coding:
    if contents.lossy:
        raise ValueError(
            "the masks are JPEG or the like, which changes ids, and they are not black and white; save them as PNG"
        )
    if contents.colored:
        raise ValueError(f"{contents.colored} of {contents.count} masks have colours: they are no ids; use colors")
    if (high := max(contents.values)) > VOID:
        raise ValueError(f"masks with values up to {high}: ids are 0..{VOID - 1}, {VOID} is void; are they instances?")
    found = sorted(set(contents.values) - {VOID})
    if wanted is None:
        if not found:
            raise ValueError(f"the masks hold {VOID} only, which is void")
        numbered = [
            NamedClass(f"class_{i}", unpack(contents.palette_of[i]) if i in contents.palette_of else None, i)
            for i in found
        ]
        classes = class_table(_apart(numbered))
        what = f"ids {listed(found)} without names (a classes.txt in the source would name them, or --classes FILE)"
    else:
        numbered = _numbered(wanted, found)
        known = {one.id for one in numbered}
        if strange := [i for i in found if i not in known]:
            raise ValueError(
                f"ids {listed(f'{i} ({contents.values[i]} pixels)' for i in strange)} are in masks and not in the list "
                f"of classes, which has {listed(sorted(i for i in known if i is not None), 20)}: add them, as void "
                "if they are not to be trained (`id void R G B`)"
            )
        classes = class_table([one for one in numbered if one.id is not None])
        is_shifted = wanted[0].id not in (None, numbered[0].id)
        what = f"ids are those of the list of classes{', but from 1 on' if is_shifted else ''}"
    table = np.full(VOID + 1, VOID, "uint8")
    table[list(classes.ids)] = classes.ids
    return Coding(what, classes, lambda pixels: table[_channel(pixels)])


def _numbered(wanted: Sequence[NamedClass], found: Sequence[int]) -> list[NamedClass]:
    """Classes with ids: those of the list, or their place in it; from 1 on where the masks count so."""
    ids = {one.id for one in wanted}
    if None not in ids:
        # No id of the list is that of its mask where all are one too low and 0 does not occur.
        shift = int(not set(found) <= ids and 0 not in found and {i - 1 for i in found} <= ids)
        return [NamedClass(one.name, one.color, one.id + shift) for one in wanted if one.id is not None]
    # labelme's lists begin with __ignore__, which has no number.
    counted = [one for one in wanted if one.name.lower() != "__ignore__"]
    highest, lowest = max(found, default=0), min(found, default=0)
    start = 1 if lowest >= 1 and highest == len(counted) else 0
    if highest >= start + len(counted):
        raise ValueError(
            f"masks have ids {lowest}..{highest}, and the list has {len(counted)} names without ids: write the id of "
            "each class before its name (`id name`), void ones too"
        )
    return [NamedClass(one.name, one.color, number) for number, one in enumerate(counted, start)]


def _apart(classes: Sequence[NamedClass]) -> list[NamedClass]:
    """Classes with a colour of their own each: palettes that are all black, for example, tell nothing apart."""
    colors = [one.color for one in classes]
    return [NamedClass(one.name, one.color if colors.count(one.color) == 1 else None, one.id) for one in classes]


def _colors(contents: MaskContents, wanted: Sequence[NamedClass] | None) -> Coding:
    if contents.lossy:
        raise ValueError("the masks have colours and are JPEG or the like, which changes them; save them as PNG")
    total = sum(contents.colors.values())
    findings: list[Finding] = []
    if wanted is None:
        if len(contents.colors) > _MOST_CLASSES:
            raise ValueError(
                f"the masks have {len(contents.colors)} colours, too many to be classes; were they smoothed or saved "
                "as JPEG? Give the colours that mean a class with --classes FILE; all others become void"
            )
        if len(contents.colors) == 1:
            raise ValueError(f"the masks have one colour only, {unpack(next(iter(contents.colors)))}")
        gray = not contents.colored and not contents.palette_of
        named = [
            NamedClass(f"gray_{color & 255}" if gray else f"color_{color:06x}", unpack(color), number)
            for number, color in enumerate(sorted(contents.colors))
        ]
        rare = [color for color, count in contents.colors.items() if count < _RARE * total]
        if len(rare) > 1:
            text = (
                f"{len(rare)} of {len(named)} colours have fewer than {_RARE:.2%} of the pixels each; were the masks "
                "smoothed? Then give the colours that mean a class with --classes FILE; all others become void."
            )
            findings.append(Finding("warning", "masks", text))
        what = f"{len(named)} {'gray levels' if gray else 'colours'}, numbered; name them with --classes FILE"
    else:
        if missing := [one.name for one in wanted if one.color is None and not one.is_void]:
            found = listed((" ".join(map(str, unpack(color))) for color, _ in contents.colors.most_common()), 20)
            raise ValueError(
                f"the masks have colours, and the list gives none for {listed(missing)}: write `name R G B`; the masks "
                f"have {found}"
            )
        has_ids = all(one.id is not None for one in wanted)
        kept = [one for one in wanted if not one.is_void]
        named = kept if has_ids else [NamedClass(one.name, one.color, i) for i, one in enumerate(kept)]
        named += [NamedClass(one.name, one.color, VOID) for one in wanted if one.is_void and one.color is not None]
        known = {_packed(one.color) for one in named if one.color}
        if strange := [(color, count) for color, count in contents.colors.most_common() if color not in known]:
            pixels = sum(count for _, count in strange)
            shown = listed(f"{' '.join(map(str, unpack(color)))} ({count} pixels)" for color, count in strange)
            first = contents.first_with[strange[0][0]]
            if pixels > _STRAY * total:
                raise ValueError(
                    f"{pixels / total:.0%} of the pixels have colours that are not in the list of classes: {shown}; "
                    f"the first in {first}. Add them, as void if they are not to be trained (`void R G B`)"
                )
            text = f"colours that are no class become void, {pixels / total:.3%} of the pixels: {shown}."
            findings.append(Finding("warning", str(first), text))
        what = "colours are those of the list of classes"
    classes = class_table([one for one in named if not one.is_void])
    pairs = sorted((_packed(one.color), VOID if one.is_void else one.id) for one in named if one.color is not None)
    keys, ids = np.array([key for key, _ in pairs]), np.array([i for _, i in pairs], "uint8")

    def decode(pixels: MaskPixels) -> np.ndarray:
        packed = pixels.packed_colors()
        place = np.minimum(np.searchsorted(keys, packed), len(keys) - 1)
        return np.where(keys[place] == packed, ids[place], VOID).astype("uint8")

    return Coding(what, classes, decode, tuple(findings))


def _channel(pixels: MaskPixels) -> np.ndarray:
    assert pixels.values is not None
    return pixels.values


def _packed(color: tuple[int, int, int] | None) -> int:
    assert color is not None
    return color[0] << 16 | color[1] << 8 | color[2]
