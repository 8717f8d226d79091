"""PASCAL VOC 2012 segmentation with the augmented training set, as a tensorflow-datasets builder.

Loading this module loads tensorflow-datasets; `open_dataset("voc2012", data_dir=...)` does it on first use.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from keras_cacnet.datasets.builder import PublishedBuilder
from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.datasets.mat_files import read_mat
from keras_cacnet.datasets.palettes import voc_colors
from keras_cacnet.datasets.reading import read_mask
from keras_cacnet.datasets.source import Example
from keras_cacnet.datasets.unpacked import (
    Layout,
    find_root,
    read_list,
    require_no_overlap,
    subset_notes,
    visible_names,
)
from keras_cacnet.files import user_path

OFFICIAL_COUNTS = {"train": 1464, "trainaug": 10582, "trainval": 2913, "val": 1449, "test": 1456}
"""Examples of the published splits."""

_NAMES = (
    "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person "
    "pottedplant sheep sofa train tvmonitor"
).split()
_EXPECTED = (
    "expected VOCdevkit/VOC2012 with JPEGImages/ID.jpg, SegmentationClass/ID.png and "
    "ImageSets/Segmentation/{train,val,trainval}.txt; for trainaug also SegmentationClassAug/ID.png, or SBD's "
    "cls/ID.mat with train.txt and val.txt"
)
_NESTED = (("train", "trainaug"), ("train", "trainval"), ("trainaug", "trainval"), ("val", "trainval"))


CLASSES = ClassTable(tuple(_NAMES), voc_colors(21), tuple(range(21)))
"""VOC's 20 classes and background; 255, the border of objects, is void."""


def trainaug_ids(
    listed: Iterable[str] | None, train: Iterable[str], val: Iterable[str], augmented: Iterable[str]
) -> tuple[str, ...]:
    """Give the ids of the augmented training set, in which none of `val` is.

    Args:
        listed: the ids of `trainaug.txt`; None where there is no such list.
        train: VOC's train ids.
        val: VOC's val ids.
        augmented: the ids that SBD has masks of, train and val alike.

    Returns:
        The list as it is; without one, all of VOC's train and SBD that are not in VOC's val, sorted.

    Raises:
        ValueError: the list has ids of val.

    Example:
        >>> trainaug_ids(None, ["a"], ["b"], ["c", "b"])
        ('a', 'c')
    """
    if listed is None:
        return tuple(sorted((set(train) | set(augmented)) - set(val)))
    listed = tuple(listed)
    require_no_overlap("voc2012", "trainaug", listed, "val", val)
    return listed


def read_voc_mask(path: Path) -> np.ndarray:
    """Read a mask of VOC (PNG) or SBD (`.mat`).

    Args:
        path: the file.

    Returns:
        uint8 (height, width) of ids.

    Raises:
        ValueError: it cannot be read.
    """
    if path.suffix != ".mat":
        return read_mask(path)
    ids = read_mat(path, "GTcls", "Segmentation")
    if ids.max(initial=0) > 255 or ids.min(initial=0) < 0:
        raise ValueError(f"{path}: ids {ids.min()} to {ids.max()}; VOC's are 0-20 and 255.")
    return ids.astype("uint8")


