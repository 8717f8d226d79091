"""`keras-cacnet recipes`."""

import argparse

from keras_cacnet.cli.arguments import AddCommand


def add(command: AddCommand) -> None:
    """Add the command to the parser."""
    parser = command("recipes", run, "list the recipes, by purpose and the paper's, or show one in full")
    parser.add_argument("name", nargs="?", metavar="NAME", help="show this one: commands, figures, every setting")


def run(options: argparse.Namespace) -> int:
    from keras_cacnet.paper import PAPER_RECIPES, recipe_named
    from keras_cacnet.paper.recipe_listing import description, purpose_description, purpose_table, table
    from keras_cacnet.training.purposes import RECIPES, recipe_for

    if options.name is None:
        print(f"By purpose:\n\n{purpose_table()}\n\nThe paper's:\n\n{table()}")
        return 0
    names = [published.name for published in PAPER_RECIPES]
    if options.name in names:
        print(description(recipe_named(options.name)))
    else:
        print(purpose_description(RECIPES.get(options.name) or recipe_for(options.name, names)))
    return 0
