"""`keras-cacnet predict`."""

import argparse
import sys

from keras_cacnet.cli.arguments import AddCommand, add_run, channels


def add(command: AddCommand) -> None:
    """Add the command to the parser."""
    parser = command("predict", run, "write class ids and an overlay for every image")
    add_run(parser)
    parser.add_argument("images", nargs="+", metavar="IMAGES", help="image files or folders of them")
    parser.add_argument("--output", required=True, help="folder for the pictures")
    parser.add_argument("--weighting", action="store_true", help="also draw X, W and X* of some channels (Figure 4)")
    parser.add_argument(
        "--channels", type=channels, default="random", help="three at random, of largest-change, or a list: 3,17,40"
    )
    parser.add_argument("--seed", type=int, default=0, help="draws the channels")


def run(options: argparse.Namespace) -> int:
    from keras_cacnet.evaluation import predict_files
    from keras_cacnet.training.run import Run

    trained = Run(options.run)
    failures = predict_files(
        trained.load_model(options.checkpoint),
        options.images,
        options.output,
        trained.classes,
        weighting=options.weighting,
        channels=options.channels,
        seed=options.seed,
    )
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    print(f"written: {options.output}")
    return 1 if failures else 0
