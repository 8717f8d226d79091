"""Cityscapes as it is unpacked: `leftImg8bit` and `gtFine`, a folder a city, the 19 classes that are scored."""

import json
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, ImageDraw

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
_NOT_SCORED = (
    *("unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground", "parking"),
    *("rail track", "guard rail", "bridge", "tunnel", "polegroup", "caravan", "trailer"),
)
_NOT_DRAWN = "license plate"
_IMAGE_ENDING = "_leftImg8bit"
_MASK_ENDINGS = ("_labelIds.png", "_labelTrainIds.png", "_polygons.json")

CLASSES = ClassTable(
    tuple(name for _, name, _ in _SCORED), tuple(color for _, _, color in _SCORED), tuple(range(len(_SCORED)))
)
"""The 19 classes by their train ids."""


class Cityscapes:
    """Cityscapes: label ids become train ids, all that is not scored becomes void; test has no masks.

    Polygons are drawn where there are no masks of label ids, as Cityscapes draws these itself.
    """

    name = "cityscapes"
    has_masks = False
    expected = (
        "leftImg8bit/SPLIT/CITY/NAME_leftImg8bit.png with gtFine/SPLIT/CITY/NAME_gtFine_labelIds.png "
        "(or _labelTrainIds.png, _polygons.json)"
    )

    def recognise(self, tree: SourceTree) -> bool:
        """Tell by the endings of names."""
        has_images = any(plain_stem(name).endswith(_IMAGE_ENDING) for name in tree.images)
        return has_images and any(name.endswith(_MASK_ENDINGS) for name in tree.files)

    def read(self, tree: SourceTree, wishes: Wishes) -> Found:
        """Pair images and masks by split, city, sequence and frame; fine masks before coarse ones."""
        if wishes.classes is not None:
            raise ValueError("cityscapes has classes of its own; for others give --format masks with --classes")
        images = [name for name in tree.images if plain_stem(name).endswith(_IMAGE_ENDING)]
        fine, kind = self._masks(tree, "gtFine"), "gtFine"
        if not fine:
            fine, kind = self._masks(tree, "gtCoarse"), "gtCoarse"
        if not fine:
            raise ValueError(f"{tree.root}: no masks; {self.expected}")
        items, findings = [], []
        for image in images:
            frame = _frame(image, plain_stem(image).removesuffix(_IMAGE_ENDING))
            split = frame[0]
            if split == "test":
                items.append(Item(image, tree.files[image], None, split))
            elif frame in fine:
                items.append(Item(image, tree.files[image], partial(_draw, tree.files[fine[frame]]), split))
            else:
                findings.append(Finding("warning", str(tree.files[image]), f"left out: no mask in {kind}."))
        if any(item.split == "test" for item in items):
            text = "Cityscapes keeps the masks of test; its images are there without masks."
            findings.append(Finding("note", "test", text))
        endings = sorted({PurePosixPath(mask).stem.rpartition("_")[2] for mask in fine.values()})
        what = f"Cityscapes, masks from {kind} ({', '.join(endings)})"
        return Found(f"{what}, 19 train ids", CLASSES, tuple(items), tuple(findings))

    def _masks(self, tree: SourceTree, kind: str) -> dict[tuple[str | None, str], str]:
        """The masks by frame; label ids, which are complete, before train ids, which are derived, and polygons."""
        masks: dict[tuple[str | None, str], str] = {}
        for ending in _MASK_ENDINGS:
            for name in tree.files:
                if name.endswith(f"_{kind}{ending}"):
                    masks.setdefault(_frame(name, PurePosixPath(name).name.removesuffix(f"_{kind}{ending}")), name)
        return masks


def _frame(name: str, stem: str) -> tuple[str | None, str]:
    """What an image and its mask share: the split, and city, sequence and frame."""
    return split_of(PurePosixPath(name).parts[:-1]), stem


def _draw(path: Path, size: tuple[int, int]) -> np.ndarray:
    del size
    if path.suffix == ".json":
        return _drawn_polygons(path)
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


def _drawn_polygons(path: Path) -> np.ndarray:
    """Draw polygons in their order, later ones over earlier ones, with their outlines, as Cityscapes' masks are."""
    try:
        content = json.loads(path.read_text("utf-8-sig"))
        mask = Image.new("L", (int(content["imgWidth"]), int(content["imgHeight"])), VOID)
        shapes = [
            (str(one["label"]), [(float(x), float(y)) for x, y in one["polygon"]])
            for one in content["objects"]
            if not one.get("deleted")
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path}: no polygons of Cityscapes that can be read ({type(error).__name__}: {error})"
        ) from None
    ids = {**dict.fromkeys(_NOT_SCORED, VOID), **dict(zip(CLASSES.names, CLASSES.ids, strict=True))}
    pen = ImageDraw.Draw(mask)
    for label, corners in shapes:
        one = label if label in ids else label.removesuffix("group")
        if one == _NOT_DRAWN:
            continue
        if one not in ids:
            raise ValueError(f"{path}: label {label!r} is none of Cityscapes'")
        if len(corners) < 2:
            raise ValueError(f"{path}: a polygon of {label} has {len(corners)} corners")
        pen.polygon(corners, fill=ids[one])
    return np.asarray(mask)
