"""The labels of whole splits, by their masks only: their counts, and what is wrong with them, told before training."""

from typing import Literal

import numpy as np

from keras_cacnet.datasets.check_report import SplitFacts
from keras_cacnet.datasets.classes import VOID, ClassTable
from keras_cacnet.datasets.diagnosis import name_causes
from keras_cacnet.datasets.example_checking import examine_mask, for_all
from keras_cacnet.datasets.records import Records
from keras_cacnet.datasets.source import (
    Example,
    Finding,
    SegmentationDataset,
    Source,
    require_no_errors,
    require_split,
)
from keras_cacnet.wording import listed


def require_labels(dataset: SegmentationDataset, trained: str, scored: str | None = None) -> tuple[Finding, ...]:
    """Check the ids in the masks that a run is trained and scored on, before it starts.

    Masks are decoded, in several threads, and images are not; a published set has its counts in its records.

    Args:
        dataset: the data set.
        trained: the split that is trained on.
        scored: a split that is scored, such as `val`.

    Returns:
        What may make training wrong, such as a class that never occurs in `trained`.

    Raises:
        ValueError: labels that make training or scores wrong: masks with ids that are no class, that do not decode
            or were renumbered, and a class that never occurs while most pixels are void, as in masks of 0 and 255.

    Example:
        >>> import io, numpy as np
        >>> from PIL import Image
        >>> from keras_cacnet.datasets import ClassTable, Example
        >>> mask = io.BytesIO()
        >>> Image.fromarray(np.array([[0, 255]], "uint8")).save(mask, "PNG")
        >>> class Halves:
        ...     name, classes, splits = "halves", ClassTable(("a", "b"), ((0, 0, 0), (9, 9, 9)), (0, 1)), ("train",)
        ...     def source(self, split): return [Example("one", b"", mask.getvalue())]
        ...     def layout(self, split): return ()
        >>> require_labels(Halves(), "train")
        Traceback (most recent call last):
        ValueError: halves: 1 problem:
          train: masks hold only 0 and 255, and 255 is void (50% of the pixels, most in one (mask)): ...
    """
    return judged_labels(dataset, trained, scored)[0]


def judged_labels(
    dataset: SegmentationDataset, trained: str, scored: str | None = None, counted: bool = False
) -> tuple[tuple[Finding, ...], SplitFacts]:
    """Check labels as `require_labels` does, and give the counts that the same reading of the masks makes.

    Args:
        dataset: the data set.
        trained: the split that is trained on.
        scored: a split that is scored.
        counted: whether the masks of `trained` are read where records have its pixels per class too, for the counts by
            image that records do not have.

    Returns:
        What `require_labels` returns, and the counts of `trained`.

    Raises:
        ValueError: as `require_labels`.
    """
    findings, facts = _read_split(dataset, trained, by_records=not counted)
    by_split = {trained: facts}
    if scored is not None and scored != trained:
        others, by_split[scored] = _read_split(dataset, scored, trained=False)
        findings += others
    named = name_causes(dataset, findings, by_split)
    require_no_errors(dataset.name, named)
    return tuple(finding for finding in named if finding.level == "warning"), facts


def label_findings(dataset: SegmentationDataset, split: str, trained: bool = True) -> tuple[Finding, ...]:
    """Read the masks of a split, not its images, and collect what is wrong with their labels.

    Args:
        dataset: the data set.
        split: one of its splits.
        trained: whether the split is trained on; where it is only scored, a class that never occurs is no error.

    Returns:
        Errors for masks with ids that are no class, that do not decode, or that were renumbered; and one finding for
        the classes that never occur: an error where most pixels are void or masks hold only 0 and 255, else a
        warning; of a split that is only scored a warning and a note.

    Raises:
        ValueError: there is no such split.
    """
    return tuple(_read_split(dataset, split, trained)[0])


def _read_split(
    dataset: SegmentationDataset, split: str, trained: bool = True, by_records: bool = True
) -> tuple[list[Finding], SplitFacts]:
    require_split(split, dataset.splits, dataset.name)
    known = dataset.pixels(split) if by_records and isinstance(dataset, Records) else None
    if known is not None:
        facts = SplitFacts(dataset.classes)
        facts.pixels += known
        return absent_classes(split, facts, trained), facts
    findings, facts = read_labels(dataset.source(split), dataset.classes)
    return [*findings, *absent_classes(split, facts, trained)], facts


def read_labels(source: Source, classes: ClassTable) -> tuple[list[Finding], SplitFacts]:
    """Read the masks of a source, several at once.

    Args:
        source: the examples; their images are not read.
        classes: the classes.

    Returns:
        The errors of the masks, and the counts, without the sizes of the images.
    """
    findings: list[Finding] = []
    facts = SplitFacts(classes)

    def read(example: Example) -> tuple[Example, np.ndarray | None, list[Finding]]:
        _, counts, found = examine_mask(example, classes)
        return example, counts, [finding for finding in found if finding.level == "error"]

    for example, counts, found in for_all(read, source):
        facts.add(example, None, counts)
        findings += found
    return findings, facts


def count_labels(dataset: SegmentationDataset, split: str) -> SplitFacts:
    """Count the labels in the masks of a split; what is wrong with them is left to `label_findings`.

    Args:
        dataset: the data set.
        split: one of its splits.

    Returns:
        The counts, as `check_dataset` has them, without the sizes of the images.

    Raises:
        ValueError: there is no such split.
    """
    require_split(split, dataset.splits, dataset.name)
    return read_labels(dataset.source(split), dataset.classes)[1]


def absent_classes(split: str, facts: SplitFacts, trained: bool) -> list[Finding]:
    """Make one finding of all classes that never occur in a split, the likely reason first."""
    classes = facts.classes
    absent = [repr(name) for i, name in zip(classes.ids, classes.names, strict=True) if not facts.pixels[i]]
    present = set(np.flatnonzero(facts.pixels).tolist())
    if not absent or not present:
        return []
    void_ids = {*classes.void_ids, VOID}
    void = facts.void / int(facts.pixels.sum())
    most = f", most in {facts.most_void_mask}" if facts.most_void_mask else ""
    mend = "write the ids that classes.txt gives to the classes."
    reason, is_wrong, kind = "", False, "absent class"
    if VOID in present and present <= {0, VOID}:
        kind = "black and white"
        reason, is_wrong = f"masks hold only 0 and {VOID}, and {VOID} is void ({void:.0%} of the pixels{most}): ", True
    elif void > 0.5:
        reason, is_wrong = f"{void:.0%} of the pixels are void (id {listed(sorted(void_ids & present))}{most}): ", True
    elif present - void_ids <= {0, 1} and max(classes.ids) > max(present - void_ids):
        reason = f"no id is above {max(present - void_ids)}; were the masks divided by 255, or made black and white? "
    many = len(absent) > 1
    text = f"{listed(absent)} never {'occur' if many else 'occurs'}"
    if trained:
        text += f": {'they' if many else 'it'} cannot be learnt"
    else:
        text += f": {'they have' if many else 'it has'} no score"
    level: Literal["error", "warning", "note"] = "note"
    if trained or reason:
        level = "error" if trained and is_wrong else "warning"
    return [Finding(level, split, f"{reason}{text}{f'; {mend}' if reason else '.'}", kind)]
