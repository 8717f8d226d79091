"""`keras-cacnet train`."""

import argparse

from keras_cacnet.cli.arguments import AddCommand, add_data, add_recipe, given_recipe, verbosity
from keras_cacnet.training.recipes import Recipe


def add(command: AddCommand) -> None:
    """Add the command to the parser."""
    parser = command("train", run, "train a network and write everything about the run into a folder")
    add_data(parser, required=False)
    parser.add_argument("--output", required=True, help="folder of the run")
    parser.add_argument("--resume", action="store_true", help="go on from the last finished epoch of --output")
    parser.add_argument(
        "--verbose", type=verbosity, default="auto", help="progress: auto, 0, 1 (bar) or 2 (a line an epoch)"
    )
    add_recipe(parser)


def run(options: argparse.Namespace) -> int:
    from keras_cacnet.datasets import open_dataset
    from keras_cacnet.training.run import Run
    from keras_cacnet.training.trainer import train

    given = given_recipe(options)
    data, data_dir = options.data, options.data_dir
    if options.resume:
        trained = Run(options.output)
        data, data_dir = data or trained.config["data"], data_dir or trained.config["data_dir"]
        given = {**trained.recipe.to_json(), **given}
    if data is None:
        raise ValueError("--data is missing: a folder, or the name of a data set")
    recipe = Recipe.from_json(given)
    dataset = open_dataset(data, data_dir)
    if recipe.weights is None:
        print("note: the backbone starts from random weights; the paper starts from ImageNet's (--weights imagenet)")
    train(recipe, dataset, options.output, options.resume, options.verbose, str(data), data_dir)
    print(f"run: {options.output}")
    where = f" --data-dir {data_dir}" if data_dir else ""
    print(
        f"next: keras-cacnet evaluate {options.output} --data {data}{where} --split {recipe.validation_split or 'val'}"
    )
    return 0
