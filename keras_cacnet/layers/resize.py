"""Between images of any size and feature maps of a fixed stride, without a shift between the two.

A "same" convolution of stride 2 centres its windows differently on even and on odd sizes, and a map of ceil(H / 8)
rows stretched over H pixels drifts by up to 7 of them towards the lower right. So the network sees images whose sides
are multiples of its output stride, and its logits are enlarged by that stride and cut back to the image.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_cacnet")
class PadToMultiple(keras.layers.Layer):
    """Repeats the last row and column until both sides are multiples of a number.

    Args:
        multiple: what the sides become multiples of, in pixels.
        **kwargs: `name`, `dtype`.

    Shapes:
        - input: (B, H, W, c)
        - output: (B, ceil(H / multiple) * multiple, ceil(W / multiple) * multiple, c)

    Example:
        >>> import numpy as np
        >>> PadToMultiple(4)(np.arange(3.0).reshape(1, 1, 3, 1))[0, 0, :, 0].numpy().tolist()
        [0.0, 1.0, 2.0, 2.0]
    """

    def __init__(self, multiple: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.multiple = multiple

    def call(self, x: Any) -> Any:
        for axis in (1, 2):
            size = ops.shape(x)[axis]
            whole = (size + self.multiple - 1) // self.multiple * self.multiple
            rows = ops.minimum(ops.arange(whole), size - 1)
            x = ops.take(x, rows, axis=axis)
        return x

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        sides = (None if side is None else -(-side // self.multiple) * self.multiple for side in input_shape[1:3])
        return (input_shape[0], *sides, input_shape[3])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "multiple": self.multiple}


@keras.saving.register_keras_serializable("keras_cacnet")
class ResizeLike(keras.layers.Layer):
    """Enlarges a map by its stride, bilinearly with half-pixel centres, and cuts it to the size of the image.

    Keras' own resizing cannot take an unknown size under TensorFlow, hence this layer. There float32 and narrower
    maps go through `tf.image.resize`; float64 ones, which that would round to float32, are interpolated here with
    the same arithmetic.

    Args:
        stride: pixels of the image per position of the map.
        **kwargs: `name`, `dtype`.

    Shapes:
        - inputs: [map (B, ceil(H / stride), ceil(W / stride), c), image (B, H, W, anything)]
        - output: (B, H, W, c), of the dtype of the map

    Example:
        >>> import numpy as np
        >>> tuple(ResizeLike(8)([np.ones((1, 2, 3, 5), "float32"), np.zeros((1, 16, 17, 3), "float32")]).shape)
        (1, 16, 17, 5)

    Reference:
        Section 4.1 of the CaC-Net paper: the output is upscaled to the size of the input image.
    """

    def __init__(self, stride: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stride = stride

    def call(self, inputs: Sequence[Any]) -> Any:
        features, image = inputs
        _, height, width, _ = ops.shape(image)
        _, rows, columns, _ = ops.shape(features)
        enlarged = _bilinear(features, rows * self.stride, columns * self.stride, self.compute_dtype)
        return enlarged[:, :height, :width, :]

    def compute_output_shape(self, input_shape: Sequence[Sequence[int | None]]) -> tuple[int | None, ...]:
        features, image = input_shape
        return (features[0], image[1], image[2], features[3])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "stride": self.stride}


@keras.saving.register_keras_serializable("keras_cacnet")
class ResizeTo(keras.layers.Layer):
    """Resizes a map bilinearly, with half-pixel centres, to the height and width of another one.

    Args:
        **kwargs: `name`, `dtype`.

    Shapes:
        - inputs: [map (B, s, s, c), other (B, h, w, anything)]
        - output: (B, h, w, c), of the dtype of the layer

    Example:
        >>> import numpy as np
        >>> grid = np.array([0.0, 4.0], "float32").reshape(1, 2, 1, 1)
        >>> ResizeTo()([grid, np.zeros((1, 4, 1, 7), "float32")])[0, :, 0, 0].numpy().tolist()
        [0.0, 1.0, 3.0, 4.0]
    """

    def call(self, inputs: Sequence[Any]) -> Any:
        features, other = inputs
        _, height, width, _ = ops.shape(other)
        return _bilinear(features, height, width, self.compute_dtype)

    def compute_output_shape(self, input_shape: Sequence[Sequence[int | None]]) -> tuple[int | None, ...]:
        features, other = input_shape
        return (features[0], other[1], other[2], features[3])


def _bilinear(features: Any, height: Any, width: Any, dtype: str) -> Any:
    if dtype == "float64":
        return _interpolate(_interpolate(features, height, axis=1), width, axis=2)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return ops.cast(tf.image.resize(features, (height, width)), dtype)
    return ops.image.resize(features, (height, width), interpolation="bilinear", antialias=False)


def _interpolate(x: Any, size: Any, axis: int) -> Any:
    length = ops.shape(x)[axis]
    scale = ops.cast(length, x.dtype) / ops.cast(size, x.dtype)
    centres = (ops.cast(ops.arange(size), x.dtype) + 0.5) * scale - 0.5
    below = ops.floor(centres)
    fraction = ops.reshape(centres - below, (-1, 1, 1) if axis == 1 else (-1, 1))
    below = ops.cast(below, "int32")
    low = ops.take(x, ops.clip(below, 0, length - 1), axis=axis)
    high = ops.take(x, ops.clip(below + 1, 0, length - 1), axis=axis)
    return low + (high - low) * fraction
