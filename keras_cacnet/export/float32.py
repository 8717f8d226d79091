"""A model as it would be, had it been built in float32."""

from collections.abc import Mapping
from typing import Any

import keras

_OTHERS = ("float16", "bfloat16", "float64")


def in_float32(model: keras.Model) -> keras.Model:
    """Build a model anew with every layer in float32, and give it the same weights.

    Args:
        model: of any dtype policy; one that Keras can rebuild from its config.

    Returns:
        The model in float32; the model itself where it is that already.

    Example:
        >>> layers = [keras.Input((None, None, 3)), keras.layers.Conv2D(2, 1, dtype="mixed_bfloat16")]
        >>> in_float32(keras.Sequential(layers)).layers[0].compute_dtype
        'float32'
    """
    config = model.get_config()
    if not _narrow(config):
        return model
    rebuilt = type(model).from_config(_widened(config))
    rebuilt.set_weights(model.get_weights())
    return rebuilt


def _narrow(config: Any) -> bool:
    return _widened(config) != config


def _widened(config: Any) -> Any:
    if isinstance(config, Mapping):
        if config.get("class_name") == "DTypePolicy":
            return {**config, "config": {**config["config"], "name": "float32"}}
        return {
            key: "float32" if key == "dtype" and value in _OTHERS else _widened(value) for key, value in config.items()
        }
    if isinstance(config, list | tuple):
        return type(config)(_widened(value) for value in config)
    return config
