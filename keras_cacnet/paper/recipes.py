"""The recipes that the paper's recipes come to: settings, data, protocol, hardware, and what the paper got.

A setting that is not named has the recipe's default. None has been run on its whole data set yet: that takes the data,
ImageNet weights and a GPU for days.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

from keras_cacnet.evaluation.protocol import Protocol
from keras_cacnet.paper.tables import TABLES
from keras_cacnet.training.recipe import Recipe, origin
from keras_cacnet.training.recipe_settings import Origin, ours, paper
from keras_cacnet.wording import did_you_mean

_MOST_TERMS = 100


@dataclass(frozen=True)
class PaperFigure:
    """What the paper reports, in percent; None where it gives no such figure.

    Args:
        mean_iou: mIoU.
        pixel_accuracy: pixAcc.
        table: where it stands.
        protocol: on which images, and how they were shown to the network.
    """

    mean_iou: float
    pixel_accuracy: float | None
    table: str
    protocol: str

    def __str__(self) -> str:
        accuracy = "" if self.pixel_accuracy is None else f"pixAcc {self.pixel_accuracy}, "
        return f"{accuracy}mIoU {self.mean_iou} ({self.table}; {self.protocol})"


@dataclass(frozen=True)
class PaperRecipe:
    """A recipe of the paper under a name.

    Args:
        name: the name.
        title: what it is, in words.
        data: the data set, as `open_dataset` knows it.
        num_classes: its classes.
        recipe: the settings of the training.
        hardware: what it is meant to run on.
        protocol: how the result is scored, on the recipe's `validation_split` or by a test server.
        paper: what the paper got; None where it does not say.
        result: what this project got, with the date and the machine; None where it has not been run yet.
        archive: the file that the test server of its data set takes; None where there is none.
        starts_from: the name of the recipe from whose network this one starts.
        origins: who chose a setting, where that is another than for the recipe's default.
    """

    name: str
    title: str
    data: str
    num_classes: int
    recipe: Recipe
    hardware: str
    protocol: Protocol
    paper: PaperFigure | None = None
    result: str | None = None
    archive: str | None = None
    starts_from: str | None = None
    origins: Mapping[str, Origin] = field(default_factory=dict)

    def origin(self, setting: str) -> Origin:
        """Who chose a setting of the recipe, and where or why."""
        return self.origins.get(setting) or origin(setting)

    @property
    def run(self) -> str:
        """The folder of its run, unless one says otherwise."""
        return f"runs/{self.name}"

    def train_command(self, data_dir: str | Path = "DIR") -> str:
        """Write the line that trains it.

        Example:
            >>> from keras_cacnet.paper import recipe_named
            >>> recipe_named("ade20k_resnet101").train_command()
            'keras-cacnet train --recipe ade20k_resnet101 --data-dir DIR'
        """
        words = ["keras-cacnet", "train", "--recipe", self.name, "--data-dir", str(data_dir)]
        return shlex.join([*words, "--start-from", f"runs/{self.starts_from}"] if self.starts_from else words)

    def evaluate_command(self, run: str | Path | None = None, data_dir: str | Path = "DIR") -> str | None:
        """Write the line that scores it under its protocol; None where no images are left to score.

        It takes the last checkpoint: the best one was chosen on the images that are scored.

        Example:
            >>> from keras_cacnet.paper import recipe_named
            >>> print(recipe_named("ade20k_resnet101").evaluate_command())
            keras-cacnet evaluate runs/ade20k_resnet101 --data ade20k --data-dir DIR --split val --checkpoint last \
            --scales 0.5,0.75,1.0,1.25,1.5,1.75 --flip --crop-size 576 --stride 2/3
        """
        split = self.recipe.validation_split
        if split is None:
            return None
        words = ["keras-cacnet", "evaluate", str(run or self.run), "--data", self.data, "--data-dir", str(data_dir)]
        return shlex.join([*words, "--split", split, "--checkpoint", "last", *protocol_words(self.protocol)])

    def submit_command(self, run: str | Path | None = None, data_dir: str | Path = "DIR") -> str | None:
        """Give the line that writes the archive for the test server; None where there is none.

        Example:
            >>> from keras_cacnet.paper import recipe_named
            >>> recipe_named("ade20k_resnet101").submit_command().split()[:4]
            ['keras-cacnet', 'submit', 'ade20k', 'runs/ade20k_resnet101']
        """
        if self.archive is None:
            return None
        words = ["keras-cacnet", "submit", self.data, str(run or self.run), "--data-dir", str(data_dir)]
        return shlex.join([*words, "--output", self.archive, "--checkpoint", "last", *protocol_words(self.protocol)])


def protocol_words(protocol: Protocol) -> list[str]:
    """The words by which `keras-cacnet evaluate` is told of a protocol.

    Example:
        >>> protocol_words(Protocol((0.5, 1.0), flip=True, crop_size=512))
        ['--scales', '0.5,1.0', '--flip', '--crop-size', '512', '--stride', '2/3']
    """
    words = ["--scales", ",".join(map(str, protocol.scales))]
    words += ["--flip"] if protocol.flip else []
    if protocol.crop_size is not None:
        share = Fraction(protocol.stride).limit_denominator(_MOST_TERMS)
        words += ["--crop-size", str(protocol.crop_size), "--stride", str(share)]
    if protocol.fusion != Protocol.fusion:
        words += ["--fusion", protocol.fusion]
    for name in ("base_size", "image_size"):
        if (size := getattr(protocol, name)) is not None:
            words += [f"--{name.replace('_', '-')}", str(size)]
    return words


ENCODING_SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
"""PyTorch-Encoding's; the paper says "multiple scales" and no more. Windows and their stride are from there too."""

