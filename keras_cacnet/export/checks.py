"""What an export asks of a model and of the place where it is to stand, before anything is written."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.evaluation.inference import segmentation_logits
from keras_cacnet.models.interface import require_class_count, require_image_size

# Odd, and no multiple of any output stride: a network that cannot take every size shows it here.
TRIAL_SIZE = (33, 47)


def require_place(path: Path, overwrite: bool) -> None:
    """Refuse a path where something stands that an export must not replace.

    Args:
        path: where the SavedModel is to stand.
        overwrite: whether another SavedModel may be replaced.

    Raises:
        ValueError: `path` is a file or a link, or a folder that is not empty without `overwrite`, or is no
            SavedModel with it.
    """
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise ValueError(f"{path} is a {'link' if path.is_symlink() else 'file'}; a SavedModel is a folder")
    if not path.exists() or not any(path.iterdir()):
        return
    if not overwrite:
        raise ValueError(f"{path} is not empty: name another folder, or replace what is there with overwrite=True")
    if not (path / "saved_model.pb").is_file():
        raise ValueError(f"{path} holds other things than a SavedModel and is not replaced: name another folder")


def require_file_place(path: Path, suffix: str, overwrite: bool) -> None:
    """Refuse a path at which an export that is one file must not be written.

    Args:
        path: where the file is to stand.
        suffix: what its name has to end in.
        overwrite: whether a file may be replaced.

    Raises:
        ValueError: another suffix, a folder or a link, or a file without `overwrite`.
    """
    if path.suffix != suffix:
        raise ValueError(f"{path} does not end in {suffix}, by which the file is known: name it {path.name}{suffix}")
    if path.is_symlink() or path.is_dir():
        raise ValueError(f"{path} is a {'link' if path.is_symlink() else 'folder'}; the export is a file")
    if path.exists() and not overwrite:
        raise ValueError(f"{path} is there already: name another file, or replace it with overwrite=True")


def require_any_size(model: keras.Model) -> None:
    """Refuse a model that does not take images of any size.

    Raises:
        ValueError: the model does not take (B, H, W, 3) of any height and width.
    """
    if (found := require_one_image(model)) != (None, None):
        raise ValueError(
            f"model {model.name!r} takes {(None, *found, 3)}; an export takes images of any size: build the model with "
            "one keras.Input((None, None, 3))"
        )
    if size := getattr(model, "input_size", None):
        raise ValueError(
            f"model {model.name!r} takes images of {size[0]}x{size[1]} alone, for reweighting={model.reweighting!r} "
            "has a weight for every position; an export takes images of any size: train another reweighting"
        )


def require_one_image(model: keras.Model) -> tuple[int | None, int | None]:
    """The height and width that a model says it takes, None where it takes any.

    Raises:
        ValueError: it takes something else than one batch of RGB images.

    Example:
        >>> require_one_image(keras.Sequential([keras.Input((None, 64, 3)), keras.layers.Conv2D(2, 1)]))
        (None, 64)
    """
    shapes = [tuple(tensor.shape) for tensor in getattr(model, "inputs", None) or []]
    if len(shapes) > 1 or any(len(shape) != 4 or shape[-1] != 3 for shape in shapes):
        raise ValueError(
            f"model {model.name!r} takes {', '.join(map(str, shapes))}; an export takes images of any size: build the "
            "model with one keras.Input((None, None, 3))"
        )
    return shapes[0][1:3] if shapes else (None, None)


def require_logits(model: keras.Model, classes: ClassTable | None, size: tuple[int, int] = TRIAL_SIZE) -> int:
    """Show a model a noisy image and refuse it where it does not answer with logits of that size.

    Args:
        model: the model.
        classes: the classes that the logits must be of; None for any.
        size: height and width of the image, in pixels.

    Returns:
        The number of classes.

    Raises:
        ValueError: it gives no logits, or some of another size or number, or probabilities.

    Example:
        >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 1)])
        >>> require_logits(model, None)
        2
    """
    shape = (1, *size, 3)
    images = np.random.default_rng(0).integers(0, 256, shape)
    logits = segmentation_logits(model, tf.cast(images, tf.float32))
    if tuple(logits.shape[:3]) != shape[:3]:
        raise ValueError(
            f"model {model.name!r} gives {tuple(logits.shape)} for images {shape}; logits must have the size of the "
            "input: resize them inside the model"
        )
    if classes is not None:
        require_class_count(model, len(classes))
    values = tf.cast(logits, tf.float32).numpy()
    if values.shape[-1] > 1 and values.min() >= 0 and np.allclose(values.sum(axis=-1), 1, atol=1e-3):
        raise ValueError(
            f"model {model.name!r} gives probabilities (they add up to 1), and the export would take the softmax of "
            "them again: export the model without its last softmax"
        )
    return int(values.shape[-1])


def image_size(model: keras.Model, size: tuple[int, int] | None) -> tuple[int | None, int | None]:
    """The height and width that an export is for, None where it takes any.

    Args:
        model: the model.
        size: what was asked for; None for what the model takes.

    Raises:
        ValueError: the size is none, or the model does not take it.

    Example:
        >>> image_size(keras.Sequential([keras.Input((None, 64, 3)), keras.layers.Conv2D(2, 1)]), (32, 64))
        (32, 64)
    """
    if size is not None and (
        len(size) != 2 or any(isinstance(side, bool) or side != int(side) or side < 1 for side in size)
    ):
        raise ValueError(f"size must be a height and a width from 1 on, in pixels, got {size!r}")
    declared = require_one_image(model)
    if size is None:
        return getattr(model, "input_size", None) or declared
    if any(own not in (None, side) for own, side in zip(declared, size, strict=True)):
        raise ValueError(
            f"model {model.name!r} takes {(None, *declared, 3)}, not images of {size[0]}x{size[1]}: leave size out, or "
            "build the model with keras.Input((None, None, 3))"
        )
    require_image_size(model, *size)
    return int(size[0]), int(size[1])
