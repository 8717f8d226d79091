"""CaC-Net's head: reduction, parallel heads that each end in a re-weighting, pooled branch, classifier."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_cacnet.arguments import require_counts, require_flag
from keras_cacnet.layers.base import at_least_float32, require_kernel_size
from keras_cacnet.layers.normalization import batch_normalization
from keras_cacnet.models.heads.base import (
    Head,
    HeadContext,
    classifier,
    conv_norm_relu,
    convolution,
    joined,
    wide_dtype,
)
from keras_cacnet.models.heads.modules import reweighting_layer
from keras_cacnet.models.settings import ONE_SIZE, require_reweighting, require_se_loss_weight


@keras.saving.register_keras_serializable("keras_cacnet")
@dataclass(frozen=True)
class CaCHead(Head):
    """A 3x3 reduction, parallel heads of a 3x3 convolution and a re-weighting each, a pooled branch, the classifier.

    Args:
        channels: channels of the reduction, of every head and of the pooled branch.
        kernel_sizes: one kernel size per head; none gives the FCN baseline.
        dilation_rates: dilation rates of every head.
        reweighting: what ends every head: `"cac"`, an alternative of Table 6, or `"none"`, this project's control.
        positions: height and width of the features, for `reweighting="fc"` only, which takes one size.
        global_pooling: whether the pooled branch is there.
        se_loss_weight: factor of EncNet's semantic encoding loss, for `reweighting="enc"` only.

    Raises:
        ValueError: a value outside its range, or one that does not go with the re-weighting.

    Example:
        >>> tuple(CaCHead(channels=8).decoder(16, HeadContext(num_classes=5)).output["logits"].shape)
        (None, None, None, 5)

    Reference:
        Section 3 of the CaC-Net paper, and its Table 6.
    """

    kernel_sizes: tuple[int, ...] = (3, 3)
    dilation_rates: Sequence[int] = (1, 2, 3)
    reweighting: str = "cac"
    positions: tuple[int, int] | None = None
    global_pooling: bool = True
    se_loss_weight: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.kernel_sizes, Sequence | np.ndarray) or isinstance(self.kernel_sizes, str):
            raise ValueError(f"kernel_sizes must be a sequence, one size per head, got {self.kernel_sizes!r}")
        self._keep(
            kernel_sizes=per_head_kernel_sizes(self.kernel_sizes, len(self.kernel_sizes)),
            dilation_rates=require_counts("dilation_rates", self.dilation_rates),
            reweighting=require_reweighting(self.reweighting),
            global_pooling=require_flag("global_pooling", self.global_pooling),
            se_loss_weight=require_se_loss_weight(self.se_loss_weight, self.reweighting, len(self.kernel_sizes)),
        )
        if (self.positions is None) == (self.reweighting in ONE_SIZE):
            raise ValueError(
                f"positions, the height and width of the features, go with reweighting='fc' and with no other; got "
                f"positions={self.positions} for {self.reweighting!r}"
            )
        if self.positions is not None:
            positions = require_counts("positions", self.positions)
            if len(positions) != 2:
                raise ValueError(f"positions must be a height and a width, got {self.positions!r}")
            self._keep(positions=positions)

    def outputs(self, features: Any, context: HeadContext) -> dict[str, Any]:
        synchronized = context.synchronized
        wide = wide_dtype(context)  # X * W is up to 3 X, beyond float16 from X = 21840 on
        reduced = conv_norm_relu(features, self.channels, 3, "reduction", context)
        branches, encodings = [], []
        for index, kernel_size in enumerate(self.kernel_sizes, start=1):
            x = conv_norm_relu(reduced, self.channels, 3, f"head_{index}", context)
            if self.reweighting != "none":
                module = reweighting_layer(
                    self.reweighting,
                    kernel_size=kernel_size,
                    dilation_rates=self.dilation_rates,
                    positions=self.positions,
                    synchronized=synchronized,
                    name=f"head_{index}_{self.reweighting}",
                    dtype=wide,
                    return_encoding=self.se_loss_weight > 0,
                )
                x = module(x)
            if self.se_loss_weight:
                x, encoding = x
                encodings.append(encoding)
            branches.append(x)
        if not branches:
            branches.append(reduced)
        if self.global_pooling:
            pooling = GlobalPooling(self.channels, synchronized, name="pooling", dtype=context.dtype)
            branches.append(pooling(reduced))
        outputs = {"logits": classifier(joined(branches, "concatenate", wide), "classifier", context)}
        if encodings:
            outputs["encoding"] = joined(encodings, "encoding", encodings[0].dtype)
        return outputs


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
        self.conv = convolution(self.channels, 1, "conv", self.dtype_policy)
        self.norm = batch_normalization("norm", self.synchronized, self.dtype_policy)
        self.conv.build((None, 1, 1, input_shape[-1]))
        self.norm.build((None, 1, 1, self.channels))
        # Keras freezes only the parts that were there when the layer was frozen.
        self.conv.trainable = self.norm.trainable = self.trainable

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


def per_head_kernel_sizes(kernel_sizes: int | Sequence[int], num_heads: int) -> tuple[int, ...]:
    """Check kernel sizes, and give one per head.

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
    sizes = tuple(kernel_sizes) if isinstance(kernel_sizes, Sequence | np.ndarray) else (kernel_sizes,) * num_heads
    if len(sizes) != num_heads:
        raise ValueError(f"kernel_sizes={kernel_sizes!r} has {len(sizes)} sizes for num_heads={num_heads}")
    return tuple(require_kernel_size(size) for size in sizes)
