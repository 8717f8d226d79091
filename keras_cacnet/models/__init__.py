"""The networks, their backbones and their heads."""

from keras_cacnet.models import heads
from keras_cacnet.models.backbones import backbone
from keras_cacnet.models.cacnet import CaCNet
from keras_cacnet.models.dilation import dilate
from keras_cacnet.models.freezing import freeze
from keras_cacnet.models.network import SegmentationNetwork

__all__ = ["CaCNet", "SegmentationNetwork", "backbone", "dilate", "freeze", "heads"]


def __dir__() -> list[str]:
    return sorted(__all__)
