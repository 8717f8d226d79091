"""PASCAL Context with 60 or 59 classes, as a tensorflow-datasets builder.

Loading this module loads tensorflow-datasets; `open_dataset("pascal_context/60", data_dir=...)` does it on first use.
"""

import re
from functools import partial
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from keras_cacnet.datasets.builder import PublishedBuilder
from keras_cacnet.datasets.classes import VOID, ClassTable
from keras_cacnet.datasets.mat_files import read_mat
from keras_cacnet.datasets.palettes import voc_colors
from keras_cacnet.datasets.reading import read_mask
from keras_cacnet.datasets.source import Example
from keras_cacnet.datasets.unpacked import (
    CONTEXT_NAMES,
    Layout,
    find_root,
    read_list,
    require_no_overlap,
    subset_notes,
    visible_names,
)
from keras_cacnet.files import user_path

OFFICIAL_COUNTS = {"train": 4998, "val": 5105}
"""Examples of the published splits."""

# As a PNG written from these ids with VOC's palette shows them; the distribution has no colours.
_COLORS = voc_colors(60)
CLASSES_60 = ClassTable(("background", *CONTEXT_NAMES), _COLORS, tuple(range(60)))
"""Background is a class, as in the paper."""

CLASSES_59 = ClassTable(CONTEXT_NAMES, _COLORS[1:], tuple(range(1, 60)), void_ids=(0,))
"""Background is void."""

_EXPECTED = (
    "expected VOCdevkit/VOC2010 with JPEGImages/ID.jpg, lists of ids (ImageSets/SegmentationContext/{train,val}.txt, "
    "pascal_context_{train,val}.txt or VOC 2010's ImageSets/Main/{train,val}.txt), and masks: "
    "GroundTruth_trainval_png/ID.png in the official order, SegmentationClassContext/ID.png in alphabetical order, or "
    "trainval/ID.mat with labels.txt and 59_labels.txt"
)
_OTHER_LABELS = "is not the official list of 59 classes"


def alphabetical_to_official() -> np.ndarray:
    """Renumber the ids of PyTorch-Encoding and mmsegmentation to the official ones.

    Both sort the 59 classes by name.

    Returns:
        uint8 (60,): the official id of each alphabetical id; 0 stays 0.

    Example:
        >>> [("background", *CONTEXT_NAMES)[i] for i in alphabetical_to_official()[:4]]
        ['background', 'aeroplane', 'bag', 'bed']
    """
    return np.array([0, *(CONTEXT_NAMES.index(name) + 1 for name in sorted(CONTEXT_NAMES))], "uint8")


def labels_to_official(labels: Path, labels59: Path) -> np.ndarray:
    """Renumber the 459 labels of the original `LabelMap` to the 59 classes.

    Args:
        labels: `labels.txt` of the distribution, `number: name` a line.
        labels59: `59_labels.txt`, likewise.

    Returns:
        uint8 (highest number + 1,): 0 for what is none of the 59 classes, `VOID` - 1 for numbers that the list does
        not have.

    Raises:
        ValueError: one of the lists cannot be read, `59_labels.txt` is not the official one, or `labels.txt` lacks one
            of the 59 names.
    """
    official = _read_labels(labels59)
    expected = dict(enumerate(CONTEXT_NAMES, 1))
    if official != expected:
        wrong = next(i for i in sorted(expected | official) if official.get(i) != expected.get(i))
        raise ValueError(
            f"{labels59}: {_OTHER_LABELS}: {wrong} is {official.get(wrong, 'missing')!r} there and should be "
            f"{expected.get(wrong, 'missing')!r}."
        )
    numbers = _read_labels(labels)
    lacking = [name for name in CONTEXT_NAMES if name not in numbers.values()]
    if lacking:
        raise ValueError(f"{labels}: {len(lacking)} of the 59 classes are not in it, {lacking[0]!r} the first.")
    table = np.full(max(numbers) + 1, VOID - 1, "uint8")
    table[0] = 0
    for number, name in numbers.items():
        table[number] = CONTEXT_NAMES.index(name) + 1 if name in CONTEXT_NAMES else 0
    return table


def read_numbered(path: Path, table: np.ndarray, form: str) -> np.ndarray:
    """Read a mask whose ids have to be renumbered.

    Args:
        path: a PNG, or a `.mat` with `LabelMap`.
        table: the official id of each id in the file.
        form: what the ids in the file are, for the error.

    Returns:
        uint8 (height, width) of official ids, and 255 where the file has it.

    Raises:
        ValueError: it cannot be read, or has an id that is not in the table; it names the file.
    """
    is_mat = path.suffix == ".mat"
    ids = read_mat(path, "LabelMap") if is_mat else read_mask(path)
    void = np.zeros(ids.shape, bool) if is_mat else ids == VOID
    inside = (ids >= 0) & (ids < len(table))
    official = table[np.where(inside & ~void, ids, 0)]
    unknown = ids[~void & (~inside | (official == VOID - 1))]
    if unknown.size:
        first, count = int(unknown.flat[0]), unknown.size
        raise ValueError(
            f"{path}: id {first} is none of {form} ({count} pixel{'' if count == 1 else 's'} with such ids)."
        )
    return np.where(void, VOID, official).astype("uint8")


