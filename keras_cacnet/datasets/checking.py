"""Check whole splits: all that is wrong with a data set, told before anyone trains on it."""

import os
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Literal

import numpy as np

from keras_cacnet.datasets.check_report import CheckReport, SplitFacts
from keras_cacnet.datasets.classes import VOID, ClassTable
from keras_cacnet.datasets.diagnosis import name_causes
from keras_cacnet.datasets.examining import examine_example, examine_headers, examine_mask, for_all, progress_bar
from keras_cacnet.datasets.records import Records, split_checksum
from keras_cacnet.datasets.source import (
    Example,
    Finding,
    SegmentationDataset,
    Source,
    require_no_errors,
    require_split,
)
from keras_cacnet.wording import listed

SMALL = 64
"""Images with a side below this many pixels are mentioned: at stride 8 they are 8 positions wide."""


def check_dataset(
    dataset: SegmentationDataset, splits: Sequence[str] | None = None, progress: bool = True
) -> CheckReport:
    """Read every file of a data set and report all that is wrong with it.

    Args:
        dataset: the data set.
        splits: those to read; all by default.
        progress: whether to show Keras' progress bar.

    Returns:
        Counts, sizes, class frequencies and findings. `ok` is False where training or scores would be wrong.

    Raises:
        ValueError: a split that the data set does not have.

    Example:
        >>> from pathlib import Path
        >>> from keras_cacnet.datasets import ClassTable, Example
        >>> class Nothing:
        ...     name, classes, splits = "nothing", ClassTable(("sky",), ((0, 0, 255),), (0,)), ("train",)
        ...     def source(self, split): return [Example("beach", Path("beach.jpg"), Path("beach.png"))]
        ...     def layout(self, split): return ()
        >>> report = check_dataset(Nothing(), progress=False)
        >>> report.ok, str(report.errors[0])
        (False, 'error: beach.jpg: no such file.')
    """
    chosen = tuple(dataset.splits) if splits is None else tuple(splits)
    for split in chosen:
        require_split(split, dataset.splits, dataset.name)
    findings: list[Finding] = []
    facts: dict[str, SplitFacts] = {}
    digests: dict[str, list[tuple[str, Example]]] = {}
    bar = progress_bar(sum(len(dataset.source(split)) for split in chosen)) if progress else None
    for split in chosen:
        layout = dataset.layout(split)
        findings += layout
        facts[split] = SplitFacts(dataset.classes)
        rotated: list[str] = []
        small: list[str] = []
        checksums: list[bytes] = []
        for one in for_all(lambda example: examine_example(example, dataset.classes), dataset.source(split), bar):
            findings += _not_told(one.findings, layout)
            facts[split].add(one.example, one.size, one.counts)
            digests.setdefault(one.image_digest, []).append((split, one.example))
            checksums.append(one.checksum)
            if one.rotated:
                rotated.append(one.example.image_origin)
            if one.size and min(one.size) < SMALL:
                small.append(one.example.image_origin)
        if isinstance(dataset, Records):
            findings += dataset.verify(split, split_checksum(checksums))
        if rotated:
            findings.append(Finding("note", split, f"EXIF turns {_those(rotated)}; masks have to be turned too."))
        if small:
            findings.append(Finding("note", split, f"a side below {SMALL} pixels: {_those(small)}."))
    findings += _repeated(digests, dataset.nested if isinstance(dataset, Records) else frozenset())
    findings += _missing_splits(dataset) if splits is None else []
    for split in chosen:
        findings += _absent_classes(split, facts[split], trained=split.startswith("train"))
    if len(dataset.classes) == 1:
        message = "only one class: every network is right everywhere. Give the rest a class of its own."
        findings.append(Finding("warning", "classes", message))
    return CheckReport(dataset.name, dataset.classes, facts, name_causes(dataset, findings, facts))


