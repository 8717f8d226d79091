"""The paper's Figures 3 and 4 for trained networks: which images they show, and what is drawn of them."""

import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
from matplotlib.figure import Figure

from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.datasets.reading import read_example, read_image
from keras_cacnet.datasets.source import Example, Source
from keras_cacnet.evaluation.prediction import ids, weighting_maps
from keras_cacnet.evaluation.prediction_files import image_files
from keras_cacnet.files import existing, user_path
from keras_cacnet.models.interface import require_class_count
from keras_cacnet.visualization import WeightedImage, channel_maps, choose_channels, comparison_figure, weighting_figure
from keras_cacnet.wording import did_you_mean, listed

MOST_ROWS = 20
"""Rows of a figure; more would be a mistake, such as the folder of a whole data set."""

Channels = dict[str, tuple[int, ...]]


def predictions_figure(networks: Mapping[str, keras.Model], examples: Sequence[Example], classes: ClassTable) -> Figure:
    """Draw Figure 3: image, ground truth and what every network predicts.

    Args:
        networks: by the title of their column, such as "Baseline" and "Ours".
        examples: the images, a row each; their masks are the ground truth, all of them or none.
        classes: the classes of the networks and of the masks.

    Returns:
        The figure of matplotlib.

    Raises:
        ValueError: no images, some with and some without mask, an image or a mask that cannot be read or predicted (it
            is named), or a network of other classes.

    Reference:
        Figure 3 of the CaC-Net paper.
    """
    for model in networks.values():
        require_class_count(model, len(classes))
    read = [_read(example, classes) for example in require_truths(examples)]
    columns: dict[str, list[np.ndarray]] = {}
    if read[0][1] is not None:
        columns["Ground truth"] = [truth for _, truth in read if truth is not None]
    for title, model in networks.items():
        columns[title] = [_predict(model, example, image) for example, (image, _) in zip(examples, read, strict=True)]
    return comparison_figure([image for image, _ in read], columns, classes)


def context_figure(
    model: keras.Model,
    examples: Sequence[Example],
    classes: ClassTable,
    head: int = 1,
    count: int = 1,
    seed: int = 0,
    by: str | Sequence[int] = "random",
) -> tuple[Figure, list[Channels]]:
    """Draw Figure 4: image, ground truth, maps of X, X* and W, and result.

    Channels at random are drawn on the first image and are the same for all, as listed ones are; by "largest-change"
    every image has its own.

    Args:
        model: a `CaCNet` with heads.
        examples: the images, a row each; their masks are the ground truth, all of them or none.
        classes: the classes of the network and of the masks.
        head: number of the head, from 1 on.
        count: channels per image, one below the other.
        seed: draws the channels.
        by: "random", "largest-change" or the channels themselves, see `choose_channels`.

    Returns:
        The figure of matplotlib, and the channels shown of every image.

    Raises:
        ValueError: as `predictions_figure`, or a network without weights to show, a head that it does not have, or
            channels that cannot be chosen so (see `choose_channels`).

    Reference:
        Figure 4 of the CaC-Net paper.
    """
    require_class_count(model, len(classes))
    weighting_maps(model)  # a network without weights is refused before any image is read
    shown: list[WeightedImage] = []
    chosen: list[Channels] = []
    for example in require_truths(examples):
        image, truth = _read(example, classes)
        found = _predict(model, example, image)
        maps = weighting_maps(model, image)
        name = f"head_{head}"
        if name not in maps:
            raise ValueError(f"the network has no head {head}; it has {', '.join(maps)}")
        maps = {name: maps[name]}
        again = chosen and by != "largest-change"
        chosen.append(chosen[0] if again else choose_channels(maps, count, seed, by))
        shown.append(WeightedImage(image, found, channel_maps(maps, chosen[-1]), truth))
    return weighting_figure(shown, classes), chosen


