"""DMNet's head: depthwise kernels of several sizes, taken from means over the image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from keras_cacnet.arguments import require_counts, require_flag
from keras_cacnet.layers.base import at_least_float32, require_kernel_size
from keras_cacnet.layers.dynamic_depthwise import dynamic_depthwise_conv
from keras_cacnet.layers.normalization import batch_normalization
from keras_cacnet.layers.resize import AdaptiveAveragePooling
from keras_cacnet.models.heads.base import (
    Head,
    HeadContext,
    classified_context,
    conv_norm_relu,
    convolution,
    wide_dtype,
)


@keras.saving.register_keras_serializable("keras_cacnet")
class DynamicFiltering(keras.layers.Layer):
    """Convolves every channel of every sample with a kernel of its own; products are summed in float32 at least.

    Args:
        **kwargs: `name`, `dtype`.

    Shapes:
        - inputs: [features (B, h, w, c), kernels (B, s, s, c)]
        - output: (B, h, w, c)

    Example:
        >>> import numpy as np
        >>> x, kernels = np.ones((1, 1, 3, 1), "float32"), np.ones((1, 3, 3, 1), "float32")
        >>> DynamicFiltering()([x, kernels])[0, 0, :, 0].numpy().tolist()
        [2.0, 3.0, 2.0]

    Reference:
        He et al., "Dynamic Multi-scale Filters for Semantic Segmentation", ICCV 2019, Section 3.1.
    """

    def call(self, inputs: Sequence[Any]) -> Any:
        features, kernels = (ops.cast(x, at_least_float32(self.compute_dtype)) for x in inputs)
        return ops.cast(dynamic_depthwise_conv(features, kernels), self.compute_dtype)

    def compute_output_shape(self, input_shape: Sequence[Sequence[int | None]]) -> tuple[int | None, ...]:
        return tuple(input_shape[0])


@keras.saving.register_keras_serializable("keras_cacnet")
@dataclass(frozen=True)
class DMHead(Head):
    """Dynamic convolutional modules, one for each kernel size, beside the features.

    In a module with kernels of s x s, a 1x1 convolution with bias on the means over s x s regions gives a depthwise
    kernel for every channel; it convolves the features behind a 1x1 convolution, batch norm and ReLU, and batch norm
    and ReLU follow.

    The defaults are mmsegmentation's. Table 7 of the CaC-Net paper has a leaner head:
    `DMHead(module_conv=True, fusion_conv=False)`.

    Args:
        channels: channels of every module, and of the 3x3 convolution.
        kernel_sizes: sides of the kernels, one for each module; of 1, 3, 5 and 7.
        module_conv: whether a 1x1 convolution, batch norm and ReLU end every module.
        fusion_conv: whether a 3x3 convolution, batch norm and ReLU stand between the joined maps and the classifier.

    Raises:
        ValueError: fewer than 1 channel, no kernel, or one of another size.

    Example:
        >>> DMHead(channels=8).decoder(16, HeadContext(num_classes=5)).output["logits"].shape
        (None, None, None, 5)

    Reference:
        He et al., "Dynamic Multi-scale Filters for Semantic Segmentation", ICCV 2019, Section 3; Table 7 of the
        CaC-Net paper.
    """

    kernel_sizes: tuple[int, ...] = (1, 3, 5, 7)
    module_conv: bool = False
    fusion_conv: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._keep(module_conv=require_flag("module_conv", self.module_conv))
        self._keep(fusion_conv=require_flag("fusion_conv", self.fusion_conv))
        sizes = tuple(require_kernel_size(size) for size in require_counts("kernel_sizes", self.kernel_sizes))
        self._keep(kernel_sizes=sizes)

    def outputs(self, features: Any, context: HeadContext) -> dict[str, Any]:
        modules = [
            self._module(features, size, f"context_{index}", context)
            for index, size in enumerate(self.kernel_sizes, start=1)
        ]
        return {"logits": classified_context(features, modules, self.channels if self.fusion_conv else None, context)}

    def _module(self, features: Any, size: int, name: str, context: HeadContext) -> Any:
        dtype = context.dtype
        means = AdaptiveAveragePooling(size, name=f"{name}_pool", dtype=dtype)(features)
        kernels = convolution(self.channels, 1, f"{name}_kernels", dtype, use_bias=True)(means)
        x = conv_norm_relu(features, self.channels, 1, f"{name}_reduction", context)
        # Kernels of the size of the features, summed over s x s taps, are too large for float16 before the norm.
        wide = wide_dtype(context)
        x = DynamicFiltering(name=f"{name}_filtering", dtype=wide)([x, kernels])
        x = batch_normalization(f"{name}_filtered_norm", context.synchronized, wide)(x)
        x = keras.layers.ReLU(name=f"{name}_filtered_relu", dtype=dtype)(x)
        return conv_norm_relu(x, self.channels, 1, f"{name}_output", context) if self.module_conv else x
