from . import heads as heads
from .backbones import backbone as backbone
from .cacnet import CaCNet as CaCNet
from .dilation import dilate as dilate
from .freezing import freeze as freeze
from .network import SegmentationNetwork as SegmentationNetwork
