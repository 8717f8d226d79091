"""What ends every head of CaC-Net, by name: CaC, an alternative of the paper's Table 6, or nothing."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_cacnet.arguments import require_counts
from keras_cacnet.layers.alternatives import (
    FixedKernelLayer,
    FullyConnectedKernelLayer,
    PooledKernelLayer,
    SqueezeExcitationLayer,
)
from keras_cacnet.layers.cac import CaCLayer
from keras_cacnet.layers.context_encoding import ContextEncodingLayer
from keras_cacnet.wording import did_you_mean

REWEIGHTINGS = ("cac", "fixed", "fc", "gap", "se", "enc", "none")
"""CaC, the alternatives of Table 6, and "none": this project's control, with the heads' convolutions only."""
ONE_SIZE = ("fc",)
"""Those with a weight for every position, which take images of one size only."""
ENCODINGS = ("enc",)
"""Those that encode the image as a whole, which EncNet's semantic encoding loss needs."""
WITHOUT_KERNELS = ("se", "enc", "none")
"""Those on which kernel sizes and dilation rates have no effect."""


def require_reweighting(name: Any) -> str:
    """The name itself, if it is one of `REWEIGHTINGS`.

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
    """The one size of the images that a re-weighting takes, where it takes only one.

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


def reweighting_layer(
    reweighting: str,
    *,
    kernel_size: int = 3,
    dilation_rates: Sequence[int] = (1, 2, 3),
    positions: Sequence[int] | None = None,
    synchronized: bool = False,
    name: str | None = None,
    dtype: Any = None,
    return_encoding: bool = False,
) -> keras.layers.Layer:
    """Make the layer at the end of a head.

    Args:
        reweighting: one of `REWEIGHTINGS` but "none".
        kernel_size: size of the kernels; without effect on "se" and "enc", which have none.
        dilation_rates: rates at which they are applied; likewise.
        positions: height and width of the features for "fc".
        synchronized: synchronise every batch norm.
        name: name of the layer.
        dtype: its dtype policy.
        return_encoding: give the encoding too; for those in `ENCODINGS` only.

    Returns:
        A layer (B, h, w, c) -> (B, h, w, c).

    Raises:
        ValueError: there is no layer of that name.

    Example:
        >>> reweighting_layer("se", name="head_1_se").reduction
        16

    Reference:
        Table 6 of the CaC-Net paper.
    """
    kernels: dict[str, Any] = {"kernel_size": kernel_size, "dilation_rates": dilation_rates}
    if reweighting == "cac":
        return CaCLayer(**kernels, synchronized=synchronized, name=name, dtype=dtype)
    if reweighting == "fixed":
        return FixedKernelLayer(**kernels, name=name, dtype=dtype)
    if reweighting == "fc":
        return FullyConnectedKernelLayer(positions, **kernels, synchronized=synchronized, name=name, dtype=dtype)
    if reweighting == "gap":
        return PooledKernelLayer(**kernels, synchronized=synchronized, name=name, dtype=dtype)
    if reweighting == "se":
        return SqueezeExcitationLayer(name=name, dtype=dtype)
    if reweighting == "enc":
        return ContextEncodingLayer(synchronized=synchronized, return_encoding=return_encoding, name=name, dtype=dtype)
    raise ValueError(f"there is no layer for reweighting={reweighting!r}")
