"""COCO's JSON: images, annotations as polygons or run lengths, and categories."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from keras_cacnet.datasets.importing.forms import Found, Item, Wishes
from keras_cacnet.datasets.importing.shapes import number_labels
from keras_cacnet.datasets.importing.source_tree import SourceTree, split_of
from keras_cacnet.datasets.source import Finding
from keras_cacnet.wording import listed

_KEYS = ("images", "annotations", "categories")
_HEAD = 1 << 20
_LIST = re.compile(rb'"(images|annotations|categories)"\s*:\s*\[')


class COCO:
    """COCO's instances, as of COCO itself, CVAT, Roboflow and Label Studio; drawn by pycocotools.

    Annotations are drawn in the file's order, later ones over earlier ones; crowds, whose outlines are coarse, come
    first. What no annotation covers is background.
    """

    name = "coco"
    has_masks = False
    expected = "a JSON file with images, annotations and categories, such as annotations/instances_train.json"

    def recognise(self, tree: SourceTree) -> bool:
        """Tell by the first bytes of the JSON files."""
        return bool(self._files(tree))

    def _files(self, tree: SourceTree) -> list[str]:
        names = [name for name in tree.having(".json") if begins_as_coco(tree.files[name])]
        instances = [name for name in names if PurePosixPath(name).name.startswith("instances")]
        return instances or names

    def read(self, tree: SourceTree, wishes: Wishes) -> Found:
        """Read the JSON files, one a split, and find their images."""
        run_lengths()
        files = {name: read_coco(tree, name) for name in self._files(tree)}
        if not files:
            raise ValueError(f"{tree.root}: no such file; {self.expected}")
        names = category_names(files)
        counts: Counter[str] = Counter()
        outlined: dict[str, dict[Any, list[Mapping[str, Any]]]] = {}
        findings: list[Finding] = []
        for name, content in files.items():
            outlined[name] = defaultdict(list)
            for annotation in content["annotations"]:
                problem = _problem(annotation, names)
                if problem:
                    findings.append(Finding("warning", str(tree.files[name]), problem))
                    continue
                outlined[name][annotation["image_id"]].append(annotation)
                counts[names[annotation["category_id"]]] += 1
        if not counts:
            first = f"; {findings[0].message}" if findings else ""
            raise ValueError(f"{', '.join(files)}: no annotation has an outline (boxes are not enough){first}")
        labels = number_labels(counts, category_order(files, names, counts), wishes.classes)
        ids = {number: labels.ids.get(name, 0) for number, name in names.items()}
        items: dict[str, Item] = {}
        bare = 0
        for name, content in files.items():
            split = split_of((*PurePosixPath(name).parts[:-1], PurePosixPath(name).stem))
            for image in content["images"]:
                file_name = str(image["file_name"])
                found = tree.find_image(file_name, near=name, split=split)
                if found is None:
                    findings.append(Finding("warning", file_name, f"left out: {name} names it, and it is not there."))
                elif found in items:
                    findings.append(Finding("warning", f"{found} in {name}", "left out: another file has it already."))
                else:
                    annotations = outlined[name][image["id"]]
                    bare += not annotations
                    size = (int(image["height"]), int(image["width"]))
                    items[found] = Item(found, tree.files[found], partial(_draw, annotations, ids, size), split)
        if bare:
            findings.append(Finding("note", "images", f"{bare} have no annotation: all background."))
        what = f"COCO, {listed(files, 4)}, {sum(counts.values())} annotations"
        return Found(what, labels.classes, tuple(items.values()), (*labels.findings, *findings), has_ground=True)


def run_lengths() -> Any:
    """Import the module of pycocotools that draws outlines."""
    try:
        from pycocotools import mask
    except ImportError as error:
        raise ImportError("COCO's outlines are drawn by pycocotools: pip install 'keras-cacnet[coco]'") from error
    return mask


def begins_as_coco(path: Path, with_key: str | None = None) -> bool:
    """Tell by the first bytes of a JSON file whether it has one of COCO's lists, and a key."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    is_coco = head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"{") and _LIST.search(head) is not None
    return is_coco and (with_key is None or f'"{with_key}"'.encode() in head)


