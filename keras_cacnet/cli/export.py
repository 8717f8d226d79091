"""`keras-cacnet export`."""

import argparse

from keras_cacnet.cli.arguments import AddCommand, add_run


def add(command: AddCommand) -> None:
    """Add the command to the parser."""
    parser = command("export", run, "write a SavedModel for TensorFlow Serving")
    add_run(parser)
    parser.add_argument("--output", required=True, help="folder of the SavedModel, such as cacnet/1")
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")


def run(options: argparse.Namespace) -> int:
    from keras_cacnet.export import saved_model
    from keras_cacnet.training.run import Run

    trained = Run(options.run)
    model = trained.load_model(options.checkpoint)
    path = saved_model(model, options.output, trained.classes, overwrite=options.overwrite)
    print(f"written: {path}")
    return 0
