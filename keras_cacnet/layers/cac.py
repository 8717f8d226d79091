"""The context-adaptive convolution (CaC) module, Section 3 of the paper."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_cacnet.layers.normalization import at_least_float32
from keras_cacnet.layers.reweighting import DynamicKernelLayer


@keras.saving.register_keras_serializable("keras_cacnet")
class CaCLayer(DynamicKernelLayer):
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

    def build_prediction(self, input_shape: Sequence[int | None]) -> None:
        dtype = at_least_float32(self.compute_dtype)
        self.query = _pointwise(self.kernel_size**2, "query", dtype)
        self.key = _pointwise(self.channels, "key", dtype)
        self.query.build(input_shape)
        self.key.build(input_shape)

    def raw_kernels(self, x: Any) -> Any:
        """Q^T K of Eq. 1 over the number of positions, (B, s * s, c)."""
        batch, height, width, channels = ops.shape(x)
        positions = height * width
        query = ops.reshape(self.query(x), (batch, positions, self.kernel_size**2))
        key = ops.reshape(self.key(x), (batch, positions, channels))
        query = query / ops.cast(positions, query.dtype)
        return ops.matmul(ops.transpose(query, (0, 2, 1)), key)


def _pointwise(channels: int, name: str, dtype: str) -> keras.layers.Layer:
    return keras.layers.Conv2D(channels, 1, use_bias=False, data_format="channels_last", name=name, dtype=dtype)
