"""Take a backbone as one flat graph, from its image to its named feature levels."""

from __future__ import annotations

from typing import Any

import keras

LEVELS = ("P2", "P3", "P4", "P5")


def image_input(backbone: keras.Model) -> keras.KerasTensor:
    """Find the one image input of a functional model; a ValueError where it has none, or others."""
    inputs = getattr(backbone, "inputs", None) if isinstance(backbone, keras.Model) else None
    if not inputs or len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].shape[-1] is None:
        raise ValueError(
            "The backbone has to be a functional keras.Model with one input (batch, height, width, "
            f"channels), and is {backbone!r}."
        )
    return inputs[0]


def feature_levels(backbone: keras.Model) -> dict[str, keras.KerasTensor]:
    """Find the feature levels that a backbone names, wherever its library keeps them.

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
        found = {level: backbone.get_layer(layer).output for level, layer in backbone.pyramid_level_inputs.items()}
    elif getattr(backbone, "pyramid_outputs", None):
        found = dict(backbone.pyramid_outputs)
    else:
        found = dict(outputs) if isinstance(outputs, dict) else {}
    if "P4" not in found or "P5" not in found:
        raise ValueError(
            f"The backbone {backbone.name!r} needs feature levels named P4 and P5 (P2 and P3 are kept where "
            f"there are any), and names {sorted(found) or 'none'}. Give it a dict of outputs: "
            'keras.Model(inputs, {"P2": ..., "P3": ..., "P4": ..., "P5": ...}).'
        )
    return {level: found[level] for level in LEVELS if level in found}


def flat(model: keras.Model) -> keras.Model:
    """Put the layers of models inside a model in these models' place; the layers are shared.

    Example:
        >>> image = keras.Input((None, None, 3))
        >>> inner = keras.Sequential([keras.Input((None, None, 3)), keras.layers.ReLU(name="inner")])
        >>> [layer.name for layer in flat(keras.Model(image, inner(image))).layers][1:]
        ['inner']
    """

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(operation, keras.Model):
            return operation(*args, **kwargs)
        try:
            return operation.call(*args, **kwargs)
        except Exception as cause:
            raise ValueError(
                f"The model {operation.name!r} inside the backbone cannot be taken apart into layers: {cause}"
            ) from cause

    while any(isinstance(operation, keras.Model) for operation in model.operations):
        model = keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=call)
    return model
