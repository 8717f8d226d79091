"""`keras-cacnet summary`."""

import argparse

from keras_cacnet.cli.arguments import AddCommand, add_recipe, given_recipe, size
from keras_cacnet.training.recipes import Recipe


def add(command: AddCommand) -> None:
    """Add the command to the parser."""
    parser = command("summary", run, "parameters and multiply-adds by part, beside the paper's Table 7")
    parser.add_argument("--classes", type=int, default=60, help="number of classes")
    parser.add_argument("--size", type=size, default=(512, 512), help="image size: 512 or 360x480")
    add_recipe(parser)


def run(options: argparse.Namespace) -> int:
    from keras_cacnet.models.cacnet import CaCNet
    from keras_cacnet.models.costs import cost_table

    model = CaCNet(options.classes, **Recipe.from_json(given_recipe(options)).network_arguments())
    height, width = options.size
    print(cost_table(model, height, width))
    return 0
