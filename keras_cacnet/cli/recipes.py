"""`keras-cacnet recipes`."""

import argparse

from keras_cacnet.cli.arguments import AddCommand


def add(command: AddCommand) -> None:
    """Add the command to the parser."""
    parser = command("recipes", run, "list the paper's recipes, or show one in full")
    parser.add_argument("name", nargs="?", metavar="NAME", help="show this one: commands, figures, every setting")


def run(options: argparse.Namespace) -> int:
    from keras_cacnet.paper import experiment_named
    from keras_cacnet.paper.listing import description, table

    print(description(experiment_named(options.name)) if options.name else table())
    return 0
