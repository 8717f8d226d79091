"""APCNet's head: every position gathers the regions of a grid by affinities of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from keras_cacnet.arguments import require_counts, require_flag
from keras_cacnet.layers.base import at_least_float32
from keras_cacnet.layers.resize import AdaptiveAveragePooling
from keras_cacnet.models.heads.base import (
    Head,
    HeadContext,
    classified_context,
    conv_norm_relu,
    convolution,
)


@keras.saving.register_keras_serializable("keras_cacnet")
class RegionGathering(keras.layers.Layer):
    """Adds up the regions of a grid at every position, each by the sigmoid of its score there.

    Sigmoids and sums are computed in float32 under half-precision policies.

    Args:
        **kwargs: `name`, `dtype`.

    Shapes:
        - inputs: [scores (B, h, w, s * s), regions (B, s, s, c)]
        - output: (B, h, w, c)

    Example:
        >>> import numpy as np
        >>> scores = np.zeros((1, 1, 3, 4), "float32")
        >>> regions = np.array([1.0, 2.0, 3.0, 4.0], "float32").reshape(1, 2, 2, 1)
        >>> RegionGathering()([scores, regions])[0, 0, :, 0].numpy().tolist()  # half of 1 + 2 + 3 + 4
        [5.0, 5.0, 5.0]

    Reference:
        He et al., "Adaptive Pyramid Context Network for Semantic Segmentation", CVPR 2019, Section 3.2.
    """

    def call(self, inputs: Sequence[Any]) -> Any:
        scores, regions = (ops.cast(x, at_least_float32(self.compute_dtype)) for x in inputs)
        batch, height, width, count = ops.shape(scores)
        channels = regions.shape[-1]
        affinities = ops.reshape(ops.sigmoid(scores), (batch, height * width, count))
        gathered = ops.matmul(affinities, ops.reshape(regions, (batch, count, channels)))
        return ops.cast(ops.reshape(gathered, (batch, height, width, channels)), self.compute_dtype)

    def compute_output_shape(self, input_shape: Sequence[Sequence[int | None]]) -> tuple[int | None, ...]:
        scores, regions = input_shape
        return (*scores[:3], regions[-1])


@keras.saving.register_keras_serializable("keras_cacnet")
@dataclass(frozen=True)
class APCHead(Head):
    """Adaptive context modules, one for each grid of regions, beside the features.

    In a module with s x s regions, x is the features behind a 1x1 convolution, and y their means over the regions
    behind another. A score for each region at each position comes from x plus its own mean behind a 1x1 convolution,
    by a 1x1 convolution with bias; the sigmoids of the scores weigh the regions of y, and what they add up to, behind
    a 1x1 convolution, is added to x. All but the scores' convolutions are followed by batch norm and ReLU. Those
    behind means over a whole image see one value per image and channel: training needs more than one image a batch.

    The defaults are mmsegmentation's. Table 7 of the CaC-Net paper has a leaner head:
    `APCHead(module_conv=False, fusion_conv=False)`.

    Args:
        channels: channels of every module, and of the 3x3 convolution.
        pool_sizes: regions along each side, one number for each module.
        module_conv: whether a 1x1 convolution, batch norm and ReLU end every module.
        fusion_conv: whether a 3x3 convolution, batch norm and ReLU stand between the joined maps and the classifier.

    Raises:
        ValueError: fewer than 1 channel, no grid, or a grid without regions.

    Example:
        >>> APCHead(channels=8).decoder(16, HeadContext(num_classes=5)).output["logits"].shape
        (None, None, None, 5)

    Reference:
        He et al., "Adaptive Pyramid Context Network for Semantic Segmentation", CVPR 2019, Section 3; Table 7 of the
        CaC-Net paper.
    """

    pool_sizes: tuple[int, ...] = (1, 2, 3, 6)
    module_conv: bool = True
    fusion_conv: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._keep(module_conv=require_flag("module_conv", self.module_conv))
        self._keep(fusion_conv=require_flag("fusion_conv", self.fusion_conv))
        self._keep(pool_sizes=require_counts("pool_sizes", self.pool_sizes))

    def outputs(self, features: Any, context: HeadContext) -> dict[str, Any]:
        modules = [
            self._module(features, size, f"context_{index}", context)
            for index, size in enumerate(self.pool_sizes, start=1)
        ]
        return {"logits": classified_context(features, modules, self.channels if self.fusion_conv else None, context)}

    def _module(self, features: Any, size: int, name: str, context: HeadContext) -> Any:
        dtype = context.dtype
        regions = AdaptiveAveragePooling(size, name=f"{name}_pool", dtype=dtype)(features)
        regions = conv_norm_relu(regions, self.channels, 1, f"{name}_regions", context)
        local = conv_norm_relu(features, self.channels, 1, f"{name}_local", context)
        whole = AdaptiveAveragePooling(1, name=f"{name}_mean", dtype=dtype)(local)
        whole = conv_norm_relu(whole, self.channels, 1, f"{name}_global", context)
        both = keras.layers.Add(name=f"{name}_add", dtype=dtype)([local, whole])
        scores = convolution(size**2, 1, f"{name}_scores", dtype, use_bias=True)(both)
        x = RegionGathering(name=f"{name}_gathering", dtype=dtype)([scores, regions])
        x = conv_norm_relu(x, self.channels, 1, f"{name}_residual", context)
        x = keras.layers.Add(name=f"{name}_sum", dtype=dtype)([x, local])
        return conv_norm_relu(x, self.channels, 1, f"{name}_output", context) if self.module_conv else x
