"""Pictures of masks, of what the weights do, and of a training run; none of them opens a window."""

from keras_cacnet.visualization.masks import save_ids
from keras_cacnet.visualization.overlay import overlay
from keras_cacnet.visualization.training_curve import curve
from keras_cacnet.visualization.weighting import choose_channels, weighting_figure

__all__ = ["choose_channels", "curve", "overlay", "save_ids", "weighting_figure"]
