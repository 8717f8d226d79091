"""Why many findings are there: the likely cause of what a whole split has, with the command that mends it."""

import os
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from keras_cacnet.datasets.check_report import SplitFacts
from keras_cacnet.datasets.classes import VOID, ClassTable
from keras_cacnet.datasets.folder import Folder, import_command, is_leftover
from keras_cacnet.datasets.importing.pairing import without_mask_ending
from keras_cacnet.datasets.source import Finding, SegmentationDataset
from keras_cacnet.datasets.split_lists import plain_stem
from keras_cacnet.wording import listed

_FAR_APART = 20
_PHOTOGRAPHS = (".jpg", ".jpeg", ".webp")


def name_causes(
    dataset: SegmentationDataset, findings: Sequence[Finding], facts: Mapping[str, SplitFacts]
) -> tuple[Finding, ...]:
    """Put the likely causes first, and leave out what follows from them.

    A cause is what at least half of the masks of a split share: names with an ending, colours, only black and white,
    ids in another numbering; or masks that are not turned as their images are. What only single files have stays as it
    is.

    Args:
        dataset: the data set; of others than a `Folder`, whose files one cannot mend, findings stay as they are.
        findings: all of them, with their kinds.
        facts: counts by split; empty where masks were not decoded.

    Returns:
        The causes, and the findings that they do not explain.
    """
    if not isinstance(dataset, Folder):
        return tuple(findings)
    command = import_command(dataset.path)
    causes: list[Finding] = []
    left = list(findings)
    for name_cause in (_photographs, _other_names, _no_masks, _unturned, _colors, _black_and_white, _numbering):
        cause, explained = name_cause(dataset, left, facts, command)
        if cause is not None:
            causes.append(cause)
            gone = set(explained)
            left = [finding for finding in left if finding not in gone]
    return (*causes, *left)


_Cause = tuple[Finding | None, Sequence[Finding]]


def _photographs(dataset: Folder, findings: Sequence[Finding], facts: Mapping[str, SplitFacts], command: str) -> _Cause:
    """Masks that are there in a format of photographs, which does not keep their ids."""
    found, explained = _elsewhere(findings, _is_photograph)
    if not found:
        return None, ()
    expected, other = found[0]
    form = other.suffix[1:].upper().replace("JPG", "JPEG")
    text = (
        f"{len(found)} {'masks are' if len(found) > 1 else 'mask is'} there as {form}, such as {other.name} where "
        f"{expected.name} is expected. {form} changes pixels to save space, and so the ids or colours in a mask: "
        f"export masks as PNG from where they were drawn. If they are black and white, {command} reads them all the "
        "same."
    )
    return Finding("error", str(dataset.path / "labels"), text, kind="photographs"), explained


def _other_names(dataset: Folder, findings: Sequence[Finding], facts: Mapping[str, SplitFacts], command: str) -> _Cause:
    """Masks that are there, with an ending such as `_mask` or as another format."""
    found, explained = _elsewhere(findings, lambda other: not _is_photograph(other))
    if not found:
        return None, ()
    expected, other = found[-1]
    text = (
        f"{len(found)} {'masks have' if len(found) > 1 else 'mask has'} another name or format, such as {other.name} "
        f"where {expected.name} is expected. Mend that, or let {command} do it."
    )
    return Finding("error", str(dataset.path / "labels"), text, kind="names"), explained


def _elsewhere(
    findings: Sequence[Finding], is_meant: Callable[[Path], bool]
) -> tuple[list[tuple[Path, Path]], list[Finding]]:
    """Masks that are missing, with the files that seem to be meant, and the findings that this explains."""
    missing = [one for one in findings if one.kind == "missing mask"]
    others = {folder: _by_image_name(folder) for folder in {Path(one.where).parent for one in missing}}
    explained, found = [], []
    for finding in missing:
        path = Path(finding.where)
        other = others[path.parent].get(path.stem)
        if other is not None and is_meant(path.with_name(other)):
            explained.append(finding)
            found.append((path, path.with_name(other)))
    # Masks that have no image by their own name, and what a folder of masks of another format leaves out.
    names, folders = {str(other) for _, other in found}, {str(path.parent) for path, _ in found}
    explained += [one for one in findings if one.where in names or (one.kind == "left out" and one.where in folders)]
    return found, explained


def _is_photograph(path: Path) -> bool:
    return path.suffix.lower() in _PHOTOGRAPHS


def _by_image_name(folder: Path) -> dict[str, str]:
    """The files of a folder of masks by the names of the images to which they seem to belong."""
    names = [name for name in sorted(os.listdir(folder)) if not is_leftover(name)]
    return {without_mask_ending(plain_stem(name)): name for name in names if plain_stem(name) != name}


