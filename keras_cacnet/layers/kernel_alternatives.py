"""Other sources of the depthwise kernels than CaC's (Table 6): fixed ones, an FC over positions, one on the mean."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_cacnet.layers.normalization import at_least_float32
from keras_cacnet.layers.reweighting import DynamicKernelLayer, KernelReweightingLayer


@keras.saving.register_keras_serializable("keras_cacnet")
class FixedKernelLayer(KernelReweightingLayer):
    """Re-weights by kernels that are learned and then the same for every image ("Fixed").

    One s x s kernel per channel stands where CaC predicts one from the image; all dilation rates share it.
    There is no batch norm: it would have nothing to take statistics of. Trainable parameters: s^2 c.

    Args:
        kernel_size: s, the side of the kernels; 1, 3, 5 or 7.
        dilation_rates: the rates at which the kernels convolve X, in feature positions.
        **kwargs: `name`, `dtype`, `trainable`.

    Shapes:
        - input: (B, h, w, c); B, h and w may be unknown
        - output: (B, h, w, c)

    Raises:
        ValueError: as `CaCLayer`.

    Example:
        >>> import numpy as np
        >>> layer = FixedKernelLayer(kernel_size=3)
        >>> tuple(layer(np.ones((2, 5, 7, 4), "float32")).shape), layer.count_params()
        ((2, 5, 7, 4), 36)

    Reference:
        Table 6 of the CaC-Net paper, "Fixed".
    """

    def build_prediction(self, input_shape: Sequence[int | None]) -> None:
        s = self.kernel_size
        # The sum of s^2 taps keeps the scale of the features.
        initializer = keras.initializers.RandomNormal(stddev=1 / s)
        shape = (s, s, self.channels)
        self.kernel = self.add_weight(shape=shape, initializer=initializer, autocast=False, name="kernel")

    def predict_kernels(self, x: Any, training: bool = False) -> Any:
        """The learned kernels, once per sample: (B, s, s, c)."""
        x = self._features(x)
        shape = (ops.shape(x)[0], self.kernel_size, self.kernel_size, self.channels)
        return ops.broadcast_to(self._wide(self.kernel)[None], shape)


@keras.saving.register_keras_serializable("keras_cacnet")
class FullyConnectedKernelLayer(DynamicKernelLayer):
    """Predicts the kernels of each channel by an FC over its positions ("FC").

    The paper's depthwise FC: every value of a channel's kernel is a weighted sum of that channel over all
    positions, without bias, followed by batch norm as in CaC. Trainable parameters: h w s^2 c for the FC (at
    64x64 positions 72 times those of CaC with 512 channels; the paper's text calls the two the same) and 2c for
    the norm.

    There is a weight for every position, so the layer takes features of one size only: `input_size`, or where
    none is given the size it is first built with.

    Args:
        input_size: height and width of the features, in positions.
        kernel_size: s, the side of the kernels; 1, 3, 5 or 7.
        dilation_rates: the rates at which the kernels convolve X, in feature positions.
        synchronized: take the batch-norm statistics over all replicas of a `tf.distribute` strategy.
        **kwargs: `name`, `dtype`, `trainable`.

    Shapes:
        - input: (B, h, w, c) with (h, w) the input size; B may be unknown, and h and w where the size is given
        - output: (B, h, w, c)

    Raises:
        ValueError: as `CaCLayer`; no size given and an unknown one to build with; features of another size
            (tf.errors.InvalidArgumentError where a compiled function learns the size only as it runs).

    Example:
        >>> import numpy as np
        >>> layer = FullyConnectedKernelLayer(input_size=(5, 7))
        >>> tuple(layer(np.ones((2, 5, 7, 4), "float32")).shape)
        (2, 5, 7, 4)
        >>> sum(int(np.prod(weight.shape)) for weight in layer.trainable_variables)  # 5*7*9*4 + 2*4
        1268

    Reference:
        Table 6 of the CaC-Net paper, "FC".
    """

    def __init__(
        self,
        input_size: Sequence[int] | None = None,
        kernel_size: int = 3,
        dilation_rates: Sequence[int] = (1, 2, 3),
        synchronized: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(kernel_size, dilation_rates, synchronized, **kwargs)
        self.input_size = None if input_size is None else _checked_size(input_size)

    def build_prediction(self, input_shape: Sequence[int | None]) -> None:
        if self.input_size is None:
            if None in input_shape[1:3]:
                raise ValueError(
                    f"{self.name} has a weight for every position and needs to know their number: give input_size, "
                    f"or build it with a known height and width, not {tuple(input_shape)}"
                )
            self.input_size = _checked_size(input_shape[1:3])
        height, width = self._positions = self.input_size
        # One matrix per channel, the form in which a batched product takes it.
        self.kernel = self.add_weight(
            shape=(self.channels, height * width, self.kernel_size**2),
            initializer=keras.initializers.RandomNormal(stddev=(height * width) ** -0.5),
            autocast=False,
            name="kernel",
        )

    def raw_kernels(self, x: Any) -> Any:
        """The weighted sums over positions, (B, s * s, c)."""
        x = self._of_required_size(x)
        height, width = self._positions
        flat = ops.reshape(self._wide(x), (ops.shape(x)[0], height * width, self.channels))
        sums = ops.matmul(ops.transpose(flat, (2, 0, 1)), self._wide(self.kernel))
        return ops.transpose(sums, (1, 2, 0))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "input_size": None if self.input_size is None else list(self.input_size)}

    def _of_required_size(self, x: Any) -> Any:
        height, width = self._positions
        text = f"{self.name} has one weight for each of {height}x{width} positions and takes no other size"
        if None not in x.shape[1:3]:
            if tuple(x.shape[1:3]) != self.input_size:
                raise ValueError(
                    f"{text}, got features of {x.shape[1]}x{x.shape[2]}: give it images of one size, or choose "
                    "a layer that takes any"
                )
            return x
        import tensorflow as tf  # under other backends sizes are known

        message = f"{text}, got features of size:"
        # Without the dependency the reshape that follows may fail first, and less clearly.
        with tf.control_dependencies([tf.debugging.assert_equal(tf.shape(x)[1:3], self.input_size, message=message)]):
            return tf.identity(x)


@keras.saving.register_keras_serializable("keras_cacnet")
class PooledKernelLayer(DynamicKernelLayer):
    """Predicts the kernels by an FC on the mean of the features over positions ("GAP").

    The FC has no bias and is followed by batch norm as in CaC. Trainable parameters: s^2 c^2 for the FC and 2c
    for the norm.

    Args:
        kernel_size: s, the side of the kernels; 1, 3, 5 or 7.
        dilation_rates: the rates at which the kernels convolve X, in feature positions.
        synchronized: take the batch-norm statistics over all replicas of a `tf.distribute` strategy.
        **kwargs: `name`, `dtype`, `trainable`.

    Shapes:
        - input: (B, h, w, c); B, h and w may be unknown
        - output: (B, h, w, c)

    Raises:
        ValueError: as `CaCLayer`.

    Example:
        >>> import numpy as np
        >>> layer = PooledKernelLayer()
        >>> tuple(layer(np.ones((2, 5, 7, 4), "float32")).shape)
        (2, 5, 7, 4)
        >>> sum(int(np.prod(weight.shape)) for weight in layer.trainable_variables)  # 9*4*4 + 2*4
        152

    Reference:
        Table 6 of the CaC-Net paper, "GAP".
    """

    def build_prediction(self, input_shape: Sequence[int | None]) -> None:
        units = self.kernel_size**2 * self.channels
        dtype = at_least_float32(self.compute_dtype)
        self.dense = keras.layers.Dense(units, use_bias=False, name="dense", dtype=dtype)
        self.dense.build((None, self.channels))

    def raw_kernels(self, x: Any) -> Any:
        """The FC of the mean, (B, s * s * c); the channel varies fastest."""
        return self.dense(ops.mean(self._wide(x), axis=(1, 2)))


def _checked_size(size: Sequence[Any]) -> tuple[int, int]:
    if isinstance(size, int) or len(size) != 2 or any(int(side) != side or side < 1 for side in size):
        raise ValueError(f"input_size must be a height and a width from 1 on, got {size!r}")
    return int(size[0]), int(size[1])
