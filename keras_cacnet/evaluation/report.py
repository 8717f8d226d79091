"""The result of an evaluation: scores, and how they are written down."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_cacnet.datasets.unpacked import CONTEXT_NAMES
from keras_cacnet.evaluation.protocol import Protocol
from keras_cacnet.tables import html_table, require_pandas

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
        boundaries: what `boundary_counts` gives, summed over the images; None where outlines were not compared.

    Shapes:
        - confusion: int64 (classes, classes)
        - boundaries: int64 (classes, 4)

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
    boundaries: np.ndarray | None = None

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
        """Share of every class' pixels that are found, its recall; NaN for a class absent from the truth."""
        return _ratio(np.diagonal(self.confusion), self.confusion.sum(axis=1))

    @property
    def precision(self) -> np.ndarray:
        """Share of the pixels predicted as a class that are of it; NaN for a class that is never predicted."""
        return _ratio(np.diagonal(self.confusion), self.confusion.sum(axis=0))

    @property
    def f1(self) -> np.ndarray:
        """Harmonic mean of precision and recall of every class, Dice's coefficient; NaN where `iou` is."""
        hits = np.diagonal(self.confusion)
        return _ratio(2 * hits, self.confusion.sum(axis=0) + self.confusion.sum(axis=1))

    @property
    def boundary_f(self) -> np.ndarray | None:
        """F-score of every class' outlines, see `boundary_counts`; None where they were not compared.

        NaN where the masks have no outline of the class: it does not occur, or void lies around it wherever it does.
        Precision is the share of the predicted boundary pixels near the truth's, recall the other way round.
        """
        if self.boundaries is None:
            return None
        predicted, predicted_near, true, true_near = self.boundaries.T
        precision, recall = _ratio(predicted_near, predicted), _ratio(true_near, true)
        f = _ratio(2 * precision * recall, precision + recall)
        f[(predicted_near == 0) & (true_near == 0)] = 0
        f[true == 0] = np.nan
        return f

    @property
    def measures(self) -> dict[str, np.ndarray]:
        """The scores of every class by their names, as tables and figures show them."""
        found = {"IoU": self.iou, "accuracy": self.class_accuracy, "precision": self.precision, "F1": self.f1}
        return found if (boundary := self.boundary_f) is None else {**found, "boundary F": boundary}

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

    @property
    def warning(self) -> str | None:
        """What makes these masks look wrong, None where nothing does.

        Masks of 0 and 255 where 255 was meant to be a class, and masks that were divided by 255, have at most the
        first class; whatever the network does, the scores over them are worthless.
        """
        if not self.pixels:
            return "every pixel of the masks is void: there is nothing to score"
        if len(self.names) > 1 and not self.confusion[1:].any():
            void = f" and void ({self.void_pixels:,} pixels)" if self.void_pixels else ""
            return (
                f"the masks hold the first class, {self.names[0]!r},{void} and no other class: if that is not so, "
                "masks are written with other ids than the class table's, such as 255 for a class"
            )
        return None

    def to_json(self) -> dict[str, Any]:
        """Give everything as plain Python values that strict JSON can hold: an undefined score is None."""
        keys = {name: name.lower().replace(" ", "_") for name in self.measures}
        pixels = self.confusion.sum(axis=1)
        of_60 = self.mean_iou_of_60
        return {
            "images": self.images,
            "pixels": self.pixels,
            "void_pixels": self.void_pixels,
            "pixel_accuracy": _finite(self.pixel_accuracy),
            "mean_iou": _finite(self.mean_iou),
            **({} if of_60 is None else {"mean_iou_of_60": _finite(of_60)}),
            **({} if (warning := self.warning) is None else {"warning": warning}),
            "absent": self.absent,
            "absent_rule": ABSENT_RULES[self.absent],
            "absent_classes": self._absent_classes(),
            "classes": [
                {
                    "name": name,
                    **{keys[measure]: _finite(values[index]) for measure, values in self.measures.items()},
                    "pixels": int(pixels[index]),
                }
                for index, name in enumerate(self.names)
            ],
            "confusion": self.confusion.tolist(),
            **({} if self.boundaries is None else {"boundaries": self.boundaries.tolist()}),
        }

    def to_text(self, protocol: Protocol | None = None) -> str:
        """Write a table for the terminal, with how the images were shown to the network where that is given."""
        rows = [("class", *self.measures, "pixels"), *self._rows()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
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
        shown += [f"warning: {self.warning}"] if self.warning else []
        return "\n".join([*head, *shown, "", *table])

    def to_markdown(self, protocol: Protocol | None = None, facts: Mapping[str, Any] | None = None) -> str:
        """Write a table for a document.

        Args:
            protocol: how the images were shown to the network, to be stated.
            facts: what else to state, by name, such as the run and its checkpoint.
        """
        rows = [f"| {' | '.join([name.replace('|', chr(92) + '|'), *figures])} |" for name, *figures in self._rows()]
        scores = f"Pixel accuracy **{_score(self.pixel_accuracy)}**, mean IoU **{_score(self.mean_iou)}**."
        if (of_60 := self.mean_iou_of_60) is not None:
            scores += f" Mean IoU x 59/60, beside figures over 60 classes: **{_score(of_60)}**."
        told = [f"{name.replace('_', ' ')}: `{value}`" for name, value in (facts or {}).items()]
        told += [f"protocol: {protocol.to_text()}"] if protocol else []
        stated = [f"{', '.join(told)}.", ""] if told else []
        stated += [f"Warning: {self.warning}.", ""] if self.warning else []
        columns = ["class", *self.measures, "pixels"]
        head = [f"| {' | '.join(columns)} |", f"|---|{'---:|' * (len(columns) - 1)}"]
        return "\n".join([scores, "", *stated, self._basis(), "", *head, *rows])

    def to_dataframe(self) -> Any:
        """Give a row for every class: its measures and its pixels.

        Raises:
            ImportError: pandas is not installed.
        """
        pandas = require_pandas("a table of scores")
        rows = {**self.measures, "pixels": self.confusion.sum(axis=1)}
        return pandas.DataFrame(rows, index=pandas.Index(self.names, name="class"))

    def plot(self) -> Any:
        """Draw bars of every measure by class, as a figure of matplotlib."""
        from keras_cacnet.visualization.score_figures import class_bars

        return class_bars(self.names, self.measures)

    def _repr_html_(self) -> str:
        mean_iou, accuracy = _score(self.mean_iou), _score(self.pixel_accuracy)
        caption = f"mean IoU {mean_iou}, pixel accuracy {accuracy}; {self._basis()}"
        return html_table(["class", *self.measures, "pixels"], self._rows(), caption)

    def _rows(self) -> list[tuple[str, ...]]:
        columns = [list(map(_score, values)) for values in self.measures.values()]
        pixels = [f"{count:,}" for count in self.confusion.sum(axis=1)]
        return list(zip(self.names, *columns, pixels, strict=True))

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
