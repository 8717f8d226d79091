"""`keras-cacnet summary`."""

import argparse
from dataclasses import replace

from keras_cacnet.cli.arguments import AddCommand, add_recipe, given_paper_recipe, given_purpose, given_settings, size
from keras_cacnet.training.recipe import Recipe

CLASSES = 60


def add(command: AddCommand) -> None:
    """Add the command to the parser."""
    parser = command("summary", run, "parameters and multiply-adds by part, beside the paper's Table 7")
    parser.add_argument(
        "--classes",
        type=int,
        default=argparse.SUPPRESS,
        help=f"number of classes (default: the recipe's data set's, else {CLASSES})",
    )
    parser.add_argument(
        "--size", type=size, default=argparse.SUPPRESS, help="image size: 512 or 360x480 (default: the recipe's crops)"
    )
    parser.add_argument(
        "--heads", help="compare heads instead (Table 7): all, or of cacnet,fcn,apcnet,dmnet,encnet,pspnet"
    )
    add_recipe(parser)


def run(options: argparse.Namespace) -> int:
    from keras_cacnet.models.cacnet import CaCNet
    from keras_cacnet.paper.costs import cost_table
    from keras_cacnet.paper.head_costs import comparison_table, require_heads
    from keras_cacnet.training.compiling import network_arguments

    names = None if options.heads is None else require_heads(options.heads.split(","))
    purpose = given_purpose(options)
    published = None if purpose else given_paper_recipe(options)
    recipe = given_settings(options, published.recipe if published else purpose.recipe if purpose else Recipe())
    classes = getattr(options, "classes", published.num_classes if published else CLASSES)
    height, width = getattr(options, "size", (recipe.crop_size, recipe.crop_size))
    # Costs are the same whatever the weights, which may have to be downloaded.
    model = CaCNet(classes, **network_arguments(replace(recipe, weights=None)))
    print(cost_table(model, height, width) if names is None else comparison_table(model, names, height, width))
    return 0