def require_layout(dataset: SegmentationDataset, splits: Sequence[str] | None = None) -> None:
    """Check, without decoding pixels, that every image has a mask that fits it.

    It is the quickest part of `check_dataset`: pairs, duplicates, headers, sizes and pixel types. `require_labels` goes
    on with the ids in the masks.

    Args:
        dataset: the data set.
        splits: those to look at; `train` and `val`, where they exist, by default.

    Raises:
        ValueError: something is wrong; it lists the files and what mends them.

    Example:
        >>> from pathlib import Path
        >>> from keras_cacnet.datasets import ClassTable, Example
        >>> class Nothing:
        ...     name, classes, splits = "nothing", ClassTable(("sky",), ((0, 0, 255),), (0,)), ("train",)
        ...     def source(self, split): return [Example("beach", Path("beach.jpg"), Path("beach.png"))]
        ...     def layout(self, split): return ()
        >>> require_layout(Nothing())
        Traceback (most recent call last):
        ValueError: nothing: 2 problems:
          beach.jpg: no such file.
          beach.png: no such file.
    """
    chosen = [split for split in ("train", "val") if split in dataset.splits] if splits is None else splits
    findings: list[Finding] = []
    for split in chosen:
        layout = dataset.layout(split)
        findings += layout
        for found in for_all(lambda example: examine_headers(example, dataset.classes), dataset.source(split)):
            findings += _not_told(found, layout)
    require_no_errors(dataset.name, name_causes(dataset, findings, {}))


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
    findings, facts = _labels_of(dataset, trained)
    counted = {trained: facts}
    if scored is not None and scored != trained:
        others, counted[scored] = _labels_of(dataset, scored, trained=False)
        findings += others
    named = name_causes(dataset, findings, counted)
    require_no_errors(dataset.name, named)
    return tuple(finding for finding in named if finding.level == "warning")


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
    return tuple(_labels_of(dataset, split, trained)[0])


def _labels_of(dataset: SegmentationDataset, split: str, trained: bool = True) -> tuple[list[Finding], SplitFacts]:
    require_split(split, dataset.splits, dataset.name)
    known = dataset.pixels(split) if isinstance(dataset, Records) else None
    if known is not None:
        facts = SplitFacts(dataset.classes)
        facts.pixels += known
        return _absent_classes(split, facts, trained), facts
    findings, facts = read_labels(dataset.source(split), dataset.classes)
    return [*findings, *_absent_classes(split, facts, trained)], facts


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


def _absent_classes(split: str, facts: SplitFacts, trained: bool) -> list[Finding]:
    """One finding for all classes that never occur in a split, the likely reason first."""
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


def _repeated(digests: dict[str, list[tuple[str, Example]]], nested: frozenset[frozenset[str]]) -> list[Finding]:
    findings = []
    for digest, places in digests.items():
        if not digest or len(places) < 2:
            continue
        if all(frozenset((one, other)) in nested for (one, _), (other, _) in combinations(places, 2)):
            continue
        (split, first), *others = places
        across = sorted({other for other, _ in places} - {split})
        # The same picture twice in one split only weighs double; in train and val it makes scores too good.
        level, where = ("warning", f"is in {' and '.join(across)} too") if across else ("note", "is there twice")
        names = listed(example.image_origin for _, example in others)
        findings.append(
            Finding(level, first.image_origin, f"{where}, the same file: {names}.")  # type: ignore[arg-type]
        )
    return findings


def _missing_splits(dataset: SegmentationDataset) -> list[Finding]:
    findings, found = [], listed(dataset.splits)
    if "train" not in dataset.splits:
        findings.append(Finding("error", dataset.name, f"no train split; found {found}."))
    if "val" not in dataset.splits:
        findings.append(Finding("warning", dataset.name, f"no val split to choose by and score; found {found}."))
    return findings


def _not_told(findings: Iterable[Finding], layout: Sequence[Finding]) -> list[Finding]:
    """Leave out files that the layout has reported: a missing mask, or all of a missing folder."""
    told = {finding.where for finding in layout if finding.level == "error"}
    return [one for one in findings if one.where not in told and os.path.dirname(one.where) not in told]


def _those(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} images, {names[0]} the first"
