"""`keras-cacnet ablate`."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_cacnet.cli.arguments import (
    AddCommand,
    add_data,
    add_devices,
    add_protocol,
    add_recipe,
    at_size,
    given_paper_recipe,
    given_protocol,
    given_purpose,
    given_settings,
    verbosity,
    warnings_in_a_line,
)
from keras_cacnet.cli.chosen_recipe import first_recipe, purpose_recipe
from keras_cacnet.training.recipe import Recipe
from keras_cacnet.training.recipe_settings import changes

if TYPE_CHECKING:
    from keras_cacnet.datasets import SegmentationDataset
    from keras_cacnet.evaluation import Protocol
    from keras_cacnet.paper import Plan, Result
    from keras_cacnet.paper.costs import Cost


def add(command: AddCommand) -> None:
    """Add the command to the parser."""
    text = "train and score the rows of one of the paper's Tables 1 to 6, with controls, beside its figures"
    parser = command("ablate", run, text)
    parser.add_argument("--table", type=int, required=True, help="number of the table, 1 to 6")
    add_data(parser, required=False)
    add_devices(parser)
    parser.add_argument("--output", required=True, help="folder of the tables and of the runs, which they share")
    parser.add_argument("--seeds", type=_seeds, default=(0, 1, 2), help="such as 0,1,2; every row has them all")
    parser.add_argument("--rows", nargs="+", metavar="ROW", help="rows to run, by their names; all where none is given")
    parser.add_argument(
        "--against",
        metavar="ROW",
        help="row to compare the others with (default: that of the paper)",
    )
    parser.add_argument(
        "--min-images",
        type=int,
        default=1,
        metavar="N",
        help="the mean IoU is over the classes that are in at least N of the scored images",
    )
    parser.add_argument("--deep-backbone", help="backbone of Table 1's last row; resnet101 beside resnet50")
    parser.add_argument("--deep-weights", help="its weights, where the other rows have weights of their own")
    parser.add_argument("--dry-run", action="store_true", help="only list what would be trained, and what it costs")
    parser.add_argument(
        "--scored-only", action="store_true", help="train nothing: write the tables of the runs that are scored already"
    )
    parser.add_argument(
        "--scores-from",
        nargs="+",
        default=(),
        metavar="JSON",
        help="tables (table_N.json) that this command wrote on other machines: their runs are not trained again",
    )
    parser.add_argument(
        "--verbose", type=verbosity, default="auto", help="progress: auto, 0, 1 (bar) or 2 (a line an epoch)"
    )
    add_recipe(parser)
    add_protocol(
        parser,
        "rows are scored at a recipe's image_size on whole images, and where it has none as in the paper: several "
        "scales, mirrored, windows of the recipe's crop size",
    )


def run(options: argparse.Namespace) -> int:
    from keras_cacnet.datasets import fingerprint, open_dataset
    from keras_cacnet.files import writable_folder
    from keras_cacnet.paper import (
        Runs,
        ablate,
        dry_run,
        images_by_class,
        plan,
        plan_costs,
        require_seeds,
        scored_source,
        scored_split,
        scores_elsewhere,
    )
    from keras_cacnet.training.cluster import strategy_for
    from keras_cacnet.training.purposes import RECIPES

    strategy = strategy_for(options.devices or "1")  # before anything else runs on TensorFlow
    purpose = given_purpose(options)
    published = None if purpose else given_paper_recipe(options)
    chosen = purpose or published
    if published and published.starts_from:
        raise ValueError(f"{published.name} starts from the network of {published.starts_from}, which no row has")
    data = options.data or (published.data if published else None)
    if data is None:
        raise ValueError("--data is missing: a folder, or the name of a data set; the paper's recipes bring their own")
    base = given_settings(options, chosen.recipe if chosen else Recipe())
    if base.seed != Recipe.seed:
        raise ValueError(f"seed={base.seed} is none of the settings of an ablation: give --seeds {base.seed}")
    require_seeds(options.seeds)
    if options.min_images < 1:
        raise ValueError(f"--min-images must be at least 1, got {options.min_images}")
    output = writable_folder(options.output)
    dataset = open_dataset(data, options.data_dir)
    first = first_recipe(purpose, options, dataset) if purpose and purpose.starts_from else None
    if first and options.deep_backbone:
        raise ValueError(f"all rows of {options.recipe} start from {first.backbone}: leave --deep-backbone out")
    if purpose:
        base = purpose_recipe(purpose, options, dataset)
        # Those that are given are the start of the first run.
        base = replace(base, weights=None) if first else base
    laid = plan(
        options.table,
        base,
        _protocol(options, base),
        options.rows,
        options.deep_backbone,
        options.deep_weights,
        options.against,
    )
    scored = scored_source(base, dataset)
    images = images_by_class(scored, dataset.classes) if options.min_images > 1 else None
    counted = None if images is None else [name for name, count in images.items() if count >= options.min_images]
    if counted == []:
        raise ValueError(f"--min-images {options.min_images}: no class is in so many of the {len(scored)} images")
    facts = _facts(laid, dataset, str(data), len(scored))
    if purpose and first:
        changed = changes(RECIPES[str(purpose.starts_from)].recipe, first)
        facts["starts_from"] = " ".join([f"a run of {purpose.starts_from} each:", *changed])
    if options.scores_from or not options.dry_run:  # all files are read for them
        facts["digests"] = {split: fingerprint(dataset, split) for split in (base.split, scored_split(base))}
    runs = Runs(
        output / "runs",
        dataset,
        str(data),
        options.data_dir,
        options.verbose,
        strategy,
        counted,
        options.scored_only,
        scores_elsewhere(options.scores_from, facts, dataset.classes.names, counted),
        first,
        facts.get("digests"),
    )
    if options.dry_run:
        print(dry_run(laid, runs, options.seeds))
        return 0
    if base.weights is None and first is None:
        print("note: the backbone starts from random weights, the paper's from ImageNet's (--set weights=imagenet)")
    output.mkdir(parents=True, exist_ok=True)
    costs = plan_costs(laid, len(dataset.classes))

    def write(result: Result) -> None:
        done = len(laid.rows) * len(options.seeds) - result.missing
        _write(output, result, facts, costs, (images, counted))
        print(f"{done} of {len(laid.rows) * len(options.seeds)} done")

    with warnings_in_a_line():
        result = ablate(laid, runs, options.seeds, None if options.scored_only else write)
    paths = _write(output, result, facts, costs, (images, counted))
    print(paths[0].read_text())
    for path in paths:
        print(f"written: {path}")
    for row in result.rows:
        for seed, error in row.errors.items():
            print(f"error: {row.row.name}, seed {seed}: {error}", file=sys.stderr)
    return 1 if result.failed else 0


def _protocol(options: argparse.Namespace, base: Recipe) -> Protocol:
    from keras_cacnet.evaluation import Protocol
    from keras_cacnet.paper.recipes import ENCODING_SCALES

    if (given := given_protocol(options)) is not None:
        return at_size(base.image_size, given)
    if base.image_size is not None:
        return Protocol(image_size=base.image_size)
    return Protocol(ENCODING_SCALES, flip=True, crop_size=base.crop_size)


def _write(
    output: Path,
    result: Result,
    facts: dict[str, Any],
    costs: Mapping[str, Cost],
    classes: tuple[dict[str, int] | None, list[str] | None],
) -> list[Path]:
    """Write table and figure, and give the paths of what there is of them; the first is the table to read."""
    from keras_cacnet.files import write_atomically, write_json
    from keras_cacnet.paper import draw, to_json, to_markdown

    paths = [output / f"table_{result.plan.table}.{ending}" for ending in ("md", "json", "png")]
    values = to_json(result, facts, costs, *classes)
    write_json(paths[1], values)
    write_atomically(paths[0], lambda part: part.write_text(to_markdown(values), encoding="utf-8"))
    if not any(row.scores for row in result.rows):
        return paths[:2]
    write_atomically(paths[2], lambda part: draw(values, part))
    return paths


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