def _no_masks(dataset: Folder, findings: Sequence[Finding], facts: Mapping[str, SplitFacts], command: str) -> _Cause:
    """A split without a folder of masks: they may be in folders of other names."""
    found = [one for one in findings if one.kind == "no masks"]
    if not found:
        return None, ()
    text = f"{found[0].message} If the masks are in folders with other names, {command} finds them."
    return Finding("error", found[0].where, text, kind="no masks"), found[:1]


def _unturned(dataset: Folder, findings: Sequence[Finding], facts: Mapping[str, SplitFacts], command: str) -> _Cause:
    """Masks that lie on their side, where EXIF turns their images upright."""
    found = [one for one in findings if one.kind == "unturned mask"]
    # Only photographs that were taken upright are turned, so they need not be most.
    if len(found) < 2:
        return None, ()
    text = (
        f"{len(found)} masks are not turned as EXIF turns their images. In {Path(found[0].where).name} "
        f"{found[0].message.split('; ')[0]}. Turn these masks too, or let {command} do it."
    )
    return Finding("error", str(dataset.path / "labels"), text, kind="unturned masks"), found


def _colors(dataset: Folder, findings: Sequence[Finding], facts: Mapping[str, SplitFacts], command: str) -> _Cause:
    """Masks with colours that `classes.txt` has not."""
    found = [one for one in findings if one.kind == "colors"]
    if len(found) < max(_half_of_the_masks(facts), 2):
        return None, ()
    text = (
        f"{len(found)} masks have colours that are not those of classes.txt. In {Path(found[0].where).name} "
        f"{found[0].message.removeprefix('the mask has colours, and ').rstrip('.')}. Where another file lists the "
        f"colours, {command} with --classes FILE reads them."
    )
    follows = [one for one in findings if one.kind in ("absent class", "void mask")]
    return Finding("error", str(dataset.path / "labels"), text, kind="colors"), [*found, *follows]


def _black_and_white(
    dataset: Folder, findings: Sequence[Finding], facts: Mapping[str, SplitFacts], command: str
) -> _Cause:
    """Masks of 0 and 255, where 255 is void."""
    found = [one for one in findings if one.kind == "black and white" and one.level == "error"]
    if not found:
        return None, ()
    first = found[0]
    text = f"{first.message} {command} reads black and white as two classes."
    cause = Finding("error", first.where, text, kind=first.kind)
    kinds = ("black and white", "absent class", "void mask")
    return cause, [one for one in findings if one.kind in kinds]


def _numbering(dataset: Folder, findings: Sequence[Finding], facts: Mapping[str, SplitFacts], command: str) -> _Cause:
    """Ids that are not those of `classes.txt`, in most masks."""
    found = [one for one in findings if one.kind == "unknown id"]
    if len(found) < max(_half_of_the_masks(facts), 2):
        return None, ()
    pixels = sum((one.pixels for one in facts.values()), np.zeros(256, "int64"))
    present = [i for i in np.flatnonzero(pixels).tolist() if i != VOID]
    text = f"{len(found)} masks have ids that classes.txt lacks: the masks have {listed(present, 20)}. "
    text += _likely_numbering(present, pixels / pixels.sum(), dataset.classes, command)
    follows = [one for one in findings if one.kind == "absent class"]
    return Finding("error", str(dataset.path / "labels"), text, kind="numbering"), [*found, *follows]


def _likely_numbering(present: Sequence[int], shares: np.ndarray, classes: ClassTable, command: str) -> str:
    known = {*classes.ids, *classes.void_ids}
    if 0 not in present and {i - 1 for i in present} <= known:
        return f"They count from 1, and classes.txt from 0: add 1 to each index in classes.txt, or let {command} do it."
    if {i - 1 for i in present if i} <= known and 0 in classes.ids:
        new = max(present)
        if set(present) - known == {new} and new > max(known):
            # A forgotten line and a list that counts from 0 look the same; whoever is told one only may shift them all.
            return (
                f"{new} ({shares[new]:.1%} of the pixels) follows the last index: add it to classes.txt as "
                f"`{new} void 0 0 0`, or as a class. Only if 0 ({shares[0]:.1%}) is not "
                f"{classes.names[classes.ids.index(0)]!r} but the rest, which one mask beside its image shows, do the "
                "masks count classes from 1: then add 1 to each index there instead, and a line for 0 (`0 void 0 0 0`, "
                "or a class of its own)."
            )
        return (
            "They seem to count classes from 1, with 0 for the rest, and classes.txt counts from 0: add 1 to each "
            "index there, and a line for 0 (`0 void 0 0 0`, or a class of its own)."
        )
    if len(present) > 2 and min(after - before for before, after in pairwise(present)) >= _FAR_APART:
        return f"Ids so far apart are gray levels: move classes.txt away, and {command} numbers them."
    return "Write the index that the masks have before each name in classes.txt, or add the ids, as void or as classes."


def _half_of_the_masks(facts: Mapping[str, SplitFacts]) -> float:
    return sum(one.masks for one in facts.values()) / 2
