"""Table 7 of the paper: what the heads of several networks cost on one backbone."""

from collections.abc import Sequence
from dataclasses import replace

import keras

from keras_cacnet.models.heads import HEADS, APCHead, DMHead, Head, head_of
from keras_cacnet.models.heads.base import positions
from keras_cacnet.paper.costs import TABLE_7, Cost, baseline_costs, costs, head_costs, own_costs, total

LEAN: dict[str, Head] = {
    "apcnet": APCHead(module_conv=False, fusion_conv=False),
    "dmnet": DMHead(module_conv=True, fusion_conv=False),
}
"""Table 7's APCNet and DMNet: four modules on the backbone's features, without the 3x3 convolution behind them."""

_NOTES = """\
in full: the head from the backbone's features to the logits, as public implementations count it.
modules: without 3x3 reduction, 3x3 fusion convolution and classifier.
Table 7's: in full, without what the FCN has too: the 3x3 reduction, and a classifier of its channels.
backbone: the FCN with its auxiliary head and ResNet's 1000-way classifier, which no segmentation network has.
Table 7 as printed is for ResNet-101, 512x512 and 60 classes, where its figures are ours cut to whole numbers, but for
DMNet's 20G. The products of EncNet's encoding are counted here, and left out by most counters."""


def require_heads(names: Sequence[str]) -> tuple[str, ...]:
    """Names of heads, "all" for every one.

    Args:
        names: of `HEADS`, or "all".

    Returns:
        The names, each once.

    Raises:
        ValueError: an unknown name, or none at all.

    Example:
        >>> require_heads(["pspnet", "fcn", "pspnet"])
        ('pspnet', 'fcn')
    """
    if not any(names):
        raise ValueError(f"name at least one head of {', '.join(HEADS)}, or all")
    wanted = [head for name in names for head in (HEADS if name == "all" else (name,))]
    for name in wanted:
        head_of(name)
    return tuple(dict.fromkeys(wanted))


def comparison_table(model: keras.Model, names: Sequence[str], height: int, width: int) -> str:
    """The costs of several heads on the backbone of a network, beside Table 7 as printed.

    Args:
        model: a `CaCNet`, whose backbone, classes and channels all rows have.
        names: of `HEADS`, or "all"; APCNet and DMNet have a second row, their leaner form in Table 7.
        height: height of the image, in pixels.
        width: width of the image, in pixels.

    Returns:
        Text of several lines.

    Raises:
        ValueError: an unknown head, or a size that the network cannot take.

    Example:
        >>> from keras_cacnet import CaCNet
        >>> model = CaCNet(5, backbone="resnet14_narrow", head_channels=16)
        >>> print(comparison_table(model, ["fcn"], 64, 64).splitlines()[2])
        fcn                   0.15M     0.01G     0.00M     0.00G     0.00M     0.00G   -
    """
    names = require_heads(names)
    channels = model.backbone.output["P5"].shape[-1]
    rows, columns = positions((height, width), model.output_stride)
    fcn = (model.num_classes, model.head_channels, rows * columns)
    baseline = baseline_costs(costs(model, height, width), *fcn)
    titles = "".join(f"{title:>20}" for title in ("in full", "modules", "Table 7's"))
    lines = [f"{'':<16}{titles}   Table 7 as printed"]
    lines += [f"{'backbone':<16}{'':>40}{_cells(baseline)}   {TABLE_7['backbone']}"]
    for name in names:
        forms = {name: HEADS[name](), **({f"{name}, lean": LEAN[name]} if name in LEAN else {})}
        for title, head in forms.items():
            own = model.head if name == "cacnet" else replace(head, channels=model.head_channels)
            parts = head_costs(own, model.num_classes, channels, rows, columns)
            modules = total((parts["heads"], parts["pooling"]))
            cells = "".join(map(_cells, (total(parts.values()), modules, own_costs(parts, *fcn))))
            lines.append(f"{title:<16}{cells}   {TABLE_7.get(title, '-')}")
    return "\n".join([*lines, "", *_NOTES.splitlines()])


def _cells(cost: Cost) -> str:
    return f"{cost.parameters / 1e6:>9.2f}M{cost.multiply_adds / 1e9:>9.2f}G"
