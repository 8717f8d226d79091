"""Find the input and the named feature levels of a backbone, wherever its library keeps them."""

from __future__ import annotations

import keras

LEVELS = ("P2", "P3", "P4", "P5")
REQUIRED_LEVELS = ("P4", "P5")


def image_input(backbone: keras.Model) -> keras.KerasTensor:
    """The one image input of a functional model.

    Args:
        backbone: the model.

    Returns:
        Its symbolic input.

    Raises:
        ValueError: it is no functional model, or has other inputs than one batch of images.

    Example:
        >>> image = keras.Input((None, None, 3), name="image")
        >>> image_input(keras.Model(image, image)).name
        'image'
    """
    inputs = getattr(backbone, "inputs", None) if isinstance(backbone, keras.Model) else None
    if not inputs or len(inputs) != 1 or len(inputs[0].shape) != 4:
        raise ValueError(
            "The backbone has to be a functional keras.Model with one input (batch, height, width, "
            f"channels), and is {backbone!r}."
        )
    return inputs[0]


def feature_levels(backbone: keras.Model) -> dict[str, keras.KerasTensor]:
    """The feature levels that a backbone names: Pn has stride 2^n, or less where it is dilated.

    Args:
        backbone: keras-cv's kind, with `pyramid_level_inputs` (level -> layer name), KerasHub's kind, with
            `pyramid_outputs` (level -> tensor), or any functional model whose output is a dict of levels.

    Returns:
        Level -> symbolic tensor, from P2 to P5; P4 and P5 are always there.

    Raises:
        ValueError: P4 or P5 is missing; the message names the levels that were found.

    Example:
        >>> image = keras.Input((None, None, 3))
        >>> x = keras.layers.Conv2D(4, 1, strides=16)(image)
        >>> sorted(feature_levels(keras.Model(image, {"P4": x, "P5": keras.layers.ReLU()(x)})))
        ['P4', 'P5']
    """
    # A Sequential model has outputs, but no `output` before it is called.
    outputs = None if isinstance(backbone, keras.Sequential) else backbone.output
    if getattr(backbone, "pyramid_level_inputs", None):
        layers = backbone.pyramid_level_inputs
        found = {level: backbone.get_layer(layer).output for level, layer in layers.items()}
    elif getattr(backbone, "pyramid_outputs", None):
        found = dict(backbone.pyramid_outputs)
    elif isinstance(outputs, dict):
        found = dict(outputs)
    else:
        found = {}
    levels = {level: found[level] for level in LEVELS if level in found}
    if not all(level in levels for level in REQUIRED_LEVELS):
        raise ValueError(
            f"The backbone {backbone.name!r} needs feature levels named P4 and P5 (P2 and P3 are kept where "
            f"there are any), and names {sorted(found) or 'none'}. Give it a dict of outputs: "
            'keras.Model(inputs, {"P2": ..., "P3": ..., "P4": ..., "P5": ...}).'
        )
    return levels
