"""`keras-cacnet check`."""

import argparse
import sys
from pathlib import Path

from keras_cacnet.cli.arguments import AddCommand, add_data, add_recipe


def add(command: AddCommand) -> None:
    """Add the command to the parser."""
    parser = command("check", run, "read a data set and say what would go wrong in training")
    add_data(parser, required=True)
    parser.add_argument("--split", action="append", help="a split to read; all where none is given")
    parser.add_argument("--json", type=Path, help="also write the report to this file, with every finding")
    parser.add_argument(
        "--show",
        type=int,
        metavar="N",
        help="instead, draw N crops with their masks as training by --recipe and --set would see them first",
    )
    parser.add_argument("--output", type=Path, help="the PNG of --show (default: crops.png)")
    add_recipe(parser)


def run(options: argparse.Namespace) -> int:
    from keras_cacnet.datasets import check_dataset, open_dataset
    from keras_cacnet.files import writable_file, write_json

    if options.show is None:
        for name in ("output", "recipe", "settings"):
            if getattr(options, name, None):
                raise ValueError(f"--{name.replace('settings', 'set')} goes with --show N")
        output = writable_file(options.json) if options.json else None
        report = check_dataset(open_dataset(options.data, options.data_dir), options.split or None)
        print(report.to_text())
        if output is not None:
            write_json(output, report.to_json())
        if not report.ok:
            # Whoever sends the report to a file is told all the same.
            count = len(report.errors)
            print(f"error: {report.name}: {count} error{'s'[: count > 1]}, see the report", file=sys.stderr)
        return 0 if report.ok else 1
    return _show(options)


def _show(options: argparse.Namespace) -> int:
    from keras_cacnet.arguments import require_count
    from keras_cacnet.cli.chosen_recipe import chosen_recipe
    from keras_cacnet.datasets import open_dataset
    from keras_cacnet.files import user_path, writable_file, write_atomically
    from keras_cacnet.training.crops import first_crops
    from keras_cacnet.visualization import batch_figure

    if options.json:
        raise ValueError("--json goes with the check, not with --show")
    if options.split:
        raise ValueError(f"--split goes with the check; --show takes --set split={options.split[0]}")
    count = require_count("--show", options.show)
    output = user_path(options.output or Path("crops.png"))
    if output.suffix.lower() != ".png" or output.is_dir():
        raise ValueError(f"the picture is a PNG; give --output the name of one, not {output}")
    writable_file(output)
    dataset = open_dataset(options.data, options.data_dir)
    recipe = chosen_recipe(options, dataset)
    figure = batch_figure(*first_crops(recipe, dataset, count), dataset.classes)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(output, figure.savefig)
    print(f"written: {output}, {count} crops of {recipe.crop_size}x{recipe.crop_size} pixels from {recipe.split}")
    return 0
