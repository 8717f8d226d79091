"""Maps of another height and width: padded images, enlarged logits, means over the regions of a grid.

Between images of any size and feature maps of a fixed stride there must be no shift. A "same" convolution of stride 2
centres its windows differently on even and on odd sizes, and a map of ceil(H / 8) rows stretched over H pixels drifts
by up to 7 of them towards the lower right. So the network sees images whose sides are multiples of its output stride,
and its logits are enlarged by that stride and cut back to the image.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_cacnet.arguments import require_count
from keras_cacnet.layers.base import FeatureLayer

_MAP = keras.layers.InputSpec(ndim=4)


@keras.saving.register_keras_serializable("keras_cacnet")
class PadToMultiple(FeatureLayer):
    """Repeats the last row and column until both sides are multiples of a number.

    Args:
        multiple: what the sides become multiples of, in pixels.
        **kwargs: `name`, `dtype`, `activity_regularizer`.

    Shapes:
        - input: (B, H, W, c)
        - output: (B, ceil(H / multiple) * multiple, ceil(W / multiple) * multiple, c)

    Raises:
        ValueError: a multiple below 1.

    Example:
        >>> import numpy as np
        >>> PadToMultiple(4)(np.arange(3.0).reshape(1, 1, 3, 1))[0, 0, :, 0].numpy().tolist()
        [0.0, 1.0, 2.0, 2.0]
    """

    def __init__(self, multiple: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.multiple = require_count("multiple", multiple)
        self.input_spec = _MAP

    def call(self, x: Any) -> Any:
        x = ops.cast(x, self.compute_dtype)
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
class ResizeLike(FeatureLayer):
    """Enlarges a map by its stride, bilinearly with half-pixel centres, and cuts it to the size of the image.

    Keras' own resizing cannot take an unknown size under TensorFlow, hence this layer. There float32 and narrower
    maps go through `tf.image.resize`; float64 ones, which that would round to float32, are interpolated here with
    the same arithmetic.

    Args:
        stride: pixels of the image per position of the map.
        **kwargs: `name`, `dtype`, `activity_regularizer`.

    Shapes:
        - inputs: [map (B, ceil(H / stride), ceil(W / stride), c), image (B, H, W, anything)]
        - output: (B, H, W, c)

    Raises:
        ValueError: a stride below 1, or, where sizes are known, a map that does not reach over the image.

    Example:
        >>> import numpy as np
        >>> tuple(ResizeLike(8)([np.ones((1, 2, 3, 5), "float32"), np.zeros((1, 16, 17, 3), "float32")]).shape)
        (1, 16, 17, 5)

    Reference:
        Section 4.1 of the CaC-Net paper: the output is upscaled to the size of the input image.
    """

    def __init__(self, stride: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stride = require_count("stride", stride)
        self.input_spec = [_MAP, _MAP]

    def call(self, inputs: Sequence[Any]) -> Any:
        features, image = inputs
        self.compute_output_shape([features.shape, image.shape])
        _, height, width, _ = ops.shape(image)
        _, rows, columns, _ = ops.shape(features)
        enlarged = resize_bilinear(features, rows * self.stride, columns * self.stride, self.compute_dtype)
        return enlarged[:, :height, :width, :]

    def compute_output_shape(self, input_shape: Sequence[Sequence[int | None]]) -> tuple[int | None, ...]:
        features, image = input_shape
        for rows, pixels in zip(features[1:3], image[1:3], strict=True):
            if rows is not None and pixels is not None and rows * self.stride < pixels:
                raise ValueError(
                    f"{self.name} enlarges a map by its stride of {self.stride}: one of {features[1]}x{features[2]} "
                    f"does not reach over an image of {image[1]}x{image[2]}"
                )
        return (features[0], image[1], image[2], features[3])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "stride": self.stride}


@keras.saving.register_keras_serializable("keras_cacnet")
class ResizeTo(FeatureLayer):
    """Resizes a map bilinearly, with half-pixel centres, to the height and width of another one.

    Args:
        **kwargs: `name`, `dtype`, `activity_regularizer`.

    Shapes:
        - inputs: [map (B, s, s, c), other (B, h, w, anything)]
        - output: (B, h, w, c)

    Example:
        >>> import numpy as np
        >>> grid = np.array([0.0, 4.0], "float32").reshape(1, 2, 1, 1)
        >>> ResizeTo()([grid, np.zeros((1, 4, 1, 7), "float32")])[0, :, 0, 0].numpy().tolist()
        [0.0, 1.0, 3.0, 4.0]
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.input_spec = [_MAP, _MAP]

    def call(self, inputs: Sequence[Any]) -> Any:
        features, other = inputs
        _, height, width, _ = ops.shape(other)
        return resize_bilinear(features, height, width, self.compute_dtype)

    def compute_output_shape(self, input_shape: Sequence[Sequence[int | None]]) -> tuple[int | None, ...]:
        features, other = input_shape
        return (features[0], other[1], other[2], features[3])


