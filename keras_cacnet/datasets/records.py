"""A tensorflow-datasets builder as a data set of this library."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.datasets.example_checking import for_all
from keras_cacnet.datasets.source import Example, Finding, SegmentationDataset, described, require_split
from keras_cacnet.files import user_path


def cache_folder() -> Path:
    """Find the folder where records are kept unless one says otherwise.

    Returns:
        `KERAS_CACNET_DATA` where that is set, else `keras_cacnet` in the user's cache folder.

    Example:
        >>> cache_folder().name
        'keras_cacnet'
    """
    if chosen := os.environ.get("KERAS_CACNET_DATA"):
        return user_path(chosen)
    return user_path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "keras_cacnet"


class Records:
    """The records of a tensorflow-datasets builder, made on first use.

    Args:
        builder: with features `image` and `mask`, encoded images, metadata as `ClassTable.to_json` renders
            it, and records with random access. A feature `name` names the examples; without it they are numbered.
        name: how the data set is called; the builder's name by default.
        manual_dir: where the files lie that the builder makes records of, where it needs any.

    Raises:
        ValueError: the folder for the records cannot be written, or the builder finds its files wrong.
    """

    def __init__(self, builder: Any, name: str | None = None, manual_dir: Path | None = None) -> None:
        from tensorflow_datasets import download

        try:
            # Without the look at Google's bucket for records that are made already.
            settings = download.DownloadConfig(try_download_gcs=False, manual_dir=manual_dir)
            builder.download_and_prepare(download_config=settings)
        except OSError as error:
            if not (builder.data_path / "dataset_info.json").exists():
                # The data_dir of a published set is where its files lie.
                mend = "data_dir (--data-dir)" if manual_dir is None else "the variable KERAS_CACNET_DATA"
                raise ValueError(
                    f"{builder.data_dir}: records cannot be written ({error}); choose another folder with {mend}."
                ) from error
            # Another process made the same records meanwhile and was first to name them.
            builder.info.read_from_directory(builder.data_path)
        self._builder = builder
        self._sources: dict[str, Sequence[Example]] = {}
        self.name = name or str(builder.name)
        self.splits = tuple(builder.info.splits)
        self.classes = ClassTable.from_json(builder.info.metadata)
        self.nested = frozenset(frozenset(pair) for pair in builder.info.metadata.get("nested", ()))
        self.form = str(builder.info.metadata.get("form", ""))

    def __repr__(self) -> str:
        return f"<{described(self)}>"

    def source(self, split: str) -> Sequence[Example]:
        """Give the examples of a split, in the order of the records.

        Args:
            split: one of `splits`.

        Returns:
            Examples with the bytes of PNG or JPEG files; they are called NAME/SPLIT/INDEX, or NAME/SPLIT/ID where
            the records have ids.

        Raises:
            ValueError: there is no such split.
        """
        require_split(split, self.splits, self.name)
        if split not in self._sources:
            self._sources[split] = _RecordsSource(self._builder, split, self.name)
        return self._sources[split]

    def layout(self, split: str) -> Sequence[Finding]:
        """Report what the builder noted of a split. A record holds both image and mask, so none is missing.

        Args:
            split: one of `splits`.

        Returns:
            Which form of the data set was read, and a warning where the split is a part of the official one.

        Raises:
            ValueError: there is no such split.
        """
        require_split(split, self.splits, self.name)
        where = f"{self.name}/{split}"
        findings = [Finding("note", where, f"read from {self.form}.")] if self.form else []
        if note := self._builder.info.metadata.get("notes", {}).get(split):
            findings.append(Finding("warning", where, note))
        return tuple(findings)

    def checksum(self, split: str) -> str | None:
        """Give the checksum that was taken of a split's files when the records were made; None where there is none."""
        require_split(split, self.splits, self.name)
        return self._builder.info.metadata.get("sha256", {}).get(split)

    def pixels(self, split: str) -> np.ndarray | None:
        """Give the pixels per id, 256 of them, counted when the records were made; None where they were not."""
        require_split(split, self.splits, self.name)
        counts = self._builder.info.metadata.get("pixels", {}).get(split)
        return None if counts is None else np.asarray(counts, "int64")

    def verify(self, split: str, found: str) -> Sequence[Finding]:
        """Hold the records of a split against the checksum that was taken of its files.

        Args:
            split: one of `splits`.
            found: the checksum of what its examples hold now, by `split_checksum`.

        Returns:
            An error where they differ; nothing where they agree or the builder takes no checksums.

        Raises:
            ValueError: there is no such split.
        """
        if self.checksum(split) in (None, found):
            return ()
        message = f"the records have changed since they were made: remove {self._builder.data_path}."
        return (Finding("error", f"{self.name}/{split}", message),)


