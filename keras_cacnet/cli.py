"""The command `keras-cacnet`: parses, calls the library, prints."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args, get_type_hints

from keras_cacnet.training.recipes import Recipe

BAD_INPUT = 2
INTERRUPTED = 130  # as shells report it


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the words of the command line; `sys.argv` by default.

    Returns:
        The exit status: 0, 1 where the command ran and found something wrong, 2 for bad input, 130 after Ctrl-C.

    Example:
        >>> main(["train", "--data", "nowhere", "--output", "run"])
        2
    """
    options = _parser().parse_args(arguments)
    try:
        return options.command(options)
    except KeyboardInterrupt:
        print("\ninterrupted; what was finished is kept, and train goes on with --resume", file=sys.stderr)
        return INTERRUPTED
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        message = str(error)
    except Exception as error:
        from keras_cacnet.pipeline.batches import reading_error

        found = reading_error(error)
        if found is None:
            raise
        message = found
    print(f"error: {message}", file=sys.stderr)
    return BAD_INPUT


def _train(options: argparse.Namespace) -> int:
    from keras_cacnet.datasets import open_dataset
    from keras_cacnet.training.run import Run
    from keras_cacnet.training.trainer import train

    given = _given(options)
    data = options.data
    if options.resume:
        run = Run(options.output)
        data = data or run.config["data"]
        given = {**run.recipe.to_json(), **given}
    if data is None:
        raise ValueError("--data is missing: a folder, or the name of a data set")
    recipe = Recipe.from_json(given)
    dataset = open_dataset(data, options.data_dir)
    if recipe.weights is None:
        print("note: the backbone starts from random weights; the paper starts from ImageNet's (--weights imagenet)")
    train(recipe, dataset, options.output, options.resume, options.verbose, str(data))
    print(f"run: {options.output}")
    print(f"next: keras-cacnet evaluate {options.output} --data {data} --split val")
    return 0


def _summary(options: argparse.Namespace) -> int:
    from keras_cacnet.models.cacnet import CaCNet
    from keras_cacnet.models.costs import cost_table

    model = CaCNet(options.classes, **Recipe.from_json(_given(options)).network_arguments())
    height, width = options.size
    print(cost_table(model, height, width))
    return 0


def _check(options: argparse.Namespace) -> int:
    from keras_cacnet.datasets import open_dataset
    from keras_cacnet.datasets.check import check

    report = check(open_dataset(options.data, options.data_dir), options.split or None)
    print(report.to_text())
    return 0 if report.ok else 1


def _evaluate(options: argparse.Namespace) -> int:
    from keras_cacnet.datasets import open_dataset
    from keras_cacnet.evaluation import Protocol, evaluate, prediction_writer
    from keras_cacnet.pipeline.batches import evaluation_batches
    from keras_cacnet.training.files import write_atomically, write_json
    from keras_cacnet.training.run import Run

    given = {entry.name: getattr(options, entry.name) for entry in fields(Protocol) if entry.name in options}
    if "stride" in given and "crop_size" not in given:
        raise ValueError("--stride is the distance of windows; give their size as well: --crop-size 512")
    protocol = Protocol(**given)
    run = Run(options.run)
    dataset = open_dataset(options.data, options.data_dir)
    if dataset.classes.names != run.classes.names:
        raise ValueError(
            f"{options.run} was trained on the classes {', '.join(run.classes.names)}; "
            f"{options.data} has {', '.join(dataset.classes.names)}"
        )
    source = dataset.source(options.split)
    writer = prediction_writer(source, options.save_predictions, run.classes) if options.save_predictions else None
    report = evaluate(
        run.load_model(options.checkpoint),
        evaluation_batches(source, dataset.classes),
        dataset.classes,
        absent=options.absent,
        count=len(source),
        protocol=protocol if given else None,
        on_prediction=writer,
    )
    print(report.to_text(protocol))
    path = Path(options.json) if options.json else run.path / f"evaluation_{options.split}.json"
    facts = {
        "run": options.run,
        "data": options.data,
        "split": options.split,
        "checkpoint": options.checkpoint,
    }
    write_json(path, {**facts, "protocol": protocol.to_json(), **report.to_json()})
    print(f"written: {path}")
    if options.markdown:
        write_atomically(
            Path(options.markdown), lambda part: part.write_text(report.to_markdown(protocol, facts) + "\n")
        )
        print(f"written: {options.markdown}")
    return 0


def _predict(options: argparse.Namespace) -> int:
    from keras_cacnet.evaluation import predict_files
    from keras_cacnet.training.run import Run

    run = Run(options.run)
    failures = predict_files(
        run.load_model(options.checkpoint),
        options.images,
        options.output,
        run.classes,
        weighting=options.weighting,
        seed=options.seed,
    )
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    print(f"written: {options.output}")
    return 1 if failures else 0


def _export(options: argparse.Namespace) -> int:
    from keras_cacnet.export import saved_model
    from keras_cacnet.training.run import Run

    run = Run(options.run)
    path = saved_model(run.load_model(options.checkpoint), options.output, run.classes, overwrite=options.overwrite)
    print(f"written: {path}")
    return 0


