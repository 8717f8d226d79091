"""The network and its backbones."""

from keras_cacnet.models.backbones import backbone
from keras_cacnet.models.cacnet import CaCNet
from keras_cacnet.models.dilation import dilate

__all__ = ["CaCNet", "backbone", "dilate"]
