"""Parameters and multiply-adds of a network by part, beside Table 7 of the paper."""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import keras

from keras_cacnet.models.heads import HEAD_LAYERS, Head, HeadContext
from keras_cacnet.models.heads.base import positions, presence_classifier
from keras_cacnet.models.interface import require_image_size
from keras_cacnet.paper.tables import TABLES

PARTS = ("backbone", "reduction", "heads", "pooling", "fusion", "classifier", "presence", "auxiliary")
# Table 7 counts ResNet's 1000-way classifier, which no segmentation network has, as part of the backbone.
IMAGENET_CLASSES = 1000
_ROWS = {"backbone": "Backbone", "cacnet": "Ours", "apcnet, lean": "APCNet", "dmnet, lean": "DMNet"}
TABLE_7 = {
    name: ", ".join(str(TABLES[7].cell(row, column)) for column in TABLES[7].columns) for name, row in _ROWS.items()
}
"""As printed, for a dilated ResNet-101, images of 512x512 and PASCAL Context."""


class Cost(NamedTuple):
    """Trainable parameters and multiply-adds of one part for one image."""

    parameters: int
    multiply_adds: int


def costs(model: keras.Model, height: int, width: int) -> dict[str, Cost]:
    """Count the parameters and multiply-adds of every part of a network.

    Multiply-adds are those of every convolution and matrix product in the graph that TensorFlow traces for one
    image of that size, the context-adaptive ones included; the auxiliary head is counted as in training.

    Args:
        model: a `CaCNet` or another `SegmentationNetwork`.
        height: height of the image, in pixels.
        width: width of the image, in pixels.

    Returns:
        A `Cost` for each of `PARTS` ("heads" has the modules of any head), and for "imagenet_fc", the classifier
        that Table 7 counts and that is not in the network.

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
    if height < 1 or width < 1:
        raise ValueError(f"the size must be at least 1x1, got {height}x{width}")
    require_image_size(model, height, width)
    backbone = {id(weight) for weight in model.backbone.trainable_variables}
    paths = [("backbone" if id(weight) in backbone else weight.path, weight) for weight in model.trainable_variables]
    result = _counted(paths, lambda x: model({"images": x}, training=True), (1, height, width, 3), model.input.dtype)
    channels = model.backbone.output["P5"].shape[-1]
    fc = channels * IMAGENET_CLASSES
    return {**result, "imagenet_fc": Cost(fc + IMAGENET_CLASSES, fc)}


def head_costs(head: Head, num_classes: int, feature_channels: int, height: int, width: int) -> dict[str, Cost]:
    """Count the parameters and multiply-adds of a head by itself, as it is in training.

    Args:
        head: the head.
        num_classes: number of classes.
        feature_channels: channels of the backbone's last features; 2048 in a ResNet-50 or -101.
        height: height of these features, in positions.
        width: width of these features, in positions.

    Returns:
        A `Cost` for each of `PARTS`; that of the backbone and of the auxiliary head is 0.

    Example:
        >>> from keras_cacnet.models.heads import FCNHead
        >>> head_costs(FCNHead(channels=8), 5, feature_channels=16, height=4, width=4)["classifier"]
        Cost(parameters=45, multiply_adds=640)

    Reference:
        Table 7 of the CaC-Net paper.
    """
    context = HeadContext(num_classes, dropout=0.0)
    decoder = head.decoder(feature_channels, context)
    outputs = dict(decoder.output)
    if head.se_loss_weight:
        outputs["presence"] = presence_classifier(context)(outputs["encoding"])
    model = keras.Model(decoder.input, outputs)
    paths = [(weight.path, weight) for weight in model.trainable_variables]
    return _counted(paths, lambda x: model(x, training=True), (1, height, width, feature_channels), "float32")


def own_costs(parts: Mapping[str, Cost], num_classes: int, channels: int, positions: int) -> Cost:
    """What Table 7 counts as a head's own: all of it but the 3x3 reduction and the classifier that the FCN has too.

    Args:
        parts: the costs by part.
        num_classes: number of classes.
        channels: channels that the FCN classifies.
        positions: number of positions of the features.

    Example:
        >>> parts = {part: Cost(0, 0) for part in PARTS} | {"heads": Cost(7, 9), "classifier": Cost(6, 8)}
        >>> own_costs(parts, num_classes=2, channels=1, positions=3)  # 1*2 + 2 and 1*2*3 of it are the FCN's
        Cost(parameters=9, multiply_adds=11)

    Reference:
        Table 7 of the CaC-Net paper.
    """
    plain = _plain_classifier(num_classes, channels, positions)
    own = total(parts[part] for part in ("heads", "pooling", "fusion", "classifier", "presence"))
    return Cost(own.parameters - plain.parameters, own.multiply_adds - plain.multiply_adds)


def baseline_costs(parts: Mapping[str, Cost], num_classes: int, channels: int, positions: int) -> Cost:
    """What Table 7 counts as the backbone: the FCN, its auxiliary head, and ResNet's 1000-way classifier.

    Args:
        parts: the costs by part of a network with a 3x3 reduction.
        num_classes: number of classes.
        channels: channels that the FCN classifies.
        positions: number of positions of the features.
    """
    shared = (parts[part] for part in ("backbone", "imagenet_fc", "reduction", "auxiliary"))
    return total([*shared, _plain_classifier(num_classes, channels, positions)])


def total(parts: Iterable[Cost]) -> Cost:
    """The sum of some costs.

    Example:
        >>> total([Cost(1, 2), Cost(3, 4)])
        Cost(parameters=4, multiply_adds=6)
    """
    parts = list(parts)
    return Cost(sum(part.parameters for part in parts), sum(part.multiply_adds for part in parts))


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
    rows, columns = positions((height, width), model.output_stride)
    fcn = (model.num_classes, model.head_channels, rows * columns)
    lines = [f"{'part':<24}{'parameters':>12}{'multiply-adds':>16}   ({height}x{width})"]
    lines += [_line(part, counted[part]) for part in PARTS if counted[part] != Cost(0, 0)]
    lines += [_line("network", total(counted[part] for part in PARTS))]
    lines += ["", _line("ImageNet FC (not in it)", counted["imagenet_fc"])]
    lines += [
        _line("FCN baseline with FC", baseline_costs(counted, *fcn)),
        _line("CaC-Net's own", own_costs(counted, *fcn)),
    ]
    printed = f"backbone {TABLE_7['backbone']}; CaC-Net {TABLE_7['cacnet']}"
    lines += [f"paper, Table 7: {printed} (PASCAL Context, ResNet-101, 512x512)"]
    return "\n".join(lines)


def _line(name: str, cost: Cost) -> str:
    return f"{name:<24}{cost.parameters / 1e6:>11.2f}M{cost.multiply_adds / 1e9:>15.2f}G"


def _plain_classifier(num_classes: int, channels: int, positions: int) -> Cost:
    return Cost(channels * num_classes + num_classes, channels * num_classes * positions)


def _counted(
    weights: Iterable[tuple[str, Any]], function: Callable[..., Any], shape: tuple[int, ...], dtype: str
) -> dict[str, Cost]:
    import tensorflow as tf

    parameters, multiply_adds = dict.fromkeys(PARTS, 0), dict.fromkeys(PARTS, 0)
    for path, weight in weights:
        parameters[_part(path)] += math.prod(weight.shape)
    graph = tf.function(function).get_concrete_function(tf.TensorSpec(shape, dtype)).graph
    for operation in graph.get_operations():
        if count := _multiply_adds(operation):
            multiply_adds[_part(operation.name)] += count
    return {part: Cost(parameters[part], multiply_adds[part]) for part in PARTS}


def _part(path: str) -> str:
    for name in path.split("/"):
        if found := re.match(HEAD_LAYERS, name):
            part = re.sub(r"_\d+$", "", found[1])
            return "heads" if part in ("head", "context", "encoding") else part
    return "backbone"


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
