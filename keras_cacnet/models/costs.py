"""Parameters and multiply-adds of a network by part, beside Table 7 of the paper."""

import math
import re
from typing import Any, NamedTuple

import keras

from keras_cacnet.models.reweighting import require_image_size

PARTS = ("backbone", "reduction", "heads", "pooling", "classifier", "auxiliary")
# Table 7 counts ResNet's 1000-way classifier, which no segmentation network has, as part of the backbone.
IMAGENET_CLASSES = 1000
TABLE_7 = "backbone 56M, 225G; CaC-Net +5M, +21G (PASCAL Context, ResNet-101, 512x512)"


class Cost(NamedTuple):
    """Trainable parameters and multiply-adds of one part for one image."""

    parameters: int
    multiply_adds: int


def costs(model: keras.Model, height: int, width: int) -> dict[str, Cost]:
    """Count the parameters and multiply-adds of every part of a network.

    Multiply-adds are those of every convolution and matrix product in the graph that TensorFlow traces for one
    image of that size, the context-adaptive ones included; the auxiliary head is counted as in training.

    Args:
        model: a `CaCNet`.
        height: height of the image, in pixels.
        width: width of the image, in pixels.

    Returns:
        A `Cost` for each of "backbone", "reduction", "heads", "pooling", "classifier", "auxiliary", and for
        "imagenet_fc", the classifier that Table 7 counts and that is not in the network.

    Raises:
        ValueError: a size below 1, or one that the network cannot take.

    Example:
        >>> from keras_cacnet import CaCNet
        >>> model = CaCNet(5, backbone="resnet14_narrow", head_channels=16)
        >>> costs(model, 64, 64)["pooling"].parameters  # 16*16 + 2*16
        288

    Reference:
        Table 7 of the CaC-Net paper.
    """
    import tensorflow as tf

    if height < 1 or width < 1:
        raise ValueError(f"the size must be at least 1x1, got {height}x{width}")
    require_image_size(model, height, width)
    parameters = dict.fromkeys(PARTS, 0)
    backbone = {id(weight) for weight in model.backbone.trainable_variables}
    for weight in model.trainable_variables:
        part = "backbone" if id(weight) in backbone else _part(weight.path)
        parameters[part] += math.prod(weight.shape)
    multiply_adds = dict.fromkeys(PARTS, 0)
    image = tf.TensorSpec((1, height, width, 3), model.input.dtype)
    graph = tf.function(lambda x: model(x, training=True)).get_concrete_function(image).graph
    for operation in graph.get_operations():
        if count := _multiply_adds(operation):
            multiply_adds[_part(operation.name)] += count
    result = {part: Cost(parameters[part], multiply_adds[part]) for part in PARTS}
    channels = model.backbone.output["P5"].shape[-1]
    fc = channels * IMAGENET_CLASSES
    return {**result, "imagenet_fc": Cost(fc + IMAGENET_CLASSES, fc)}


def cost_table(model: keras.Model, height: int, width: int) -> str:
    """The costs as a table to print, with the paper's two sums below and its Table 7 beside.

    Args:
        model: a `CaCNet`.
        height: height of the image, in pixels.
        width: width of the image, in pixels.

    Returns:
        Text of several lines.

    Example:
        >>> from keras_cacnet import CaCNet
        >>> model = CaCNet(5, backbone="resnet14_narrow", head_channels=16)
        >>> print(cost_table(model, 64, 64).splitlines()[0])
        part                      parameters   multiply-adds   (64x64)
    """
    counted = costs(model, height, width)
    classes, head_channels = model.num_classes, model.head_channels
    positions = math.prod(math.ceil(side / model.output_stride) for side in (height, width))
    # The FCN baseline classifies the reduced map alone; what CaC-Net's wider classifier adds is CaC-Net's own.
    plain_classifier = Cost(head_channels * classes + classes, head_channels * classes * positions)
    baseline = _sum(
        counted["backbone"],
        counted["imagenet_fc"],
        counted["reduction"],
        plain_classifier,
        counted["auxiliary"],
    )
    own = _sum(counted["heads"], counted["pooling"], counted["classifier"])
    own = Cost(own.parameters - plain_classifier.parameters, own.multiply_adds - plain_classifier.multiply_adds)
    lines = [f"{'part':<24}{'parameters':>12}{'multiply-adds':>16}   ({height}x{width})"]
    lines += [_line(part, counted[part]) for part in PARTS]
    lines += [_line("network", _sum(*(counted[part] for part in PARTS)))]
    lines += ["", _line("ImageNet FC (not in it)", counted["imagenet_fc"])]
    lines += [_line("FCN baseline with FC", baseline), _line("CaC-Net's own", own)]
    lines += [f"paper, Table 7: {TABLE_7}"]
    return "\n".join(lines)


def _line(name: str, cost: Cost) -> str:
    return f"{name:<24}{cost.parameters / 1e6:>11.2f}M{cost.multiply_adds / 1e9:>15.2f}G"


def _sum(*parts: Cost) -> Cost:
    return Cost(sum(part.parameters for part in parts), sum(part.multiply_adds for part in parts))


def _part(path: str) -> str:
    found = re.search(r"(?:^|/)(reduction|head_\d+|pooling|classifier|auxiliary)(?:_|/|$)", path)
    if not found:
        return "backbone"
    return "heads" if found[1].startswith("head_") else found[1]


def _multiply_adds(operation: Any) -> int:
    if operation.type in ("Conv2D", "DepthwiseConv2dNative"):
        kernel = operation.inputs[1].shape.as_list()
        taps = math.prod(kernel[:3]) if operation.type == "Conv2D" else math.prod(kernel[:2])
        return math.prod(operation.outputs[0].shape.as_list()) * taps
    if operation.type in ("MatMul", "BatchMatMulV2", "BatchMatMulV3"):
        left = operation.inputs[0].shape.as_list()
        transposed = "transpose_a" if operation.type == "MatMul" else "adj_x"
        summed = left[-2] if operation.get_attr(transposed) else left[-1]
        return math.prod(operation.outputs[0].shape.as_list()) * summed
    return 0