class PascalContext(PublishedBuilder):
    """PASCAL Context: splits train and val; masks in the records are in the official order, 0 for background.

    The masks on disk have one of three forms, told by their folder: `GroundTruth_trainval_png` in the official order,
    `SegmentationClassContext` in alphabetical order, or the original 459-class `LabelMap`. Where there are several, the
    first of LabelMap, official and alphabetical is read, for all images; metadata and `check` say which it was.

    Configurations: `60`, background is a class, as in the paper; `59`, background is void.

    Args:
        data_dir: where tensorflow-datasets keeps records; its own default where None.
        kwargs: for `tfds.core.ShardBasedBuilder`.
    """

    name = "pascal_context"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}  # noqa: RUF012
    BUILDER_CONFIGS = [  # noqa: RUF012
        tfds.core.BuilderConfig(name="60", description="59 classes and background."),
        tfds.core.BuilderConfig(name="59", description="59 classes; background is void."),
    ]
    EXPECTED = "VOCdevkit/VOC2010"
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"Unpack VOC 2010 and the masks of PASCAL Context: {_EXPECTED}."
    DESCRIPTION = "PASCAL Context semantic segmentation: 59 classes of things and stuff, and background."
    # tensorflow-datasets cannot find it out without the package importlib_resources.
    code_path = tfds.core.Path(__file__)

    def class_table(self) -> ClassTable:
        """Give 60 or 59 classes, by the configuration."""
        return CLASSES_60 if self.builder_config.name == "60" else CLASSES_59

    @staticmethod
    def layout(folder: Path) -> Layout:
        """Find PASCAL Context in a folder.

        Args:
            folder: the folder with VOCdevkit, or VOCdevkit, or VOC2010 itself.

        Returns:
            Its files.

        Raises:
            ValueError: it is not there, lists or masks are missing, a list of labels is not the official one, or
                training and validation share images.
        """
        folder = user_path(folder)
        root = find_root(folder, ("VOCdevkit/VOC2010", "VOC2010", "."), "JPEGImages", _EXPECTED)
        ids = {split: read_list(_list(root, split)) for split in ("train", "val")}
        require_no_overlap("pascal_context", "train", ids["train"], "val", ids["val"])
        original = _label_maps(root, folder)
        if original is not None:
            masks, labels = original
            table, ending = labels_to_official(labels, labels.with_name("59_labels.txt")), ".mat"
            form = f"the 459-class LabelMap in {masks}"
        elif (masks := root / "GroundTruth_trainval_png").is_dir():
            table, ending = np.arange(60, dtype="uint8"), ".png"
            form = f"PNG masks in the official order in {masks}"
        elif (masks := root / "SegmentationClassContext").is_dir():
            table, ending = alphabetical_to_official(), ".png"
            form = f"PNG masks in alphabetical order in {masks}, renumbered to the official order"
        else:
            raise ValueError(f"{root}: {root / 'GroundTruth_trainval_png'} is missing; {_EXPECTED}.")
        splits = {
            split: tuple(Example(n, root / "JPEGImages" / f"{n}.jpg", masks / f"{n}{ending}") for n in names)
            for split, names in ids.items()
        }
        return Layout(
            name="pascal_context",
            root=root,
            classes=CLASSES_60,
            splits=splits,
            read_mask=partial(
                read_numbered, table=table, form="the 459 labels" if original else "PASCAL Context's 0-59"
            ),
            form=form,
            notes=subset_notes(splits, OFFICIAL_COUNTS),
        )


def _list(root: Path, split: str) -> Path:
    sets = root / "ImageSets"
    places = (
        sets / "SegmentationContext" / f"{split}.txt",
        root / f"pascal_context_{split}.txt",
        sets / "Main" / f"{split}.txt",
    )
    found = next((path for path in places if path.exists()), None)
    if found is None:
        raise ValueError(f"{root}: {places[0]} is missing; {_EXPECTED}.")
    return found


def _label_maps(root: Path, folder: Path) -> tuple[Path, Path] | None:
    """Find the original distribution: the folder of .mat files and labels.txt."""
    for top in (root, folder):
        for depth in ("", "*/", "*/*/"):
            for labels in sorted(top.glob(f"{depth}labels.txt")):
                masks = next((p for p in (labels.parent / "trainval", labels.parent) if visible_names(p, ".mat")), None)
                if masks is not None:
                    return masks, labels
    found = next((p for top in (root, folder) for p in (top / "trainval", top) if visible_names(p, ".mat")), None)
    if found is not None:
        raise ValueError(
            f"{found}: LabelMap files without {found.parent / 'labels.txt'}, which says what their numbers mean; put "
            "labels.txt and 59_labels.txt of the distribution there."
        )
    return None


def _read_labels(path: Path) -> dict[int, str]:
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: the list of labels cannot be read ({error}).") from None
    labels: dict[int, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        match = re.fullmatch(r"\s*(\d+)\s*:\s*(\S.*?)\s*", line)
        if match is None or int(match[1]) in labels:
            raise ValueError(f"{path}, line {number}: {line!r}; expected `number: name`, each number once.")
        labels[int(match[1])] = match[2]
    return labels
