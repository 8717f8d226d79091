"""A Keras model as evaluation, prediction and exports take it: its logits checked, its functions compiled once."""

import weakref
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import keras
import tensorflow as tf

_compiled: "weakref.WeakKeyDictionary[keras.Model, dict[Hashable, Any]]" = weakref.WeakKeyDictionary()


def require_tensorflow(task: str) -> None:
    """Refuse a Keras backend whose models cannot be compiled as TensorFlow functions.

    Args:
        task: what the caller does, for the message.

    Raises:
        ValueError: Keras runs on another backend than TensorFlow; the message names it and the mend.

    Example:
        >>> require_tensorflow("evaluation")
    """
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise ValueError(
            f"{task} compiles the model as a TensorFlow function, but Keras runs on {backend}: set the environment "
            "variable KERAS_BACKEND=tensorflow before keras is imported (a .keras file saved under another backend "
            "loads there)"
        )


def compiled(model: keras.Model, key: Hashable, function: Callable[..., Any], signature: Sequence[Any]) -> Any:
    """Compile a function of a model once; it lives as long as the model.

    Args:
        model: what the function is of.
        key: tells the functions of one model apart.
        function: takes the model and then tensors; it must not hold the model itself.
        signature: what the tensors are; leave sizes open, or every size is compiled anew.

    Returns:
        The `tf.function` of the tensors.

    Raises:
        ValueError: Keras runs on another backend than TensorFlow.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> call = compiled(model, "call", lambda model, x: model(x), [tf.TensorSpec((None, 2))])
        >>> call is compiled(model, "call", lambda model, x: model(x), [tf.TensorSpec((None, 2))])
        True
    """
    functions = _compiled.setdefault(model, {})
    if key not in functions:
        require_tensorflow("prediction")
        # Values of a WeakKeyDictionary must not refer to their key, or it would never be let go.
        reference = weakref.ref(model)
        functions[key] = tf.function(
            lambda *tensors: function(reference(), *tensors), input_signature=signature, autograph=False
        )
    return functions[key]


def segmentation_logits(model: keras.Model, images: Any) -> Any:
    """Call a model in inference and make sure that its output has the form of logits.

    These are the logits that training's validation, evaluation, prediction and exports all take.

    Args:
        model: takes RGB in 0..255.
        images: float, as a tensor of the TensorFlow backend.

    Shapes:
        - images: (B, H, W, 3)
        - result: (B, H, W, classes); height and width are the model's own and are not checked here

    Returns:
        The logits, as the model gives them.

    Raises:
        ValueError: the model gives several outputs, or one that is not (B, H, W, classes) with a known number
            of classes; the message says what it gives.

    Example:
        >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(5, 1)])
        >>> tuple(segmentation_logits(model, tf.zeros((1, 4, 6, 3))).shape)
        (1, 4, 6, 5)
    """
    logits = model(images, training=False)
    if isinstance(logits, dict | list | tuple):
        raise ValueError(
            f"model {model.name!r} gives {len(logits)} outputs; one tensor of logits (B, H, W, classes) is needed: "
            "wrap the output that counts as keras.Model(model.inputs, model.outputs[0])"
        )
    if len(logits.shape) != 4 or logits.shape[-1] is None:
        raise ValueError(
            f"model {model.name!r} gives an output of shape {tuple(logits.shape)}; logits (B, H, W, classes) with "
            "a known number of classes are needed"
        )
    return logits
