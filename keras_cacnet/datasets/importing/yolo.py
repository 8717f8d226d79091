"""YOLO's polygons: a text file an image, a class and relative corners a line, names in data.yaml."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import yaml

from keras_cacnet.datasets.importing.class_lists import find_class_list, read_class_list
from keras_cacnet.datasets.importing.forms import Found, Item, Wishes
from keras_cacnet.datasets.importing.paired_masks import PairedMasks
from keras_cacnet.datasets.importing.shapes import fill_polygon, number_labels
from keras_cacnet.datasets.importing.source_tree import SourceTree, split_of
from keras_cacnet.datasets.source import Finding
from keras_cacnet.datasets.split_lists import listed_stems, plain_stem
from keras_cacnet.wording import listed

_LOOKED_AT = 50
_LINE = re.compile(r"\d+(\s+-?\d*\.?\d+(e-?\d+)?){4,}\s*", re.IGNORECASE)
_BOX = 4
_OUTSIDE = 0.01

Polygon = tuple[int, np.ndarray]
"""The number of a class, and corners (n, 2) relative to width and height."""


class YOLO:
    """Ultralytics' segmentation labels, drawn in the file's order, later ones over earlier ones.

    What no polygon covers is background, and so is an image without a label file. Boxes are left out.
    """

    name = "yolo"
    has_masks = False
    expected = "data.yaml with names, images/SPLIT/NAME.jpg with labels/SPLIT/NAME.txt of polygons"

    def recognise(self, tree: SourceTree) -> bool:
        """Tell by the first lines of some label files; those of boxes count where there are no masks, to say so."""
        most = [_most_numbers(tree.files[name]) for name in self._label_files(tree)[:_LOOKED_AT]]
        return max(most, default=0) > _BOX or (_BOX in most and not PairedMasks().recognise(tree))

    def _label_files(self, tree: SourceTree) -> list[str]:
        stems = {plain_stem(name) for name in tree.images}
        return [name for name in tree.having(".txt") if plain_stem(name[:-4]) in stems]

    def read(self, tree: SourceTree, wishes: Wishes) -> Found:
        """Read data.yaml and the label files."""
        yaml_name, config = _config(tree)
        names = _names(config, tree)
        of_image = self._labels_by_image(tree)
        splits = _splits(tree, yaml_name, config)
        findings: list[Finding] = []
        polygons: dict[str, list[Polygon]] = {}
        bar = wishes.progress("reading labels", len(tree.images))
        for image in tree.images:
            bar.add(1)
            if image in of_image:
                polygons[image], problems = _polygons(tree.files[of_image[image]])
                findings += problems
        numbers = Counter(number for found in polygons.values() for number, _ in found)
        if not numbers:
            raise ValueError(f"{tree.root}: no polygon in {len(polygons)} label files (boxes are not enough)")
        order = [names.get(number, f"class_{number}") for number in range(max((*names, *numbers)) + 1)]
        if names and max(numbers) > max(names):
            raise ValueError(
                f"{tree.root}: labels have class {max(numbers)}, and the names go to {max(names)}: "
                f"{listed(names.values())}"
            )
        counts = Counter({order[number]: count for number, count in numbers.items()})
        labels = number_labels(counts, order, wishes.classes)
        items = []
        labelled = {splits.get(image) for image in polygons}
        bare = 0
        for image in tree.images:
            if image not in polygons and splits.get(image) == "test" and "test" not in labelled:
                items.append(Item(image, tree.files[image], None, "test"))
                continue
            bare += image not in polygons
            drawn = [(labels.ids[order[number]], corners) for number, corners in polygons.get(image, ())]
            items.append(Item(image, tree.files[image], partial(_draw, drawn), splits.get(image)))
        if bare:
            findings.append(Finding("note", "images", f"{bare} have no label file: all background."))
        origin = f", names from {yaml_name}" if yaml_name else ""
        what = f"YOLO, {len(polygons)} label files with {sum(numbers.values())} polygons{origin}"
        return Found(what, labels.classes, tuple(items), (*labels.findings, *findings), has_ground=True)

    def _labels_by_image(self, tree: SourceTree) -> dict[str, str]:
        """The label file of each image: in `labels` where the image is in `images`, else beside it."""
        found = {}
        for image in tree.images:
            path = PurePosixPath(image).with_suffix(".txt")
            parts = list(path.parts)
            places = [str(path)]
            for at in range(len(parts) - 2, -1, -1):
                if parts[at].lower() == "images":
                    places.insert(0, str(PurePosixPath(*parts[:at], "labels", *parts[at + 1 :])))
            label = next((place for place in places if place in tree.files), None)
            if label is not None:
                found[image] = label
        return found


def _most_numbers(path: Path) -> int:
    """The most numbers after a class in the first lines of a file; 0 where a line is something else."""
    with path.open("rb") as file:
        lines = file.read(4096).decode("utf-8", "replace").splitlines()
    # The last one may be cut short.
    found = [line for line in lines[: max(len(lines) - 1, 1)] if line.strip()]
    return max((len(line.split()) - 1 for line in found), default=0) if all(map(_LINE.fullmatch, found)) else 0


def _config(tree: SourceTree) -> tuple[str, Mapping[str, Any]]:
    """The name and content of the YAML file that has the names; "" and nothing where there is none."""
    for name in sorted(tree.having(".yaml", ".yml"), key=lambda one: (one.count("/"), one)):
        try:
            content = yaml.safe_load(tree.files[name].read_text("utf-8-sig"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{tree.files[name]}: not YAML that can be read ({reason}).") from None
        if isinstance(content, dict) and "names" in content:
            return name, content
    return "", {}


def _names(config: Mapping[str, Any], tree: SourceTree) -> dict[int, str]:
    names = config.get("names")
    if isinstance(names, list):
        return {number: str(name) for number, name in enumerate(names)}
    if isinstance(names, dict):
        return {int(number): str(name) for number, name in names.items()}
    path = find_class_list(tree)
    return {} if path is None else {number: one.name for number, one in enumerate(read_class_list(path))}


def _splits(tree: SourceTree, yaml_name: str, config: Mapping[str, Any]) -> dict[str, str]:
    """The split of each image: by the names of its folders, by a list, or by what data.yaml says."""
    by_config: dict[str, set[str]] = {image: set() for image in tree.images}
    for split in ("train", "val", "test"):
        entries = config.get(split) or ()
        for entry in [entries] if isinstance(entries, str) else entries:
            for image in _images_of_entry(tree, yaml_name, str(entry)):
                by_config[image].add(split)
    splits = {}
    for image, said in by_config.items():
        of_names = split_of(PurePosixPath(image).parts[:-1]) or tree.split_in_lists(image)
        if of_names is not None:
            splits[image] = of_names
        elif len(said) == 1:
            # Demonstrations name one folder for all splits, which says nothing.
            splits[image] = said.pop()
    return splits


def _images_of_entry(tree: SourceTree, yaml_name: str, entry: str) -> list[str]:
    """The images in a folder or a list that data.yaml names, often by a path on the machine that wrote it."""
    parts = [part for part in entry.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    near = str(PurePosixPath(yaml_name).parent)
    for at in range(len(parts)):
        end = "/".join(parts[at:])
        if end.endswith(".txt") and end in tree.files:
            stems = set(listed_stems(tree.files[end]))
            return [image for image in tree.images if plain_stem(image) in stems]
        if inside := [image for image in tree.images if image.startswith((f"{end}/", f"{near}/{end}/"))]:
            return inside
    return []


def _polygons(path: Path) -> tuple[list[Polygon], list[Finding]]:
    """The polygons of a label file, and why lines are left out."""
    found: list[Polygon] = []
    problems = []
    for number, line in enumerate(path.read_text("utf-8-sig", "replace").splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            label, values = int(words[0]), [float(word) for word in words[1:]]
        except ValueError:
            problems.append(f"line {number} is no class with numbers: left out.")
            continue
        if len(values) == _BOX:
            problems.append("lines with a box, and not a polygon, are left out.")
        elif len(values) < 6 or len(values) % 2:
            problems.append("lines with an odd number of coordinates, or fewer than 3 corners, are left out.")
        elif not all(-_OUTSIDE <= value <= 1 + _OUTSIDE for value in values):
            problems.append("lines with coordinates that are not relative, in 0..1, are left out.")
        else:
            found.append((label, np.array(values).reshape(-1, 2)))
    return found, [Finding("warning", str(path), problem) for problem in problems]


def _draw(polygons: Sequence[Polygon], size: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(size[::-1], "uint8")
    for value, corners in polygons:
        fill_polygon(mask, corners * size, value)
    return mask
