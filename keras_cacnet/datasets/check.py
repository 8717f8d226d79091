"""What is wrong with a data set, told before anyone trains on it."""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

from keras_cacnet.datasets.check_example import inspect, inspect_headers
from keras_cacnet.datasets.check_report import CheckReport, SplitFacts
from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.datasets.progress import Bar
from keras_cacnet.datasets.records import Records
from keras_cacnet.datasets.source import Example, Finding, SegmentationDataset, check_split

SMALL = 64
"""Images with a side below this many pixels are mentioned: at stride 8 they are 8 positions wide."""

_LISTED = 20


def check(dataset: SegmentationDataset, splits: Sequence[str] | None = None, progress: bool = True) -> CheckReport:
    """Reads every file of a data set and tells all that is wrong with it.

    Args:
        dataset: The data set.
        splits: Those to read; all by default.
        progress: Whether to show Keras' progress bar.

    Returns:
        Counts, sizes, class frequencies and findings. `ok` is False where training or scores would be wrong.

    Raises:
        ValueError: A split that the data set does not have.

    Example:

    >>> from pathlib import Path
    >>> from keras_cacnet.datasets import ClassTable, Example
    >>> class Nothing:
    ...     name, classes, splits = "nothing", ClassTable(("sky",), ((0, 0, 255),), (0,)), ("train",)
    ...     def source(self, split): return [Example("beach", Path("beach.jpg"), Path("beach.png"))]
    ...     def layout(self, split): return ()
    >>> report = check(Nothing(), progress=False)
    >>> report.ok, str(report.errors[0])
    (False, 'error: beach.jpg: no such file.')
    """
    chosen = tuple(dataset.splits) if splits is None else tuple(splits)
    for split in chosen:
        check_split(split, dataset.splits, dataset.name)
    findings: list[Finding] = []
    facts: dict[str, SplitFacts] = {}
    digests: dict[str, list[tuple[str, Example]]] = {}
    bar = Bar(sum(len(dataset.source(split)) for split in chosen) if progress else 0)
    for split in chosen:
        layout = dataset.layout(split)
        findings += layout
        if isinstance(dataset, Records):
            findings += dataset.verify(split)
        source = dataset.source(split)
        facts[split] = SplitFacts(len(dataset.classes))
        rotated: list[str] = []
        small: list[str] = []
        with ThreadPoolExecutor(os.cpu_count()) as readers:
            read = readers.map(lambda i, s=source: inspect(s[i], dataset.classes), range(len(source)))
            for one in read:
                bar.step()
                findings += _not_told(one.findings, layout)
                facts[split].add(one.size, one.counts, one.example.mask is not None)
                digests.setdefault(one.digest, []).append((split, one.example))
                if one.rotated:
                    rotated.append(one.example.image_origin)
                if one.size and min(one.size) < SMALL:
                    small.append(one.example.image_origin)
        if rotated:
            findings.append(Finding("note", split, f"EXIF turns {_those(rotated)}; masks have to be turned too."))
        if small:
            findings.append(Finding("note", split, f"a side below {SMALL} pixels: {_those(small)}."))
    findings += _repeated(digests, dataset.nested if isinstance(dataset, Records) else frozenset())
    findings += _missing_splits(dataset) if splits is None else []
    findings += _missing_classes(dataset.classes, facts)
    return CheckReport(dataset.name, dataset.classes, facts, tuple(findings))


