"""A TFLite file for LiteRT, on phones, small computers and in browsers."""

import io
import json
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tensorflow.lite.python.convert_phase import ConverterError

from keras_cacnet.arguments import require_flag
from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.evaluation.inference import require_tensorflow
from keras_cacnet.export.destination import TEMPORARY, one_line_errors, require_file_place, write_whole_file
from keras_cacnet.export.exportable_models import ODD_SIZE, export_size, in_float32, require_logits, require_types
from keras_cacnet.export.signatures import image_signature, shared_network
from keras_cacnet.export.tflite_metadata import with_metadata
from keras_cacnet.export.tflite_quantization import calibration_batches, operators, quantized
from keras_cacnet.files import user_path

TFLITE_PRECISIONS = ("float32", "float16", "dynamic", "int8")
"""What weights and activations of a TFLite file may be."""
LABELS = "labels.txt"
CLASSES = "classes.json"


def tflite(
    model: keras.Model,
    path: str | Path,
    classes: ClassTable | None = None,
    *,
    precision: str = "float32",
    size: tuple[int, int] | None = None,
    calibration: Iterable[np.ndarray] | None = None,
    probabilities: bool = True,
    overwrite: bool = False,
) -> Path:
    """Export a model as one TFLite file that takes a photograph as it is.

    The signature `serving_default` takes `images` and gives `class_ids` and `probabilities`, as the SavedModel does:
    uint8 is what a camera or a decoder gives, and normalisation is in the file. There is one image a batch: with an
    unknown number of images TFLite has no operator for kernels that every image brings along. All operators are
    built into every TFLite runtime (no Flex, no custom ones); a file that needed others is not written.

    What is stored and computed, by `precision`:

    - "float32": as Keras computes it
    - "float16": weights as float16, half the size; computed in float32, or in float16 where the hardware can
    - "dynamic": weights of convolutions as int8, a quarter of the size; activations stay float32, and are quantised
      on the way into a convolution, by their range in that image
    - "int8": weights and activations as int8, by the ranges that activations took on the images of `calibration`.
      In float32 stay the normalisation of the image; the layers that re-weight features (CaC or an alternative, from
      query and key to X * W) and every other product of two things computed from the image; and the last
      convolution, the enlargement of its logits, and the softmax. TFLite can compute them in int8 too: with one
      scale for all channels of a kernel made at run time, and 256 steps for its small differences, more pixels
      change class than by all other layers together (docs/delivery.md has the figures)

    A model of another dtype policy is exported in float32, with the same weights.

    The file has TFLite's metadata. With a class table it is also a zip archive, as such files are: `unzip -p FILE
    labels.txt` gives one name a line in the order of the indices, which the metadata names for both outputs, and
    `classes.json` names, colours and file ids. MediaPipe's ImageSegmenter takes a file for one size as it is. The file
    is written under a temporary name and renamed when it is complete.

    Args:
        model: takes RGB in 0..255 and gives logits of the size of its input.
        path: the file, `*.tflite`.
        classes: names, colours and file ids of the classes.
        precision: one of the above.
        size: height and width of the only images that the file takes; by default what the model takes, any for most.
            LiteRT in browsers needs a size, and so do most delegates for GPUs and NPUs.
        calibration: for "int8" images of the kind that the file will see, 30 or more (fewer give a
            `CalibrationWarning`); those of another size than
            `size` are resized to it. Each is taken once, and only as it is needed.
        probabilities: whether the file gives any. Without them it never holds the logits of all pixels: some megabytes
            instead of a gigabyte for 60 classes and 2048x2048 pixels.
        overwrite: replace a TFLite file that stands at `path`.

    Shapes:
        - images: uint8 (1, H, W, 3); any H and W, or `size`
        - class_ids: int32 (1, H, W), the index of the class with the largest logit
        - probabilities: float32 (1, H, W, classes), the softmax of the logits, where there are any
        - every image of calibration: uint8 (H, W, 3)

    Returns:
        The path.

    Raises:
        ValueError: `path` has another suffix, is a folder or a link, or stands already, without `overwrite` or as
            another kind of file; an unknown precision; calibration without "int8", "int8" without, or with images
            that are none; a size that is none, or that the model does not take; a model that does not take one
            (B, H, W, 3), or gives something else than logits of the size of its input, or that TFLite's own
            operators cannot express; another number of classes than the table's; Keras runs on another backend
            than TensorFlow.
        OSError: nothing can be written at `path`, which is found before the model is converted, or the disk is full.

    Example:
        >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 1)])
        >>> classes = ClassTable(("sky", "sea"), ((90, 160, 220), (20, 60, 140)), ids=(0, 1))
        >>> path = tflite(model, Path(tempfile.mkdtemp()) / "cacnet.tflite", classes)
        >>> zipfile.ZipFile(path).read("labels.txt").decode().split()
        ['sky', 'sea']
        >>> from ai_edge_litert.interpreter import Interpreter
        >>> run = Interpreter(str(path)).get_signature_runner("serving_default")
        >>> result = run(images=np.zeros((1, 4, 6, 3), "uint8"))
        >>> result["class_ids"].shape, result["probabilities"].shape
        ((1, 4, 6), (1, 4, 6, 2))
    """
    require_tensorflow("the export of a TFLite file")
    path = user_path(path)
    require_types(model, classes)
    require_flag("probabilities", probabilities)
    _require_place(path, overwrite)
    images = _calibration(precision, calibration)
    height, width = export_size(model, size)
    resized = (height, width) if height and width else None
    samples = None if images is None else calibration_batches(images, resized)
    require_logits(model, classes, (height or ODD_SIZE[0], width or ODD_SIZE[1]))
    content = _converted(in_float32(model), precision, (height, width), samples, probabilities)
    content = with_metadata(content, model.name, LABELS if classes is not None else None)
    if classes is not None:
        content = _with_classes(content, classes)
    write_whole_file(path, content)
    return path


