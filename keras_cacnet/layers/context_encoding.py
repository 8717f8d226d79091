"""EncNet's context encoding, one of the alternatives of Table 6: one weight per channel for all positions."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_cacnet.arguments import require_count
from keras_cacnet.layers.base import ReweightingLayer
from keras_cacnet.layers.normalization import batch_normalization


@keras.saving.register_keras_serializable("keras_cacnet")
class ContextEncodingLayer(ReweightingLayer):
    """Re-weights the channels by what a learned dictionary finds in the features ("EncHead").

    A 1x1 convolution without bias, batch norm and ReLU give the descriptors z. Each of K codewords d with a
    smoothing factor f takes a share of every descriptor, the softmax over codewords of `f |z - d|^2`, and collects
    the residuals z - d by it. Batch norm over codewords, ReLU and the mean over codewords give the encoding e;
    W = 1 + sigmoid(FC(e)), between 1 and 2, is the same at every position. Trainable parameters:
    2 c^2 + 3 c + K c + 3 K.

    The order, the initial dictionary and smoothing factors, and the 1 in W are those of PyTorch-Encoding; its ReLU
    after the product falls away, for the features here come from a ReLU. Ours: the initial values of the convolution
    (He's) and of the FC (Glorot's; both PyTorch's own there), and residuals that are averaged over positions instead
    of summed, so that the statistics hold for images of other sizes; batch norm undoes that in training, up to its
    epsilon. EncNet's semantic encoding loss is added by the network, from the encoding that `return_encoding` gives.

    Everything but the product X * W is computed in float32 under half-precision policies.

    Args:
        codewords: K, the size of the dictionary; EncNet's 32 by default.
        synchronized: take the batch-norm statistics over all replicas of a `tf.distribute` strategy.
        return_encoding: give the encoding e beside the product, for EncNet's semantic encoding loss.
        **kwargs: `name`, `dtype`, `trainable`, `activity_regularizer`.

    Shapes:
        - input: (B, h, w, c); B, h and w may be unknown
        - output: (B, h, w, c); with `return_encoding` that and e, (B, c) in float32 or better

    Raises:
        ValueError: fewer than 1 codeword, or an input that is not of rank 4 with known channels.

    Example:
        >>> import numpy as np
        >>> layer = ContextEncodingLayer(codewords=8)
        >>> x = np.ones((2, 5, 7, 4), "float32")
        >>> tuple(layer(x).shape), tuple(layer.weighting(x).shape)
        ((2, 5, 7, 4), (2, 1, 1, 4))
        >>> sum(int(np.prod(weight.shape)) for weight in layer.trainable_variables)  # 2*16 + 3*4 + 8*4 + 3*8
        100

    Reference:
        Zhang et al., "Context Encoding for Semantic Segmentation", CVPR 2018, Section 3.1; Table 6 of the CaC-Net
        paper.
    """

    def __init__(
        self, codewords: int = 32, synchronized: bool = False, return_encoding: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.codewords = require_count("codewords", codewords)
        self.synchronized = bool(synchronized)
        self.return_encoding = bool(return_encoding)

    def build(self, input_shape: Sequence[int | None]) -> None:
        super().build(input_shape)
        options = {"trainable": self.trainable, "dtype": self.wide_dtype}
        self.conv = keras.layers.Conv2D(
            self.channels,
            1,
            use_bias=False,
            data_format="channels_last",
            kernel_initializer="he_normal",
            name="conv",
            **options,
        )
        self.norm = batch_normalization("norm", self.synchronized, **options)
        limit = (self.codewords * self.channels) ** -0.5
        self.dictionary = self.add_weight(
            shape=(self.codewords, self.channels),
            initializer=keras.initializers.RandomUniform(-limit, limit),
            autocast=False,
            name="dictionary",
        )
        self.smoothing = self.add_weight(
            shape=(self.codewords,),
            initializer=keras.initializers.RandomUniform(-1.0, 0.0),
            autocast=False,
            name="smoothing",
        )
        self.code_norm = batch_normalization("code_norm", self.synchronized, **options)
        self.dense = keras.layers.Dense(self.channels, "sigmoid", name="dense", **options)
        self.conv.build(input_shape)
        self.norm.build(input_shape)
        self.code_norm.build((None, self.channels, self.codewords))
        self.dense.build((None, self.channels))

    def encode(self, x: Any, training: bool = False) -> Any:
        """The mean over positions of each codeword's share times its residual, before batch norm: (B, K, c)."""
        x = self.features(x)
        descriptors = ops.relu(self.norm(self.conv(x), training=training))
        batch, height, width, channels = ops.shape(descriptors)
        positions = height * width
        descriptors = ops.reshape(descriptors, (batch, positions, channels))
        dictionary, smoothing = self._wide(self.dictionary), self._wide(self.smoothing)
        # |z - d|^2 in full, or a tensor of positions x codewords x channels would be needed.
        products = ops.matmul(descriptors, ops.transpose(dictionary))
        distances = ops.sum(descriptors**2, axis=-1, keepdims=True) - 2 * products + ops.sum(dictionary**2, axis=-1)
        shares = ops.softmax(smoothing * distances, axis=-1) / ops.cast(positions, distances.dtype)
        collected = ops.matmul(ops.transpose(shares, (0, 2, 1)), descriptors)
        return collected - ops.sum(shares, axis=1)[..., None] * dictionary

    def encoding(self, x: Any, training: bool = False) -> Any:
        """The features as one vector e, (B, c): what `encode` gives, through batch norm, ReLU, and the mean."""
        codes = ops.transpose(self.encode(x, training=training), (0, 2, 1))
        return ops.mean(ops.relu(self.code_norm(codes, training=training)), axis=-1)

    def weighting(self, x: Any, *, training: bool = False) -> Any:
        """Compute the weights that all positions share, (B, 1, 1, c), with values between 1 and 2."""
        return self._weights_of(self.encoding(x, training=training))

    def _weights_of(self, encoding: Any) -> Any:
        return ops.cast(1 + self.dense(encoding)[:, None, None, :], self.compute_dtype)

    def reweighted(self, x: Any, training: bool = False) -> Any:
        """Compute X * W, with `return_encoding` also e."""
        encoding = self.encoding(x, training=training)
        product = x * self._weights_of(encoding)
        return (product, encoding) if self.return_encoding else product

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> Any:
        product = super().compute_output_shape(input_shape)
        return (product, (product[0], product[-1])) if self.return_encoding else product

    def compute_output_spec(self, x: Any, training: bool = False) -> Any:
        if not self.return_encoding:
            return super().compute_output_spec(x, training=training)
        product, encoding = self.compute_output_shape(x.shape)
        return (
            keras.KerasTensor(product, dtype=self.compute_dtype),
            keras.KerasTensor(encoding, dtype=self.wide_dtype),
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "codewords": self.codewords,
            "synchronized": self.synchronized,
            "return_encoding": self.return_encoding,
        }
