"""Batch norms that see one value of every channel of an image, and need more than one image to train."""

import math
from typing import Any

import keras


def norms_of_one_value(model: keras.Model) -> list[str]:
    """List the trained batch norms that see one value per image and channel: of means over positions, kernels of 1x1.

    Of a batch of one image such a norm has the variance 0: what trains is a network without the branch, and in
    inference the moving statistics make of it something else.

    Args:
        model: a built model.

    Returns:
        Their paths.

    Example:
        >>> import keras_cacnet as kc
        >>> model = kc.CaCNet(2, backbone="resnet14_narrow", head_channels=8)
        >>> norms_of_one_value(model)
        ['pooling/norm']
    """
    found = []
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable and layer.trainable_variables:
            shape = (layer.get_build_config() or {}).get("input_shape") or (None, None, None)
            sides = [side for axis, side in enumerate(shape) if axis not in (0, layer.axis % len(shape))]
            if None not in sides and math.prod(sides) == 1:
                found.append(layer.path)
    return found


def require_statistics(model: Any, masks: Any) -> None:
    """Refuse to begin to train on parts of one image where a batch norm needs more.

    A batch of one image at the end of an epoch does little harm, so only the first step is looked at.

    Args:
        model: a `TrainableModel`, compiled; under another backend than TensorFlow nothing is looked at.
        masks: of the first batch, on one device.

    Raises:
        ValueError: the batch, of a known size, is of one image in every part.
        tf.errors.InvalidArgumentError: the same of a size that only the running graph knows.
    """
    if keras.backend.backend() != "tensorflow" or not (norms := norms_of_one_value(model)):
        return
    import tensorflow as tf

    parts, replicas = model.accumulate, model.distribute_strategy.num_replicas_in_sync
    given = "batches of one image" if parts == 1 else f"batches in parts (accumulate={parts}) of one image"
    text = (
        f"{given} cannot train the batch norm {norms[0]}, which sees one value per image and channel: take larger "
        "batches, or a network without it (global_pooling=False, kernels larger than 1)"
    )
    first = tf.equal(model.optimizer.iterations, 0)
    alone = tf.shape(masks)[0] * replicas <= parts
    if tf.executing_eagerly():
        if first and alone:
            raise ValueError(text)
    elif masks.shape[0] is not None and masks.shape[0] * replicas <= parts:
        raise ValueError(text)
    else:
        tf.debugging.Assert(~(first & alone), [text])
