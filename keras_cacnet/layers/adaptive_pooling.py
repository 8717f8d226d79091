"""Averages of features over a grid of s x s regions, whatever the size of the features."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_cacnet.layers.normalization import at_least_float32


@keras.saving.register_keras_serializable("keras_cacnet")
class AdaptiveAveragePooling(keras.layers.Layer):
    """Averages over s x s regions of equal size, up to one row and column.

    Region i of n positions goes from floor(i n / s) to ceil((i + 1) n / s), as in PyTorch: every position is in at
    least one region, neighbours overlap where s does not divide n, and features smaller than s x s have regions of
    one position. Keras' own layer needs to know the size of the features beforehand. Means are taken in float32 at
    least.

    Args:
        size: s, the number of regions along each side.
        **kwargs: `name`, `dtype`.

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
        if isinstance(size, bool) or int(size) != size or size < 1:
            raise ValueError(f"the size of the grid must be a whole number from 1 on, got {size!r}")
        self.size = int(size)

    def call(self, x: Any) -> Any:
        x = ops.cast(x, at_least_float32(self.compute_dtype))
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
