"""`keras-cacnet check`."""

import argparse
from pathlib import Path

from keras_cacnet.cli.arguments import AddCommand, add_data


def add(command: AddCommand) -> None:
    """Add the command to the parser."""
    parser = command("check", run, "read a data set and say what would go wrong in training")
    add_data(parser, required=True)
    parser.add_argument("--split", action="append", help="a split to read; all where none is given")
    parser.add_argument("--json", type=Path, help="also write the report to this file, with every finding")


def run(options: argparse.Namespace) -> int:
    from keras_cacnet.datasets import check_dataset, open_dataset
    from keras_cacnet.files import writable_file, write_json

    output = writable_file(options.json) if options.json else None
    report = check_dataset(open_dataset(options.data, options.data_dir), options.split or None)
    print(report.to_text())
    if output is not None:
        write_json(output, report.to_json())
    return 0 if report.ok else 1
