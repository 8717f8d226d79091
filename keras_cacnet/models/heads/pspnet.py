"""PSPNet's head: means over grids of regions, beside the features."""

from dataclasses import dataclass
from typing import Any

import keras

from keras_cacnet.arguments import require_counts
from keras_cacnet.layers.resize import AdaptiveAveragePooling, ResizeTo
from keras_cacnet.models.heads.base import (
    Head,
    HeadContext,
    classified_context,
    conv_norm_relu,
)


@keras.saving.register_keras_serializable("keras_cacnet")
@dataclass(frozen=True)
class PSPHead(Head):
    """Pyramid pooling: means over 1x1, 2x2, 3x3 and 6x6 regions, resized and joined to the features.

    Every grid goes through a 1x1 convolution, batch norm and ReLU and is resized bilinearly to the features; a 3x3
    convolution reduces features and grids together, then the classifier. With k grids, c feature and m head channels
    the parameters are k (c m + 2 m) + 9 (c + k m) m + 2 m and the classifier's. The batch norm of the 1x1 grid sees
    one value per image and channel: training needs more than one image a batch.

    512 channels for every grid are c / k of the paper, for 2048 feature channels and four grids.

    Args:
        channels: channels of every grid and of the 3x3 convolution.
        pool_sizes: regions along each side of every grid.

    Raises:
        ValueError: fewer than 1 channel, no grid, or a grid without regions.

    Example:
        >>> PSPHead(channels=8).decoder(16, HeadContext(num_classes=5)).output["logits"].shape
        (None, None, None, 5)

    Reference:
        Zhao et al., "Pyramid Scene Parsing Network", CVPR 2017, Section 3.2.
    """

    pool_sizes: tuple[int, ...] = (1, 2, 3, 6)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._keep(pool_sizes=require_counts("pool_sizes", self.pool_sizes))

    def outputs(self, features: Any, context: HeadContext) -> dict[str, Any]:
        dtype = context.dtype
        grids = []
        for index, size in enumerate(self.pool_sizes, start=1):
            x = AdaptiveAveragePooling(size, name=f"context_{index}_pool", dtype=dtype)(features)
            x = conv_norm_relu(x, self.channels, 1, f"context_{index}", context)
            grids.append(ResizeTo(name=f"context_{index}_resize", dtype=dtype)([x, features]))
        return {"logits": classified_context(features, grids, self.channels, context)}
