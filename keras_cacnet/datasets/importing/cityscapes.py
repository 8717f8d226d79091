"""Cityscapes as it is unpacked: `leftImg8bit` and `gtFine`, a folder a city, the 19 classes that are scored."""

from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from keras_cacnet.datasets.classes import VOID, ClassTable
from keras_cacnet.datasets.importing.forms import Found, Item, Wishes
from keras_cacnet.datasets.importing.mask_pixels import read_pixels
from keras_cacnet.datasets.importing.source_tree import SourceTree, split_of
from keras_cacnet.datasets.source import Finding
from keras_cacnet.datasets.split_lists import plain_stem

# Label id, name, colour; the place in the table is the train id.
_SCORED = (
    (7, "road", (128, 64, 128)),
    (8, "sidewalk", (244, 35, 232)),
    (11, "building", (70, 70, 70)),
    (12, "wall", (102, 102, 156)),
    (13, "fence", (190, 153, 153)),
    (17, "pole", (153, 153, 153)),
    (19, "traffic light", (250, 170, 30)),
    (20, "traffic sign", (220, 220, 0)),
    (21, "vegetation", (107, 142, 35)),
    (22, "terrain", (152, 251, 152)),
    (23, "sky", (70, 130, 180)),
    (24, "person", (220, 20, 60)),
    (25, "rider", (255, 0, 0)),
    (26, "car", (0, 0, 142)),
    (27, "truck", (0, 0, 70)),
    (28, "bus", (0, 60, 100)),
    (31, "train", (0, 80, 100)),
    (32, "motorcycle", (0, 0, 230)),
    (33, "bicycle", (119, 11, 32)),
)
_LAST_LABEL_ID = 33
_MASK_ENDINGS = ("_labelIds", "_labelTrainIds")

CLASSES = ClassTable(
    tuple(name for _, name, _ in _SCORED), tuple(color for _, _, color in _SCORED), tuple(range(len(_SCORED)))
)
"""The 19 classes by their train ids."""


class Cityscapes:
    """Cityscapes: label ids become train ids, all that is not scored becomes void; test has no masks."""

    name = "cityscapes"
    has_masks = False
    expected = "leftImg8bit/SPLIT/CITY/NAME_leftImg8bit.png with gtFine/SPLIT/CITY/NAME_gtFine_labelIds.png"

    def recognise(self, tree: SourceTree) -> bool:
        """Tell by the endings of names."""
        stems = [plain_stem(name) for name in tree.images]
        return any(s.endswith("_leftImg8bit") for s in stems) and any(s.endswith(_MASK_ENDINGS) for s in stems)

    def read(self, tree: SourceTree, wishes: Wishes) -> Found:
        """Pair images and masks by city, sequence and frame; fine masks before coarse ones."""
        if wishes.classes is not None:
            raise ValueError("cityscapes has classes of its own; for others give --format masks with --classes")
        images = {_frame(name): name for name in tree.images if plain_stem(name).endswith("_leftImg8bit")}
        fine, kind = self._masks(tree, "gtFine"), "gtFine"
        if not fine:
            fine, kind = self._masks(tree, "gtCoarse"), "gtCoarse"
        if not fine:
            raise ValueError(f"{tree.root}: no masks; {self.expected}")
        items, findings = [], []
        for frame, image in images.items():
            split = split_of(PurePosixPath(image).parts[:-1])
            if split == "test":
                items.append(Item(image, tree.files[image], None, split))
            elif frame in fine:
                items.append(Item(image, tree.files[image], partial(_draw, tree.files[fine[frame]]), split))
            else:
                findings.append(Finding("warning", str(tree.files[image]), f"left out: no mask in {kind}."))
        if any(item.split == "test" for item in items):
            text = "Cityscapes keeps the masks of test; its images are there without masks."
            findings.append(Finding("note", "test", text))
        what = f"Cityscapes, masks from {kind} ({', '.join(sorted({_ending(mask) for mask in fine.values()}))})"
        return Found(f"{what}, 19 train ids", CLASSES, tuple(items), tuple(findings))

    def _masks(self, tree: SourceTree, kind: str) -> dict[str, str]:
        """The masks by frame; label ids, which are complete, before train ids, which are derived."""
        masks: dict[str, str] = {}
        for ending in _MASK_ENDINGS:
            for name in tree.images:
                if plain_stem(name).endswith(f"_{kind}{ending}"):
                    masks.setdefault(_frame(name), name)
        return masks


def _frame(name: str) -> str:
    """City, sequence and frame: the first three parts of a name."""
    return "_".join(plain_stem(name).split("_")[:3])


def _ending(name: str) -> str:
    return plain_stem(name).rpartition("_")[2]


def _draw(path: Path, size: tuple[int, int]) -> np.ndarray:
    del size
    values = read_pixels(path).values
    if values is None:
        raise ValueError(f"{path}: has colours; masks of label ids have one channel")
    table = np.full(VOID + 1, VOID, "uint8")
    if path.stem.endswith("_labelIds"):
        last, ids = _LAST_LABEL_ID, [label for label, _, _ in _SCORED]
    else:
        last, ids = len(_SCORED) - 1, list(CLASSES.ids)
    strange = (values > last) & (values != VOID)
    if strange.any():
        raise ValueError(f"{path}: id {int(values[strange][0])} is none of Cityscapes', which go to {last}")
    table[ids] = CLASSES.ids
    return table[values]
