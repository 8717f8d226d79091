"""`keras-cacnet export`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_cacnet.cli.arguments import AddCommand, add_protocol, add_run, given_protocol, size, warnings_in_a_line
from keras_cacnet.files import user_path, visible_files

if TYPE_CHECKING:
    import keras

    from keras_cacnet.evaluation import Protocol
    from keras_cacnet.training.run import Run

FORMATS = ("saved_model", "tflite", "onnx", "preset")
_OF_FORMATS = {
    "precision": ("tflite",),
    "calibration": ("tflite",),
    "size": ("tflite", "onnx"),
    "probabilities": ("tflite", "onnx"),
    "max_pixels": ("saved_model",),
}


def add(command: AddCommand) -> None:
    """Add the command to the parser."""
    text = "write a SavedModel for TensorFlow Serving, a TFLite or ONNX file or a Keras preset, and its card"
    parser = command("export", run, text)
    add_run(parser)
    parser.add_argument(
        "--format", choices=FORMATS, help="what to write (default: saved_model; tflite or onnx where --output ends so)"
    )
    parser.add_argument("--output", required=True, help="folder of the SavedModel (cacnet/1) or preset, or the file")
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
        "--calibration", metavar="DIR", default=argparse.SUPPRESS, help="photographs for int8, 30 or more"
    )
    group.add_argument(
        "--no-probabilities",
        action="store_false",
        dest="probabilities",
        default=argparse.SUPPRESS,
        help="class ids only, in a fraction of the memory; a SavedModel has the signature serve_class_ids for that",
    )
    parser.add_argument(
        "--max-pixels",
        type=int,
        default=argparse.SUPPRESS,
        help="of a SavedModel: the most pixels of a request with image files, padded to one size (default: 16777216)",
    )
    add_protocol(parser, "a SavedModel has no signature serve_multiscale")


def run(options: argparse.Namespace) -> int:
    from keras_cacnet.export.keras_comparison import require_runtime
    from keras_cacnet.models.presets import require_free
    from keras_cacnet.training.run import Run

    output = user_path(options.output)
    options.format = _format(options.format, output)
    given: dict[str, Any] = {name: getattr(options, name) for name in _OF_FORMATS if name in options}
    for name in given:
        if options.format not in _OF_FORMATS[name]:
            flag = "no-probabilities" if name == "probabilities" else name.replace("_", "-")
            formats = " or ".join(_OF_FORMATS[name])
            raise ValueError(f"--{flag} goes only with --format {formats}, not with {options.format}")
    protocol = given_protocol(options)
    if protocol and options.format != "saved_model":
        raise ValueError(f"--scales, --flip and the like go only with --format saved_model, not with {options.format}")
    if protocol and protocol.crop_size is not None:
        raise ValueError("an export shows every scaled image whole: leave --crop-size out")
    if options.format == "preset":
        if options.verify is not None:
            raise ValueError("--verify compares exports that run without Keras; a preset is read by Keras itself")
        require_free(output, options.overwrite)
    trained = Run(options.run)
    writes = options.overwrite or options.verify is None or not output.exists()
    # What is missing is found before the model is loaded and converted.
    compared = None
    if options.verify is not None:
        require_runtime(output)
        compared = _photographs(options.verify)
    if "calibration" in given:
        given["calibration"] = _photographs(given["calibration"])
    model = trained.load_model(options.checkpoint)
    if writes:
        _write(options, output, trained, model, given, protocol)
    return 0 if compared is None else _verify(output, model, compared)


def _format(asked: str | None, output: Path) -> str:
    """The format that is asked for, or that the name of the output has."""
    ending = output.suffix.lower().removeprefix(".")
    of_file = ending if ending in ("tflite", "onnx") else None
    if asked in ("saved_model", "preset") and of_file:
        raise ValueError(
            f"--format {asked} writes a folder, and --output {output} has a file's name: leave .{ending} out"
        )
    return asked or of_file or "saved_model"


def _write(
    options: argparse.Namespace,
    output: Path,
    trained: Run,
    model: keras.Model,
    given: dict[str, Any],
    protocol: Protocol | None,
) -> None:
    from keras_cacnet.datasets import read_image
    from keras_cacnet.export import CalibrationWarning, model_card, onnx, saved_model, tflite, write_model_card
    from keras_cacnet.export.card import require_card_places
    from keras_cacnet.export.exportable_models import export_size

    if "calibration" in given:
        given["calibration"] = map(read_image, given["calibration"])
    size = None
    if options.format in ("tflite", "onnx"):
        height, width = export_size(model, given.get("size"))
        size = (height, width) if height and width else None
    require_card_places(output)
    stated = {"precision": given.get("precision", "float32"), "probabilities": given.get("probabilities", True)}
    card = model_card(trained, options.checkpoint, size=size, **stated)
    given["overwrite"] = options.overwrite
    if options.format == "saved_model":
        path = saved_model(model, output, trained.classes, multiscale=protocol, **given)
    elif options.format == "tflite":
        with warnings_in_a_line(CalibrationWarning):
            path = tflite(model, output, trained.classes, **given)
    elif options.format == "onnx":
        path = onnx(model, output, trained.classes, **given)
    else:
        model.save_to_preset(path := output)
    print(f"written: {path}")
    if (side := trained.recipe.image_size) and protocol is None and options.format != "preset":
        print(
            f"note: trained on images of {side} pixels (long side): resize images to that before sending them"
            + (f", or export with --base-size {side}" if options.format == "saved_model" else "")
        )
    for part in write_model_card(path, card):
        print(f"written: {part}")


def _verify(output: Path, model: keras.Model, photographs: list[Path]) -> int:
    from keras_cacnet.datasets import read_image
    from keras_cacnet.export import TOLERANCES, changed_files, read_model_card, verify
    from keras_cacnet.export.tflite_quantization import resized

    card = read_model_card(output)
    for changed in (changes := changed_files(output)):
        print(f"changed since it was written: {changed}")
    size = card["size"] and tuple(card["size"])
    images = [resized(read_image(file), size)[None] for file in photographs]
    found = verify(output, model, images)
    right = found.within(card["precision"]) and not changes
    most, least = TOLERANCES[card["precision"]]
    probabilities = ""
    if found.largest_difference is not None:
        probabilities = f", probabilities within {found.largest_difference:.2g}"
        probabilities += f" (at most {most:g})" if most < 1 else ""
    print(
        f"{len(images)} photographs: the class of Keras on {100 * found.equal_ids:.4f} % of the pixels "
        f"({card['precision']}: at least {100 * least:g} %){probabilities}: {'as in Keras' if right else 'DIFFERENT'}"
    )
    return 0 if right else 1


def _photographs(folder: str) -> list[Path]:
    from keras_cacnet.evaluation.prediction_files import SUFFIXES

    path = user_path(folder)
    if not path.is_dir():
        raise ValueError(f"{path} is no folder: give one with photographs")
    if not (found := visible_files(path, SUFFIXES)):
        raise ValueError(f"{path} has no photographs ({', '.join(SUFFIXES)})")
    return found
