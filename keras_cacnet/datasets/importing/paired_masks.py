"""Images with a mask file each, in any of the usual arrangements of folders and names."""

from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from keras_cacnet.datasets.importing.class_lists import find_class_list, read_class_list
from keras_cacnet.datasets.importing.forms import Found, Item, Wishes
from keras_cacnet.datasets.importing.mask_coding import Coding, decide_coding
from keras_cacnet.datasets.importing.mask_pixels import read_contents, read_pixels
from keras_cacnet.datasets.importing.pairing import Pairs, pair_files
from keras_cacnet.datasets.importing.source_tree import SourceTree
from keras_cacnet.datasets.source import Finding
from keras_cacnet.wording import listed


class PairedMasks:
    """Folders of images and masks: `images/` and `masks/`, `NAME.jpg` and `NAME_mask.png`, and the like."""

    name = "masks"
    has_masks = True
    expected = "images/NAME.jpg with masks/NAME.png (or labels/, NAME_mask.png, train_labels/, ...)"

    def recognise(self, tree: SourceTree) -> bool:
        """Tell whether any image has a mask."""
        return any(mask for _, mask in pair_files(tree).pairs)

    def read(self, tree: SourceTree, wishes: Wishes) -> Found:
        """Pair the files by name and find out how the masks write classes."""
        found = pair_files(tree)
        return found_by_masks(tree, found, wishes, f"images with masks, {found.arrangement}")


class VOCTree:
    """A tree as PASCAL VOC's, of any classes: `JPEGImages`, `SegmentationClass`, lists in `ImageSets/Segmentation`."""

    name = "voc"
    has_masks = True
    expected = "JPEGImages/NAME.jpg with SegmentationClass/NAME.png, lists in ImageSets/Segmentation"

    def recognise(self, tree: SourceTree) -> bool:
        """Tell by the folders' names."""
        parts = {part for name in tree.images for part in PurePosixPath(name).parts[:-1]}
        return {"JPEGImages", "SegmentationClass"} <= parts

    def read(self, tree: SourceTree, wishes: Wishes) -> Found:
        """Pair images and masks; the lists say the splits."""
        places = ("JPEGImages", "SegmentationClass")
        found = pair_files(tree, [name for name in tree.images if PurePosixPath(name).parent.name in places])
        lists = f", lists {listed(tree.split_lists)}" if tree.split_lists else ", no lists of splits"
        return found_by_masks(tree, found, wishes, f"a tree as PASCAL VOC's{lists}")


def found_by_masks(tree: SourceTree, found: Pairs, wishes: Wishes, what: str) -> Found:
    """Read what paired masks hold, and decide how they write classes.

    Args:
        tree: the source.
        found: its pairs.
        wishes: of the user.
        what: the form, in words.

    Returns:
        The items; masks that cannot be read are left out.

    Raises:
        ValueError: nothing is paired, or the masks do not fit the list of classes.
    """
    masks = sorted({mask for _, mask in found.pairs if mask is not None})
    if not masks:
        raise ValueError(f"{tree.root}: no image has a mask; {PairedMasks.expected}")
    wanted, origin = wishes.classes, "the list that was given"
    if wanted is None and (path := find_class_list(tree)) is not None:
        wanted, origin = read_class_list(path), str(path)
    paths = [tree.files[mask] for mask in masks]
    contents = read_contents(paths, wishes.progress("reading masks", len(paths)))
    try:
        coding = decide_coding(contents, wanted, wishes.masks)
    except ValueError as error:
        listing = "" if wanted is None else f" (classes: {origin})"
        raise ValueError(f"{tree.root}: {error}{listing}") from None
    findings = [*found.findings, *coding.findings]
    items = []
    lists = tree.split_lists
    unlisted = []
    for image, mask in found.pairs:
        mask_path = None if mask is None else tree.files[mask]
        if mask_path in contents.unreadable:
            findings.append(Finding("warning", str(mask_path), f"left out: {contents.unreadable[mask_path]}"))
            continue
        split = found.splits[image]
        if lists and split is None:
            unlisted.append(image)
            continue
        draw = None if mask_path is None else partial(_draw, coding, mask_path)
        items.append(Item(image, tree.files[image], draw, split))
    if unlisted:
        text = f"left out, in none of the lists {listed(lists)}: {listed(unlisted)}."
        findings.append(Finding("warning", f"{len(unlisted)} images", text))
    given = f", from {origin}" if wanted is not None else ""
    return Found(f"{what}; {coding.what}{given}", coding.classes, tuple(items), tuple(findings))


def _draw(coding: Coding, path: Path, size: tuple[int, int]) -> np.ndarray:
    del size
    return coding.decode(read_pixels(path))
