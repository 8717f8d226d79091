"""`keras-cacnet export`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_cacnet.cli.arguments import AddCommand, add_protocol, add_run, given_protocol, size

if TYPE_CHECKING:
    import keras

    from keras_cacnet.evaluation import Protocol
    from keras_cacnet.training.run import Run

FORMATS = ("saved_model", "tflite", "onnx")
_OF_FORMATS = {
    "precision": ("tflite",),
    "calibration": ("tflite",),
    "size": ("tflite", "onnx"),
    "max_pixels": ("saved_model",),
}


def add(command: AddCommand) -> None:
    """Add the command to the parser."""
    parser = command("export", run, "write a SavedModel for TensorFlow Serving, a TFLite or an ONNX file, and its card")
    add_run(parser)
    parser.add_argument("--format", choices=FORMATS, default="saved_model", help="what to write")
    parser.add_argument("--output", required=True, help="folder of the SavedModel, such as cacnet/1, or the file")
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")
    parser.add_argument(
        "--verify",
        metavar="DIR",
        help="compare the export with Keras on these photographs, without writing it anew where it is there; "
        "exit status 1 where it differs",
    )
    group = parser.add_argument_group("files")
    group.add_argument(
        "--precision",
        default=argparse.SUPPRESS,
        help="of a TFLite file: float32, float16, dynamic or int8 (default: float32)",
    )
    group.add_argument(
        "--size", type=size, default=argparse.SUPPRESS, help="the only image size, 512 or 360x480 (default: any size)"
    )
    group.add_argument(
        "--calibration", metavar="DIR", default=argparse.SUPPRESS, help="photographs for int8, some tens of them"
    )
    parser.add_argument(
        "--max-pixels",
        type=int,
        default=argparse.SUPPRESS,
        help="of a SavedModel: the most pixels of a request with image files, padded to one size (default: 16777216)",
    )
    add_protocol(parser, "a SavedModel has no signature serve_multiscale")


def run(options: argparse.Namespace) -> int:
    from keras_cacnet.training.run import Run

    given: dict[str, Any] = {name: getattr(options, name) for name in _OF_FORMATS if name in options}
    for name in given:
        if options.format not in _OF_FORMATS[name]:
            flag, formats = name.replace("_", "-"), " or ".join(_OF_FORMATS[name])
            raise ValueError(f"--{flag} goes with --format {formats} alone, not with {options.format}")
    protocol = given_protocol(options)
    if protocol and options.format != "saved_model":
        raise ValueError(f"--scales, --flip and the like go with --format saved_model alone, not with {options.format}")
    trained = Run(options.run)
    model = trained.load_model(options.checkpoint)
    if options.overwrite or not (options.verify and Path(options.output).exists()):
        _write(options, trained, model, given, protocol)
    return 0 if options.verify is None else _verify(options, model)


def _write(
    options: argparse.Namespace, trained: Run, model: keras.Model, given: dict[str, Any], protocol: Protocol | None
) -> None:
    from keras_cacnet.export import model_card, onnx, saved_model, tflite, write_model_card

    card = {name: given[name] for name in ("precision", "size") if name in given}
    if "calibration" in given:
        given["calibration"] = _photographs(given["calibration"])
    if options.format == "saved_model":
        path = saved_model(model, options.output, trained.classes, options.overwrite, multiscale=protocol, **given)
    else:
        write = tflite if options.format == "tflite" else onnx
        path = write(model, options.output, trained.classes, overwrite=options.overwrite, **given)
        card.setdefault("size", getattr(model, "input_size", None))
    print(f"written: {path}")
    for part in write_model_card(path, model_card(path, trained, options.checkpoint, **card)):
        print(f"written: {part}")


def _verify(options: argparse.Namespace, model: keras.Model) -> int:
    from keras_cacnet.export import changed_files, read_model_card, verify
    from keras_cacnet.export.tflite_quantization import resized
    from keras_cacnet.export.verification import TOLERANCES

    card = read_model_card(options.output)
    for changed in (changes := changed_files(options.output)):
        print(f"changed since it was written: {changed}")
    size = card["size"] and tuple(card["size"])
    images = [resized(image, size)[None] for image in _photographs(options.verify)]
    found = verify(options.output, model, images)
    right = found.within(card["precision"]) and not changes
    most, least = TOLERANCES[card["precision"]]
    print(
        f"{len(images)} photographs: the class of Keras on {100 * found.equal_ids:.4f} % of the pixels "
        f"({card['precision']}: at least {100 * least:g} %), probabilities within {found.largest_difference:.2g}"
        + (f" (at most {most:g})" if most < 1 else "")
        + f": {'as in Keras' if right else 'DIFFERENT'}"
    )
    return 0 if right else 1


def _photographs(folder: str) -> Iterator[np.ndarray]:
    from keras_cacnet.datasets import read_image
    from keras_cacnet.evaluation.prediction_files import image_files

    files, failures = image_files([folder])
    if failures:
        raise ValueError(failures[0])
    return map(read_image, files)