class _RecordsSource(Sequence[Example]):
    def __init__(self, builder: Any, split: str, name: str) -> None:
        from tensorflow_datasets import decode

        keep = {"image": decode.SkipDecoding(), "mask": decode.SkipDecoding()}
        self._records = builder.as_data_source(split, decoders=keep)
        self._prefix = f"{name}/{split}"
        self._has_masks = split not in builder.info.metadata.get("without_masks", ())

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        record = self._records[place]
        name = record["name"].decode() if "name" in record else place
        mask = bytes(record["mask"]) if self._has_masks else None
        return Example(f"{self._prefix}/{name}", bytes(record["image"]), mask)


def split_checksum(examples: Iterable[bytes]) -> str:
    """Sum up the checksums of a split's examples, in their order.

    Example:
        >>> split_checksum([b"one", b"two"]) == split_checksum([b"two", b"one"])
        False
    """
    return hashlib.sha256(b"".join(examples)).hexdigest()


def shares_images(dataset: SegmentationDataset, one: str, other: str) -> bool:
    """Tell whether two splits of a data set share images on purpose, as VOC's trainval has those of its val.

    Args:
        dataset: the data set.
        one: a split.
        other: a split, the same one or another.

    Example:
        >>> from keras_cacnet.datasets import ClassTable
        >>> class Nothing:
        ...     name, classes, splits = "nothing", ClassTable(("sky",), ((0, 0, 255),), (0,)), ("train", "val")
        >>> shares_images(Nothing(), "val", "val"), shares_images(Nothing(), "train", "val")
        (True, False)
    """
    nested = dataset.nested if isinstance(dataset, Records) else frozenset()
    return one == other or frozenset((one, other)) in nested


def fingerprint(dataset: SegmentationDataset, split: str) -> str:
    """Sum up the examples of a split, by which a run recognises its data.

    Args:
        dataset: the data set.
        split: one of its splits.

    Returns:
        Hexadecimal digits that depend on the names and the contents of all examples, in order; a file that is missing
        counts as such. Of records that carry a checksum it is that one, and nothing is read.

    Raises:
        ValueError: there is no such split.

    Example:
        >>> from keras_cacnet.datasets import ClassTable, Example
        >>> class One:
        ...     name, classes, splits = "one", ClassTable(("sky",), ((0, 0, 255),), (0,)), ("train", "val")
        ...     def source(self, split): return [Example("1", split.encode(), None)]
        ...     def layout(self, split): return ()
        >>> fingerprint(One(), "train") == fingerprint(One(), "val")
        False
    """
    require_split(split, dataset.splits, dataset.name)
    if isinstance(dataset, Records) and (known := dataset.checksum(split)):
        return known

    def of_example(example: Example) -> bytes:
        parts = (example.name.encode("utf-8", "surrogateescape"), _content(example.image), _content(example.mask))
        return b"".join(hashlib.blake2b(part, digest_size=16).digest() for part in parts)

    total = hashlib.blake2b(digest_size=16)
    for part in for_all(of_example, dataset.source(split)):
        total.update(part)
    return total.hexdigest()


def _content(data: bytes | Path | None) -> bytes:
    if isinstance(data, Path):
        return data.read_bytes() if data.is_file() else b""
    return data or b""
