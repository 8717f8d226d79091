"""An ONNX file for ONNX Runtime, OpenVINO and whatever else reads the format."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_cacnet.arguments import require_flag
from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.evaluation.inference import require_tensorflow
from keras_cacnet.export.destination import require_file_place, write_whole_file
from keras_cacnet.export.exportable_models import ODD_SIZE, export_size, in_float32, require_logits, require_types
from keras_cacnet.export.signatures import image_signature, shared_network
from keras_cacnet.files import user_path

OPSET = 18


def onnx(
    model: keras.Model,
    path: str | Path,
    classes: ClassTable | None = None,
    *,
    size: tuple[int, int] | None = None,
    probabilities: bool = True,
    overwrite: bool = False,
) -> Path:
    """Export a model as one ONNX file that takes a photograph as it is.

    It takes `images` and gives `class_ids` and `probabilities`, as the SavedModel does, for one image a batch: a
    convolution of ONNX has a number of groups that is known beforehand, and kernels that every image brings along make
    it that of the images. Normalisation is in the file. A model of another dtype policy is exported in float32. The
    class table is JSON in the file's metadata, under `classes`. The file is renamed when it is complete.

    Args:
        model: takes RGB in 0..255 and gives logits of the size of its input.
        path: the file, `*.onnx`.
        classes: names, colours and file ids of the classes.
        size: height and width of the only images that the file takes; by default what the model takes, any for most.
        probabilities: whether the file gives any. Without them it never holds the logits of all pixels.
        overwrite: replace a file that stands at `path`.

    Shapes:
        - images: uint8 (1, H, W, 3); any H and W, or `size`
        - class_ids: int32 (1, H, W), the index of the class with the largest logit
        - probabilities: float32 (1, H, W, classes), the softmax of the logits, where there are any

    Returns:
        The path.

    Raises:
        ValueError: `path` has another suffix, is a folder or a link, or stands already without `overwrite`; a size that
            is none, or that the model does not take; a model that gives something else than logits of the size of its
            input; another number of classes than the table's; a convolution that ONNX Runtime gets wrong; Keras runs on
            another backend than TensorFlow.
        ImportError: the package tf2onnx is not installed.
        OSError: nothing can be written at `path`, which is found before the model is converted, or the disk is full.

    Example:
        >>> import tempfile
        >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 1)])
        >>> onnx(model, Path(tempfile.mkdtemp()) / "cacnet.onnx").name
        'cacnet.onnx'
    """
    require_tensorflow("the export of an ONNX file")
    if importlib.util.find_spec("tf2onnx") is None:
        raise ImportError("an ONNX file is written by tf2onnx: pip install 'keras-cacnet[onnx]'")
    path = user_path(path)
    require_types(model, classes)
    require_flag("probabilities", probabilities)
    require_file_place(path, ".onnx", overwrite)
    height, width = export_size(model, size)
    require_logits(model, classes, (height or ODD_SIZE[0], width or ODD_SIZE[1]))
    import tf2onnx

    images = tf.TensorSpec((1, height, width, 3), tf.uint8, name="images")
    serve = image_signature(shared_network(in_float32(model), 1, (height, width)), probabilities, _softmax)
    traced = tf.function(serve, input_signature=[images], autograph=False)
    content, _ = tf2onnx.convert.from_function(traced, input_signature=[images], opset=OPSET)
    _require_exact_padding(content)
    if classes is not None:
        content.metadata_props.add(key="classes", value=json.dumps(classes.to_json()))
    write_whole_file(path, content.SerializeToString())
    return path


def _softmax(logits: Any) -> Any:
    """ONNX Runtime's own takes every pixel by itself, which was two fifths of the time of a small network."""
    powers = tf.exp(logits - tf.reduce_max(logits, axis=-1, keepdims=True))
    return powers / tf.reduce_sum(powers, axis=-1, keepdims=True)


def _require_exact_padding(content: Any) -> None:
    """ONNX Runtime 1.32 places windows wrongly where "same" is its own to work out and strides leave pixels out."""
    for node in content.graph.node:
        of = {attribute.name: attribute for attribute in node.attribute}
        if node.op_type != "Conv" or not of.get("auto_pad") or not of["auto_pad"].s.startswith(b"SAME"):
            continue
        kernel, strides = tuple(of["kernel_shape"].ints), tuple(of["strides"].ints)
        if any(stride > side + 1 for side, stride in zip(kernel, strides, strict=True)):
            raise ValueError(
                f"convolution {node.name} has a kernel of {kernel}, strides of {strides} and padding 'same', which "
                "ONNX Runtime computes wrongly: give it padding='valid' behind a ZeroPadding2D, or smaller strides"
            )
