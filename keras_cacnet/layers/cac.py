"""The context-adaptive convolution (CaC) module, Section 3 of the paper."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_cacnet.layers.dynamic_depthwise import dynamic_depthwise_conv
from keras_cacnet.layers.normalization import at_least_float32, batch_normalization

KERNEL_SIZES = (1, 3, 5, 7)


@keras.saving.register_keras_serializable("keras_cacnet")
class CaCLayer(keras.layers.Layer):
    """Re-weights the channels at every position by kernels predicted from the whole feature map.

    A query Q (s^2 channels) and a key K (c channels), both 1x1 convolutions of the features X without bias,
    give the kernels D = Q^T K (Eq. 1), one s x s kernel per channel, followed by batch normalisation. D
    convolves X depthwise at each dilation rate; the sigmoids of the results add up to the weights W (Eq. 2);
    the output is X * W. Trainable parameters: c^2 + s^2 c for the prediction and 2c for the normalisation.

    The sum over positions in Eq. 1 is divided by their number h*w. That is ours: batch normalisation undoes
    the factor in training, and with it the moving statistics hold for images of other sizes.

    Kernels are predicted and products accumulated in float32 under half-precision policies.

    Args:
        kernel_size: s, the side of the predicted kernels; 1, 3, 5 or 7.
        dilation_rates: the rates at which D convolves X, in feature positions.
        synchronized: take the batch-norm statistics over all replicas of a `tf.distribute` strategy.
        **kwargs: `name`, `dtype`, `trainable`, as for any Keras layer.

    Shapes:
        - input: (B, h, w, c); B, h and w may be unknown
        - output: (B, h, w, c)

    Raises:
        ValueError: a kernel size other than 1, 3, 5, 7; no dilation rate, or one below 1; an input that is not
            of rank 4 or whose number of channels is unknown.

    Example:
        >>> import numpy as np
        >>> layer = CaCLayer(kernel_size=3, dilation_rates=(1, 2, 3))
        >>> x = np.random.default_rng(0).normal(size=(2, 5, 7, 4)).astype("float32")
        >>> tuple(layer(x).shape), tuple(layer.predict_kernels(x).shape)
        ((2, 5, 7, 4), (2, 3, 3, 4))
        >>> sum(int(np.prod(weight.shape)) for weight in layer.trainable_variables)  # 4*4 + 9*4 + 2*4
        60

    Reference:
        Liu et al., "Learning to Predict Context-adaptive Convolution for Semantic Segmentation", ECCV 2020,
        Sections 3.1 (Eq. 1) and 3.2 (Eq. 2).
    """

    def __init__(
        self,
        kernel_size: int = 3,
        dilation_rates: Sequence[int] = (1, 2, 3),
        synchronized: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.kernel_size = checked_kernel_size(kernel_size)
        self.dilation_rates = checked_dilation_rates(dilation_rates)
        self.synchronized = bool(synchronized)
        # XLA compiles the folded convolution for minutes on a CPU, so `fit` must not choose it by itself.
        self.supports_jit = keras.backend.backend() != "tensorflow"

    def build(self, input_shape: Sequence[int | None]) -> None:
        channels = checked_channels(self, input_shape)
        dtype = at_least_float32(self.compute_dtype)
        self.query = _pointwise(self.kernel_size**2, "query", dtype)
        self.key = _pointwise(channels, "key", dtype)
        self.norm = batch_normalization("norm", self.synchronized, dtype)
        self.query.build(input_shape)
        self.key.build(input_shape)
        self.norm.build((None, self.kernel_size, self.kernel_size, channels))
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={-1: channels})

    def predict_kernels(self, x: Any, training: bool = False) -> Any:
        """Predict the context-adaptive kernels D of every sample (Eq. 1 and the batch norm after it).

        Args:
            x: features.
            training: normalise by the statistics of the batch, and update the moving ones.

        Shapes:
            - x: (B, h, w, c)
            - result: (B, s, s, c)

        Returns:
            The kernels, in float32 or better.

        Raises:
            ValueError: `x` is not of rank 4, or of other channels than the layer was built for.
        """
        x = self._features(x)
        batch, height, width, channels = ops.shape(x)
        positions = height * width
        query = ops.reshape(self.query(x), (batch, positions, self.kernel_size**2))
        key = ops.reshape(self.key(x), (batch, positions, channels))
        query = query / ops.cast(positions, query.dtype)
        kernels = ops.matmul(ops.transpose(query, (0, 2, 1)), key)
        kernels = ops.reshape(kernels, (batch, self.kernel_size, self.kernel_size, channels))
        return self.norm(kernels, training=training)

    def weighting(self, x: Any, kernels: Any = None, training: bool = False) -> Any:
        """Compute the spatially varying weights W of every position and channel (Eq. 2).

        Args:
            x: features.
            kernels: context-adaptive kernels; predicted from `x` where none are given.
            training: as in `predict_kernels`, for kernels that are predicted here.

        Shapes:
            - x: (B, h, w, c)
            - kernels: (B, s, s, c)
            - result: (B, h, w, c)

        Returns:
            W, with values between 0 and the number of dilation rates.

        Raises:
            ValueError: kernels of another shape than (B, s, s, c).
        """
        x = self._features(x)
        if kernels is None:
            kernels = self.predict_kernels(x, training=training)
        dtype = at_least_float32(self.compute_dtype)
        kernels = ops.cast(ops.convert_to_tensor(kernels), dtype)
        expected = (x.shape[0], self.kernel_size, self.kernel_size, x.shape[-1])
        if len(kernels.shape) != 4 or any(
            have is not None and want is not None and have != want
            for have, want in zip(kernels.shape, expected, strict=True)
        ):
            raise ValueError(
                f"kernels of {self.name} must have the shape (B, s, s, c) = {expected}, got {tuple(kernels.shape)}"
            )
        wide = ops.cast(x, dtype)
        weights = sum(ops.sigmoid(dynamic_depthwise_conv(wide, kernels, rate)) for rate in self.dilation_rates)
        return ops.cast(weights, self.compute_dtype)

    def call(self, x: Any, training: bool = False) -> Any:
        """Return X * W, the features re-weighted by their global context."""
        return x * self.weighting(x, training=training)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        checked_channels(self, input_shape)
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "dilation_rates": list(self.dilation_rates),
            "synchronized": self.synchronized,
        }

    def _features(self, x: Any) -> Any:
        x = ops.cast(ops.convert_to_tensor(x), self.compute_dtype)
        if not self.built:
            self.build(x.shape)
        if checked_channels(self, x.shape) != self.key.filters:
            raise ValueError(
                f"{self.name} was built for {self.key.filters} channels, got an input of shape {tuple(x.shape)}"
            )
        return x


def checked_kernel_size(size: int) -> int:
    """The kernel size itself, if it is one of 1, 3, 5, 7; ValueError otherwise."""
    if isinstance(size, bool) or size not in KERNEL_SIZES:
        raise ValueError(f"kernel_size must be one of {KERNEL_SIZES}, got {size!r}")
    return int(size)


def checked_dilation_rates(rates: Sequence[int]) -> tuple[int, ...]:
    """The dilation rates as a tuple, if there is at least one and all are whole numbers from 1 on."""
    if isinstance(rates, int) or len(rates) == 0:
        raise ValueError(f"dilation_rates must be a sequence of at least one rate, got {rates!r}")
    if any(isinstance(rate, bool) or int(rate) != rate or rate < 1 for rate in rates):
        raise ValueError(f"dilation_rates must be whole numbers from 1 on, got {tuple(rates)!r}")
    return tuple(int(rate) for rate in rates)


def checked_channels(layer: keras.layers.Layer, shape: Sequence[int | None]) -> int:
    """The number of channels of a (B, h, w, c) shape; ValueError where it is another shape or unknown."""
    if len(shape) != 4 or shape[-1] is None:
        raise ValueError(f"{layer.name} needs features of shape (B, h, w, c) with known c, got {tuple(shape)}")
    return int(shape[-1])


def _pointwise(channels: int, name: str, dtype: str) -> keras.layers.Layer:
    return keras.layers.Conv2D(channels, 1, use_bias=False, data_format="channels_last", name=name, dtype=dtype)
