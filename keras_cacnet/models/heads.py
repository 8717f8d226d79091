"""What stands on the backbone: reduction, heads, pooled branch, classifier, auxiliary head.

Layers are named after their part (`reduction_*`, `head_1_*`, `pooling`, `classifier`, `auxiliary_*`), so that
learning-rate factors and costs can be told by name.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_cacnet.layers.normalization import at_least_float32, batch_normalization
from keras_cacnet.layers.reweighting import checked_kernel_size
from keras_cacnet.models.reweighting import reweighting_layer

HEAD_LAYERS = r"^(reduction|head_\d+|pooling|classifier|auxiliary)(_|/|$)"


@keras.saving.register_keras_serializable("keras_cacnet")
class GlobalPooling(keras.layers.Layer):
    """The pooled branch: mean over positions, 1x1 convolution, batch norm, ReLU, replicated over positions.

    The mean is taken in float32 at least. The 1x1 convolution is PyTorch-Encoding's; the paper averages and
    replicates. Batch norm sees one value per image and channel: training needs more than one image a batch.

    Args:
        channels: channels of the result.
        synchronized: take the batch-norm statistics over all replicas.
        **kwargs: `name`, `dtype`, `trainable`.

    Shapes:
        - input: (B, h, w, c)
        - output: (B, h, w, channels)

    Example:
        >>> import numpy as np
        >>> tuple(GlobalPooling(4)(np.ones((2, 5, 7, 3), "float32")).shape)
        (2, 5, 7, 4)

    Reference:
        Section 3.3 of the CaC-Net paper.
    """

    def __init__(self, channels: int, synchronized: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.channels = channels
        self.synchronized = synchronized

    def build(self, input_shape: Sequence[int | None]) -> None:
        self.conv = _convolution(self.channels, 1, "conv", self.dtype_policy)
        self.norm = batch_normalization("norm", self.synchronized, self.dtype_policy)
        self.conv.build((None, 1, 1, input_shape[-1]))
        self.norm.build((None, 1, 1, self.channels))

    def call(self, x: Any, training: bool = False) -> Any:
        wide = ops.cast(x, at_least_float32(self.compute_dtype))
        pooled = ops.cast(ops.mean(wide, axis=(1, 2), keepdims=True), self.compute_dtype)
        pooled = ops.relu(self.norm(self.conv(pooled), training=training))
        batch, height, width, _ = ops.shape(x)
        return ops.broadcast_to(pooled, (batch, height, width, self.channels))

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return (*input_shape[:3], self.channels)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "channels": self.channels, "synchronized": self.synchronized}


def decoder(
    feature_channels: int,
    num_classes: int,
    head_channels: int,
    kernel_sizes: Sequence[int],
    dilation_rates: Sequence[int],
    reweighting: str,
    positions: Sequence[int] | None,
    global_pooling: bool,
    dropout: float,
    synchronized: bool,
    dtype: Any,
) -> keras.Model:
    """The graph from the backbone's last features to logits at their resolution (items 2 to 5 of the design).

    Args:
        feature_channels: channels of the backbone's last stage.
        num_classes: channels of the logits.
        head_channels: channels of the reduction, of every head and of the pooled branch.
        kernel_sizes: one kernel size per head; none gives the FCN baseline.
        dilation_rates: dilation rates of every head.
        reweighting: what stands at the end of every head, by its name of Table 6.
        positions: height and width of the features, for the re-weighting that takes one size alone.
        global_pooling: whether the pooled branch is there.
        dropout: share of channels-at-positions dropped before the classifier.
        synchronized: synchronise every batch norm.
        dtype: dtype policy of every layer; the classifier computes in float32 at least.

    Returns:
        A functional model "decoder", (B, h, w, feature_channels) -> (B, h, w, num_classes).
    """
    features = keras.Input((None, None, feature_channels), name="features", dtype=_compute_dtype(dtype))
    reduced = _conv_norm_relu(features, head_channels, 3, "reduction", synchronized, dtype)
    branches = []
    for index, kernel_size in enumerate(kernel_sizes, start=1):
        x = _conv_norm_relu(reduced, head_channels, 3, f"head_{index}", synchronized, dtype)
        name = f"head_{index}_{reweighting}"
        module = reweighting_layer(reweighting, kernel_size, dilation_rates, positions, synchronized, name, dtype)
        branches.append(module(x))
    if not branches:
        branches.append(reduced)
    if global_pooling:
        branches.append(GlobalPooling(head_channels, synchronized, name="pooling", dtype=dtype)(reduced))
    x = keras.layers.Concatenate(name="concatenate", dtype=dtype)(branches) if len(branches) > 1 else branches[0]
    return keras.Model(features, _classifier(x, num_classes, "classifier", dropout, dtype), name="decoder")


def auxiliary_head(
    feature_channels: int, num_classes: int, dropout: float, synchronized: bool, dtype: Any
) -> keras.Model:
    """The FCN head of the auxiliary loss on Res-4 (Section 4.1), with a quarter of its channels.

    Args:
        feature_channels: channels of the backbone's last stage but one.
        num_classes: channels of the logits.
        dropout: share dropped before the classifier.
        synchronized: synchronise the batch norm.
        dtype: dtype policy of every layer; the classifier computes in float32 at least.

    Returns:
        A functional model "auxiliary", (B, h, w, feature_channels) -> (B, h, w, num_classes).
    """
    features = keras.Input((None, None, feature_channels), name="features", dtype=_compute_dtype(dtype))
    x = _conv_norm_relu(features, max(feature_channels // 4, 1), 3, "auxiliary", synchronized, dtype)
    logits = _classifier(x, num_classes, "auxiliary_classifier", dropout, dtype)
    return keras.Model(features, logits, name="auxiliary")


def per_head_kernel_sizes(kernel_sizes: int | Sequence[int], num_heads: int) -> tuple[int, ...]:
    """One checked kernel size per head.

    Args:
        kernel_sizes: one size for all heads, or one per head.
        num_heads: number of heads.

    Returns:
        A tuple of `num_heads` sizes.

    Raises:
        ValueError: a size that `CaCLayer` does not take, or a number of sizes other than `num_heads`.

    Example:
        >>> per_head_kernel_sizes(3, 2), per_head_kernel_sizes((3, 5), 2)
        ((3, 3), (3, 5))
    """
    sizes = (kernel_sizes,) * num_heads if isinstance(kernel_sizes, int) else tuple(kernel_sizes)
    if len(sizes) != num_heads:
        raise ValueError(f"kernel_sizes={kernel_sizes!r} has {len(sizes)} sizes for num_heads={num_heads}")
    return tuple(checked_kernel_size(size) for size in sizes)


def _conv_norm_relu(x: Any, channels: int, size: int, name: str, synchronized: bool, dtype: Any) -> Any:
    x = _convolution(channels, size, f"{name}_conv", dtype)(x)
    x = batch_normalization(f"{name}_norm", synchronized, dtype)(x)
    return keras.layers.ReLU(name=f"{name}_relu", dtype=dtype)(x)


def _classifier(x: Any, num_classes: int, name: str, dropout: float, dtype: Any) -> Any:
    x = keras.layers.Dropout(dropout, name=f"{name}_dropout", dtype=dtype)(x)
    dtype = at_least_float32(_compute_dtype(dtype))
    return keras.layers.Conv2D(num_classes, 1, data_format="channels_last", name=name, dtype=dtype)(x)


def _convolution(channels: int, size: int, name: str, dtype: Any) -> keras.layers.Layer:
    return keras.layers.Conv2D(
        channels,
        size,
        padding="same",
        use_bias=False,
        data_format="channels_last",
        kernel_initializer="he_normal",
        name=name,
        dtype=dtype,
    )


def _compute_dtype(dtype: Any) -> str:
    return keras.dtype_policies.get(dtype).compute_dtype