class VOC2012(PublishedBuilder):
    """PASCAL VOC 2012: 21 classes; splits train, trainaug, trainval, val and, without masks, test.

    The lists in ImageSets/Segmentation decide which images belong to a split: shorter lists than the official ones
    mean a part of the set, and everything that they name has to be there. trainaug and test are there where their
    files are.

    Args:
        data_dir: where tensorflow-datasets keeps records; its own default where None.
        kwargs: for `tfds.core.ShardBasedBuilder`.
    """

    name = "voc2012"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}  # noqa: RUF012
    EXPECTED = "VOCdevkit/VOC2012"
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"Unpack VOCtrainval_11-May-2012.tar, and SBD beside it: {_EXPECTED}."
    DESCRIPTION = "PASCAL VOC 2012 semantic segmentation, with the augmented training set of SBD."
    # tensorflow-datasets cannot find it out without the package importlib_resources.
    code_path = tfds.core.Path(__file__)

    def class_table(self) -> ClassTable:
        """Give VOC's 21 classes."""
        return CLASSES

    @staticmethod
    def layout(folder: Path) -> Layout:
        """Find VOC 2012 in a folder.

        Args:
            folder: the folder with VOCdevkit, or VOCdevkit, or VOC2012 itself.

        Returns:
            Its files.

        Raises:
            ValueError: it is not there, a list is missing, or training and validation share images.
        """
        root = find_root(folder, ("VOCdevkit/VOC2012", "VOC2012", "."), "JPEGImages", _EXPECTED)
        lists = root / "ImageSets" / "Segmentation"
        for needed in (lists / "train.txt", lists / "val.txt", root / "SegmentationClass"):
            if not needed.exists():
                raise ValueError(f"{root}: {needed} is missing; {_EXPECTED}.")
        ids = {split: read_list(lists / f"{split}.txt") for split in ("train", "val")}
        require_no_overlap("voc2012", "train", ids["train"], "val", ids["val"])
        both = lists / "trainval.txt"
        ids["trainval"] = read_list(both) if both.exists() else tuple(sorted(ids["train"] + ids["val"]))
        masks = {split: _pngs(root / "SegmentationClass", names) for split, names in ids.items()}
        form = f"{root / 'SegmentationClass'}"
        listed = next((lists / n for n in ("trainaug.txt", "train_aug.txt") if (lists / n).exists()), None)
        found = _augmented(root, user_path(folder))
        if found is None and listed is not None:
            raise ValueError(
                f"{root}: {listed} is there, but no masks for it: {root / 'SegmentationClassAug'} is missing, and so "
                f"is a folder cls of SBD's .mat files beside it; {_EXPECTED}."
            )
        images = {}
        if found is not None:
            augmented, origin = found
            names = trainaug_ids(read_list(listed) if listed else None, ids["train"], ids["val"], augmented)
            ids["trainaug"] = names
            # What VOC itself has labelled keeps VOC's mask, with its void borders; some SegmentationClassAug lack it.
            own = set(ids["train"])
            masks["trainaug"] = {
                name: root / "SegmentationClass" / f"{name}.png"
                if name in own
                else augmented.get(name, origin / f"{name}{'.mat' if origin.name == 'cls' else '.png'}")
                for name in names
            }
            form += f", trainaug from {origin}"
            in_voc = set(visible_names(root / "JPEGImages", ".jpg"))
            sbd = {name: origin.parent / "img" / f"{name}.jpg" for name in visible_names(origin.parent / "img", ".jpg")}
            images = {name: sbd[name] for name in names if name not in in_voc and name in sbd}
        if (lists / "test.txt").exists():
            ids["test"] = _test_ids(lists / "test.txt", ids["trainval"])
        order: list[str] = [split for split in ("train", "trainaug", "trainval", "val", "test") if split in ids]
        splits = {
            split: tuple(
                Example(n, images.get(n, root / "JPEGImages" / f"{n}.jpg"), masks[split][n] if split in masks else None)
                for n in ids[split]
            )
            for split in order
        }
        return Layout(
            name="voc2012",
            root=root,
            classes=CLASSES,
            splits=splits,
            read_mask=read_voc_mask,
            form=form,
            notes=subset_notes(splits, OFFICIAL_COUNTS),
            nested=tuple(pair for pair in _NESTED if set(pair) <= set(order)),
        )


def _test_ids(path: Path, trainval: Iterable[str]) -> tuple[str, ...]:
    ids = read_list(path)
    require_no_overlap("voc2012", "trainval", trainval, "test", ids)
    return ids


def _pngs(folder: Path, names: Iterable[str]) -> dict[str, Path]:
    return {name: folder / f"{name}.png" for name in names}


def _augmented(root: Path, folder: Path) -> tuple[dict[str, Path], Path] | None:
    """Find the augmented masks by id, and their folder: SegmentationClassAug before SBD's cls."""
    pngs = root / "SegmentationClassAug"
    if pngs.is_dir():
        return {name: pngs / f"{name}.png" for name in visible_names(pngs, ".png")}, pngs
    for cls in sorted({p for top in {root, folder} for depth in ("", "*/", "*/*/") for p in top.glob(f"{depth}cls")}):
        masks = {name: cls / f"{name}.mat" for name in visible_names(cls, ".mat")}
        if not masks:
            continue
        lists = [cls.parent / name for name in ("train.txt", "val.txt")]
        ids = {name for path in lists if path.exists() for name in read_list(path)}
        return ({name: masks.get(name, cls / f"{name}.mat") for name in ids} if ids else masks), cls
    return None
