"""`keras-cacnet report`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from keras_cacnet.cli.arguments import AddCommand, add_data

if TYPE_CHECKING:
    from keras_cacnet.datasets import SegmentationDataset
    from keras_cacnet.training.run import Run


def add(command: AddCommand) -> None:
    """Add the command to the parser."""
    parser = command("report", run, "write a run's page: scores, curves, images and settings in one HTML file")
    parser.add_argument("run", metavar="RUN", help="folder that train wrote")
    add_data(parser, required=False, otherwise="the run's")
    parser.add_argument("--split", help="split to score (default: the run's validation split)")
    parser.add_argument("--images", type=int, metavar="N", help="predict N images of the split only (default: all)")
    parser.add_argument("--output", metavar="FILE", help="the page (default: RUN/report.html)")


def run(options: argparse.Namespace) -> int:
    from keras_cacnet.files import writable_file
    from keras_cacnet.report import write_report
    from keras_cacnet.training.run import Run

    if options.images is not None and options.images < 1:
        raise ValueError(f"--images must be at least 1, got {options.images}")
    if options.output:
        writable_file(options.output)
    trained = Run(options.run)
    dataset = _data(options, trained)
    page = write_report(trained, dataset, path=options.output, split=options.split, images=options.images)
    print(f"written: {page}")
    return 0


def _data(options: argparse.Namespace, trained: Run) -> SegmentationDataset | None:
    """The data that is named, or that of the run, where it is still there."""
    from keras_cacnet.datasets import open_dataset

    if options.data:
        return open_dataset(options.data, options.data_dir)
    try:
        return open_dataset(*trained.data(data_dir=options.data_dir))
    except (ValueError, OSError) as error:
        print(f"note: {error}")
        return None
