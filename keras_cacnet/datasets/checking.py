"""Check whole splits: all that is wrong with a data set, told before anyone trains on it."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from itertools import combinations

from keras_cacnet.datasets.check_report import CheckReport, SplitFacts
from keras_cacnet.datasets.diagnosis import name_causes
from keras_cacnet.datasets.example_checking import examine_example, examine_headers, for_all, progress_bar
from keras_cacnet.datasets.label_checking import absent_classes
from keras_cacnet.datasets.records import Records, split_checksum
from keras_cacnet.datasets.source import Example, Finding, SegmentationDataset, require_no_errors, require_split
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
        black: list[str] = []
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
            if one.black:
                black.append(one.example.image_origin)
        # A photograph can be black; most of a split are not.
        if black and len(black) >= facts[split].images / 2:
            text = f"{_those(black)}: no value above 1. Were the images divided by 255? They have to be in 0..255."
            findings.append(Finding("warning", split, text))
        if isinstance(dataset, Records):
            findings += dataset.verify(split, split_checksum(checksums))
        if rotated:
            findings.append(Finding("note", split, f"EXIF turns {_those(rotated)}; masks have to be turned too."))
        if small:
            findings.append(Finding("note", split, f"a side below {SMALL} pixels: {_those(small)}."))
    findings += _repeated(digests, dataset.nested if isinstance(dataset, Records) else frozenset())
    findings += _missing_splits(dataset) if splits is None else []
    for split in chosen:
        findings += absent_classes(split, facts[split], trained=split.startswith("train"))
        if split.startswith("train") and facts[split].images == 1:
            text = "1 image, and the pooled branch needs 2: add images, or train with --set global_pooling=false."
            findings.append(Finding("warning", split, text))
    if len(dataset.classes) == 1:
        message = "only one class: every network is right everywhere. Give the rest a class of its own."
        findings.append(Finding("warning", "classes", message))
    return CheckReport(dataset.name, dataset.classes, facts, name_causes(dataset, findings, facts))


def require_layout(dataset: SegmentationDataset, splits: Sequence[str] | None = None) -> tuple[Finding, ...]:
    """Check, without decoding pixels, that every image has a mask that fits it.

    It is the quickest part of `check_dataset`: pairs, duplicates, headers, sizes and pixel types. `require_labels` goes
    on with the ids in the masks.

    Args:
        dataset: the data set.
        splits: those to look at; `train` and `val`, where they exist, by default.

    Returns:
        Warnings: files and folders that are left out, and images that two of the splits share.

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
    named = name_causes(dataset, findings, {})
    require_no_errors(dataset.name, named)
    return (*(finding for finding in named if finding.level == "warning"), *_shared(dataset, chosen))


def _shared(dataset: SegmentationDataset, splits: Sequence[str]) -> list[Finding]:
    """Images that two splits have; only files that are as long as one of another split are read."""
    if isinstance(dataset, Records):
        # All of them would have to be read.
        return []
    by_length: dict[int, list[tuple[str, Example]]] = {}
    for split in splits:
        source = dataset.source(split)
        for example in map(source.__getitem__, range(len(source))):
            length = len(example.image) if isinstance(example.image, bytes) else example.image.stat().st_size
            by_length.setdefault(length, []).append((split, example))
    digests: dict[str, list[tuple[str, Example]]] = {}
    for places in by_length.values():
        if len({split for split, _ in places}) > 1:
            for split, example in places:
                data = example.image if isinstance(example.image, bytes) else example.image.read_bytes()
                digests.setdefault(hashlib.sha256(data).hexdigest(), []).append((split, example))
    return [finding for finding in _repeated(digests, frozenset()) if finding.level == "warning"]


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
        names = listed(example.image_origin for _, example in others)
        if across:
            text = f"in {' and '.join(across)} too, the same file: {names}."
            findings.append(Finding("warning", first.image_origin, text, kind="shared image"))
        else:
            findings.append(Finding("note", first.image_origin, f"is there twice, the same file: {names}."))
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
