"""What evaluation, prediction and export share: a Keras model inside a compiled TensorFlow function."""

from typing import Any

import keras


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


def segmentation_logits(model: keras.Model, images: Any) -> Any:
    """Call a model in inference and make sure that its output has the form of logits.

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
        >>> import tensorflow as tf
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
