"""Masks and weights as losses and metrics take them: which pixels have a class, and what is refused."""

import operator
import re
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops


class Pixels(NamedTuple):
    """The pixels of a batch of masks, each of shape (B, H, W).

    Attributes:
        ids: the class of the pixel, int32; 0 where it has none.
        counts: whether the pixel has a class.
        wrong: whether its label is neither a class nor void. Such a label is an error wherever one can be raised, so
            this is true nowhere but in code compiled by JAX or XLA; what is computed from it is to become NaN.
    """

    ids: Any
    counts: Any
    wrong: Any


def read_masks(y_true: Any, y_pred: Any, ignore_class: int | None) -> Pixels:
    """Tell pixels with a class from void ones, and refuse labels that are neither.

    Args:
        y_true: class ids and void ids, whole numbers of any type.
        y_pred: logits, for their shape.
        ignore_class: the void id, None where every pixel has a class.

    Shapes:
        - y_true: (B, H, W) or (B, H, W, 1)
        - y_pred: (B, H, W, C)

    Raises:
        ValueError: masks or logits of another shape or type, fewer than two classes, a void id that is also a class,
            or, where the values are known, a label that is neither a class nor void.
        tf.errors.InvalidArgumentError: the same of values in a TensorFlow graph, when it runs.

    Example:
        >>> logits = np.zeros((1, 1, 3, 2))
        >>> read_masks(np.array([[[0, 1, 255]]]), logits, 255).counts.numpy().tolist()
        [[[True, True, False]]]
        >>> read_masks(np.array([[[0, 7, 255]]]), logits, 255)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: label 7 is no class (0..1) and not void (255); ...
    """
    if len(y_pred.shape) != 4:
        raise ValueError(f"logits must be (B, H, W, C), got {tuple(y_pred.shape)}")
    classes = y_pred.shape[-1]
    require_void_apart(classes, ignore_class, "logits for {} classes")
    labels = _masks(_numeric("masks", y_true), y_pred)
    values = _comparable(labels)
    counts = ops.logical_and(values >= 0, values < classes)
    if "float" in _type(values):
        counts = ops.logical_and(counts, ops.floor(values) == values)
    if ignore_class is None:
        wrong = ops.logical_not(counts)
    else:
        void = values == ignore_class
        wrong = ops.logical_not(ops.logical_or(counts, void))
        counts = ops.logical_and(counts, ops.logical_not(void))
    refuse(wrong, labels, "label", _no_class(classes, ignore_class, "float" in _type(values)))
    return Pixels(ops.cast(ops.where(counts, values, ops.zeros_like(values)), "int32"), counts, wrong)


def pixel_weights(sample_weight: Any, y_pred: Any, dtype: str) -> Any:
    """Bring the weights of images or pixels into a shape that goes with masks.

    Args:
        sample_weight: finite numbers from 0 on: one for all, one for each image, or one for each pixel.
        y_pred: logits, for their shape.
        dtype: the type of the result.

    Shapes:
        - sample_weight: (), (B,), (B, 1), (B, 1, 1), (B, 1, 1, 1), (B, H, W) or (B, H, W, 1)
        - y_pred: (B, H, W, C)
        - result: (1, 1, 1), (B, 1, 1) or (B, H, W); NaN for a weight that is none, in code compiled by JAX or XLA

    Raises:
        ValueError: weights of another shape, negative or not finite.
        tf.errors.InvalidArgumentError: the same in a TensorFlow graph, when it runs.

    Example:
        >>> pixel_weights([[2.0], [3.0]], np.zeros((2, 4, 4, 3)), "float32").shape.as_list()
        [2, 1, 1]
    """
    weights = ops.cast(_numeric("sample_weight", sample_weight), dtype)
    given = shape = tuple(weights.shape)
    if len(shape) == 4 and shape[3] == 1:
        weights, shape = ops.squeeze(weights, axis=-1), shape[:3]
    if not shape:
        weights = ops.reshape(weights, (1, 1, 1))
    elif len(shape) <= 3 and _agree(shape[:1], y_pred.shape[:1]) and all(size == 1 for size in shape[1:]):
        images = ops.shape(y_pred)[0]
        weights = ops.reshape(weights, (-1 if images is None else images, 1, 1))
    elif len(shape) == 3 and _agree(shape, y_pred.shape[:3]):
        _same_size("sample_weight", weights, y_pred)
    else:
        raise ValueError(
            f"sample_weight must be one number, one for each image, (B,), or one for each pixel, (B, H, W), got "
            f"{given} beside logits {tuple(y_pred.shape)}. `class_weight` of `fit` does not know "
            "masks (B, H, W): give np.array(weights)[masks] as sample_weight"
        )
    wrong = ops.logical_not(ops.logical_and(weights >= 0, weights < float("inf")))
    refuse(wrong, weights, "sample_weight", "is not a finite number from 0 on")
    return ops.where(wrong, float("nan"), weights)


def void_id(ignore_class: Any) -> int | None:
    """Take the void id of an argument, None where every pixel has a class."""
    return None if ignore_class is None else whole_number("ignore_class", ignore_class)


def whole_number(name: str, value: Any) -> int:
    """Take an argument as an int, and refuse what is none."""
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise ValueError(f"{name} must be a whole number, got {value!r}") from None


