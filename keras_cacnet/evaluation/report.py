"""The result of an evaluation: scores, and how they are written down."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_cacnet.datasets.unpacked import CONTEXT_NAMES
from keras_cacnet.evaluation.protocol import Protocol

ABSENT_RULES = {
    "ignore": "a class absent from prediction and truth is left out of the mean (Keras' rule)",
    "zero": "a class absent from prediction and truth scores 0 in the mean (PyTorch-Encoding's rule)",
}
"""What `absent` may be, in words."""


@dataclass(frozen=True)
class Report:
    """Scores over a set of images, all from one confusion matrix.

    Args:
        confusion: pixels by truth (rows) and prediction (columns), void left out.
        names: the classes.
        absent: how the mean treats a class that occurs in neither prediction nor truth: "ignore" leaves it out,
            "zero" counts it as 0. The two differ only on sets where a class is missing.
        images: number of images.
        void_pixels: pixels left out because their label is void.

    Shapes:
        - confusion: int64 (classes, classes)

    Raises:
        ValueError: a matrix that is not of whole numbers or not square of the number of names, or another rule.

    Example:
        >>> report = Report(np.array([[3, 1], [0, 4]]), ("sky", "sea"), images=1)
        >>> report.pixel_accuracy, round(report.mean_iou, 4)
        (0.875, 0.775)

    Reference:
        Section 4.1 of the CaC-Net paper, "Evaluation Metrics": pixel accuracy and mean IoU.
    """

    confusion: np.ndarray
    names: tuple[str, ...]
    absent: str = "ignore"
    images: int = 0
    void_pixels: int = 0

    def __post_init__(self) -> None:
        require_absent_rule(self.absent)
        square = (len(self.names), len(self.names))
        if self.confusion.shape != square or not np.issubdtype(self.confusion.dtype, np.integer):
            raise ValueError(
                f"the confusion matrix must be whole numbers of shape {square}, one row per class, got "
                f"{self.confusion.dtype} {self.confusion.shape}"
            )

    @property
    def pixels(self) -> int:
        """Number of pixels scored."""
        return int(self.confusion.sum())

    @property
    def pixel_accuracy(self) -> float:
        """Share of the scored pixels whose class is right; NaN where no pixel is scored."""
        return _ratio(np.trace(self.confusion), self.confusion.sum()).item()

    @property
    def iou(self) -> np.ndarray:
        """Intersection over union of every class; NaN for a class absent from prediction and truth."""
        hits = np.diagonal(self.confusion)
        return _ratio(hits, self.confusion.sum(axis=0) + self.confusion.sum(axis=1) - hits)

    @property
    def class_accuracy(self) -> np.ndarray:
        """Share of every class' pixels that are found; NaN for a class absent from the truth."""
        return _ratio(np.diagonal(self.confusion), self.confusion.sum(axis=1))

    @property
    def mean_iou(self) -> float:
        """Mean of the classes' IoU under the rule for absent classes; NaN where no pixel is scored."""
        iou = self.iou
        present = ~np.isnan(iou)
        if not present.any():
            return float("nan")
        return float(iou[present].sum() / (present.sum() if self.absent == "ignore" else len(iou)))

    @property
    def mean_iou_of_60(self) -> float | None:
        """For PASCAL Context's 59 classes mean IoU x 59/60, None for all others.

        So PyTorch-Encoding compares networks that know no background with figures over 60 classes: background counts
        as a class with IoU 0.
        """
        return self.mean_iou * 59 / 60 if sorted(self.names) == sorted(CONTEXT_NAMES) else None

    def to_json(self) -> dict[str, Any]:
        """Everything as plain Python values that strict JSON can hold: an undefined score is None."""
        rows = zip(self.names, self.iou, self.class_accuracy, self.confusion.sum(axis=1), strict=True)
        of_60 = self.mean_iou_of_60
        return {
            "images": self.images,
            "pixels": self.pixels,
            "void_pixels": self.void_pixels,
            "pixel_accuracy": _finite(self.pixel_accuracy),
            "mean_iou": _finite(self.mean_iou),
            **({} if of_60 is None else {"mean_iou_of_60": _finite(of_60)}),
            "absent": self.absent,
            "absent_rule": ABSENT_RULES[self.absent],
            "absent_classes": self._absent_classes(),
            "classes": [
                {"name": name, "iou": _finite(iou), "accuracy": _finite(accuracy), "pixels": int(pixels)}
                for name, iou, accuracy, pixels in rows
            ],
            "confusion": self.confusion.tolist(),
        }

    def to_text(self, protocol: Protocol | None = None) -> str:
        """A table for the terminal, with how the images were shown to the network where that is given."""
        rows = [("class", "IoU", "accuracy", "pixels"), *self._rows()]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        table = [
            "  ".join([row[0].ljust(widths[0]), *(cell.rjust(n) for cell, n in zip(row[1:], widths[1:], strict=True))])
            for row in rows
        ]
        accuracy, mean_iou = _score(self.pixel_accuracy), _score(self.mean_iou)
        head = [f"pixel accuracy  {accuracy}", f"mean IoU        {mean_iou}"]
        if (of_60 := self.mean_iou_of_60) is not None:
            head.append(f"      x 59/60   {_score(of_60)}, beside figures over 60 classes")
        head.append(self._basis())
        shown = [f"protocol: {protocol.to_text()}"] if protocol else []
        return "\n".join([*head, *shown, "", *table])

    def to_markdown(self, protocol: Protocol | None = None, facts: Mapping[str, Any] | None = None) -> str:
        """A table for a document.

        Args:
            protocol: how the images were shown to the network, to be stated.
            facts: what else to state, by name, such as the run and its checkpoint.
        """
        rows = [
            f"| {name.replace('|', chr(92) + '|')} | {iou} | {accuracy} | {pixels} |"
            for name, iou, accuracy, pixels in self._rows()
        ]
        scores = f"Pixel accuracy **{_score(self.pixel_accuracy)}**, mean IoU **{_score(self.mean_iou)}**."
        if (of_60 := self.mean_iou_of_60) is not None:
            scores += f" Mean IoU x 59/60, beside figures over 60 classes: **{_score(of_60)}**."
        told = [f"{name.replace('_', ' ')}: `{value}`" for name, value in (facts or {}).items()]
        told += [f"protocol: {protocol.to_text()}"] if protocol else []
        stated = [f"{', '.join(told)}.", ""] if told else []
        head = [scores, "", *stated, self._basis(), "", "| class | IoU | accuracy | pixels |", "|---|---:|---:|---:|"]
        return "\n".join([*head, *rows])

    def _rows(self) -> list[tuple[str, str, str, str]]:
        rows = zip(self.names, self.iou, self.class_accuracy, self.confusion.sum(axis=1), strict=True)
        return [(name, _score(iou), _score(accuracy), f"{pixels:,}") for name, iou, accuracy, pixels in rows]

    def _absent_classes(self) -> list[str]:
        return [name for name, iou in zip(self.names, self.iou, strict=True) if np.isnan(iou)]

    def _basis(self) -> str:
        absent = self._absent_classes()
        found = f"absent here: {', '.join(absent)}" if absent else "none is absent here"
        return (
            f"{self.images:,} image{'' if self.images == 1 else 's'}, {self.pixels:,} pixels scored, "
            f"{self.void_pixels:,} void pixels left out; {ABSENT_RULES[self.absent]}; {found}."
        )


def require_absent_rule(absent: str) -> None:
    """Refuse a rule for absent classes that is not one of `ABSENT_RULES`.

    Args:
        absent: the rule.

    Raises:
        ValueError: another rule; the message names those that exist.
    """
    if absent not in ABSENT_RULES:
        raise ValueError(f"absent must be {' or '.join(map(repr, ABSENT_RULES))}, got {absent!r}")


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    part, whole = np.asarray(part, "float64"), np.asarray(whole, "float64")
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def _finite(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _score(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.4f}"
