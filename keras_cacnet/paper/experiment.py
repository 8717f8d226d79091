"""What an experiment of the paper is: everything that it takes to run it, and what the paper got."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from keras_cacnet.evaluation.protocol import Protocol
from keras_cacnet.training.recipe import Origin, Recipe, origin

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
class Experiment:
    """An experiment of the paper under a name.

    Args:
        name: the name.
        title: what it is, in words.
        data: the data set, as `open_dataset` knows it.
        num_classes: its classes.
        recipe: the settings of the training.
        hardware: what it is meant to run on.
        protocol: how the result is scored, on the recipe's `validation_split` or by a test server.
        paper: what the paper got; None where it does not say.
        result: what we got, with the date and the machine; None where it has not been run yet.
        archive: the file that the test server of its data set takes; None where there is none.
        starts_from: the name of the experiment from whose network this one starts.
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
        """The line that trains it.

        Example:
            >>> from keras_cacnet.paper import experiment_named
            >>> experiment_named("ade20k_resnet101").train_command()
            'keras-cacnet train --recipe ade20k_resnet101 --data-dir DIR'
        """
        words = ["keras-cacnet", "train", "--recipe", self.name, "--data-dir", str(data_dir)]
        return shlex.join([*words, "--start-from", f"runs/{self.starts_from}"] if self.starts_from else words)

    def evaluate_command(self, run: str | Path | None = None, data_dir: str | Path = "DIR") -> str | None:
        """The line that scores it under its protocol; None where no images are left to score.

        It takes the last checkpoint: the best one was chosen on the images that are scored.

        Example:
            >>> from keras_cacnet.paper import experiment_named
            >>> print(experiment_named("ade20k_resnet101").evaluate_command())
            keras-cacnet evaluate runs/ade20k_resnet101 --data ade20k --data-dir DIR --split val --checkpoint last \
            --scales 0.5,0.75,1.0,1.25,1.5,1.75 --flip --crop-size 576 --stride 2/3
        """
        split = self.recipe.validation_split
        if split is None:
            return None
        words = ["keras-cacnet", "evaluate", str(run or self.run), "--data", self.data, "--data-dir", str(data_dir)]
        return shlex.join([*words, "--split", split, "--checkpoint", "last", *protocol_words(self.protocol)])

    def submit_command(self, run: str | Path | None = None, data_dir: str | Path = "DIR") -> str | None:
        """The line that writes the archive for the test server; None where there is none.

        Example:
            >>> from keras_cacnet.paper import experiment_named
            >>> experiment_named("ade20k_resnet101").submit_command().split()[:4]
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
