"""A data set by its name or its folder."""

import os

from keras_cacnet.datasets.folder import Folder
from keras_cacnet.datasets.records import Records, cache_folder
from keras_cacnet.datasets.source import SegmentationDataset
from keras_cacnet.files import user_path
from keras_cacnet.wording import did_you_mean

PUBLISHED = ("voc2012", "pascal_context/60", "pascal_context/59", "ade20k")
"""The published data sets that `open_dataset` knows by name."""


def open_dataset(data: str | os.PathLike[str], data_dir: str | os.PathLike[str] | None = None) -> SegmentationDataset:
    """Open a data set by its name or its folder.

    Args:
        data: one of `PUBLISHED`, or "scenes", the generated set, or the path of a folder (see `Folder`). A folder
            called scenes is `./scenes`.
        data_dir: of a published set, the folder in which it was unpacked; records of it are made in `cache_folder()`
            on first use. Of the generated set, where it is kept, made on first use; `cache_folder()` where None. None
            with a folder, which is read in place.

    Returns:
        The data set.

    Raises:
        ValueError: the folder does not exist or is not laid out as a data set, files of a published set are
            missing or wrong, records cannot be written, or there is a `data_dir` for a folder.

    Example:
        >>> open_dataset("nowhere")
        Traceback (most recent call last):
        ValueError: nowhere: does not exist; expected images/train/NAME.jpg ...
    """
    if data == "scenes":
        # tensorflow-datasets loads slowly, and a folder does not need it.
        from keras_cacnet.datasets.scenes import Scenes

        return Records(Scenes(data_dir=data_dir or cache_folder()))
    if data == "pascal_context":
        raise ValueError("pascal_context/60 has background as a class, pascal_context/59 has it void: choose one.")
    if data in PUBLISHED:
        from keras_cacnet.datasets.builder import open_published

        return open_published(str(data), data_dir)
    if not user_path(data).exists() and (near := did_you_mean(data, (*PUBLISHED, "scenes"), cutoff=0.7)):
        raise ValueError(f"{data}: neither a folder nor a data set that is known by name{near}")
    if data_dir is not None:
        raise ValueError(
            f"data_dir={os.fspath(data_dir)!r} (--data-dir) goes with a data set that is known by name; {data} is a "
            "folder and read where it is: leave data_dir out, or give the whole path as data (--data)"
        )
    return Folder(data)
