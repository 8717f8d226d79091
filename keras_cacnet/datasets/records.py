"""A tensorflow-datasets builder as a data set of this library."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_cacnet.datasets.classes import ClassTable
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
            it, and records with random access.

    Raises:
        ValueError: The folder for the records cannot be written.
    """

    def __init__(self, builder: Any) -> None:
        from tensorflow_datasets import download

        try:
            # Without the look at Google's bucket for records that are made already.
            builder.download_and_prepare(download_config=download.DownloadConfig(try_download_gcs=False))
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
        self.name = str(builder.name)
        self.splits = tuple(builder.info.splits)
        self.classes = ClassTable.from_json(builder.info.metadata)

    def source(self, split: str) -> Sequence[Example]:
        """Gives the examples of a split, in the order of the records.

        Args:
            split: One of `splits`.

        Returns:
            Examples with the bytes of PNG or JPEG files; they are called NAME/SPLIT/INDEX.

        Raises:
            ValueError: There is no such split.
        """
        check_split(split, self.splits, self.name)
        if split not in self._sources:
            self._sources[split] = _RecordsSource(self._builder, split)
        return self._sources[split]

    def layout(self, split: str) -> Sequence[Finding]:
        """Finds nothing: a record holds both image and mask.

        Args:
            split: One of `splits`.

        Returns:
            An empty tuple.

        Raises:
            ValueError: There is no such split.
        """
        check_split(split, self.splits, self.name)
        return ()


class _RecordsSource(Sequence[Example]):
    def __init__(self, builder: Any, split: str) -> None:
        from tensorflow_datasets import decode

        keep = {"image": decode.SkipDecoding(), "mask": decode.SkipDecoding()}
        self._records = builder.as_data_source(split, decoders=keep)
        self._prefix = f"{builder.name}/{split}"

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        record = self._records[place]
        return Example(f"{self._prefix}/{place}", bytes(record["image"]), bytes(record["mask"]))
