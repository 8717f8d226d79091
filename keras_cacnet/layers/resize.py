"""Bilinear resizing to a size that is known only when the network runs."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_cacnet")
class ResizeLike(keras.layers.Layer):
    """Resizes a map to the height and width of a reference, bilinearly with half-pixel centres.

    Keras' own resizing cannot take an unknown size under TensorFlow, hence this layer. There float32 and
    narrower maps go through `tf.image.resize`; float64 ones, which that would round to float32, are
    interpolated here with the same arithmetic.

    Shapes:
        - inputs: [map (B, h, w, c), reference (B, H, W, anything)]
        - output: (B, H, W, c), of the dtype of the map

    Example:
        >>> import numpy as np
        >>> tuple(ResizeLike()([np.ones((1, 2, 3, 5), "float32"), np.zeros((1, 16, 17, 3), "float32")]).shape)
        (1, 16, 17, 5)

    Reference:
        Section 4.1 of the CaC-Net paper: the output is upscaled to the size of the input image.
    """

    def call(self, inputs: Sequence[Any]) -> Any:
        features, reference = inputs
        _, height, width, _ = ops.shape(reference)
        if self.compute_dtype == "float64":
            return _interpolate(_interpolate(features, height, axis=1), width, axis=2)
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            return ops.cast(tf.image.resize(features, (height, width)), self.compute_dtype)
        return ops.image.resize(features, (height, width), interpolation="bilinear", antialias=False)

    def compute_output_shape(self, input_shape: Sequence[Sequence[int | None]]) -> tuple[int | None, ...]:
        features, reference = input_shape
        return (features[0], reference[1], reference[2], features[3])


def _interpolate(x: Any, size: Any, axis: int) -> Any:
    length = ops.shape(x)[axis]
    centres = (ops.cast(ops.arange(size), x.dtype) + 0.5) * (ops.cast(length, x.dtype) / ops.cast(size, x.dtype)) - 0.5
    below = ops.floor(centres)
    fraction = ops.reshape(centres - below, (-1, 1, 1) if axis == 1 else (-1, 1))
    below = ops.cast(below, "int32")
    low = ops.take(x, ops.clip(below, 0, length - 1), axis=axis)
    high = ops.take(x, ops.clip(below + 1, 0, length - 1), axis=axis)
    return low + (high - low) * fraction
