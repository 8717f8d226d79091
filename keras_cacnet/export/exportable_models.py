"""What an export asks of a model before anything is converted, the size that it is for, and its float32 form."""

import numbers
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.evaluation.inference import segmentation_logits
from keras_cacnet.models.interface import image_size, require_class_count, require_image_size

# No multiple of any output stride: a network that cannot take every size shows it here.
ODD_SIZE = (33, 47)
_WIDENED = ("float16", "bfloat16", "float64")


def require_types(model: keras.Model, classes: ClassTable | None) -> None:
    """Refuse what is no model, or no class table, before work is done that it would spoil at the end.

    Raises:
        ValueError: one of them is something else; the message says what, and what makes the right thing of it.
    """
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"model must be a Keras model, got {type(model).__name__}: load a file with keras.models.load_model"
        )
    if classes is not None and not isinstance(classes, ClassTable):
        raise ValueError(
            f"classes must be a keras_cacnet.datasets.ClassTable, got {type(classes).__name__}: "
            "ClassTable.from_file reads one"
        )


def require_size(size: Any, name: str) -> tuple[int, int]:
    """Refuse what is no height and width of an image.

    Args:
        size: the height and width.
        name: of the argument, for the message.

    Returns:
        The height and width.

    Raises:
        ValueError: it is something else than two whole numbers from 1 on.

    Example:
        >>> require_size([360, 480], "size")
        (360, 480)
    """
    sides = tuple(size) if isinstance(size, list | tuple | np.ndarray) else ()
    if len(sides) != 2 or any(
        isinstance(side, bool) or not isinstance(side, numbers.Integral) or side < 1 for side in sides
    ):
        raise ValueError(f"{name} must be a height and a width from 1 on, in pixels, got {size!r}")
    return int(sides[0]), int(sides[1])


def export_size(model: keras.Model, size: tuple[int, int] | None) -> tuple[int | None, int | None]:
    """Give the height and width that an export is for, None where it takes any.

    Args:
        model: the model.
        size: what was asked for; None for what the model takes.

    Raises:
        ValueError: the size is none, the model does not take it, or takes something else than one batch of RGB images.

    Example:
        >>> export_size(keras.Sequential([keras.Input((None, 64, 3)), keras.layers.Conv2D(2, 1)]), (32, 64))
        (32, 64)
    """
    if size is None:
        return image_size(model)
    height, width = require_size(size, "size")
    require_image_size(model, height, width)
    return height, width


def require_any_size(model: keras.Model) -> None:
    """Refuse a model that does not take images of any size.

    Raises:
        ValueError: the model does not take (B, H, W, 3) of any height and width.
    """
    size = image_size(model)
    if size != (None, None):
        words = "x".join("any" if side is None else str(side) for side in size)
        raise ValueError(
            f"model {model.name!r} takes only images of {words}; a SavedModel takes images of any size: build the "
            "model with one keras.Input((None, None, 3)), or write a TFLite or an ONNX file, which may be for one size"
        )


def require_logits(model: keras.Model, classes: ClassTable | None, size: tuple[int, int] = ODD_SIZE) -> int:
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


def in_float32(model: keras.Model) -> keras.Model:
    """Build a model anew with every layer in float32, and give it the same weights.

    Args:
        model: of any dtype policy; where that is not float32, one that Keras can rebuild from its config.

    Returns:
        The model in float32; the model itself where it is that already.

    Raises:
        ValueError: it is not in float32, and has no config to be rebuilt from.

    Example:
        >>> layers = [keras.Input((None, None, 3)), keras.layers.Conv2D(2, 1, dtype="mixed_bfloat16")]
        >>> in_float32(keras.Sequential(layers)).layers[0].compute_dtype
        'float32'
    """
    others = _other_policies(model)
    try:
        config = model.get_config()
    except NotImplementedError:
        config = None
    if not others and (config is None or _widened(config) == config):
        return model
    try:
        rebuilt = type(model).from_config(_widened(config))
        rebuilt.set_weights(model.get_weights())
        rebuilt_in = _other_policies(rebuilt)
    except (TypeError, ValueError):
        rebuilt_in = others
    if rebuilt_in:
        raise ValueError(
            f"model {model.name!r} computes in {', '.join(sorted(rebuilt_in))} and cannot be rebuilt in float32, in "
            "which files are: build it of Keras layers as keras.Model(inputs, outputs), or with dtype='float32'"
        )
    return rebuilt


def _other_policies(model: keras.Model) -> set[str]:
    policies = [layer.dtype_policy for layer in model._flatten_layers()]
    return {policy.name for policy in policies if {policy.compute_dtype, policy.variable_dtype} & set(_WIDENED)}


def _widened(config: Any) -> Any:
    if isinstance(config, Mapping):
        if config.get("class_name") == "DTypePolicy":
            return {**config, "config": {**config["config"], "name": "float32"}}
        return {
            key: "float32" if key == "dtype" and value in _WIDENED else _widened(value) for key, value in config.items()
        }
    if isinstance(config, list | tuple):
        return type(config)(_widened(value) for value in config)
    return config
