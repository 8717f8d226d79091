"""The names of Table 6: what stands at the end of every head, CaC or one of its alternatives."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_cacnet.layers import (
    CaCLayer,
    ContextEncodingLayer,
    FixedKernelLayer,
    FullyConnectedKernelLayer,
    PooledKernelLayer,
    SqueezeExcitationLayer,
)

REWEIGHTINGS = ("cac", "fixed", "fc", "gap", "se", "enc")
ONE_SIZE = ("fc",)
"""Those with a weight for every position, which take images of one size only."""
ENCODINGS = ("enc",)
"""Those that encode the image as a whole, which EncNet's semantic encoding loss needs."""


def checked_name(name: str) -> None:
    """ValueError where a name is none of `REWEIGHTINGS`."""
    if name not in REWEIGHTINGS:
        raise ValueError(f"reweighting must be one of {', '.join(REWEIGHTINGS)}, got {name!r}")


def checked_reweighting(name: str, input_size: int | Sequence[int] | None = None) -> tuple[int, int] | None:
    """Check the name of a re-weighting and whether it comes with an image size.

    Args:
        name: one of `REWEIGHTINGS`.
        input_size: height and width of the images in pixels, or one number for both; for "fc" alone.

    Returns:
        The height and width, or None.

    Raises:
        ValueError: an unknown name, "fc" without a size, another name with one, or a size that is none.

    Example:
        >>> checked_reweighting("cac"), checked_reweighting("fc", 512)
        (None, (512, 512))
    """
    checked_name(name)
    if input_size is None:
        if name in ONE_SIZE:
            raise ValueError(
                f"reweighting={name!r} has a weight for every position and needs input_size, the size of all images"
            )
        return None
    if name not in ONE_SIZE:
        raise ValueError(f"input_size={input_size!r} goes with reweighting='fc' alone; {name!r} takes any size")
    size = (input_size, input_size) if isinstance(input_size, int) else tuple(input_size)
    if len(size) != 2 or any(int(side) != side or side < 1 for side in size):
        raise ValueError(f"input_size must be a height and a width from 1 on, in pixels, got {input_size!r}")
    return int(size[0]), int(size[1])


def reweighting_layer(
    reweighting: str,
    kernel_size: int,
    dilation_rates: Sequence[int],
    positions: Sequence[int] | None,
    synchronized: bool,
    name: str,
    dtype: Any,
    return_encoding: bool = False,
) -> keras.layers.Layer:
    """Make the layer at the end of a head.

    Args:
        reweighting: one of `REWEIGHTINGS`.
        kernel_size: size of the kernels; without effect on "se" and "enc", which have none.
        dilation_rates: rates at which they are applied; likewise.
        positions: height and width of the features for "fc".
        synchronized: synchronise every batch norm.
        name: name of the layer.
        dtype: its dtype policy.
        return_encoding: give the encoding too; for those in `ENCODINGS` alone.

    Returns:
        A layer (B, h, w, c) -> (B, h, w, c).

    Example:
        >>> reweighting_layer("se", 3, (1, 2, 3), None, False, "head_1_se", "float32").reduction
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
    return ContextEncodingLayer(synchronized=synchronized, return_encoding=return_encoding, name=name, dtype=dtype)


def require_image_size(model: keras.Model, height: int, width: int) -> None:
    """Refuse an image that a network for one size cannot take, before it is computed.

    Images whose sides round up to the same multiples of the output stride have the same features and pass.

    Args:
        model: a `CaCNet`, or any other model, which this leaves alone.
        height: height of the image, in pixels.
        width: width of the image, in pixels.

    Raises:
        ValueError: the network has an `input_size`, and this is another; the message names both.

    Example:
        >>> require_image_size(keras.Sequential([keras.Input((None, None, 3))]), 40, 56)
    """
    wanted = getattr(model, "input_size", None)
    if wanted is None:
        return
    if positions(wanted, model.output_stride) != positions((height, width), model.output_stride):
        raise ValueError(
            f"model {model.name!r} takes images of {wanted[0]}x{wanted[1]} pixels alone, for "
            f"reweighting={model.reweighting!r} has a weight for every position; got {height}x{width}: resize or crop "
            "the images, or train another reweighting"
        )


def probe_size(model: keras.Model) -> tuple[int, int]:
    """An image size that a model takes, to try it out.

    Example:
        >>> probe_size(keras.Sequential([keras.Input((None, None, 3))]))
        (64, 64)
    """
    return getattr(model, "input_size", None) or (64, 64)


def positions(size: Sequence[int], stride: int) -> tuple[int, int]:
    """The height and width of the features of an image.

    Example:
        >>> positions((33, 64), 8)
        (5, 8)
    """
    height, width = (-(-side // stride) for side in size)
    return height, width
