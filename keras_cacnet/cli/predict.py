"""`keras-cacnet predict`."""

import argparse
import sys

from keras_cacnet.cli.arguments import (
    AddCommand,
    add_checkpoint,
    add_protocol,
    at_size,
    channels,
    given_protocol,
    opacity,
    protocol_of,
)


def add(command: AddCommand) -> None:
    """Add the command to the parser."""
    parser = command("predict", run, "write class ids and an overlay for every image")
    parser.add_argument("run", metavar="RUN", help="folder that train wrote; or a preset, its handle, or a .keras file")
    add_checkpoint(parser)
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
    from keras_cacnet.evaluation import Segmenter, predict_files
    from keras_cacnet.evaluation.prediction_files import image_files
    from keras_cacnet.files import writable_folder
    from keras_cacnet.training.run import Run

    given = given_protocol(options)  # wrong words are refused before anything is read
    chosen = {name: getattr(options, name) for name in ("channels", "seed") if name in options}
    if chosen and not options.weighting:
        raise ValueError(f"--{next(iter(chosen))} goes with --weighting")
    if "seed" in chosen and chosen.get("channels", "random") != "random":
        raise ValueError("--seed draws channels at random; --channels chooses them otherwise: give one of the two")
    trained = None if _is_network(options) else Run(options.run)
    # What is wrong with the paths is said before the network is loaded.
    output = writable_folder(options.output)
    files, failures = image_files(options.images)
    missing = len(failures)
    if files:
        if trained is None:
            known = Segmenter(options.run)
            model, classes, shown = known.model, known.classes, known.protocol
            protocol = at_size(shown.image_size, given) if given else shown
        else:
            model, classes = trained.load_model(options.checkpoint), trained.classes
            protocol = protocol_of(options, trained)
        failures += predict_files(
            model,
            files,
            output,
            classes,
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


def _is_network(options: argparse.Namespace) -> bool:
    """Whether RUN is a network by itself."""
    from keras_cacnet.files import user_path
    from keras_cacnet.models.hubs import is_handle
    from keras_cacnet.models.presets import is_preset

    path = user_path(options.run)
    found = is_handle(options.run) or path.suffix == ".keras" or is_preset(path)
    if found and options.checkpoint != "best":
        raise ValueError(f"--checkpoint {options.checkpoint} goes with the folder of a run, and {options.run} is none")
    return found
