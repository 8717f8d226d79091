"""`keras-cacnet predict`."""

import argparse
import sys

from keras_cacnet.cli.arguments import AddCommand, add_protocol, add_run, channels, given_protocol, opacity, protocol_of


def add(command: AddCommand) -> None:
    """Add the command to the parser."""
    parser = command("predict", run, "write class ids and an overlay for every image")
    add_run(parser)
    parser.add_argument("images", nargs="+", metavar="IMAGES", help="image files or folders of them")
    parser.add_argument("--output", required=True, help="folder for the pictures")
    parser.add_argument("--alpha", type=opacity, default=0.5, help="opacity of the classes in the overlay, 0 to 1")
    add_protocol(parser)
    group = parser.add_argument_group("weights")
    group.add_argument("--weighting", action="store_true", help="also draw X, W and X* of some channels (Figure 4)")
    text = "three at random (default), of largest-change, or a list: 3,17,40"
    group.add_argument("--channels", type=channels, default=argparse.SUPPRESS, help=text)
    group.add_argument("--seed", type=int, default=argparse.SUPPRESS, help="draws the channels (default: 0)")


def run(options: argparse.Namespace) -> int:
    from keras_cacnet.evaluation import predict_files
    from keras_cacnet.evaluation.prediction_files import image_files
    from keras_cacnet.files import writable_folder
    from keras_cacnet.training.run import Run

    given_protocol(options)  # wrong words are refused before anything is read
    chosen = {name: getattr(options, name) for name in ("channels", "seed") if name in options}
    if chosen and not options.weighting:
        raise ValueError(f"--{next(iter(chosen))} goes with --weighting")
    if "seed" in chosen and chosen.get("channels", "random") != "random":
        raise ValueError("--seed draws channels at random; --channels chooses them otherwise: give one of the two")
    trained = Run(options.run)
    protocol = protocol_of(options, trained)
    # What is wrong with the paths is said before the network is loaded.
    output = writable_folder(options.output)
    files, failures = image_files(options.images)
    missing = len(failures)
    if files:
        failures += predict_files(
            trained.load_model(options.checkpoint),
            files,
            output,
            trained.classes,
            protocol=protocol,
            alpha=options.alpha,
            weighting=options.weighting,
            **chosen,
        )
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    written = len(files) - (len(failures) - missing)
    if written:
        print(f"written: {output}" + (f", {written} of {len(files) + missing} inputs" if failures else ""))
    return 1 if failures else 0
