"""What ends every head of CaC-Net, by name: CaC, an alternative of the paper's Table 6, or nothing."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_cacnet.layers.alternatives import (
    FixedKernelLayer,
    FullyConnectedKernelLayer,
    PooledKernelLayer,
    SqueezeExcitationLayer,
)
from keras_cacnet.layers.cac import CaCLayer
from keras_cacnet.layers.context_encoding import ContextEncodingLayer


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
