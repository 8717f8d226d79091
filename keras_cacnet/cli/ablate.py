"""`keras-cacnet ablate`."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_cacnet.cli.arguments import (
    AddCommand,
    add_data,
    add_devices,
    add_protocol,
    add_recipe,
    given_paper_recipe,
    given_protocol,
    given_settings,
    verbosity,
)
from keras_cacnet.training.recipe import Recipe

if TYPE_CHECKING:
    from keras_cacnet.datasets import SegmentationDataset
    from keras_cacnet.paper import Plan, Result


def add(command: AddCommand) -> None:
    """Add the command to the parser."""
    parser = command("ablate", run, "train and score the rows of one of the paper's Tables 1 to 6, beside its figures")
    parser.add_argument("--table", type=int, required=True, help="number of the table, 1 to 6")
    add_data(parser, required=False)
    add_devices(parser)
    parser.add_argument("--output", required=True, help="folder of the tables and of the runs, which they share")
    parser.add_argument("--seeds", type=_seeds, default=(0, 1, 2), help="such as 0,1,2; every row has them all")
    parser.add_argument("--rows", nargs="+", metavar="ROW", help="rows to run, by their names; all where none is given")
    parser.add_argument("--deep-backbone", help="backbone of Table 1's last row; resnet101 beside resnet50")
    parser.add_argument("--deep-weights", help="its weights, where the other rows have weights of their own")
    parser.add_argument("--dry-run", action="store_true", help="only list what would be trained, and what it costs")
    parser.add_argument(
        "--verbose", type=verbosity, default="auto", help="progress: auto, 0, 1 (bar) or 2 (a line an epoch)"
    )
    add_recipe(parser)
    add_protocol(parser, "rows are scored as in the paper: several scales, mirrored, windows of the recipe's crop size")


def run(options: argparse.Namespace) -> int:
    from keras_cacnet.datasets import open_dataset
    from keras_cacnet.evaluation import Protocol
    from keras_cacnet.files import write_atomically, write_json
    from keras_cacnet.paper import Runs, ablate, dry_run, plan, scored_source, to_json, to_markdown
    from keras_cacnet.paper.recipes import ENCODING_SCALES
    from keras_cacnet.training.cluster import strategy_for

    strategy = strategy_for(options.devices or "1")  # before anything else runs on TensorFlow
    published = given_paper_recipe(options)
    base = given_settings(options, published.recipe if published else Recipe())
    if published and published.starts_from:
        raise ValueError(f"{published.name} starts from the network of {published.starts_from}, which no row has")
    data = options.data or (published.data if published else None)
    if data is None:
        raise ValueError("--data is missing: a folder, or the name of a data set; --recipe brings its own")
    if base.seed != Recipe.seed:
        raise ValueError(f"seed={base.seed} is none of the settings of an ablation: give --seeds {base.seed}")
    protocol = given_protocol(options) or Protocol(ENCODING_SCALES, flip=True, crop_size=base.crop_size)
    laid = plan(options.table, base, protocol, options.rows, options.deep_backbone, options.deep_weights)
    dataset = open_dataset(data, options.data_dir)
    scored = scored_source(base, dataset)
    output = Path(options.output)
    runs = Runs(output / "runs", dataset, str(data), options.data_dir, options.verbose, strategy)
    if options.dry_run:
        print(dry_run(laid, runs, options.seeds))
        return 0
    if base.weights is None:
        print("note: the backbone starts from random weights, the paper's from ImageNet's (--set weights=imagenet)")
    output.mkdir(parents=True, exist_ok=True)
    facts = _facts(laid, dataset, str(data), len(scored))
    paths = {ending: output / f"table_{laid.table}.{ending}" for ending in ("md", "json")}

    def write(result: Result) -> None:
        write_json(paths["json"], to_json(result, facts))
        write_atomically(paths["md"], lambda part: part.write_text(to_markdown(result, facts)))
        print(f"{len(laid.rows) * len(options.seeds) - result.missing} of {len(laid.rows) * len(options.seeds)} done")

    result = ablate(laid, runs, options.seeds, write)
    print(to_markdown(result, facts))
    for path in paths.values():
        print(f"written: {path}")
    for row in result.rows:
        for seed, error in row.errors.items():
            print(f"error: {row.row.name}, seed {seed}: {error}", file=sys.stderr)
    return 1 if result.failed else 0


def _facts(laid: Plan, dataset: SegmentationDataset, data: str, scored: int) -> dict[str, Any]:
    from keras_cacnet.paper import scored_split
    from keras_cacnet.training.start import environment

    trained = len(dataset.source(laid.base.split))
    return {
        "data": data,
        "classes": len(dataset.classes),
        "trained_on": f"{trained:,} images of {laid.base.split}",
        "scored_on": f"{scored:,} images of {scored_split(laid.base)}, last checkpoint",
        **environment(),
        "command": shlex.join(["keras-cacnet", *sys.argv[1:]]),
    }


def _seeds(text: str) -> tuple[int, ...]:
    try:
        return tuple(map(int, text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of seeds such as 0,1,2") from None
