"""Predictions as files: what a network sees in image files, and the predictions of an evaluation."""

import glob
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.datasets.reading import read_image
from keras_cacnet.datasets.source import Source
from keras_cacnet.evaluation.inference import require_tensorflow
from keras_cacnet.evaluation.prediction import ids, weighting_maps
from keras_cacnet.evaluation.protocol import Protocol
from keras_cacnet.files import existing, user_path, visible_files, writable_folder, write_atomically
from keras_cacnet.models.interface import require_class_count
from keras_cacnet.progress import ProgressBar
from keras_cacnet.visualization import (
    WeightedImage,
    channel_maps,
    choose_channels,
    overlay,
    save_ids,
    weighting_figure,
)
from keras_cacnet.visualization.overlays import require_alpha

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""What counts as an image in a folder; a file that is named is always tried."""


def predict_files(
    model: keras.Model,
    images: Iterable[str | Path],
    output: str | Path,
    classes: ClassTable,
    *,
    protocol: Protocol | None = None,
    alpha: float = 0.5,
    weighting: bool = False,
    count: int = 3,
    channels: str | Sequence[int] = "random",
    seed: int = 0,
    progress: bool = True,
) -> list[str]:
    """Predict image files, and write for each NAME.* what the network sees in it.

    - `NAME_ids.png`: the ids of the classes as palette PNG, at the size of the image (see `save_ids`)
    - `NAME_overlay.png`: the image in the colours of the classes, with a legend (see `overlay`)
    - `NAME_weighting.png`, with `weighting`: the paper's Figure 4 (see `weighting_figure`)

    Channels at random are drawn on the first image, printed, and the same for all, as listed ones are; by
    "largest-change" every image has its own. Files of an earlier prediction are replaced, inputs never.

    Args:
        model: gives logits of the size of its input; for `weighting` a `CaCNet` with heads.
        images: files, folders (the images directly in them) and glob patterns.
        output: folder for the pictures; made where it is not there.
        classes: the classes that the model predicts.
        protocol: how images are shown to the network: scales, mirror images, windows and a working size; by default
            whole, once, at the working size of the model. Results are always of the size of the image.
        alpha: opacity of the classes in the overlay, 0 to 1.
        weighting: also draw X, W and X*; those of the image whole, at the working size of the model, whatever the
            protocol.
        count: how many channels of every head to draw.
        channels: "random", "largest-change" or the channels themselves, see `choose_channels`.
        seed: draws the channels.
        progress: show how far it has come.

    Returns:
        One line for every input that could not be predicted, with its name and the reason, such as a file that
        is no image, or is not there. All others are written. Empty where nothing went wrong.

    Raises:
        ValueError: two inputs would write the same file, or one would overwrite an input; the model does not
            predict these classes, or has no weights to show; channels are chosen without `weighting`; `output` is a
            file or cannot be written; Keras runs on another backend than TensorFlow. Nothing is written then.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("RGB", (8, 6)).save(folder / "dark.png")
        >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 1)])
        >>> classes = ClassTable(("sky", "sea"), ((90, 160, 220), (20, 60, 140)), ids=(0, 1))
        >>> predict_files(model, [folder / "dark.png"], folder / "out", classes, progress=False)
        []
        >>> sorted(path.name for path in (folder / "out").iterdir())
        ['dark_ids.png', 'dark_overlay.png']

    Reference:
        Figure 4 of the CaC-Net paper.
    """
    require_alpha(alpha)
    require_tensorflow("prediction")
    if not weighting and (count, channels, seed) != (3, "random", 0):
        raise ValueError("count, channels and seed choose what weighting draws: take weighting=True, or leave them out")
    output = writable_folder(output)
    files, failures = image_files(images)
    _require_free_names(files, output)
    require_class_count(model, len(classes))
    if weighting:
        # Channels that cannot be had are refused now.
        maps = weighting_maps(model)
        if channels != "random":
            choose_channels(maps, count, seed, channels)
    output.mkdir(parents=True, exist_ok=True)
    chosen: dict[str, tuple[int, ...]] = {}
    bar = ProgressBar("predicting", len(files), "images") if progress else None
    for file in files:
        try:
            image = read_image(file)
            found = ids(model, image, protocol)
            write_atomically(_path(output, file, "ids"), partial(save_ids, found, classes=classes))
            write_atomically(
                _path(output, file, "overlay"), Image.fromarray(overlay(image, found, classes, alpha)).save
            )
            if weighting:
                maps = weighting_maps(model, image)
                if not chosen or channels == "largest-change":
                    chosen = choose_channels(maps, count, seed, channels)
                    if channels != "largest-change":
                        how = f"drawn with seed {seed}" if channels == "random" else "as listed"
                        print(f"weighting: {_in_words(chosen)} ({how})")
                picture = weighting_figure([WeightedImage(image, found, channel_maps(maps, chosen))], classes)
                write_atomically(_path(output, file, "weighting"), picture.savefig)
        except (ValueError, OSError, MemoryError, tf.errors.OpError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            failures.append(reason if reason.startswith(str(file)) else f"{file}: {reason}")
        if bar is not None:
            bar.add()
    return failures


def prediction_writer(source: Source, output: str | Path, classes: ClassTable) -> Callable[[int, np.ndarray], None]:
    """Make what `evaluate` calls to keep its predictions: `output/NAME.png` for every example.

    The files hold the ids of the data set's own masks (see `save_ids`). Those of an earlier evaluation are
    replaced, images and masks of the data set never.

    Args:
        source: the examples, in the order in which they are scored.
        output: the folder; made where it is not there.
        classes: the classes.

    Returns:
        A function of an example's number and its class indices, (H, W). It raises a ValueError where it would
        overwrite the data set.

    Raises:
        ValueError: `output` is a file, or cannot be written.

    Example:
        >>> import tempfile
        >>> from keras_cacnet.datasets import Example
        >>> folder = Path(tempfile.mkdtemp())
        >>> classes = ClassTable(("sky", "sea"), ((90, 160, 220), (20, 60, 140)), ids=(0, 1))
        >>> write = prediction_writer([Example("beach", folder / "beach.jpg", None)], folder / "ids", classes)
        >>> write(0, np.zeros((4, 6), "uint8"))
        >>> [path.name for path in (folder / "ids").iterdir()]
        ['beach.png']
    """
    output = writable_folder(output)

    def write(index: int, found: np.ndarray) -> None:
        example = source[index]
        path = output / f"{example.name}.png"
        for file in (example.image, example.mask):
            if isinstance(file, Path) and file.resolve() == path.resolve():
                raise ValueError(f"the prediction would overwrite {file}: choose another folder than the data set's")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, partial(save_ids, found, classes=classes))

    return write


def image_files(images: Iterable[str | Path]) -> tuple[list[Path], list[str]]:
    """Find the files that inputs stand for.

    Args:
        images: files, folders and glob patterns (`**` for folders in folders). Of a folder its images are taken,
            by suffix and without hidden ones, in the order of their names; of a file or a pattern whatever it names.

    Returns:
        The files, each once, and one line for every input that stands for none.

    Example:
        >>> image_files(["nowhere.jpg"])
        ([], ['nowhere.jpg: no such file'])
    """
    found: dict[Path, Path] = {}
    failures = []
    for given in images:
        path = existing(user_path(given))
        if path.is_dir():
            files = visible_files(path, SUFFIXES)
            reason = f"no images ({', '.join(SUFFIXES)}) in this folder"
        elif path.exists():
            files, reason = [path], ""
        elif glob.has_magic(str(path)):
            files = sorted(file for name in glob.glob(str(path), recursive=True) if (file := Path(name)).is_file())
            reason = "no file matches this pattern"
        else:
            files, reason = [], "no such file"
        if not files:
            failures.append(f"{given}: {reason}")
        for file in files:
            found.setdefault(file.resolve(), file)
    return list(found.values()), failures


def _require_free_names(files: list[Path], output: Path) -> None:
    inputs = {file.resolve(): file for file in files}
    writers: dict[str, Path] = {}
    for file in files:
        # Some file systems take names of different case, or of different Unicode normal forms, for one.
        other = writers.setdefault(unicodedata.normalize("NFC", file.stem).casefold(), file)
        if other is not file:
            raise ValueError(
                f"{other} and {file} would both write {_path(output, file, 'ids')}: predict them one by one into "
                "different folders, or rename one"
            )
        for kind in ("ids", "overlay", "weighting"):
            if target := inputs.get(_path(output, file, kind).resolve()):
                raise ValueError(
                    f"the result of {file} would overwrite the input {target}: choose another output folder, or "
                    "leave the results of an earlier prediction out of the inputs"
                )


def _path(output: Path, file: Path, kind: str) -> Path:
    return output / f"{file.stem}_{kind}.png"


def _in_words(chosen: dict[str, tuple[int, ...]]) -> str:
    return "; ".join(f"{head} channels {', '.join(map(str, channels))}" for head, channels in chosen.items())
