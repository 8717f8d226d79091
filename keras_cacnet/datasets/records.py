"""A tensorflow-datasets builder as a data set of this library."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.datasets.native import example_digest, split_digest
from keras_cacnet.datasets.reading import read_mask
from keras_cacnet.datasets.source import Example, Finding, check_split


def cache_folder() -> Path:
    """Where records are kept unless one says otherwise.

    Returns:
        `KERAS_CACNET_DATA` where that is set, else `keras_cacnet` in the user's cache folder.

    Example:

    >>> cache_folder().name
    'keras_cacnet'
    """
    if chosen := os.environ.get("KERAS_CACNET_DATA"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "keras_cacnet"


class Records:
    """The records of a tensorflow-datasets builder, made on first use.

    Args:
        builder: With features `image` and `mask`, encoded images, metadata as `ClassTable.to_json` renders
            it, and records with random access. A feature `name` names the examples; without it they are numbered.
        name: How the data set is called; the builder's name by default.
        manual_dir: Where the files lie that the builder makes records of, where it needs any.

    Raises:
        ValueError: The folder for the records cannot be written, or the builder finds its files wrong.
    """

    def __init__(self, builder: Any, name: str | None = None, manual_dir: Path | None = None) -> None:
        from tensorflow_datasets import download

        try:
            # Without the look at Google's bucket for records that are made already.
            settings = download.DownloadConfig(try_download_gcs=False, manual_dir=manual_dir)
            builder.download_and_prepare(download_config=settings)
        except OSError as error:
            if not (builder.data_path / "dataset_info.json").exists():
                raise ValueError(
                    f"{builder.data_dir}: records cannot be written ({error}); choose another folder with "
                    "data_dir (--data-dir)."
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

    def source(self, split: str) -> Sequence[Example]:
        """Gives the examples of a split, in the order of the records.

        Args:
            split: One of `splits`.

        Returns:
            Examples with the bytes of PNG or JPEG files; they are called NAME/SPLIT/INDEX, or NAME/SPLIT/ID where
            the records have ids.

        Raises:
            ValueError: There is no such split.
        """
        check_split(split, self.splits, self.name)
        if split not in self._sources:
            self._sources[split] = _RecordsSource(self._builder, split, self.name)
        return self._sources[split]

    def layout(self, split: str) -> Sequence[Finding]:
        """Tells what the builder noted of a split. A record holds both image and mask, so none is missing.

        Args:
            split: One of `splits`.

        Returns:
            Which form of the data set was read, and a warning where the split is a part of the official one.

        Raises:
            ValueError: There is no such split.
        """
        check_split(split, self.splits, self.name)
        where = f"{self.name}/{split}"
        findings = [Finding("note", where, f"read from {self.form}.")] if self.form else []
        if note := self._builder.info.metadata.get("notes", {}).get(split):
            findings.append(Finding("warning", where, note))
        return tuple(findings)

    def verify(self, split: str) -> Sequence[Finding]:
        """Holds the records of a split against the checksum that was taken of its files.

        Args:
            split: One of `splits`.

        Returns:
            An error where they differ; nothing where they agree or the builder takes no checksums.

        Raises:
            ValueError: There is no such split.
        """
        check_split(split, self.splits, self.name)
        expected = self._builder.info.metadata.get("sha256", {}).get(split)
        if expected is None:
            return ()
        try:
            found = split_digest(map(_digest, self.source(split)))
        except ValueError as error:
            found = str(error)
        if found == expected:
            return ()
        message = f"the records have changed since they were made: remove {self._builder.data_path}."
        return (Finding("error", f"{self.name}/{split}", message),)


def _digest(example: Example) -> bytes:
    assert isinstance(example.image, bytes)
    ids = None if example.mask is None else read_mask(example.mask, example.mask_origin)
    return example_digest(example.name.rsplit("/", 1)[-1], example.image, ids)


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
