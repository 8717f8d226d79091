"""The paper's experiments, one value each. A setting that is not named has the recipe's default.

None has been run on its whole data set yet: that takes the data, ImageNet weights and a GPU for days.
"""

from dataclasses import replace

from keras_cacnet.evaluation.protocol import Protocol
from keras_cacnet.paper import TABLES
from keras_cacnet.paper.experiment import Experiment, PaperFigure
from keras_cacnet.training.recipe import Recipe, ours, paper
from keras_cacnet.wording import did_you_mean

ENCODING_SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
"""PyTorch-Encoding's; the paper says "multiple scales" and no more. Windows and their stride are from there too."""

BESIDE_SETTINGS = (
    "crops are filled up with black on the right and at the bottom, as void (PyTorch-Encoding's; the paper is silent)",
    "random scales are of the image's own size (PyTorch-Encoding scales the long side of a base size)",
    "batch norm takes its statistics over the whole batch, whatever the number of devices, as the paper's Sync-BN",
    "the scales, windows and fusion of the evaluation",
)
"""Choices of ours that are no settings of a recipe. Those of the network are in the README."""

# Summed over the results of all operations of the traced network that have four axes; not measured on a GPU.
_GPU = "one GPU with {} GB: a step keeps some {} GB of features in float32 (estimated from the graph, not run yet)"

_PASCAL_CONTEXT = Recipe(weights="imagenet")
_VOC = replace(_PASCAL_CONTEXT, backbone="resnet101", split="trainaug", epochs=80, learning_rate=0.002)
_ADE20K = replace(_PASCAL_CONTEXT, backbone="resnet101", crop_size=576, epochs=180, learning_rate=0.004)

_WINDOWS_512 = Protocol(ENCODING_SCALES, flip=True, crop_size=512)
_WINDOWS_576 = replace(_WINDOWS_512, crop_size=576)
_CONTEXT_VAL = "60 classes, val, several scales and flip"


def _printed(number: int, row: str, protocol: str) -> PaperFigure:
    table = TABLES[number]
    mean_iou = table.value(row, "mIoU%")
    assert mean_iou is not None
    accuracy = table.value(row, "pixAcc%") if "pixAcc%" in table.columns else None
    return PaperFigure(mean_iou, accuracy, f"Table {number}", protocol)


def _pascal_context(
    name: str, title: str, recipe: Recipe, figure: PaperFigure, gigabytes: tuple[int, int]
) -> Experiment:
    return Experiment(
        name=name,
        title=title,
        data="pascal_context/60",
        num_classes=60,
        recipe=recipe,
        hardware=_GPU.format(*gigabytes),
        protocol=_WINDOWS_512,
        paper=figure,
    )


EXPERIMENTS = (
    _pascal_context(
        "pascal_context_fcn_resnet50",
        "the FCN baseline of Table 1: neither CaC modules nor pooled branch",
        replace(_PASCAL_CONTEXT, num_heads=0, global_pooling=False),
        _printed(1, "FCN", _CONTEXT_VAL),
        (48, 29),
    ),
    _pascal_context(
        "pascal_context_cac_resnet50",
        "CaC-Net without the pooled branch, Table 1",
        replace(_PASCAL_CONTEXT, global_pooling=False),
        _printed(1, "CaC", _CONTEXT_VAL),
        (48, 34),
    ),
    _pascal_context(
        "pascal_context_resnet50",
        "CaC-Net with ResNet-50, Tables 1 and 8",
        _PASCAL_CONTEXT,
        _printed(1, "CaC + GP", _CONTEXT_VAL),
        (48, 34),
    ),
    _pascal_context(
        "pascal_context_resnet101",
        "CaC-Net with ResNet-101, Tables 1 and 8",
        replace(_PASCAL_CONTEXT, backbone="resnet101"),
        _printed(1, "CaC + GP, ResNet-101", _CONTEXT_VAL),
        (80, 57),
    ),
    Experiment(
        name="voc2012_resnet101",
        title="the augmented training set of VOC 2012, the first of two steps to the test server",
        data="voc2012",
        num_classes=21,
        recipe=_VOC,
        hardware=_GPU.format(80, 55),
        protocol=_WINDOWS_512,
        origins={"split": paper("Section 4.3: 10,582 images")},
    ),
    Experiment(
        name="voc2012_resnet101_finetune",
        title="fine-tuning on VOC 2012's own train and val, the second step to the test server",
        data="voc2012",
        num_classes=21,
        recipe=replace(_VOC, weights=None, split="trainval", validation_split=None, epochs=50, learning_rate=0.0002),
        hardware=_GPU.format(80, 55),
        paper=_printed(10, "Ours", "test server, several scales and flip"),
        protocol=_WINDOWS_512,
        archive="voc2012.tgz",
        starts_from="voc2012_resnet101",
        origins={
            "split": paper('Section 4.3: "the original training and validation sets"'),
            "validation_split": paper("Section 4.3: val is trained on, and test has no public masks"),
            "weights": paper("Section 4.3: it starts from the network of the first step"),
            "epochs": ours("PyTorch-Encoding's 50 for this step; the paper gives none"),
            "learning_rate": ours("a tenth of the first step's, as in PyTorch-Encoding; the paper gives none"),
        },
    ),
    Experiment(
        name="ade20k_resnet101",
        title="CaC-Net with ResNet-101 on ADE20K, Table 9",
        data="ade20k",
        num_classes=150,
        recipe=_ADE20K,
        hardware=_GPU.format(141, 76),
        protocol=_WINDOWS_576,
        archive="ade20k.zip",
        paper=_printed(9, "Ours", "val, several scales and flip"),
    ),
)
"""In the order of the paper."""


def experiment_named(name: str) -> Experiment:
    """Find an experiment by its name.

    Raises:
        ValueError: there is none; the message has the nearest name and all names.

    Example:
        >>> experiment_named("ade20k_resnet10")
        Traceback (most recent call last):
        ValueError: no recipe is called 'ade20k_resnet10'; did you mean ade20k_resnet101? There are ...
    """
    by_name = {experiment.name: experiment for experiment in EXPERIMENTS}
    if name not in by_name:
        hint = did_you_mean(name, by_name) or "."
        raise ValueError(f"no recipe is called {name!r}{hint} There are {', '.join(by_name)}")
    return by_name[name]
