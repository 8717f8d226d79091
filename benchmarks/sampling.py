"""Some images of a data set, the same for every run that is scored on them."""

import argparse
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_cacnet.datasets import open_dataset
from keras_cacnet.datasets.source import Example, SegmentationDataset, Source


class Part(Sequence[Example]):
    """Some of a source's examples."""

    def __init__(self, source: Source, numbers: Sequence[int]) -> None:
        self.source, self.numbers = source, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: Any) -> Any:
        return self.source[self.numbers[index]]


def add_sample(parser: argparse.ArgumentParser) -> None:
    """Add the runs, the images that they are scored on, and the file of the results."""
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--data", required=True)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--json", required=True)


def sample(options: argparse.Namespace) -> tuple[Part, SegmentationDataset]:
    """The images, drawn with seed 0, and their data set."""
    dataset = open_dataset(options.data, options.data_dir)
    every = dataset.source(options.split)
    numbers = sorted(random.Random(0).sample(range(len(every)), min(options.images, len(every))))
    return Part(every, numbers), dataset
