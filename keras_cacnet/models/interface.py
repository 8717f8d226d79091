"""What a model takes and gives, known from its graph: the size of its images, its classes, its last enlargement."""

import keras

from keras_cacnet.layers.resize import ResizeLike
from keras_cacnet.models.network import SegmentationNetwork

TRIAL_SIZE = (64, 64)
"""What a model without a functional graph is shown, symbolically, where it does not say what it takes."""


def image_size(model: keras.Model) -> tuple[int | None, int | None]:
    """The height and width of the images that a model takes, None where it takes any.

    Args:
        model: a `SegmentationNetwork`, or any other Keras model from images to logits.

    Returns:
        The height and the width, in pixels: `input_size` of a network, and what the `keras.Input` of any other model
        says.

    Raises:
        ValueError: the model takes something else than one batch of RGB images.

    Example:
        >>> image_size(keras.Sequential([keras.Input((None, 64, 3)), keras.layers.Conv2D(2, 1)]))
        (None, 64)
    """
    if isinstance(model, SegmentationNetwork) and model.input_size:
        return model.input_size
    shapes = [tuple(tensor.shape) for tensor in getattr(model, "inputs", None) or []]
    if len(shapes) > 1 or any(len(shape) != 4 or shape[-1] not in (3, None) for shape in shapes):
        raise ValueError(
            f"model {model.name!r} takes {', '.join(map(str, shapes))}; one batch of RGB images is needed: build the "
            "model with one keras.Input((None, None, 3))"
        )
    return shapes[0][1:3] if shapes else (None, None)


def require_image_size(model: keras.Model, height: int, width: int) -> None:
    """Refuse an image that a model for one size cannot take, before anything is computed.

    Args:
        model: a `SegmentationNetwork`, or any other Keras model from images to logits.
        height: height of the image, in pixels.
        width: width of the image, in pixels.

    Raises:
        ValueError: the model takes another size; the message names both, and what to do.

    Example:
        >>> require_image_size(keras.Sequential([keras.Input((None, None, 3))]), 40, 56)
    """
    if isinstance(model, SegmentationNetwork):
        model.require_image_size(height, width)
        return
    declared = image_size(model)
    if any(own not in (None, side) for own, side in zip(declared, (height, width), strict=True)):
        raise ValueError(
            f"model {model.name!r} takes {(None, *declared, 3)}, not an image of {height}x{width}: resize or crop the "
            "images, or build the model with keras.Input((None, None, 3))"
        )


def class_count(model: keras.Model) -> int:
    """The number of classes that a model gives logits for.

    It is read from the graph of a functional model. Any other model is traced; nothing is computed.

    Args:
        model: a `SegmentationNetwork`, or any other Keras model from images to logits.

    Raises:
        ValueError: the model gives several outputs, or one that is not (B, H, W, classes) with a known number of
            classes; the message says what it gives.

    Example:
        >>> class_count(keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(5, 1)]))
        5
    """
    outputs = _outputs(model)
    if len(outputs) != 1:
        raise ValueError(
            f"model {model.name!r} gives {len(outputs)} outputs; one tensor of logits (B, H, W, classes) is needed: "
            "wrap the output that counts as keras.Model(model.inputs, model.outputs[0])"
        )
    shape = tuple(outputs[0].shape)
    if len(shape) != 4 or shape[-1] is None:
        raise ValueError(
            f"model {model.name!r} gives an output of shape {shape}; logits (B, H, W, classes) with a known number of "
            "classes are needed"
        )
    return int(shape[-1])


def require_class_count(model: keras.Model, expected: int) -> None:
    """Refuse a model whose number of classes is not that of the class table.

    Args:
        model: a `SegmentationNetwork`, or any other Keras model from images to logits.
        expected: the number of classes in the table.

    Raises:
        ValueError: the numbers differ, and the message names both; or as `class_count`.

    Example:
        >>> require_class_count(keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(5, 1)]), 5)
    """
    found = class_count(model)
    if found != expected:
        raise ValueError(
            f"model {model.name!r} predicts {found} classes, the class table has {expected} (void left out): take "
            "the table the model was trained with, or build the model for these classes"
        )


def before_enlarging(model: keras.Model) -> tuple[keras.Model, ResizeLike] | None:
    """Take a functional model apart where its logits are enlarged to the size of the image.

    Args:
        model: a `SegmentationNetwork`, or any other Keras model from images to logits.

    Returns:
        The model up to its logits by position, with the layers and weights of this one, and its last layer. None where
        the model does not end in a `ResizeLike`, or may compute something else than its graph.

    Example:
        >>> images = keras.Input((None, None, 3))
        >>> logits = keras.layers.Conv2D(2, 8, strides=8, padding="same")(images)
        >>> part, last = before_enlarging(keras.Model(images, ResizeLike(8)([logits, images])))
        >>> tuple(part(keras.ops.zeros((1, 16, 24, 3))).shape), last.stride
        ((1, 2, 3, 2), 8)
    """
    owner = next(one for one in type(model).__mro__ if "call" in vars(one))
    outputs = getattr(model, "outputs", None) or []
    if len(outputs) != 1 or not (owner is SegmentationNetwork or owner.__module__.startswith("keras.")):
        return None
    last, node, _ = outputs[0]._keras_history
    if not isinstance(last, ResizeLike):
        return None
    logits, images = last._inbound_nodes[node].input_tensors
    return (keras.Model(images, logits), last) if model.inputs[0] is images else None


def _outputs(model: keras.Model) -> list[keras.KerasTensor]:
    # A Sequential model has no outputs before it is built, for any size here; a subclassed one has none at all.
    if isinstance(model, keras.Sequential) and not model.built:
        model.build((None, None, None, 3))
    if outputs := getattr(model, "outputs", None):
        return list(outputs)
    size = (own or trial for own, trial in zip(image_size(model), TRIAL_SIZE, strict=True))
    return keras.tree.flatten(model(keras.KerasTensor((1, *size, 3), dtype="float32"), training=False))