BESIDE_SETTINGS = (
    "crops are filled up with black on the right and at the bottom, as void (PyTorch-Encoding's; the paper is silent)",
    "random scales are of the image's own size (PyTorch-Encoding scales the long side of a base size)",
    "batch norm takes its statistics over the whole batch, whatever the number of devices, as the paper's Sync-BN",
    "the scales and windows of the evaluation are PyTorch-Encoding's",
    "scores are fused by the mean of softmaxes (PyTorch-Encoding: exp_sum); absent classes are left out of the mean "
    "(PyTorch-Encoding: 0)",
    "images are resized with half-pixel centres (PyTorch-Encoding: aligned corners), from their own size "
    "(PyTorch-Encoding: a long side of 520)",
)
"""Choices of ours that are no settings of a recipe. Those of the network are in docs/paper.md."""

# By benchmarks/what_fits.py, from the traced step.
_GPU = "one GPU with {} GB: a step takes some {} GB in float32 (predicted from its graph, not run yet)"

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
) -> PaperRecipe:
    return PaperRecipe(
        name=name,
        title=title,
        data="pascal_context/60",
        num_classes=60,
        recipe=recipe,
        hardware=_GPU.format(*gigabytes),
        protocol=_WINDOWS_512,
        paper=figure,
    )


PAPER_RECIPES = (
    _pascal_context(
        "pascal_context_fcn_resnet50",
        "the FCN baseline of Table 1: neither CaC modules nor pooled branch",
        replace(_PASCAL_CONTEXT, num_heads=0, global_pooling=False),
        _printed(1, "FCN", _CONTEXT_VAL),
        (32, 21),
    ),
    _pascal_context(
        "pascal_context_cac_resnet50",
        "CaC-Net without the pooled branch, Table 1",
        replace(_PASCAL_CONTEXT, global_pooling=False),
        _printed(1, "CaC", _CONTEXT_VAL),
        (32, 23),
    ),
    _pascal_context(
        "pascal_context_resnet50",
        "CaC-Net with ResNet-50, Tables 1 and 8",
        _PASCAL_CONTEXT,
        _printed(1, "CaC + GP", _CONTEXT_VAL),
        (32, 24),
    ),
    _pascal_context(
        "pascal_context_resnet101",
        "CaC-Net with ResNet-101, Tables 1 and 8",
        replace(_PASCAL_CONTEXT, backbone="resnet101"),
        _printed(1, "CaC + GP, ResNet-101", _CONTEXT_VAL),
        (48, 39),
    ),
    PaperRecipe(
        name="voc2012_resnet101",
        title="the augmented training set of VOC 2012, the first of two steps to the test server",
        data="voc2012",
        num_classes=21,
        recipe=_VOC,
        hardware=_GPU.format(48, 37),
        protocol=_WINDOWS_512,
        origins={"split": paper("Section 4.3: 10,582 images")},
    ),
    PaperRecipe(
        name="voc2012_resnet101_finetune",
        title="fine-tuning on VOC 2012's own train and val, the second step to the test server",
        data="voc2012",
        num_classes=21,
        recipe=replace(_VOC, weights=None, split="trainval", validation_split=None, epochs=50, learning_rate=0.0002),
        hardware=_GPU.format(48, 37),
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
    PaperRecipe(
        name="ade20k_resnet101",
        title="CaC-Net with ResNet-101 on ADE20K, Table 9",
        data="ade20k",
        num_classes=150,
        recipe=_ADE20K,
        hardware=_GPU.format(80, 53),
        protocol=_WINDOWS_576,
        archive="ade20k.zip",
        paper=_printed(9, "Ours", "val, several scales and flip"),
    ),
)
"""In the order of the paper."""


def recipe_named(name: str) -> PaperRecipe:
    """Find a recipe by its name.

    Raises:
        ValueError: there is none; the message has the nearest name and all names.

    Example:
        >>> recipe_named("ade20k_resnet10")
        Traceback (most recent call last):
        ValueError: no recipe is called 'ade20k_resnet10'; did you mean ade20k_resnet101? There are ...
    """
    by_name = {published.name: published for published in PAPER_RECIPES}
    if name not in by_name:
        hint = did_you_mean(name, by_name) or "."
        raise ValueError(f"no recipe is called {name!r}{hint} There are {', '.join(by_name)}")
    return by_name[name]