def require_void_apart(classes: Any, ignore_class: int | None, what: str = "num_classes={}") -> None:
    """Refuse fewer than two classes, and a usual void id that is also a class.

    Another void id may be that of a class: whoever gives it leaves a class of the network out on purpose.
    """
    if classes is None or classes < 2:
        raise ValueError(
            f"{what.format(classes)}: there must be at least 2; one kind of object has two, background (0) and the "
            "object (1), so num_classes=2"
        )
    if ignore_class == 255 and classes > 255:
        raise ValueError(
            f"{what.format(classes)} and ignore_class=255: 255 is void and a class too; give ignore_class=-1, or "
            "another id that is no class, or None where every pixel has a class"
        )


def refuse(wrong: Any, values: Any, before: str, after: str) -> None:
    """Raise an error with the first value that is wrong, where values are known or a TensorFlow graph runs.

    In code compiled by JAX or XLA there is nothing that could raise it.

    Args:
        wrong: where values are wrong, a boolean tensor.
        values: a tensor of the same shape.
        before: what the values are.
        after: what is wrong with one, and what mends it.

    Raises:
        ValueError: a value is wrong.
        tf.errors.InvalidArgumentError: the same in a TensorFlow graph, when it runs.
    """
    if isinstance(wrong, keras.KerasTensor):
        return
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if not tf.executing_eagerly():
            # XLA leaves assertions out, but takes no other operation on text: hence the text in parts.
            first = tf.reshape(values, (-1,))[tf.argmax(tf.reshape(tf.cast(wrong, "uint8"), (-1,)))]
            tf.debugging.Assert(tf.logical_not(tf.reduce_any(wrong)), [before, first, after])
            return
    elif keras.backend.backend() == "jax":
        import jax

        if isinstance(wrong, jax.core.Tracer):
            return
    if ops.any(wrong):
        first = ops.convert_to_numpy(values)[ops.convert_to_numpy(wrong)][0]
        shown = f"{first:.6g}" if isinstance(first, np.floating) else f"{int(first)}"
        raise ValueError(f"{before} {shown} {after}")


def _no_class(classes: int, ignore_class: int | None, floats: bool) -> str:
    void = "there is no void (ignore_class=None)" if ignore_class is None else f"not void ({ignore_class})"
    if floats:
        mend = "masks hold whole numbers: read them without scaling, and resize them with nearest neighbour"
    else:
        mend = "map ids to 0, 1, ... and to void, or set num_classes or ignore_class to what the masks hold"
    return f"is no class (0..{classes - 1}) and {void}; {mend}"


def _numeric(what: str, values: Any) -> Any:
    values = values if hasattr(values, "dtype") else np.asarray(values)
    if not re.fullmatch(r"bool|u?int\d+|b?float\d+", _type(values)):
        raise ValueError(f"{what} must hold numbers, got values of type {_type(values)}")
    return ops.convert_to_tensor(values)


def _type(values: Any) -> str:
    return getattr(values.dtype, "name", str(values.dtype)).removeprefix("torch.")


def _masks(labels: Any, y_pred: Any) -> Any:
    """Labels as (B, H, W), of the size of the logits."""
    shape = labels.shape
    if getattr(shape, "rank", 0) is None:
        raise ValueError("masks have no known rank: call mask.set_shape((None, None)) where the data set reads them")
    if len(shape) == 4 and shape[-1] == 1:
        labels = ops.squeeze(labels, axis=-1)
    elif len(shape) == 4 and shape[-1] == y_pred.shape[-1]:
        raise ValueError(f"masks {tuple(shape)} are one-hot: give class ids, np.argmax(masks, axis=-1)")
    elif len(shape) == 2:
        raise ValueError(f"masks {tuple(shape)} have no batch axis: give mask[None], or batch the data set")
    if len(labels.shape) != 3 or not _agree(labels.shape, y_pred.shape[:3]):
        raise ValueError(
            f"masks (B, H, W) or (B, H, W, 1) go with logits (B, H, W, C), got {tuple(shape)} and "
            f"{tuple(y_pred.shape)}; where sizes differ, resize the masks with nearest neighbour"
        )
    _same_size("masks", labels, y_pred)
    return labels


def _comparable(labels: Any) -> Any:
    """Labels in a type that holds every id of theirs, every void id, and number of classes."""
    name = _type(labels)
    if "float" in name:
        return ops.cast(labels, "float32") if name in ("float16", "bfloat16") else labels
    # JAX has no 64 bits by default.
    return ops.cast(labels, "int32" if keras.backend.backend() == "jax" else "int64")


def _agree(shape: Any, other: Any) -> bool:
    return all(a is None or b is None or a == b for a, b in zip(shape, other, strict=True))


def _same_size(what: str, values: Any, y_pred: Any) -> None:
    """Compare sizes that a TensorFlow graph knows only when it runs; values of another order would go unseen."""
    sizes = (*values.shape, *y_pred.shape[:3])
    symbolic = isinstance(values, keras.KerasTensor) or isinstance(y_pred, keras.KerasTensor)
    if keras.backend.backend() != "tensorflow" or symbolic or None not in sizes:
        return
    import tensorflow as tf

    size, wanted = tf.shape(values), tf.shape(y_pred)[:3]
    tf.debugging.Assert(tf.reduce_all(size == wanted), [f"{what} of size", size, "beside logits of size", wanted])
