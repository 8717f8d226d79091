"""Full-integer quantisation of a TFLite file, with the part that 8 bits would harm left in float32."""

import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, chain

import keras
import numpy as np
import tensorflow as tf
from PIL import Image
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.python.convert import mlir_quantize

from keras_cacnet.layers.base import ReweightingLayer

FEW = 30
"""Below so many images of calibration there is a warning."""
_OPERATORS = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
_TYPES = {value: name for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED")
_PRODUCTS = (*_CONVOLUTIONS, "BATCH_MATMUL")


class CalibrationWarning(UserWarning):
    """An int8 file was calibrated on few images."""


@dataclass(frozen=True)
class Operator:
    """One step of a TFLite file.

    Args:
        kind: as TFLite calls it, `CONV_2D`; of one that is not built in, its own name.
        builtin: whether every TFLite runtime has it.
        dtype: of its first result, `FLOAT32`, `INT8`.
        name: of its first result, which has the names of the Keras layers that it comes from.
        inputs: the tensors that it reads, by number in the whole file; without the optional ones that are left out.
        outputs: the tensors that it writes.
        computed: those of `inputs` that are no constants of the file.
    """

    kind: str
    builtin: bool
    dtype: str
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    computed: tuple[int, ...]


def operators(content: bytes) -> list[Operator]:
    """List the operators of a TFLite file in the order in which they run, those of subgraphs at the end.

    Args:
        content: the file.

    Returns:
        The operators.

    Example:
        >>> import keras, tempfile
        >>> from pathlib import Path
        >>> from keras_cacnet.export import tflite
        >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 1)])
        >>> path = tflite(model, Path(tempfile.mkdtemp()) / "small.tflite")
        >>> sorted(operator.kind for operator in operators(path.read_bytes()))
        ['ARG_MAX', 'CAST', 'CONV_2D', 'SOFTMAX']
    """
    model = schema.Model.GetRootAs(content)
    graphs = [model.Subgraphs(index) for index in range(model.SubgraphsLength())]
    starts = accumulate([graph.TensorsLength() for graph in graphs], initial=0)
    return [found for graph, start in zip(graphs, starts, strict=False) for found in _of_graph(model, graph, start)]


def _of_graph(model: schema.Model, graph: schema.SubGraph, start: int) -> Iterator[Operator]:
    """The operators of a subgraph, whose tensors are numbered from `start`."""
    tensors = [graph.Tensors(index) for index in range(graph.TensorsLength())]
    constant = {index for index, tensor in enumerate(tensors) if model.Buffers(tensor.Buffer()).DataLength() > 0}
    for index in range(graph.OperatorsLength()):
        operator = graph.Operators(index)
        code = model.OperatorCodes(operator.OpcodeIndex())
        # Old files have the code in one field, new ones in the other.
        kind = _OPERATORS[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        builtin = kind != "CUSTOM"
        inputs = tuple(number for at in range(operator.InputsLength()) if (number := operator.Inputs(at)) >= 0)
        outputs = tuple(operator.Outputs(at) for at in range(operator.OutputsLength()))
        yield Operator(
            kind=kind if builtin else code.CustomCode().decode(),
            builtin=builtin,
            dtype=_TYPES[tensors[outputs[0]].Type()],
            name=tensors[outputs[0]].Name().decode(),
            inputs=tuple(start + number for number in inputs),
            outputs=tuple(start + number for number in outputs),
            computed=tuple(start + number for number in inputs if number not in constant),
        )


def calibration_batches(images: Iterable[np.ndarray], size: tuple[int, int] | None) -> Iterator[np.ndarray]:
    """Look at the first of the images that quantisation is calibrated on, and at the others as they are taken.

    Args:
        images: uint8 (H, W, 3), each of a size of its own.
        size: the height and width to which they are resized, bilinearly; None for their own.

    Returns:
        The images as batches of one; after the last, a `CalibrationWarning` where they were fewer than `FEW`.

    Raises:
        ValueError: there is none, or one is no uint8 (H, W, 3).

    Example:
        >>> next(calibration_batches([np.zeros((4, 6, 3), "uint8")], (8, 8))).shape
        (1, 8, 8, 3)
    """
    checked = (_checked(image, index, size) for index, image in enumerate(images))
    if (first := next(checked, None)) is None:
        raise ValueError("calibration has no images; int8 needs some tens of those that the network is meant for")
    return _counted(chain([first], checked))


def _counted(images: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """The images as they come, with a warning at their end where they are few."""
    count = 0
    for image in images:
        yield image
        count += 1
    if count < FEW:
        message = (
            f"int8 was calibrated on {count} image{'s'[: count > 1]}: ranges that they do not show are cut off; give "
            f"at least {FEW} photographs of the kind that the network is meant for"
        )
        warnings.warn(message, CalibrationWarning, stacklevel=2)


def _checked(image: np.ndarray, index: int, size: tuple[int, int] | None) -> np.ndarray:
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3 or 0 in image.shape:
        raise ValueError(
            f"calibration image {index} is {image.dtype} {image.shape}; calibration takes single images, "
            "uint8 (H, W, 3) and not empty"
        )
    return resized(image, size)[None]


def resized(image: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """Bring a photograph to the only size that a file takes, bilinearly.

    Args:
        image: uint8 (H, W, 3).
        size: the height and width; None for its own.

    Example:
        >>> resized(np.zeros((4, 6, 3), "uint8"), (8, 8)).shape
        (8, 8, 3)
    """
    if size is None or image.shape[:2] == size:
        return image
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))


def quantized(converter: tf.lite.TFLiteConverter, model: keras.Model, images: Iterable[np.ndarray]) -> bytes:
    """Convert to int8 by the ranges that activations take on the images.

    Args:
        converter: of the model, as yet without optimisations.
        model: tells which layers stay in float32.
        images: batches of one, uint8.

    Shapes:
        - every batch: (1, H, W, 3)

    Returns:
        The file: weights of a convolution in int8 by channel, activations in int8.
    """
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image] for image in images)
    # The converter has no option to leave out operators; these are the two steps of tf.lite's own
    # QuantizationDebugger, which has, but which starts the interpreter that TensorFlow is about to drop.
    converter._experimental_calibrate_only = True
    calibrated = converter.convert()
    kept = kept_in_float(operators(calibrated), model)
    return mlir_quantize(calibrated, input_data_type=tf.uint8, denylisted_nodes=[operator.name for operator in kept])