@keras.saving.register_keras_serializable("keras_cacnet")
class AdaptiveAveragePooling(FeatureLayer):
    """Averages over s x s regions of equal size, up to one row and column.

    Region i of n positions goes from floor(i n / s) to ceil((i + 1) n / s), as in PyTorch: every position is in at
    least one region, neighbours overlap where s does not divide n, and features smaller than s x s have regions of
    one position. Keras' own layer needs to know the size of the features beforehand. Means are taken in float32 at
    least.

    Args:
        size: s, the number of regions along each side.
        **kwargs: `name`, `dtype`, `activity_regularizer`.

    Shapes:
        - input: (B, h, w, c); B, h and w may be unknown
        - output: (B, s, s, c)

    Raises:
        ValueError: a size below 1.

    Example:
        >>> import numpy as np
        >>> x = np.arange(5.0, dtype="float32").reshape(1, 5, 1, 1)
        >>> AdaptiveAveragePooling(2)(x)[0, :, 0, 0].numpy().tolist()  # rows 0 to 2, and 2 to 4
        [1.0, 3.0]
    """

    def __init__(self, size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = require_count("size", size)
        self.input_spec = _MAP

    def call(self, x: Any) -> Any:
        x = self._wide(x)
        _, height, width, _ = ops.shape(x)
        rows = [ops.mean(x[:, start:end], axis=1) for start, end in self._bounds(height)]
        x = ops.stack(rows, axis=1)
        columns = [ops.mean(x[:, :, start:end], axis=2) for start, end in self._bounds(width)]
        return ops.cast(ops.stack(columns, axis=2), self.compute_dtype)

    def _bounds(self, length: Any) -> list[tuple[Any, Any]]:
        return [(i * length // self.size, -(-(i + 1) * length // self.size)) for i in range(self.size)]

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return (input_shape[0], self.size, self.size, input_shape[3])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size}


def resize_bilinear(features: Any, height: Any, width: Any, dtype: str) -> Any:
    """Resize a map bilinearly, with half-pixel centres, as the layers here do it.

    Args:
        features: the map.
        height: rows of the result, which need not be known when the graph is built.
        width: its columns.
        dtype: type of the result; float64 is interpolated in float64.

    Shapes:
        - features: (B, h, w, c)
        - result: (B, height, width, c)

    Returns:
        The resized map.

    Example:
        >>> grid = ops.reshape(ops.convert_to_tensor([0.0, 4.0]), (1, 2, 1, 1))
        >>> ops.convert_to_numpy(resize_bilinear(grid, 4, 1, "float32")).ravel().tolist()
        [0.0, 1.0, 3.0, 4.0]
    """
    features = ops.cast(features, dtype)
    if dtype == "float64":
        return _interpolate(_interpolate(features, height, axis=1), width, axis=2)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return ops.cast(tf.image.resize(features, (height, width)), dtype)
    return ops.image.resize(
        features, (height, width), interpolation="bilinear", antialias=False, data_format="channels_last"
    )


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
