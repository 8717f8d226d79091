"""What the settings of a network may be, checked without Keras: a recipe is, before any network is built."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_cacnet.arguments import require_count, require_counts, require_number
from keras_cacnet.wording import did_you_mean

FREEZE = ("none", "backbone_norms", "backbone", "all_but_classifier")
"""What may be frozen."""
WHOLE_BACKBONE = ("backbone", "all_but_classifier")
"""Those with which nothing of the backbone is trained."""
REWEIGHTINGS = ("cac", "fixed", "fc", "gap", "se", "enc", "none")
"""CaC, the alternatives of Table 6, and "none": this project's control, with the heads' convolutions only."""
ONE_SIZE = ("fc",)
"""Those with a weight for every position, which take images of one size only."""
ENCODINGS = ("enc",)
"""Those that encode the image as a whole, which EncNet's semantic encoding loss needs."""
WITHOUT_KERNELS = ("se", "enc", "none")
"""Those on which kernel sizes and dilation rates have no effect."""
RES4_STRIDE = 16
"""The output stride of Res-4 in a ResNet that is not dilated."""


def require_reweighting(name: Any) -> str:
    """Require one of the names `REWEIGHTINGS`.

    Raises:
        ValueError: it is none; the message has the nearest and all names.

    Example:
        >>> require_reweighting("gap")
        'gap'
    """
    if name not in REWEIGHTINGS:
        hint = " (the control without re-weighting is 'none')" if name is None else did_you_mean(name, REWEIGHTINGS)
        raise ValueError(f"reweighting must be one of {', '.join(REWEIGHTINGS)}, got {name!r}{hint}")
    return str(name)


def require_input_size(reweighting: str, input_size: int | Sequence[int] | None) -> tuple[int, int] | None:
    """Require the one size of the images that a re-weighting takes, where it takes only one.

    Args:
        reweighting: one of `REWEIGHTINGS`.
        input_size: height and width of the images in pixels, or one number for both; for "fc" only.

    Returns:
        The height and width, or None.

    Raises:
        ValueError: an unknown name, "fc" without a size, another name with one, or a size that is none.

    Example:
        >>> require_input_size("cac", None), require_input_size("fc", 512)
        (None, (512, 512))
    """
    require_reweighting(reweighting)
    if input_size is None:
        if reweighting in ONE_SIZE:
            raise ValueError(
                f"reweighting={reweighting!r} has a weight for every position and needs input_size, the size of all "
                "images"
            )
        return None
    if reweighting not in ONE_SIZE:
        raise ValueError(f"input_size={input_size!r} goes with reweighting='fc' only; {reweighting!r} takes any size")
    try:
        sides = (input_size, input_size) if np.ndim(input_size) == 0 else tuple(input_size)  # type: ignore[arg-type]
        height, width = require_counts("input_size", sides)
    except ValueError:
        raise ValueError(f"input_size must be a height and a width from 1 on, in pixels, got {input_size!r}") from None
    return height, width


def require_se_loss_weight(weight: float, reweighting: str, num_heads: int) -> float:
    """Require what a factor of the semantic encoding loss needs: an encoding.

    Raises:
        ValueError: a negative factor or one that is no number, or a positive one where nothing encodes the image.

    Example:
        >>> require_se_loss_weight(0.2, "enc", num_heads=2)
        0.2
    """
    weight = require_number("se_loss_weight", weight)
    if weight and (reweighting not in ENCODINGS or not num_heads):
        raise ValueError(
            f"se_loss_weight={weight} needs heads with reweighting='enc', whose encoding predicts the classes of the "
            f"image; got reweighting={reweighting!r} and num_heads={num_heads}: set it to 0"
        )
    return weight


def require_loss_stride(stride: int, output_stride: int) -> int:
    """Require a stride of the grid of the loss to which the logits can be enlarged by whole numbers.

    Raises:
        ValueError: it does not divide the strides of the features.

    Example:
        >>> require_loss_stride(4, output_stride=16)
        4
    """
    stride, finest = require_count("loss_stride", stride), min(output_stride, RES4_STRIDE)
    if finest % stride:
        raise ValueError(f"loss_stride must divide {finest}, the finest stride of the features, got {stride}")
    return stride
