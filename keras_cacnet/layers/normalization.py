"""Normalisation of images, by the mean and deviation that the backbone was trained with, and of batches."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_cacnet.layers.base import FeatureLayer
from keras_cacnet.layers.replicas import synchronizes

MOMENTUM = 0.9  # PyTorch's 0.1, in the terms of Keras
EPSILON = 1e-5


@keras.saving.register_keras_serializable("keras_cacnet")
class ImageNormalization(FeatureLayer):
    """Scales RGB in 0..255 to 0..1, subtracts a mean and divides by a standard deviation, per channel.

    A layer of our own because Keras' `Rescaling` needs TensorFlow at hand whatever the backend. Under half-precision
    policies it computes in float32, and rounds once.

    Args:
        mean: mean of every channel, on the scale 0..1.
        std: standard deviation of every channel, on the same scale.
        **kwargs: `name`, `dtype`, `activity_regularizer`.

    Shapes:
        - input: (..., 3)
        - output: (..., 3)

    Raises:
        ValueError: not three numbers each, or a deviation that is not positive; images of other than 3 channels.

    Example:
        >>> import numpy as np
        >>> layer = ImageNormalization(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
        >>> [float(value) for value in layer(np.array([[0.0, 127.5, 255.0]], "float32"))[0]]
        [-2.0, 0.0, 2.0]
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mean, self.std = tuple(map(float, mean)), tuple(map(float, std))
        if len(self.mean) != 3 or len(self.std) != 3 or not all(value > 0 for value in self.std):
            raise ValueError(f"mean and std need three numbers, std positive ones; got {mean!r} and {std!r}")
        self.input_spec = keras.layers.InputSpec(axes={-1: 3})

    def call(self, images: Any) -> Any:
        mean, std = (ops.convert_to_tensor(value, dtype=self.wide_dtype) for value in (self.mean, self.std))
        return ops.cast((self._wide(images) / 255 - mean) / std, self.compute_dtype)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mean": list(self.mean), "std": list(self.std)}


def batch_normalization(
    name: str, synchronized: bool, dtype: object = None, trainable: bool = True
) -> keras.layers.Layer:
    """Batch norm over the last axis with the momentum and epsilon of the reference implementations.

    Args:
        name: name of the layer.
        synchronized: take the statistics over all replicas of a `tf.distribute` strategy, where `synchronizes`.
        dtype: dtype or policy of the layer.
        trainable: False for a frozen one: the part of a frozen layer has to be told, for Keras freezes only the parts
            that are there when `trainable` is set.

    Returns:
        A `keras.layers.BatchNormalization`.

    Example:
        >>> batch_normalization("norm", synchronized=False).momentum
        0.9
    """
    return keras.layers.BatchNormalization(
        axis=-1,
        momentum=MOMENTUM,
        epsilon=EPSILON,
        synchronized=synchronizes(synchronized),
        name=name,
        dtype=dtype,
        trainable=trainable,
    )
