"""The context-adaptive convolution (CaC) module in the order and with the names of the paper's Section 3.

Checks of arguments and shapes are in `base`, and the depthwise convolution, which differs by backend, in
`dynamic_depthwise`; all else is here.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_cacnet.arguments import require_counts
from keras_cacnet.layers.base import ReweightingLayer, require_kernel_size
from keras_cacnet.layers.dynamic_depthwise import dynamic_depthwise_conv


@keras.saving.register_keras_serializable("keras_cacnet")
class CaCLayer(ReweightingLayer):
    """Re-weights the channels at every position by kernels predicted from the whole feature map.

    A query Q (s^2 channels) and a key K (c channels), both 1x1 convolutions of the features X without bias, give the
    kernels D = Q^T K (Eq. 1), one s x s kernel per channel, followed by batch normalisation. D convolves X depthwise
    at each dilation rate; the sigmoids of the results add up to the weights W (Eq. 2); the output is X * W. Trainable
    parameters: c^2 + s^2 c for the prediction and 2c for the normalisation.

    The sum over positions in Eq. 1 is divided by their number n = h w. That is ours: batch normalisation undoes the
    factor in training, and with it the moving statistics hold for images of other sizes. Kernels are predicted and
    products accumulated in float32 under half-precision policies.

    Args:
        kernel_size: s, the side of the predicted kernels; 1, 3, 5 or 7.
        dilation_rates: the rates at which D convolves X, in feature positions.
        synchronized: take the batch-norm statistics over all replicas of a `tf.distribute` strategy.
        **kwargs: `name`, `dtype`, `trainable`, `activity_regularizer`.

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
        self.kernel_size = require_kernel_size(kernel_size)
        self.dilation_rates = require_counts("dilation_rates", dilation_rates)
        self.synchronized = bool(synchronized)

    def build(self, input_shape: Sequence[int | None]) -> None:
        super().build(input_shape)
        self.build_prediction(input_shape)
        # A mean and a variance per channel, over the batch and the s x s values of a kernel.
        self.norm = keras.layers.BatchNormalization(
            axis=-1,
            momentum=0.9,
            epsilon=1e-5,
            # Other backends refuse the flag; their batch norm sees the global batch anyway.
            synchronized=self.synchronized and keras.backend.backend() == "tensorflow",
            trainable=self.trainable,
            name="norm",
            dtype=self.wide_dtype,
        )
        self.norm.build((None, self.kernel_size, self.kernel_size, self.channels))

    def build_prediction(self, input_shape: Sequence[int | None]) -> None:
        """Make T_q and T_k, the weights of Eq. 1."""
        options = {"use_bias": False, "data_format": "channels_last", "dtype": self.wide_dtype}
        self.query = keras.layers.Conv2D(self.kernel_size**2, 1, trainable=self.trainable, name="query", **options)
        self.key = keras.layers.Conv2D(self.channels, 1, trainable=self.trainable, name="key", **options)
        self.query.build(input_shape)
        self.key.build(input_shape)

    def raw_kernels(self, x: Any) -> Any:
        """Q^T K over the number of positions, (B, s * s, c): Eq. 1."""
        batch, height, width, channels = ops.shape(x)
        positions = height * width
        query = ops.reshape(self.query(x), (batch, positions, self.kernel_size**2))
        key = ops.reshape(self.key(x), (batch, positions, channels))
        query = query / ops.cast(positions, query.dtype)
        return ops.matmul(ops.transpose(query, (0, 2, 1)), key)

    def predict_kernels(self, x: Any, training: bool = False) -> Any:
        """Predict the kernels D of every sample: Eq. 1, reshaped and batch-normalised.

        Args:
            x: features X.
            training: normalise by the statistics of the batch, and update the moving ones.

        Shapes:
            - x: (B, h, w, c)
            - result: (B, s, s, c)

        Returns:
            D, in float32 or better.

        Raises:
            ValueError: `x` is not of rank 4, or of other channels than the layer was built for.
        """
        x = self.features(x)
        shape = (ops.shape(x)[0], self.kernel_size, self.kernel_size, self.channels)
        return self.norm(ops.reshape(self.raw_kernels(x), shape), training=training)

    def weighting(self, x: Any, kernels: Any = None, training: bool = False) -> Any:
        """Compute the weights W of every position and channel: Eq. 2, D shared by all dilation rates.

        Args:
            x: features X.
            kernels: D; that of `predict_kernels` where none is given.
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
        x = self.features(x)
        if kernels is None:
            kernels = self.predict_kernels(x, training=training)
        kernels = self._wide(kernels)
        if tuple(kernels.shape[1:]) != (self.kernel_size, self.kernel_size, self.channels):
            raise ValueError(
                f"kernels of {self.name} must have the shape (B, s, s, c) with s = {self.kernel_size} and "
                f"c = {self.channels}, got {tuple(kernels.shape)}"
            )
        x = self._wide(x)
        weights = sum(ops.sigmoid(dynamic_depthwise_conv(x, kernels, rate)) for rate in self.dilation_rates)
        return ops.cast(weights, self.compute_dtype)

    def reweighted(self, x: Any, training: bool = False) -> Any:
        """Compute X* = X * W, the features re-weighted by their global context: what the layer returns."""
        return x * self.weighting(x, training=training)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "dilation_rates": list(self.dilation_rates),
            "synchronized": self.synchronized,
        }
