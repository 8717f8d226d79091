"""Pictures of masks, of what the weights do, the paper's figures, and a training run; none of them opens a window."""

from keras_cacnet.visualization.channels import ChannelMaps, channel_changes, channel_maps, choose_channels
from keras_cacnet.visualization.comparison import comparison_figure
from keras_cacnet.visualization.masks import save_ids
from keras_cacnet.visualization.overlay import overlay
from keras_cacnet.visualization.panels import save_figure
from keras_cacnet.visualization.training_curve import curve
from keras_cacnet.visualization.weighting import WeightedImage, weighting_figure

__all__ = [
    "ChannelMaps",
    "WeightedImage",
    "channel_changes",
    "channel_maps",
    "choose_channels",
    "comparison_figure",
    "curve",
    "overlay",
    "save_figure",
    "save_ids",
    "weighting_figure",
]
