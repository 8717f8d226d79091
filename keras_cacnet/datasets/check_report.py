"""What `check` has found, as a value, as text and as JSON."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from keras_cacnet.datasets.classes import VOID, ClassTable
from keras_cacnet.datasets.source import Example, Finding, grouped

_LISTED = 20


@dataclass
class SplitFacts:
    """Counts over one split.

    Args:
        classes: the data set's.
        images: number of images.
        masks: number of images that have a mask or should.
        sizes: how many images have which width and height; those that do not decode are left out.
        pixels: pixels per id of the mask files, 256 of them.
        images_with: images per id of the mask files.
        pixels_beside: pixels with a class in the images that have the id, 256 of them.
        most_void_mask: what errors call the mask with the most void pixels; empty where none has any.
    """

    classes: ClassTable
    images: int = 0
    masks: int = 0
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    pixels: np.ndarray = field(default_factory=lambda: np.zeros(256, "int64"))
    images_with: np.ndarray = field(default_factory=lambda: np.zeros(256, "int64"))
    pixels_beside: np.ndarray = field(default_factory=lambda: np.zeros(256, "int64"))
    most_void_mask: str = ""
    _most_void: int = 0

    @property
    def void(self) -> int:
        """The number of void pixels."""
        return self._void_in(self.pixels)

    def add(self, example: Example, size: tuple[int, int] | None, counts: np.ndarray | None) -> None:
        """Count one example.

        Args:
            example: the example.
            size: width and height of the image; None where it does not decode, or was not read.
            counts: pixels per id of its mask; None where there is none that decodes.
        """
        self.images += 1
        self.masks += example.mask is not None
        if size is not None:
            self.sizes[size] += 1
        if counts is not None:
            self.pixels += counts
            self.images_with += counts > 0
            self.pixels_beside += (counts > 0) * counts[list(self.classes.ids)].sum()
            if (void := self._void_in(counts)) > self._most_void:
                self._most_void, self.most_void_mask = void, example.mask_origin

    def _void_in(self, counts: np.ndarray) -> int:
        return int(counts[sorted({*self.classes.void_ids, VOID})].sum())

    def extent(self, axis: int) -> tuple[int, int, int] | None:
        """Smallest, median and largest width (axis 0) or height (axis 1); None without a readable image."""
        values = sorted(size[axis] for size in self.sizes.elements())
        return (values[0], values[len(values) // 2], values[-1]) if values else None


@dataclass(frozen=True)
class CheckReport:
    """What `check` has found.

    Args:
        name: the data set's.
        classes: its classes.
        splits: counts by split.
        findings: all of them, in the order in which they were found.
    """

    name: str
    classes: ClassTable
    splits: dict[str, SplitFacts]
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What would make training or scores wrong."""
        return self._of("error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """What may make them wrong."""
        return self._of("warning")

    @property
    def ok(self) -> bool:
        """Whether nothing was found that would make training or scores wrong."""
        return not self.errors

    def to_json(self) -> dict[str, Any]:
        """Render everything as plain lists, dictionaries and numbers.

        Returns:
            `ok`, `classes`, per split `images`, `masks`, `sizes` (width, height, images) and per class
            `pixels` and `images`, `void` and `unknown` pixels, and all `findings`.
        """
        return {
            "name": self.name,
            "ok": self.ok,
            **self.classes.to_json(),
            "splits": {split: self._split_json(facts) for split, facts in self.splits.items()},
            "findings": [vars(finding) for finding in self.findings],
        }

    def to_text(self, limit: int = _LISTED) -> str:
        """Render the report for a terminal.

        Args:
            limit: how many findings of a level are printed; the rest is counted.

        Returns:
            Tables of the splits and of the classes, the findings, and a last line that sums up.
        """
        lines = [f"{self.name}: {len(self.classes)} classes", "", *self._split_table(), ""]
        if any(facts.masks for facts in self.splits.values()):
            lines += [*self._class_table(), ""]
        for level in ("error", "warning", "note"):
            found = grouped(self._of(level))
            lines += found[:limit]
            if len(found) > limit:
                lines.append(f"{level}: and {len(found) - limit} more")
        if self.findings:
            lines.append("")
        if self.ok:
            lines.append("Nothing found that would make training wrong.")
        else:
            count = len(self.errors)
            lines.append(f"{count} error{'' if count == 1 else 's'}: training on this would be wrong.")
        return "\n".join(lines)

    def _of(self, level: str) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.level == level)

    def _split_json(self, facts: SplitFacts) -> dict[str, Any]:
        known = int(facts.pixels[list(self.classes.ids)].sum()) + facts.void
        return {
            "images": facts.images,
            "masks": facts.masks,
            "sizes": [[*size, count] for size, count in sorted(facts.sizes.items())],
            "pixels": {name: int(facts.pixels[i]) for i, name in self._ids()},
            "images_with": {name: int(facts.images_with[i]) for i, name in self._ids()},
            "void": facts.void,
            "unknown": int(facts.pixels.sum()) - known,
        }

    def _split_table(self) -> list[str]:
        lines = [f"{'split':<12}{'images':>8}{'masks':>8}  {'width (median)':<20}{'height (median)':<20}"]
        for split, facts in self.splits.items():
            extents = [_extent(facts.extent(axis)) for axis in (0, 1)]
            lines.append(f"{split:<12}{facts.images:>8}{facts.masks:>8}  {extents[0]:<20}{extents[1]:<20}".rstrip())
        return lines

    def _class_table(self) -> list[str]:
        shown = [split for split, facts in self.splits.items() if facts.masks]
        heads = "".join(f"{split + ' pixels':>16}{'images':>8}" for split in shown)
        width = max(len(name) for name in (*self.classes.names, "class")) + 6
        lines = [f"{'id class':<{width}}{heads}"]
        rows = [(f"{i:>3} {name}", [i]) for i, name in self._ids()]
        rows.append(("    void", sorted({*self.classes.void_ids, VOID})))
        for label, ids in rows:
            cells = ""
            for split in shown:
                facts = self.splits[split]
                share = facts.pixels[ids].sum() / max(facts.pixels.sum(), 1)
                images = "" if len(ids) > 1 or label.strip() == "void" else facts.images_with[ids[0]]
                cells += f"{share:>16.2%}{images:>8}"
            lines.append(f"{label:<{width}}{cells}".rstrip())
        return lines

    def _ids(self) -> list[tuple[int, str]]:
        return list(zip(self.classes.ids, self.classes.names, strict=True))


def _extent(values: tuple[int, int, int] | None) -> str:
    if values is None:
        return "-"
    low, median, high = values
    return str(low) if low == high else f"{low}-{high} ({median})"
