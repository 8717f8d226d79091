"""The data that a run trains on: a data set, or a folder in another form that is imported beside the run first."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keras_cacnet.datasets import SegmentationDataset


def training_data(
    data: str, data_dir: str | Path | None, output: str, options: argparse.Namespace
) -> tuple[str, SegmentationDataset]:
    """Open the data of a run.

    A folder in another form is imported into `OUTPUT-data`; the same command finds it there again.

    Args:
        data: what `--data` names.
        data_dir: what `--data-dir` names.
        output: the folder of the run.
        options: of the command line.

    Returns:
        The name or the folder of the data, and the data set.

    Raises:
        ValueError: there are no such data, they have no form that is known, or what they hold does not fit together.
    """
    from keras_cacnet.datasets import import_folder, open_dataset
    from keras_cacnet.datasets.folder import OtherLayout

    try:
        return data, open_dataset(data, data_dir)
    except OtherLayout:
        if options.cluster:
            # All processes would write one folder.
            raise
    imported = f"{output.rstrip('/')}-data"
    print(f"data: {data} is not in the standard layout, so it is imported into {imported} first", flush=True)
    print(import_folder(data, imported).to_text())
    return imported, open_dataset(imported)
