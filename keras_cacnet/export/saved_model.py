"""A SavedModel for TensorFlow Serving, KServe and C++."""

import json
import shutil
import uuid
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.evaluation.inference import require_class_count, require_tensorflow, segmentation_logits

CLASSES = Path("assets.extra", "classes.json")
"""Where an export has its class names and colours: the one folder of a SavedModel that is left to its owner."""

# Odd, and no multiple of any output stride: a network that cannot take every size shows it here.
_TRIAL = (1, 33, 47, 3)


def saved_model(
    model: keras.Model, path: str | Path, classes: ClassTable | None = None, overwrite: bool = False
) -> Path:
    """Export a model as a SavedModel that takes photographs as they are.

    `serving_default` takes `images` and gives `class_ids` and `probabilities`. Normalisation is in the graph,
    so there is nothing to prepare; class indices and probabilities belong to the classes in the order of the
    table, which is written to `assets.extra/classes.json`. Only the variables that prediction reads are saved:
    neither the auxiliary head nor the optimizer is among them.

    The export is written beside `path` under a temporary name and renamed when it is complete, so what stands
    at `path` is never half an export.

    Args:
        model: takes RGB in 0..255 of any size and gives logits of the size of its input.
        path: folder of the SavedModel; for TensorFlow Serving a number inside the model's folder: `cacnet/1`.
        classes: names, colours and file ids of the classes.
        overwrite: replace an export that stands at `path`.

    Shapes:
        - images: uint8 (B, H, W, 3); any B, H and W
        - class_ids: int32 (B, H, W), the index of the class with the largest logit; int32 is the type that
          every client of TensorFlow can read
        - probabilities: float32 (B, H, W, classes), the softmax of the logits

    Returns:
        The folder.

    Raises:
        ValueError: `path` is a file, or a folder that is not empty without `overwrite` (or is no SavedModel with
            it); the model does not take (B, H, W, 3) of any size, or gives something else than logits of the
            size of its input; its number of classes is not that of the table; Keras runs on another backend
            than TensorFlow.

    Example:
        >>> import tempfile
        >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 1)])
        >>> path = saved_model(model, Path(tempfile.mkdtemp()) / "cacnet" / "1")
        >>> loaded = tf.saved_model.load(path)  # its functions work as long as it is held
        >>> result = loaded.signatures["serving_default"](images=np.zeros((1, 4, 6, 3), "uint8"))
        >>> result["class_ids"].shape, result["probabilities"].shape
        (TensorShape([1, 4, 6]), TensorShape([1, 4, 6, 2]))
    """
    require_tensorflow("the export of a SavedModel")
    path = Path(path)
    _require_place(path, overwrite)
    _require_logits_of_any_size(model, classes)

    def serve(images: tf.Tensor) -> dict[str, tf.Tensor]:
        logits = segmentation_logits(model, tf.cast(images, tf.float32))
        return {
            "class_ids": tf.argmax(logits, axis=-1, output_type=tf.int32),
            "probabilities": tf.nn.softmax(tf.cast(logits, tf.float32)),
        }

    archive = keras.export.ExportArchive()
    # Not `track(model)`: it would add every variable of the model to those that the function reads.
    archive.add_endpoint("serving_default", serve, [tf.TensorSpec((None, None, None, 3), tf.uint8, name="images")])
    path.parent.mkdir(parents=True, exist_ok=True)
    mark = uuid.uuid4().hex[:8]
    partial, former = (path.with_name(f".{path.name}.{kind}-{mark}") for kind in ("partial", "former"))
    try:
        archive.write_out(str(partial), verbose=False)
        if classes is not None:
            (partial / CLASSES).parent.mkdir(exist_ok=True)
            (partial / CLASSES).write_text(json.dumps(classes.to_json(), indent=2) + "\n", encoding="utf-8")
        if path.exists():
            path.rename(former)
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(former, ignore_errors=True)
    return path


def _require_place(path: Path, overwrite: bool) -> None:
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise ValueError(f"{path} is a {'link' if path.is_symlink() else 'file'}; a SavedModel is a folder")
    if not path.exists() or not any(path.iterdir()):
        return
    if not overwrite:
        raise ValueError(f"{path} is not empty: name another folder, or replace what is there with overwrite=True")
    if not (path / "saved_model.pb").is_file():
        raise ValueError(f"{path} holds other things than a SavedModel and is not replaced: name another folder")


def _require_logits_of_any_size(model: keras.Model, classes: ClassTable | None) -> None:
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
