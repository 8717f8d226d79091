"""How far colours, angle and sharpness of an example may change; checked without TensorFlow."""

import math
from dataclasses import dataclass, fields

from keras_cacnet.arguments import require_number

_LIMITS = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.5, "rotation": 180.0, "cutout": 1.0}


@dataclass(frozen=True)
class Jitter:
    """How far the colours, the angle and the sharpness of an example may change; nothing by default.

    Args:
        brightness: colours are multiplied by a number from 1 - brightness to 1 + brightness, below 1.
        contrast: their distance from the mean of their channel, likewise.
        saturation: the saturation (HSV), likewise.
        hue: the hue is turned by a share of the circle up to this, at most 0.5.
        rotation: degrees by which the example is turned at most, either way, up to 180. The crop is taken out of the
            turned image; what it has beyond that is void in the mask.
        blur: the largest standard deviation of a Gaussian blur, in pixels of the crop.
        cutout: the largest side of a square that is filled with the mean colour, as a share of the crop's, below 1. The
            mask keeps its classes there, which the network has to infer from what is around.

    Raises:
        ValueError: a number outside its range.

    Example:
        >>> Jitter(brightness=0.3, rotation=10).margin(512)
        41
        >>> Jitter(hue=0.7)
        Traceback (most recent call last):
        ValueError: hue must be at most 0.5, got 0.7

    Reference:
        Colours as in torchvision's `ColorJitter`, in this order; DeVries and Taylor, "Improved Regularization of
        Convolutional Neural Networks with Cutout", 2017. The paper has none of them.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    rotation: float = 0.0
    blur: float = 0.0
    cutout: float = 0.0

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = require_number(entry.name, getattr(self, entry.name))
            limit = _LIMITS.get(entry.name, math.inf)
            if limit == 1.0:
                require_number(entry.name, value, below=1)
            elif value > limit:
                raise ValueError(f"{entry.name} must be at most {limit:g}, got {value:g}")

    def margin(self, crop_size: int) -> int:
        """Count the pixels around a crop that come into it when it is turned."""
        angle = math.radians(min(self.rotation, 45))
        return math.ceil(crop_size / 2 * (math.cos(angle) + math.sin(angle) - 1))
