"""What CaC and the alternatives of the paper's Table 6 share: X * W, and W from depthwise kernels (Eq. 2)."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_cacnet.layers.dynamic_depthwise import dynamic_depthwise_conv
from keras_cacnet.layers.normalization import at_least_float32, batch_normalization

KERNEL_SIZES = (1, 3, 5, 7)


class ReweightingLayer(keras.layers.Layer):
    """Multiplies features X by weights W; a subclass says how W comes about, in `weighting`.

    Args:
        **kwargs: `name`, `dtype`, `trainable`, as for any Keras layer.

    Shapes:
        - input: (B, h, w, c); B, h and w may be unknown
        - output: (B, h, w, c)
    """

    channels: int

    def build(self, input_shape: Sequence[int | None]) -> None:
        self.channels = checked_channels(self, input_shape)
        self.build_prediction(input_shape)
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={-1: self.channels})

    def build_prediction(self, input_shape: Sequence[int | None]) -> None:
        """Make the weights of the layer for features of `self.channels` channels."""
        raise NotImplementedError(f"{type(self).__name__} needs build_prediction")

    def weighting(self, x: Any, *, training: bool = False) -> Any:
        """The weights W of the features x, (B, h, w, c), or (B, 1, 1, c) where all positions share them."""
        raise NotImplementedError(f"{type(self).__name__} needs weighting")

    def call(self, x: Any, training: bool = False) -> Any:
        """Return X * W, the features re-weighted by their global context."""
        return x * self.weighting(x, training=training)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        checked_channels(self, input_shape)
        return tuple(input_shape)

    def _features(self, x: Any) -> Any:
        x = ops.cast(ops.convert_to_tensor(x), self.compute_dtype)
        if not self.built:
            self.build(x.shape)
        if checked_channels(self, x.shape) != self.channels:
            raise ValueError(
                f"{self.name} was built for {self.channels} channels, got an input of shape {tuple(x.shape)}"
            )
        return x

    def _wide(self, x: Any) -> Any:
        return ops.cast(x, at_least_float32(self.compute_dtype))


class KernelReweightingLayer(ReweightingLayer):
    """Takes W from one depthwise kernel per channel, applied at several dilation rates (Eq. 2).

    The sigmoids of the convolved features add up over the rates. A subclass gives the kernels, in
    `predict_kernels`. Products are accumulated in float32 under half-precision policies.

    Args:
        kernel_size: s, the side of the kernels; 1, 3, 5 or 7.
        dilation_rates: the rates at which the kernels convolve X, in feature positions.
        **kwargs: `name`, `dtype`, `trainable`.

    Raises:
        ValueError: a kernel size other than 1, 3, 5, 7; no dilation rate, or one below 1.

    Reference:
        Section 3.2 of the CaC-Net paper.
    """

    def __init__(self, kernel_size: int = 3, dilation_rates: Sequence[int] = (1, 2, 3), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kernel_size = checked_kernel_size(kernel_size)
        self.dilation_rates = checked_dilation_rates(dilation_rates)
        # XLA compiles the folded convolution for minutes on a CPU, so `fit` must not choose it by itself.
        self.supports_jit = keras.backend.backend() != "tensorflow"

    def predict_kernels(self, x: Any, training: bool = False) -> Any:
        """The kernels of every sample, (B, s, s, c), in float32 or better."""
        raise NotImplementedError(f"{type(self).__name__} needs predict_kernels")

    def weighting(self, x: Any, kernels: Any = None, training: bool = False) -> Any:
        """Compute the spatially varying weights W of every position and channel (Eq. 2).

        Args:
            x: features.
            kernels: depthwise kernels; those of `predict_kernels` where none are given.
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
        kernels = self._wide(ops.convert_to_tensor(kernels))
        expected = (x.shape[0], self.kernel_size, self.kernel_size, x.shape[-1])
        if len(kernels.shape) != 4 or any(
            have is not None and want is not None and have != want
            for have, want in zip(kernels.shape, expected, strict=True)
        ):
            raise ValueError(
                f"kernels of {self.name} must have the shape (B, s, s, c) = {expected}, got {tuple(kernels.shape)}"
            )
        wide = self._wide(x)
        weights = sum(ops.sigmoid(dynamic_depthwise_conv(wide, kernels, rate)) for rate in self.dilation_rates)
        return ops.cast(weights, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "dilation_rates": list(self.dilation_rates),
        }


class DynamicKernelLayer(KernelReweightingLayer):
    """Predicts the kernels from the features, followed by batch norm; a subclass gives them in `raw_kernels`.

    Args:
        kernel_size: s, the side of the kernels; 1, 3, 5 or 7.
        dilation_rates: the rates at which the kernels convolve X.
        synchronized: take the batch-norm statistics over all replicas of a `tf.distribute` strategy.
        **kwargs: `name`, `dtype`, `trainable`.
    """

    def __init__(
        self,
        kernel_size: int = 3,
        dilation_rates: Sequence[int] = (1, 2, 3),
        synchronized: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(kernel_size, dilation_rates, **kwargs)
        self.synchronized = bool(synchronized)

    def build(self, input_shape: Sequence[int | None]) -> None:
        super().build(input_shape)
        self.norm = batch_normalization("norm", self.synchronized, at_least_float32(self.compute_dtype))
        self.norm.build((None, self.kernel_size, self.kernel_size, self.channels))

    def raw_kernels(self, x: Any) -> Any:
        """The kernels before batch norm, (B, s * s, c), of features of the layer's dtype."""
        raise NotImplementedError(f"{type(self).__name__} needs raw_kernels")

    def predict_kernels(self, x: Any, training: bool = False) -> Any:
        """Predict the kernels of every sample, batch norm included; in `CaCLayer` those of Eq. 1.

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
        kernels = ops.reshape(self.raw_kernels(x), (ops.shape(x)[0], self.kernel_size, self.kernel_size, self.channels))
        return self.norm(kernels, training=training)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "synchronized": self.synchronized}


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