def kept_in_float(found: list[Operator], model: keras.Model) -> list[Operator]:
    """Choose the operators that int8 quantisation leaves out.

    - the normalisation of the image, which is all before the first convolution: 8 bits of a photograph are exact, 8
      bits of what it is normalised to are not
    - the layers that re-weight features by what they see in the image, CaC and its alternatives, and any other
      product of two things computed from the image: their ranges change from image to image, and a kernel computed
      at run time cannot have a scale for every channel, as the learned ones have
    - the last convolution, which gives the logits, and what follows it

    Args:
        found: the operators of the file before quantisation.
        model: the model that it was made from.

    Returns:
        Those to keep in float32.
    """
    convolutions = [index for index, operator in enumerate(found) if operator.kind in _CONVOLUTIONS]
    before = convolutions[0] if convolutions else len(found)
    layers = [re.escape(layer.name) for layer in model._flatten_layers() if isinstance(layer, ReweightingLayer)]
    # TensorFlow numbers the scope of a layer that is called again.
    dynamic = re.compile(rf"(^|[/;])({'|'.join(layers)})(_\d+)?/") if layers else None
    final = _last_steps(found)
    return [
        operator
        for index, operator in enumerate(found)
        if index < before
        or index in final
        or (operator.kind in _PRODUCTS and len(set(operator.inputs[:2]) & set(operator.computed)) == 2)
        or (dynamic and dynamic.search(operator.name))
    ]


def _last_steps(found: list[Operator]) -> set[int]:
    """The operators from which results are reached without another convolution, those convolutions included."""
    makers = {tensor: index for index, operator in enumerate(found) for tensor in operator.outputs}
    read = {tensor for operator in found for tensor in operator.inputs}
    steps: set[int] = set()
    waiting = [index for index, operator in enumerate(found) if not set(operator.outputs) & read]
    while waiting:
        index = waiting.pop()
        if index in steps:
            continue
        steps.add(index)
        # What only lends its shape is no step on the way.
        if found[index].kind not in (*_CONVOLUTIONS, "SHAPE"):
            waiting += [makers[tensor] for tensor in found[index].inputs if tensor in makers]
    return steps