def _require_place(path: Path, overwrite: bool) -> None:
    require_file_place(path, ".tflite", overwrite)
    if path.exists():
        with path.open("rb") as file:
            if file.read(8)[4:] != b"TFL3":
                raise ValueError(f"{path} is no TFLite file and is not replaced: name another file")


def _calibration(precision: str, calibration: Iterable[np.ndarray] | None) -> Iterable[np.ndarray] | None:
    if precision not in TFLITE_PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(TFLITE_PRECISIONS)}, got {precision!r}")
    if precision == "int8" and calibration is None:
        raise ValueError(
            "precision='int8' needs calibration (--calibration): some tens of images of the kind that the file will "
            "see, uint8 (H, W, 3); 'dynamic' needs none"
        )
    if precision != "int8" and calibration is not None:
        raise ValueError(f"calibration goes only with precision='int8', not with {precision!r}: leave one of them out")
    return calibration


def _converted(
    model: keras.Model,
    precision: str,
    size: tuple[int | None, int | None],
    samples: Iterator[np.ndarray] | None,
    probabilities: bool,
) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        archive = keras.export.ExportArchive()
        images = tf.TensorSpec((1, *size, 3), tf.uint8, name="images")
        serve = image_signature(shared_network(model, 1, size), probabilities)
        archive.add_endpoint("serving_default", tf.autograph.experimental.do_not_convert(serve), [images])
        with one_line_errors(Path(folder), TEMPORARY):
            archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        try:
            if samples is not None:
                content = quantized(converter, model, samples)
            else:
                if precision != "float32":
                    converter.optimizations = [tf.lite.Optimize.DEFAULT]
                if precision == "float16":
                    converter.target_spec.supported_types = [tf.float16]
                content = converter.convert()
        except ConverterError as error:
            raise ValueError(
                f"model {model.name!r} cannot be written with TFLite's own operators: {_reason(error)}"
            ) from error
    if others := sorted({operator.kind for operator in operators(content) if not operator.builtin}):
        raise ValueError(f"model {model.name!r} needs {', '.join(others)}, which TFLite runtimes do not have built in")
    return bytes(content)


def _reason(error: ConverterError) -> str:
    lines = [line for line in str(error).splitlines() if "error:" in line] or str(error).splitlines()
    return lines[0].strip()[-300:]


def _with_classes(content: bytes, classes: ClassTable) -> bytes:
    stream = io.BytesIO(content)
    with zipfile.ZipFile(stream, "a") as archive:
        for name, text in (
            (LABELS, "".join(f"{name}\n" for name in classes.names)),
            (CLASSES, json.dumps(classes.to_json(), indent=2) + "\n"),
        ):
            # Without a time, so that the same model gives the same bytes.
            archive.writestr(zipfile.ZipInfo(name), text)
    return stream.getvalue()
