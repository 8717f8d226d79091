"""`keras-cacnet train`."""

from __future__ import annotations

import argparse
import shlex
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from keras_cacnet.cli.arguments import (
    AddCommand,
    add_data,
    add_devices,
    add_precision,
    add_recipe,
    fitted_recipe,
    given_paper_recipe,
    given_purpose,
    given_settings,
    naming_the_run,
    verbosity,
    warnings_in_a_line,
)
from keras_cacnet.cli.chosen_recipe import first_recipe, next_words, purpose_by_default
from keras_cacnet.cli.training_data import training_data
from keras_cacnet.training.recipe import Recipe
from keras_cacnet.training.recipe_settings import changes

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_cacnet.datasets import SegmentationDataset
    from keras_cacnet.paper import PaperRecipe


def add(command: AddCommand) -> None:
    """Add the command to the parser."""
    parser = command("train", run, "train a network and write everything about the run into a folder")
    add_recipe(parser)
    add_precision(parser)
    add_data(parser, required=False)
    parser.add_argument("--output", help="folder of the run (default: runs/NAME with --recipe NAME)")
    parser.add_argument(
        "--start-from", metavar="RUN", help="start from the best network of another run, to fine-tune it"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on from the last checkpoint of --output; begin where there is none"
    )
    parser.add_argument(
        "--save-every",
        type=int,
        metavar="STEPS",
        help="checkpoints within an epoch too; SIGTERM and SIGINT save anyway",
    )
    parser.add_argument(
        "--no-report", action="store_true", help="leave out the page that is written at the end, RUN/report.html"
    )
    add_devices(parser, otherwise="1, of a cluster all")
    parser.add_argument(
        "--cluster",
        choices=("tf_config", "slurm"),
        help="share the run with the processes that TF_CONFIG or Slurm names",
    )
    parser.add_argument(
        "--verbose", type=verbosity, default="auto", help="progress: auto, 0, 1 (bar) or 2 (a line an epoch)"
    )


def run(options: argparse.Namespace) -> int:
    from keras_cacnet.paper import recipe_named
    from keras_cacnet.training import Run, is_chief, strategy_for
    from keras_cacnet.training.purposes import RECIPES
    from keras_cacnet.training.run import begun

    # Before anything else runs on TensorFlow, which a cluster asks for.
    strategy = strategy_for(options.devices or ("all" if options.cluster else "1"), options.cluster)
    purpose = given_purpose(options)
    published = None if purpose else given_paper_recipe(options)
    output = options.output or (published.run if published else None)
    if output is None:
        raise ValueError("--output is missing: the folder of the run, such as --output runs/mine")
    data, data_dir = options.data or (published.data if published else None), options.data_dir
    goes_on = options.resume and (begun(output) or data is None)
    if goes_on:
        trained = Run(output)
        recipe = published.recipe if published else trained.recipe
        name = trained.config["recipe_name"]
        data, data_dir = trained.data(options.data, data_dir)
        if name and name not in RECIPES:
            published = published or recipe_named(name)
    elif data is None:
        raise ValueError("--data is missing: a folder, or the name of a data set; the paper's recipes bring their own")
    else:
        purpose = purpose or purpose_by_default(options)
        recipe = published.recipe if published else purpose.recipe if purpose else Recipe()
        name = published.name if published else purpose.name if purpose else None
    # What is wrong with the settings is said before the data is opened.
    given_settings(options, recipe)
    if published and published.starts_from and not goes_on and not options.start_from:
        raise ValueError(
            f"{published.name} starts from a run of {published.starts_from}: "
            f"give it, such as --start-from runs/{published.starts_from}"
        )
    with naming_the_run(output if goes_on and not options.data else None):
        data, dataset = training_data(data, data_dir, output, options)
    start_from = options.start_from
    if purpose and not goes_on:
        if purpose.starts_from and start_from is None:
            start_from = f"{output}-{purpose.starts_from}"
            print(f"first: {purpose.starts_from}, in {start_from}; then {purpose.name}, in {output}")
            first = first_recipe(purpose, options, dataset)
            _train(first, dataset, start_from, options, strategy, (str(data), data_dir, purpose.starts_from), None)
        recipe = fitted_recipe(purpose, dataset, getattr(options, "settings", ()))
    recipe = given_settings(options, recipe)
    if purpose and purpose.starts_from and not options.start_from:
        # Those that are given are the start of the first run.
        recipe = replace(recipe, weights=None)
    for note in _notes(recipe, dataset, published, bool(start_from) or goes_on):
        print(f"note: {note}")
    if options.resume and not goes_on:
        print(f"note: there is no run in {output} yet, it begins")
    _train(recipe, dataset, output, options, strategy, (str(data), data_dir, name), start_from)
    print(f"run: {output}")
    scored = recipe.validation_split if recipe.validation_split in dataset.splits else None
    if not options.no_report and is_chief(strategy):
        _report(output, dataset, scored)
    if purpose and purpose.next:
        words = ["keras-cacnet", "train", *next_words(purpose, options), "--start-from", output, "--data", str(data)]
        words += ["--data-dir", str(data_dir)] if data_dir else []
        words += ["--output", f"{output}-{purpose.next}"]
        better = RECIPES[purpose.next]
        print(f"better still: {better.title} ({better.time}): {shlex.join(words)}")
    print(f"next: {_next_command(recipe, published, output, str(data), data_dir, scored)}")
    return 0


