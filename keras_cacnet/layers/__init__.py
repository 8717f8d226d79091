"""What the paper invents, and the alternatives of its Table 6, as Keras layers."""

from keras_cacnet.layers.cac import CaCLayer
from keras_cacnet.layers.context_encoding import ContextEncodingLayer
from keras_cacnet.layers.kernel_alternatives import FixedKernelLayer, FullyConnectedKernelLayer, PooledKernelLayer
from keras_cacnet.layers.squeeze_excitation import SqueezeExcitationLayer

__all__ = [
    "CaCLayer",
    "ContextEncodingLayer",
    "FixedKernelLayer",
    "FullyConnectedKernelLayer",
    "PooledKernelLayer",
    "SqueezeExcitationLayer",
]
