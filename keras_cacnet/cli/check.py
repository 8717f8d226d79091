"""`keras-cacnet check`."""

import argparse

from keras_cacnet.cli.arguments import AddCommand, add_data


def add(command: AddCommand) -> None:
    """Add the command to the parser."""
    parser = command("check", run, "read a data set and say what would go wrong in training")
    add_data(parser, required=True)
    parser.add_argument("--split", action="append", help="a split to read; all where none is given")


def run(options: argparse.Namespace) -> int:
    from keras_cacnet.datasets import check_dataset, open_dataset

    report = check_dataset(open_dataset(options.data, options.data_dir), options.split or None)
    print(report.to_text())
    return 0 if report.ok else 1
