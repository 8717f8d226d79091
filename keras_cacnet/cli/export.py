"""`keras-cacnet export`."""

import argparse
from collections.abc import Iterator

import numpy as np

from keras_cacnet.cli.arguments import AddCommand, add_run, size


def add(command: AddCommand) -> None:
    """Add the command to the parser."""
    parser = command("export", run, "write a SavedModel for TensorFlow Serving, or a TFLite file")
    add_run(parser)
    parser.add_argument("--format", choices=("saved_model", "tflite"), default="saved_model", help="what to write")
    parser.add_argument(
        "--output", required=True, help="folder of the SavedModel, such as cacnet/1, or the TFLite file"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")
    group = parser.add_argument_group("TFLite")
    group.add_argument(
        "--precision", default=argparse.SUPPRESS, help="float32, float16, dynamic or int8 (default: float32)"
    )
    group.add_argument(
        "--size", type=size, default=argparse.SUPPRESS, help="the only image size, 512 or 360x480 (default: any size)"
    )
    group.add_argument(
        "--calibration", metavar="DIR", default=argparse.SUPPRESS, help="photographs for int8, some tens of them"
    )


def run(options: argparse.Namespace) -> int:
    from keras_cacnet.export import saved_model, tflite
    from keras_cacnet.training.run import Run

    given = {name: getattr(options, name) for name in ("precision", "size", "calibration") if name in options}
    if given and options.format != "tflite":
        raise ValueError(f"--{next(iter(given))} goes with --format tflite alone, not with {options.format}")
    trained = Run(options.run)
    model = trained.load_model(options.checkpoint)
    if options.format == "tflite":
        if "calibration" in given:
            given["calibration"] = _photographs(given["calibration"])
        path = tflite(model, options.output, trained.classes, overwrite=options.overwrite, **given)
    else:
        path = saved_model(model, options.output, trained.classes, overwrite=options.overwrite)
    print(f"written: {path}")
    return 0


def _photographs(folder: str) -> Iterator[np.ndarray]:
    from keras_cacnet.datasets import read_image
    from keras_cacnet.evaluation.prediction_files import image_files

    files, failures = image_files([folder])
    if failures:
        raise ValueError(failures[0])
    return map(read_image, files)
