"""What an import has done, as a value, as text and as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.datasets.source import Finding, grouped
from keras_cacnet.wording import listed

_SHOWN = 20


@dataclass(frozen=True)
class ImportReport:
    """What an import has done.

    Args:
        source: the folder that was read.
        output: the folder that was written.
        format: the name of the form.
        what: what was recognised, in a line.
        classes: the classes of the result.
        splits: images by split.
        findings: what was left out (warnings) and which rules were applied (notes).

    Example:
        >>> report = ImportReport(Path("a"), Path("b"), "masks", "images with masks",
        ...     ClassTable(("sky", "sea"), ((0, 0, 9), (0, 9, 0)), (0, 1)), {"train": 8, "val": 2}, ())
        >>> print(report.to_text())
        b: 10 images (train 8, val 2), 2 classes: sky, sea
        Nothing was left out.
    """

    source: Path
    output: Path
    format: str
    what: str
    classes: ClassTable
    splits: Mapping[str, int]
    findings: tuple[Finding, ...]

    def to_text(self) -> str:
        """Render the report for a terminal: what was written, what was left out and why."""
        parts = ", ".join(f"{split} {count}" for split, count in self.splits.items())
        images = sum(self.splits.values())
        names = listed(self.classes.names, 12)
        lines = [f"{self.output}: {images} images ({parts}), {len(self.classes)} classes: {names}"]
        for level in ("warning", "note"):
            found = grouped(finding for finding in self.findings if finding.level == level)
            lines += found[:_SHOWN]
            if len(found) > _SHOWN:
                lines.append(f"{level}: and {len(found) - _SHOWN} more, in {self.output / 'import.json'}")
        if not any(finding.level == "warning" for finding in self.findings):
            lines.append("Nothing was left out.")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Render everything as plain lists, dictionaries and numbers, which `from_json` reads."""
        return {
            "source": str(self.source),
            "output": str(self.output),
            "format": self.format,
            "what": self.what,
            **self.classes.to_json(),
            "splits": dict(self.splits),
            "findings": [vars(finding) for finding in self.findings],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "ImportReport":
        """Read what `to_json` has written."""
        return cls(
            Path(value["source"]),
            Path(value["output"]),
            value["format"],
            value["what"],
            ClassTable.from_json(dict(value)),
            value["splits"],
            tuple(Finding(**finding) for finding in value["findings"]),
        )
