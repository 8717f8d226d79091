"""What the paper invents, as Keras layers."""

from keras_cacnet.layers.cac import CaCLayer

__all__ = ["CaCLayer"]
