"""What the paper invents, the alternatives of its Table 6, and what networks need beside them, as Keras layers.

All of them take channels-last features.
"""

from keras_cacnet.layers.alternatives import (
    FixedKernelLayer,
    FullyConnectedKernelLayer,
    PooledKernelLayer,
    SqueezeExcitationLayer,
)
from keras_cacnet.layers.cac import CaCLayer
from keras_cacnet.layers.context_encoding import ContextEncodingLayer
from keras_cacnet.layers.dynamic_depthwise import dynamic_depthwise_conv
from keras_cacnet.layers.normalization import ImageNormalization, batch_normalization
from keras_cacnet.layers.resize import AdaptiveAveragePooling, PadToMultiple, ResizeLike, ResizeTo

__all__ = [
    "AdaptiveAveragePooling",
    "CaCLayer",
    "ContextEncodingLayer",
    "FixedKernelLayer",
    "FullyConnectedKernelLayer",
    "ImageNormalization",
    "PadToMultiple",
    "PooledKernelLayer",
    "ResizeLike",
    "ResizeTo",
    "SqueezeExcitationLayer",
    "batch_normalization",
    "dynamic_depthwise_conv",
]


def __dir__() -> list[str]:
    return sorted(__all__)
