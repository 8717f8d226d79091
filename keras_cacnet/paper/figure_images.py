"""The images of a figure: files with their ground truth beside them, or examples of a data set by name."""

import difflib
from collections.abc import Sequence
from pathlib import Path

from keras_cacnet.datasets.source import Example, Source
from keras_cacnet.evaluation.prediction_files import image_files

MOST_ROWS = 20
"""Rows of a figure; more would be a mistake, such as the folder of a whole data set."""


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
    labels = Path(labels)
    if not labels.exists():
        raise ValueError(f"{labels}: no such file or folder of masks")
    if not labels.is_dir():
        if len(files) > 1:
            raise ValueError(f"{labels} is one mask for {len(files)} images: give the folder of their masks")
        return [Example(files[0].stem, files[0], labels)]
    masks = [labels / f"{file.stem}.png" for file in files]
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
        ValueError: there is no example of a name; the message has the nearest ones.

    Example:
        >>> split = [Example("beaches/val/dune", b"", None), Example("beaches/val/cliff", b"", None)]
        >>> named_examples(split, ["dunes"], "beaches val")
        Traceback (most recent call last):
        ValueError: beaches val has no example 'dunes'; the nearest are dune
    """
    found: dict[str, Example] = {}
    known = []
    for index in range(len(source)):
        example = source[index]
        short = example.name.rsplit("/", 1)[-1]
        known.append(short)
        found |= {name: example for name in names if name in (short, example.name)}
        if len(found) == len(set(names)):
            return [found[name] for name in names]
    lost = next(name for name in names if name not in found)
    nearest = difflib.get_close_matches(Path(lost).stem, known, cutoff=0.5)
    hint = f"the nearest are {', '.join(nearest)}" if nearest else f"it has {', '.join(known[:3])} and so on"
    raise ValueError(f"{where} has no example {lost!r}; {hint}")


def _beside(image: Path) -> Path | None:
    folders = image.absolute().parent.parts
    if "images" not in folders:
        return None
    place = len(folders) - 1 - folders[::-1].index("images")
    mask = Path(*folders[:place], "labels", *folders[place + 1 :], f"{image.stem}.png")
    return mask if mask.is_file() else None