_REPORTED = 12
"""Images that are predicted for the page at the end."""


def _train(
    recipe: Recipe,
    dataset: SegmentationDataset,
    output: str,
    options: argparse.Namespace,
    strategy: tf.distribute.Strategy,
    record: tuple[str, Path | None, str | None],
    start_from: str | None,
) -> None:
    from keras_cacnet.training import Job, train

    data, data_dir, name = record
    job = Job(
        recipe,
        dataset,
        output,
        resume=options.resume,
        start_from=start_from,
        save_every=options.save_every,
        data=data,
        data_dir=data_dir,
        recipe_name=name,
    )
    with warnings_in_a_line():
        train(job, strategy, options.verbose)


def _report(output: str, dataset: SegmentationDataset, scored: str | None) -> None:
    """Write the page of the run; whatever is wrong with it, the run is there."""
    from keras_cacnet.report import write_report

    start = time.perf_counter()
    try:
        page = write_report(output, dataset, images=_REPORTED)
    except (ValueError, OSError) as error:
        print(f"note: there is no report: {error}")
        return
    written = f"report: {page}, in {time.perf_counter() - start:.0f} s (--no-report leaves it out)"
    if scored:
        again = shlex.join(["keras-cacnet", "report", output])
        written += f", over {_REPORTED} images of {scored} at most; over all of them: {again}"
    print(written)


def _notes(recipe: Recipe, dataset: SegmentationDataset, published: PaperRecipe | None, started: bool) -> list[str]:
    from keras_cacnet.training.compiling import rate_warning

    notes = []
    if recipe.weights is None and not started and not rate_warning(recipe):
        notes.append("the backbone starts from random weights, the paper's from ImageNet's (--set weights=imagenet)")
    if recipe.validation_split == "val" and "val" not in dataset.splits:
        notes.append(f"{dataset.name} has no val split: nothing is scored between epochs, and the last one is the best")
    if published and len(dataset.classes) != published.num_classes:
        notes.append(
            f"{dataset.name} has {len(dataset.classes)} classes, and {published.name} is for {published.data} with "
            f"{published.num_classes}: the paper's figure is none to compare with"
        )
    if published and (changed := changes(published.recipe, recipe)):
        notes.append(f"not {published.name} as it stands, but with {' '.join(changed)}")
    if recipe.input_size and recipe.validation_split:
        notes.append(
            f"reweighting={recipe.reweighting} takes images of {recipe.input_size}x{recipe.input_size} only: between "
            f"epochs {recipe.validation_split} is scored on windows of that size, side by side, filled up with void"
        )
    return notes


def _next_command(
    recipe: Recipe,
    published: PaperRecipe | None,
    output: str,
    data: str,
    data_dir: str | Path | None,
    scored: str | None,
) -> str:
    size = recipe.input_size
    # Windows of another size than the protocol's would be refused by a network for one size.
    command = None
    if published and data == published.data and size in (None, published.recipe.crop_size):
        paths = (output, data_dir or "DIR")
        command = published.evaluate_command(*paths) or published.submit_command(*paths)
    if command is not None:
        return command
    if scored is None:
        return shlex.join(["keras-cacnet", "predict", output, "IMAGES", "--output", "OUT"])
    words = ["keras-cacnet", "evaluate", output, "--data", data]
    words += ["--data-dir", str(data_dir)] if data_dir else []
    words += ["--crop-size", str(size)] if size else []
    return shlex.join([*words, "--split", scored])
