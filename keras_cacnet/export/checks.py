"""What an export asks of a model and of the place where it is to stand, before anything is written."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.evaluation.inference import require_class_count, segmentation_logits

# Odd, and no multiple of any output stride: a network that cannot take every size shows it here.
_TRIAL = (1, 33, 47, 3)


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


def require_logits_of_any_size(model: keras.Model, classes: ClassTable | None) -> int:
    """Refuse a model that does not take images of any size, or gives something else than their logits.

    Args:
        model: is called once, on a small image.
        classes: its class table, where there is one.

    Returns:
        The number of classes.

    Raises:
        ValueError: the model does not take (B, H, W, 3) of any size, gives something else than logits of the size
            of its input, or another number of classes than the table has.
    """
    shapes = [tuple(tensor.shape) for tensor in getattr(model, "inputs", None) or []]
    if len(shapes) > 1 or any(len(shape) != 4 or shape[1:] != (None, None, 3) for shape in shapes):
        raise ValueError(
            f"model {model.name!r} takes {', '.join(map(str, shapes))}; an export takes images of any size: build the "
            "model with one keras.Input((None, None, 3))"
        )
    if size := getattr(model, "input_size", None):
        raise ValueError(
            f"model {model.name!r} takes images of {size[0]}x{size[1]} alone, for reweighting={model.reweighting!r} "
            "has a weight for every position; an export takes images of any size: train another reweighting"
        )
    images = np.random.default_rng(0).integers(0, 256, _TRIAL)
    logits = segmentation_logits(model, tf.cast(images, tf.float32))
    if tuple(logits.shape[:3]) != _TRIAL[:3]:
        raise ValueError(
            f"model {model.name!r} gives {tuple(logits.shape)} for images {_TRIAL}; logits must have the size of the "
            "input: resize them inside the model"
        )
    if classes is not None:
        require_class_count(model, logits, len(classes))
    values = tf.cast(logits, tf.float32).numpy()
    if values.shape[-1] > 1 and values.min() >= 0 and np.allclose(values.sum(axis=-1), 1, atol=1e-3):
        raise ValueError(
            f"model {model.name!r} gives probabilities (they add up to 1), and the export would take the softmax of "
            "them again: export the model without its last softmax"
        )
    return int(values.shape[-1])