def read_coco(tree: SourceTree, name: str) -> dict[str, Any]:
    """Read a file and require what all of COCO's forms have; what is missing is a ValueError."""
    path = tree.files[name]
    try:
        content = json.loads(path.read_text("utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not JSON that can be read ({error}).") from None
    missing = [key for key in _KEYS if not isinstance(content.get(key), list)]
    if missing:
        raise ValueError(f"{path}: not COCO's: no list {listed(missing)} in it.")
    for key, needed in (("images", ("id", "file_name", "height", "width")), ("categories", ("id", "name"))):
        for entry in content[key]:
            if lacking := [one for one in needed if not isinstance(entry, dict) or one not in entry]:
                raise ValueError(f"{path}: an entry of {key} has no {listed(lacking)}: {str(entry)[:80]}")
    return content


def category_names(files: Mapping[str, Mapping[str, Any]]) -> dict[Any, str]:
    """Give the names of the categories by their ids, which must agree in all files."""
    names: dict[Any, str] = {}
    for name, content in files.items():
        for category in content["categories"]:
            if names.setdefault(category["id"], str(category["name"])) != str(category["name"]):
                raise ValueError(
                    f"{name}: category {category['id']} is {category['name']!r}, and in another file "
                    f"{names[category['id']]!r}; import them apart"
                )
    if twice := [name for name, count in Counter(names.values()).items() if count > 1]:
        raise ValueError(f"{', '.join(files)}: two categories are called {listed(twice)}; name them apart")
    return names


def category_order(files: Mapping[str, Mapping[str, Any]], names: Mapping[Any, str], counts: Counter[str]) -> list[str]:
    """The categories by their ids, without those that only hold others together, as Roboflow's first one."""
    entries = [entry for content in files.values() for entry in content["categories"]]
    above = {str(entry.get("supercategory")) for entry in entries if entry.get("supercategory") != entry["name"]}
    return [name for _, name in sorted(names.items()) if counts[name] or name not in above]


def _problem(annotation: Any, names: Mapping[Any, str]) -> str:
    """Why an annotation cannot be drawn; empty where it can."""
    if not isinstance(annotation, dict) or not {"image_id", "category_id"} <= annotation.keys():
        return "annotations without image_id or category_id are left out."
    if annotation["category_id"] not in names:
        return f"annotations of category {annotation['category_id']}, which is not in the file's list, are left out."
    outline = annotation.get("segmentation")
    if not outline:
        return "annotations without an outline (boxes only) are left out."
    if isinstance(outline, dict):
        return "" if {"counts", "size"} <= outline.keys() else "run lengths without counts or size are left out."
    if all(isinstance(part, list) and len(part) >= 6 and len(part) % 2 == 0 for part in outline):
        return ""
    return "annotations with polygons of fewer than 3 points are left out."


def _draw(
    annotations: Sequence[Mapping[str, Any]], ids: Mapping[Any, int], size: tuple[int, int], shown: tuple[int, int]
) -> np.ndarray:
    del shown
    mask = np.zeros(size, "uint8")
    coco = run_lengths()
    for annotation in sorted(annotations, key=lambda one: not one.get("iscrowd")):
        outline = annotation["segmentation"]
        if isinstance(outline, list) or isinstance(outline["counts"], list):
            outline = coco.frPyObjects(outline, *size)
        inside = coco.decode(coco.merge(outline) if isinstance(outline, list) else outline)
        if inside.shape != size:
            raise ValueError(f"annotation {annotation.get('id')} has {inside.shape}, its image {size} (height, width)")
        mask[inside.astype(bool)] = ids[annotation["category_id"]]
    return mask