def check_layout(dataset: SegmentationDataset, splits: Sequence[str] | None = None) -> None:
    """Checks, without decoding pixels, that every image has a mask that fits it.

    It is the quick part of `check`, which training does before it starts: pairs, duplicates, headers, sizes
    and pixel types. Ids are held against the classes by `read_example` as training reads.

    Args:
        dataset: The data set.
        splits: Those to look at; `train` and `val`, where they exist, by default.

    Raises:
        ValueError: Something is wrong; it lists the files and what mends them.

    Example:

    >>> from pathlib import Path
    >>> from keras_cacnet.datasets import ClassTable, Example
    >>> class Nothing:
    ...     name, classes, splits = "nothing", ClassTable(("sky",), ((0, 0, 255),), (0,)), ("train",)
    ...     def source(self, split): return [Example("beach", Path("beach.jpg"), Path("beach.png"))]
    ...     def layout(self, split): return ()
    >>> check_layout(Nothing())
    Traceback (most recent call last):
    ValueError: nothing: 2 problems:
      beach.jpg: no such file.
      beach.png: no such file.
    """
    chosen = [split for split in ("train", "val") if split in dataset.splits] if splits is None else splits
    errors: list[Finding] = []
    for split in chosen:
        source = dataset.source(split)
        layout = dataset.layout(split)
        errors += [finding for finding in layout if finding.level == "error"]
        with ThreadPoolExecutor(os.cpu_count()) as readers:
            for found in readers.map(lambda i, s=source: inspect_headers(s[i]), range(len(source))):
                errors += _not_told(found, layout)
    if errors:
        more = f"\n  and {len(errors) - _LISTED} more" if len(errors) > _LISTED else ""
        lines = "".join(f"\n  {finding.where}: {finding.message}" for finding in errors[:_LISTED])
        count = f"{len(errors)} problem{'' if len(errors) == 1 else 's'}"
        raise ValueError(f"{dataset.name}: {count}:{lines}{more}")


def shares_images(dataset: SegmentationDataset, one: str, other: str) -> bool:
    """Whether two splits of a data set share images on purpose, as VOC's trainval has those of its val.

    Args:
        dataset: The data set.
        one: A split.
        other: A split, the same one or another.

    Example:

    >>> from keras_cacnet.datasets import ClassTable
    >>> class Nothing:
    ...     name, classes, splits = "nothing", ClassTable(("sky",), ((0, 0, 255),), (0,)), ("train", "val")
    >>> shares_images(Nothing(), "val", "val"), shares_images(Nothing(), "train", "val")
    (True, False)
    """
    nested = dataset.nested if isinstance(dataset, Records) else frozenset()
    return one == other or frozenset((one, other)) in nested


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
        names = ", ".join(example.image_origin for _, example in others)
        findings.append(
            Finding(level, first.image_origin, f"{where}, the same file: {names}.")  # type: ignore[arg-type]
        )
    return findings


def _missing_splits(dataset: SegmentationDataset) -> list[Finding]:
    findings = []
    if "train" not in dataset.splits:
        found = ", ".join(dataset.splits)
        findings.append(Finding("error", dataset.name, f"no train split; found {found}."))
    if "val" not in dataset.splits:
        found = ", ".join(dataset.splits)
        findings.append(Finding("warning", dataset.name, f"no val split to choose by and score; found {found}."))
    return findings


def _missing_classes(classes: ClassTable, facts: dict[str, SplitFacts]) -> list[Finding]:
    findings = []
    for split, consequence in (("train", "it cannot be learnt"), ("val", "it has no score")):
        if split not in facts or not facts[split].masks:
            continue
        absent = [name for i, name in zip(classes.ids, classes.names, strict=True) if not facts[split].pixels[i]]
        level = "warning" if split == "train" else "note"
        findings += [Finding(level, split, f"{name!r} never occurs: {consequence}.") for name in absent]  # type: ignore[arg-type]
    if len(classes) == 1:
        message = "only one class: every network is right everywhere. Give the rest a class of its own."
        findings.append(Finding("warning", "classes", message))
    return findings


def _not_told(findings: Iterable[Finding], layout: Sequence[Finding]) -> list[Finding]:
    """Leaves out files that the layout has told of: a missing mask, or all of a missing folder."""
    told = {finding.where for finding in layout if finding.level == "error"}
    return [one for one in findings if one.where not in told and os.path.dirname(one.where) not in told]


def _those(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} images, {names[0]} the first"
