"""COCO's panoptic annotations: a PNG an image whose colours are numbers of segments, and JSON that names these."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from keras_cacnet.datasets.classes import VOID
from keras_cacnet.datasets.importing.coco import begins_as_coco, category_names, category_order, read_coco
from keras_cacnet.datasets.importing.forms import Found, Item, Wishes
from keras_cacnet.datasets.importing.shapes import number_labels
from keras_cacnet.datasets.importing.source_tree import SourceTree, split_of
from keras_cacnet.datasets.reading import read_image
from keras_cacnet.datasets.source import Finding
from keras_cacnet.wording import listed

_NOT_LABELLED = 0


@dataclass(frozen=True)
class _Drawn:
    """One annotation: its PNG file, and the categories of its segments by their numbers."""

    file_name: str
    segments: Mapping[int, str]


class COCOPanoptic:
    """COCO's panoptic sets, things and stuff as one class each; pixels without a segment are void.

    Where instances are there as well, these are read; `format="coco_panoptic"` reads the panoptic files.
    """

    name = "coco_panoptic"
    has_masks = False
    expected = "panoptic_SPLIT.json with segments_info, and panoptic_SPLIT/NAME.png"

    def recognise(self, tree: SourceTree) -> bool:
        """Tell by the names of the JSON files, or by the first bytes of those with other names."""
        names = tree.having(".json")
        return bool(self._files(tree)) and not any(PurePosixPath(name).name.startswith("instances") for name in names)

    def _files(self, tree: SourceTree) -> list[str]:
        return [name for name in tree.having(".json") if _is_panoptic(tree.files[name])]

    def read(self, tree: SourceTree, wishes: Wishes) -> Found:
        """Read the JSON files, one a split, and find their images and PNG files."""
        files = {name: read_coco(tree, name) for name in self._files(tree)}
        if not files:
            raise ValueError(f"{tree.root}: no such file; {self.expected}")
        names = category_names(files)
        counts: Counter[str] = Counter()
        drawn: dict[str, dict[Any, _Drawn]] = {}
        for name, content in files.items():
            drawn[name] = {}
            for annotation in content["annotations"]:
                try:
                    segments = {int(one["id"]): names[one["category_id"]] for one in annotation["segments_info"]}
                    drawn[name][annotation["image_id"]] = _Drawn(str(annotation["file_name"]), segments)
                except (KeyError, TypeError, ValueError) as error:
                    text = f"{tree.files[name]}: an annotation without {error}: {str(annotation)[:80]}"
                    raise ValueError(text) from None
                counts.update(segments.values())
        if not counts:
            raise ValueError(f"{', '.join(files)}: no segment in it")
        labels = number_labels(counts, category_order(files, names, counts), wishes.classes)
        findings: list[Finding] = []
        items: dict[str, Item] = {}
        for name, content in files.items():
            split = split_of((*PurePosixPath(name).parts[:-1], PurePosixPath(name).stem))
            # The PNG files are in a folder that has the JSON file's name.
            folder = PurePosixPath(name).stem
            pngs = {}
            for image_id, one in drawn[name].items():
                png = tree.find_image(f"{folder}/{one.file_name}", near=name)
                if png is not None and folder in PurePosixPath(png).parts:
                    pngs[image_id] = png
            taken = frozenset(pngs.values())
            for image in content["images"]:
                file_name = str(image["file_name"])
                found = tree.find_image(file_name, near=name, split=split, without=taken)
                if found is None:
                    findings.append(Finding("warning", file_name, f"left out: {name} names it, and it is not there."))
                elif image["id"] not in pngs:
                    findings.append(Finding("warning", file_name, f"left out: it has no PNG of segments in {folder}."))
                elif found in items:
                    findings.append(Finding("warning", f"{found} in {name}", "left out: another file has it already."))
                else:
                    named = drawn[name][image["id"]].segments
                    ids = {number: labels.ids[label] for number, label in named.items()}
                    draw = partial(_draw, tree.files[pngs[image["id"]]], ids)
                    items[found] = Item(found, tree.files[found], draw, split)
        what = f"COCO panoptic, {listed(files, 4)}, {sum(counts.values())} segments"
        return Found(what, labels.classes, tuple(items.values()), (*labels.findings, *findings), has_ground=True)


def _is_panoptic(path: Path) -> bool:
    if path.name.startswith("panoptic"):
        return begins_as_coco(path)
    return begins_as_coco(path, with_key="segments_info")


def _draw(path: Path, ids: Mapping[int, int], shown: tuple[int, int]) -> np.ndarray:
    del shown
    pixels = read_image(path).astype("int64")
    numbers, place = np.unique(pixels @ (1, 256, 65536), return_inverse=True)
    known = {_NOT_LABELLED: VOID, **ids}
    if strange := [number for number in numbers.tolist() if number not in known]:
        raise ValueError(f"{path}: segment {strange[0]} is not in the JSON file's segments_info")
    return np.array([known[number] for number in numbers.tolist()], "uint8")[place].reshape(pixels.shape[:2])
