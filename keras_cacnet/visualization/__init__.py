"""Pictures of masks, of what the weights do, the paper's figures, and a training run; none of them opens a window."""

from keras_cacnet.visualization.batches import batch_figure
from keras_cacnet.visualization.channels import ChannelMaps, channel_changes, channel_maps, choose_channels
from keras_cacnet.visualization.history import History
from keras_cacnet.visualization.masks import save_ids
from keras_cacnet.visualization.overlays import overlay
from keras_cacnet.visualization.panels import WeightedImage, comparison_figure, weighting_figure
from keras_cacnet.visualization.training_curve import curve

__all__ = [
    "ChannelMaps",
    "History",
    "WeightedImage",
    "batch_figure",
    "channel_changes",
    "channel_maps",
    "choose_channels",
    "comparison_figure",
    "curve",
    "overlay",
    "save_ids",
    "weighting_figure",
]


def __dir__() -> list[str]:
    return sorted(__all__)