def _given(options: argparse.Namespace) -> dict[str, Any]:
    return {entry.name: getattr(options, entry.name) for entry in fields(Recipe) if entry.name in options}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="keras-cacnet", description="Train, score and deliver CaC-Net semantic segmentation."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(
            name, help=text, description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        added.set_defaults(command=run)
        return added

    check = command("check", _check, "read a data set and say what would go wrong in training")
    _add_data(check, required=True)
    check.add_argument("--split", action="append", help="a split to read; all where none is given")

    train = command("train", _train, "train a network and write everything about the run into a folder")
    _add_data(train, required=False)
    train.add_argument("--output", required=True, help="folder of the run")
    train.add_argument("--resume", action="store_true", help="go on from the last finished epoch of --output")
    train.add_argument(
        "--verbose", type=_verbosity, default="auto", help="progress: auto, 0, 1 (bar) or 2 (a line an epoch)"
    )
    _add_recipe(train)

    evaluate = command("evaluate", _evaluate, "score a run, on whole images or by scales, mirror images and windows")
    _add_run(evaluate)
    _add_data(evaluate, required=True)
    evaluate.add_argument("--split", default="val", help="split to score")
    evaluate.add_argument(
        "--absent",
        choices=("ignore", "zero"),
        default="ignore",
        help="a class in neither truth nor prediction",
    )
    evaluate.add_argument("--json", help="where the scores go; RUN/evaluation_SPLIT.json by default")
    evaluate.add_argument("--markdown", help="also write the scores as a Markdown table to this file")
    evaluate.add_argument("--save-predictions", metavar="DIR", help="write an id PNG per image into this folder")
    _add_protocol(evaluate)

    predict = command("predict", _predict, "write class ids and an overlay for every image")
    _add_run(predict)
    predict.add_argument("images", nargs="+", metavar="IMAGES", help="image files or folders of them")
    predict.add_argument("--output", required=True, help="folder for the pictures")
    predict.add_argument("--weighting", action="store_true", help="also draw X, W and X* of some channels (Figure 4)")
    predict.add_argument("--seed", type=int, default=0, help="draws the channels")

    export = command("export", _export, "write a SavedModel for TensorFlow Serving")
    _add_run(export)
    export.add_argument("--output", required=True, help="folder of the SavedModel, such as cacnet/1")
    export.add_argument("--overwrite", action="store_true", help="replace what is there")

    summary = command("summary", _summary, "parameters and multiply-adds by part, beside the paper's Table 7")
    summary.add_argument("--classes", type=int, default=60, help="number of classes")
    summary.add_argument("--size", type=_size, default=(512, 512), help="image size: 512 or 360x480")
    _add_recipe(summary)
    return parser


def _add_data(parser: argparse.ArgumentParser, required: bool) -> None:
    parser.add_argument(
        "--data",
        required=required,
        help="a folder of images and labels, voc2012, pascal_context/60 or /59, ade20k, or scenes",
    )
    parser.add_argument("--data-dir", type=Path, help="the folder with VOCdevkit; of scenes, where they are kept")


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="folder that train wrote")
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best", help="which checkpoint")


def _add_protocol(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("protocol", "without these, every image is shown whole, once, at its own size")

    def option(name: str, text: str, **settings: Any) -> None:
        group.add_argument(name, default=argparse.SUPPRESS, help=text, **settings)

    option("--scales", "such as 0.5,0.75,1.0,1.25,1.5,1.75; their scores are fused (default: 1.0)", type=_numbers)
    option("--flip", "also show every window mirrored", action="store_true")
    option("--crop-size", "side of the windows that slide over larger images (default: no windows)", type=int)
    option("--stride", "distance of the windows, as a share of their size (default: 2/3)", type=_share)
    option("--fusion", "softmax_mean or exp_sum, PyTorch-Encoding's (default: softmax_mean)")
    option("--base-size", "long side of images at scale 1, in pixels (default: their own)", type=int)


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    hints = get_type_hints(Recipe)
    for entry in fields(Recipe):
        assert entry.default is not MISSING
        default = " ".join(map(str, entry.default)) if isinstance(entry.default, tuple) else entry.default
        text = f"{entry.metadata['help']} (default: {default})"
        settings: dict[str, Any] = {"default": argparse.SUPPRESS, "help": text}
        kind = hints[entry.name]
        if kind is bool:
            settings["action"] = argparse.BooleanOptionalAction
        elif isinstance(entry.default, tuple):
            settings.update(type=int, nargs="+", metavar="N")
        else:
            settings.update(type=next(iter(get_args(kind)), kind), metavar=entry.name.upper())
        parser.add_argument(f"--{entry.name.replace('_', '-')}", **settings)


def _verbosity(text: str) -> str | int:
    if text not in ("auto", "0", "1", "2"):
        raise argparse.ArgumentTypeError(f"{text!r} is none of auto, 0, 1, 2")
    return text if text == "auto" else int(text)


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(map(float, text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers such as 0.5,0.75,1.0") from None


def _share(text: str) -> float:
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"{text!r} is no share such as 2/3 or 0.5") from None


def _size(text: str) -> tuple[int, int]:
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdigit() and int(side) > 0 for side in sides):
        raise argparse.ArgumentTypeError(f"{text!r} is no size: give 512 or HEIGHTxWIDTH such as 360x480")
    return int(sides[0]), int(sides[-1])


if __name__ == "__main__":
    sys.exit(main())
