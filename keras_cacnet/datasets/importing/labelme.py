"""LabelMe's JSON: a file an image, with labelled shapes."""

import base64
import binascii
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from keras_cacnet.datasets.importing.class_lists import find_class_list, read_class_list
from keras_cacnet.datasets.importing.forms import Found, Item, Wishes
from keras_cacnet.datasets.importing.shapes import fill_polygon, number_labels
from keras_cacnet.datasets.importing.source_tree import SourceTree, split_of
from keras_cacnet.datasets.reading import read_mask
from keras_cacnet.datasets.source import Finding

_HEAD = 1 << 16
_LOOKED_AT = 20
_CORNERS = 360


class LabelMe:
    """LabelMe's shapes: polygons, rectangles, circles and masks, drawn in the file's order, later ones on top.

    What no shape covers is background; the label `__ignore__` is void. Shapes without an area are left out.
    """

    name = "labelme"
    has_masks = False
    expected = "NAME.json with shapes and imagePath, one an image"

    def recognise(self, tree: SourceTree) -> bool:
        """Tell by the first bytes of some JSON files."""
        return any(_begins_as_labelme(tree.files[name]) for name in tree.having(".json")[:_LOOKED_AT])

    def read(self, tree: SourceTree, wishes: Wishes) -> Found:
        """Read the JSON files and find their images; an image that is not there may be in the JSON itself."""
        counts: Counter[str] = Counter()
        read: list[tuple[str, str, Path | None, Sequence[Mapping[str, Any]], tuple[int, int]]] = []
        findings: list[Finding] = []
        names = tree.having(".json")
        bar = wishes.progress("reading annotations", len(names))
        for name in names:
            bar.add(1)
            path = tree.files[name]
            try:
                content = _loaded(path)
            except ValueError as error:
                findings.append(Finding("warning", str(path), f"left out: {error}"))
                continue
            found = tree.find_image(str(content["imagePath"]), near=name)
            if found is None and not content.get("imageData"):
                text = f"left out: there is no image {content['imagePath']}, and none in it."
                findings.append(Finding("warning", str(path), text))
                continue
            shapes: list[Mapping[str, Any]] = []
            for shape in content["shapes"]:
                if problem := _problem(shape):
                    findings.append(Finding("warning", str(path), problem))
                else:
                    shapes.append(shape)
                    counts[str(shape["label"])] += 1
            size = (int(content.get("imageHeight") or 0), int(content.get("imageWidth") or 0))
            path_name = found or str(PurePosixPath(name).with_suffix(PurePosixPath(str(content["imagePath"])).suffix))
            read.append((path_name, name, None if found is None else tree.files[found], shapes, size))
        if not counts:
            raise ValueError(f"{tree.root}: no labelled shape in {len(names)} files; {self.expected}")
        wanted = wishes.classes
        if wanted is None and (listing := find_class_list(tree)) is not None:
            wanted = read_class_list(listing)
        labels = number_labels(counts, sorted(counts), wanted)
        items = []
        for path_name, name, image, drawn, size in read:
            draw = partial(_draw, drawn, labels.ids, size)
            split = split_of(PurePosixPath(name).parts[:-1]) or tree.split_in_lists(path_name)
            items.append(Item(path_name, image or partial(_embedded, tree.files[name]), draw, split))
        used = {item.path for item in items}
        for name in tree.images:
            if name not in used:
                findings.append(Finding("warning", str(tree.files[name]), "left out: no annotation names it."))
        what = f"LabelMe, {len(read)} files with {sum(counts.values())} shapes"
        return Found(what, labels.classes, tuple(items), (*labels.findings, *findings), has_ground=True)


def _begins_as_labelme(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(_HEAD)
    return b'"shapes"' in head and (b'"version"' in head or b'"imagePath"' in head)


def _loaded(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8-sig"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"not JSON that can be read ({error}).") from None
    if not isinstance(content, dict) or not {"shapes", "imagePath"} <= content.keys():
        raise ValueError("no shapes and imagePath in it.")
    return content


def _problem(shape: Mapping[str, Any]) -> str:
    """Why a shape cannot be drawn; empty where it can."""
    kind, points = shape.get("shape_type") or "polygon", shape.get("points") or []
    least = {"polygon": 3, "rectangle": 2, "circle": 2, "mask": 2}.get(kind)
    if least is None:
        return f"shapes of type {kind} have no area and are left out."
    if "label" not in shape or len(points) < least:
        return f"shapes of type {kind} without a label or with fewer than {least} points are left out."
    return "" if kind != "mask" or shape.get("mask") else "shapes of type mask without a mask are left out."


def _draw(
    shapes: Sequence[Mapping[str, Any]], ids: Mapping[str, int], size: tuple[int, int], shown: tuple[int, int]
) -> np.ndarray:
    mask = np.zeros(size if all(size) else shown[::-1], "uint8")
    for shape in shapes:
        kind, points = shape.get("shape_type") or "polygon", np.array(shape["points"], "float64")
        value = ids[str(shape["label"])]
        if kind == "mask":
            _draw_mask(mask, str(shape["mask"]), points, value)
        else:
            fill_polygon(mask, _outline(kind, points), value)
    return mask


def _outline(kind: str, points: np.ndarray) -> np.ndarray:
    if kind == "rectangle":
        (left, top), (right, bottom) = points.min(0), points.max(0)
        return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    if kind == "circle":
        radius = math.dist(points[0], points[1])
        angles = np.arange(_CORNERS) * (2 * math.pi / _CORNERS)
        return points[0] + radius * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    return points


def _draw_mask(mask: np.ndarray, encoded: str, points: np.ndarray, value: int) -> None:
    """Draw a PNG of the shape's box, whose first and last pixel the points name."""
    try:
        inside = read_mask(base64.b64decode(encoded, validate=True), "mask of a shape") > 0
    except binascii.Error as error:
        raise ValueError(f"the mask of a shape is not base64 ({error})") from None
    left, top = (round(float(value)) for value in points.min(0))
    part = mask[max(top, 0) : top + inside.shape[0], max(left, 0) : left + inside.shape[1]]
    part[inside[max(-top, 0) :, max(-left, 0) :][: part.shape[0], : part.shape[1]]] = value


def _embedded(path: Path) -> bytes:
    """The image in a JSON file itself."""
    try:
        return base64.b64decode(_loaded(path)["imageData"], validate=True)
    except binascii.Error as error:
        raise ValueError(f"{path}: imageData is not base64 ({error}).") from None
