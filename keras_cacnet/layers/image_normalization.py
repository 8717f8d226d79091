"""From RGB in 0..255 to what the backbone's weights were trained on."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_cacnet")
class ImageNormalization(keras.layers.Layer):
    """Scales RGB in 0..255 to 0..1, subtracts a mean and divides by a standard deviation, per channel.

    A layer of our own because Keras' `Rescaling` needs TensorFlow at hand whatever the backend.

    Args:
        mean: mean of every channel, on the scale 0..1.
        std: standard deviation of every channel, on the same scale.
        **kwargs: `name`, `dtype`.

    Shapes:
        - input: (..., 3)
        - output: (..., 3)

    Raises:
        ValueError: not three numbers each, or a deviation that is not positive.

    Example:
        >>> import numpy as np
        >>> layer = ImageNormalization(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
        >>> [float(value) for value in layer(np.array([[0.0, 127.5, 255.0]], "float32"))[0]]
        [-2.0, 0.0, 2.0]
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mean, self.std = tuple(map(float, mean)), tuple(map(float, std))
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ValueError(f"mean and std need three numbers, std positive ones; got {mean!r} and {std!r}")

    def call(self, images: Any) -> Any:
        images = ops.cast(images, self.compute_dtype)
        # Not by a cast: that would take the numbers to float32 first.
        mean, std = (ops.convert_to_tensor(value, self.compute_dtype) for value in (self.mean, self.std))
        return (images / 255 - mean) / std

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mean": list(self.mean), "std": list(self.std)}