def file_examples(images: Sequence[str | Path], labels: str | Path | None = None) -> list[Example]:
    """Find image files and their ground truth.

    Args:
        images: files, folders and glob patterns.
        labels: the mask of the one image, or the folder of NAME.png for every image. Without it masks are looked for
            as a folder data set has them, .../labels/SPLIT/NAME.png for .../images/SPLIT/NAME.jpg.

    Returns:
        An example per file; its mask is None where none was found.

    Raises:
        ValueError: an image or a mask that was named is not there, one mask for several images, or more images than
            `MOST_ROWS`.

    Example:
        >>> file_examples(["nowhere.jpg"])
        Traceback (most recent call last):
        ValueError: nowhere.jpg: no such file
    """
    files, failures = image_files(images)
    if failures:
        raise ValueError(failures[0])
    if len(files) > MOST_ROWS:
        raise ValueError(f"{len(files)} images for one figure, which has at most {MOST_ROWS} rows: name the images")
    if labels is None:
        return [Example(file.stem, file, _beside(file)) for file in files]
    labels = existing(user_path(labels))
    if not labels.exists():
        raise ValueError(f"{labels}: no such file or folder of masks")
    if not labels.is_dir():
        if len(files) > 1:
            raise ValueError(f"{labels} is one mask for {len(files)} images: give the folder of their masks")
        return [Example(files[0].stem, files[0], labels)]
    masks = [existing(labels / f"{file.stem}.png") for file in files]
    for file, mask in zip(files, masks, strict=True):
        if not mask.is_file():
            raise ValueError(f"{mask} is missing: the ground truth of {file}")
    return [Example(file.stem, file, mask) for file, mask in zip(files, masks, strict=True)]


def named_examples(source: Source, names: Sequence[str], where: str) -> list[Example]:
    """Find examples of a split by their names.

    Args:
        source: the split.
        names: as the data set calls its examples, with or without what stands before the last slash, such as
            "2007_000033" for "voc2012/val/2007_000033".
        where: how errors call the split.

    Returns:
        The examples, in the order of the names.

    Raises:
        ValueError: there is no example of a name; the message has the nearest one.

    Example:
        >>> split = [Example("beaches/val/dune", b"", None), Example("beaches/val/cliff", b"", None)]
        >>> named_examples(split, ["dunes"], "beaches val")
        Traceback (most recent call last):
        ValueError: beaches val has no example 'dunes'; did you mean dune?
    """
    # A name that looks the same is the same, in whatever Unicode normal form it was typed.
    wanted = [unicodedata.normalize("NFC", name) for name in names]
    found: dict[str, Example] = {}
    known = []
    for index in range(len(source)):
        example = source[index]
        full = unicodedata.normalize("NFC", example.name)
        known.append(full.rsplit("/", 1)[-1])
        found |= {name: example for name in wanted if name in (known[-1], full)}
        if len(found) == len(set(wanted)):
            return [found[name] for name in wanted]
    lost = next(name for name in wanted if name not in found)
    hint = did_you_mean(Path(lost).stem, known) or f"; it has {listed(known, 3)}"
    raise ValueError(f"{where} has no example {lost!r}{hint}")


def require_truths(examples: Sequence[Example]) -> Sequence[Example]:
    """The examples; a ValueError where there are none, or some have a ground truth and some have not."""
    if not examples:
        raise ValueError("there are no images for the figure")
    without = [example for example in examples if example.mask is None]
    if without and len(without) < len(examples):
        having = next(example for example in examples if example.mask is not None)
        raise ValueError(
            f"{without[0].image_origin} has no ground truth, {having.image_origin} has {having.mask_origin}: name the "
            "folder of all masks (--labels), or draw images without one in a figure of their own"
        )
    return examples


def _read(example: Example, classes: ClassTable) -> tuple[np.ndarray, np.ndarray | None]:
    if example.mask is None:
        return read_image(example.image, example.image_origin), None
    return read_example(example, classes)


def _predict(model: keras.Model, example: Example, image: np.ndarray) -> np.ndarray:
    try:
        return ids(model, image)
    except ValueError as error:
        raise ValueError(f"{example.image_origin}: {error}") from error


def _beside(image: Path) -> Path | None:
    folders = image.absolute().parent.parts
    if "images" not in folders:
        return None
    place = len(folders) - 1 - folders[::-1].index("images")
    mask = existing(Path(*folders[:place], "labels", *folders[place + 1 :], f"{image.stem}.png"))
    return mask if mask.is_file() else None
