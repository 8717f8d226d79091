"""Turn a classification backbone into a dilated one: the same weights, a finer grid.

A classifier halves its grid five times. Segmentation wants the last grids finer, so the strides of the last
stages are removed and the convolutions behind them look correspondingly further (the "à trous" algorithm):
at every position that the original network computes, the dilated one computes the same number.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras

from keras_cacnet.models.levels import feature_levels, image_input

OUTPUT_STRIDES = (8, 16, 32)

# Keras' defaults (0.99, 1e-3) and keras-cv's (0.99, 1.001e-5) let the moving statistics of a run of a few
# hundred steps lag far behind; these two are PyTorch's, which the paper's own backbone was trained with.
BATCH_NORM_MOMENTUM = 0.9
BATCH_NORM_EPSILON = 1e-5

_CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)
_POOLINGS = (keras.layers.MaxPooling2D, keras.layers.AveragePooling2D)
_RESAMPLINGS = (keras.layers.Conv2DTranspose, keras.layers.UpSampling2D, keras.layers.Cropping2D)


class _Grid(NamedTuple):
    """Where a tensor's values lie: `stride` pixels apart, `dilation` times finer than in the original."""

    stride: int = 1
    dilation: int = 1


def dilate(
    backbone: keras.Model, output_stride: int = 8, synchronized: bool = False, name: str = "backbone"
) -> keras.Model:
    """Rebuild a convolutional backbone with a finer output grid and the same weights.

    Strides beyond `output_stride` are removed, and whatever follows is dilated in their place. The first
    convolution of a dilated stage keeps the dilation of its input (as PyTorch-Encoding does), so that at
    sizes divisible by the original stride the result, sampled at the original's positions, equals the
    original to rounding. Batch norms get momentum 0.9 and epsilon 1e-5 (ours, after PyTorch).

    Args:
        backbone: a functional model of one image input with named feature levels: keras-cv's or KerasHub's
            `ResNetBackbone`, the result of an earlier `dilate` or `backbone`, or any functional model whose
            output is a dict with (some of) the keys P2, P3, P4, P5; P4 and P5 are needed. It is not changed.
        output_stride: pixels between neighbouring positions of P5: 8 (the paper), 16 or 32.
        synchronized: whether batch norms average their statistics over all replicas.
        name: the name of the new model.

    Returns:
        A plain functional `keras.Model` of plain Keras layers that keep their names. Its output is a dict,
        level -> (B, ceil(H / stride), ceil(W / stride), channels).

    Raises:
        ValueError: no such levels, an output stride that is none of 8, 16 and 32 or larger than the
            network's own, or a layer that has no dilated counterpart (a pooling in the dilated part).

    Example:
        >>> import keras
        >>> from keras_cacnet.models.backbones import backbone
        >>> from keras_cacnet.models.dilation import dilate
        >>> coarse = backbone("resnet14_narrow", output_stride=32)
        >>> fine = dilate(coarse, output_stride=8)
        >>> image = keras.ops.zeros((1, 64, 96, 3))
        >>> tuple(coarse(image)["P5"].shape), tuple(fine(image)["P5"].shape)
        ((1, 2, 3, 1024), (1, 8, 12, 1024))

    Reference:
        The paper's section 4.1 (dilation 2 and 4 in the last two stages, output stride 8).
    """
    return rebuild(backbone, output_stride, synchronized, name)


def rebuild(
    backbone: keras.Model,
    output_stride: int,
    synchronized: bool,
    name: str,
    normalization: keras.layers.Layer | None = None,
) -> keras.Model:
    """`dilate`, and where `normalization` is given, with this layer in front and any image size.

    Args:
        backbone, output_stride, synchronized, name: as in `dilate`.
        normalization: applied first, to an input (None, None, 3) called "image"; None keeps the input.

    Returns, Raises:
        As `dilate`.
    """
    check_output_stride(output_stride)
    original = keras.Model(image_input(backbone), feature_levels(backbone), name=name)
    if normalization is None:
        source = original.input
        image = keras.Input(batch_shape=source.shape, dtype=source.dtype, name=source.name)
    else:
        # Float32 at least: half precision would round the images before they are normalised.
        dtype = "float64" if keras.config.dtype_policy().compute_dtype == "float64" else "float32"
        image = keras.Input((None, None, 3), dtype=dtype, name="image")

    rewriter = _Rewriter(output_stride, synchronized, image, normalization)
    dilated = keras.models.clone_model(
        original,
        input_tensors=image,
        # Which layer to build depends on the grid of its input, which only the call knows.
        clone_function=lambda layer: layer,
        call_function=rewriter,
    )
    reached, removed = rewriter.grid(dilated.output["P5"])
    if reached != output_stride:
        raise ValueError(
            f"output_stride={output_stride} cannot be reached: P5 of the network {backbone.name!r} has "
            f"output stride {reached * removed}, and removing strides from there gives {reached}. "
            "Dilating refines a grid, it cannot coarsen one."
        )
    for layer in dilated.layers:
        if layer.weights and layer.name in rewriter.sources:
            layer.set_weights(rewriter.sources[layer.name].get_weights())
    return dilated


def check_output_stride(output_stride: int) -> None:
    """Refuse an output stride that a ResNet cannot have.

    Args:
        output_stride: pixels between neighbouring positions of P5.

    Raises:
        ValueError: it is none of 8, 16 and 32.
    """
    if output_stride not in OUTPUT_STRIDES:
        raise ValueError(f"output_stride has to be one of 8, 16 and 32, and is {output_stride!r}.")


class _Rewriter:
    """Calls a dilated copy of each layer, in the order of the graph, keeping account of the grids."""

    def __init__(
        self,
        output_stride: int,
        synchronized: bool,
        image: keras.KerasTensor,
        normalization: keras.layers.Layer | None,
    ) -> None:
        self.output_stride = output_stride
        self.synchronized = synchronized
        self.sources: dict[str, keras.layers.Layer] = {}
        self._copies: dict[str, tuple[dict[str, Any], keras.layers.Layer]] = {}
        self._image = image
        self._normalized = image if normalization is None else normalization(image)
        # The tensor is kept beside its grid: an id may be given again once its owner is gone.
        self._grids = {id(x): (x, _Grid()) for x in (image, self._normalized)}

    def grid(self, tensor: keras.KerasTensor) -> _Grid:
        return self._grids[id(tensor)][1]

    def __call__(self, operation: Any, *args: Any, **kwargs: Any) -> Any:
        args, kwargs = keras.tree.map_structure(lambda x: self._normalized if x is self._image else x, (args, kwargs))
        tensors = [x for x in keras.tree.flatten((args, kwargs)) if isinstance(x, keras.KerasTensor)]
        before = max((self.grid(x) for x in tensors), key=lambda grid: grid.dilation)
        config, padding, after = self._plan(operation, before)
        if padding is not None:
            args = (padding(args[0]), *args[1:])
        outputs = self._copy(operation, config)(*args, **kwargs)
        for x in keras.tree.flatten(outputs):
            self._grids[id(x)] = (x, after)
        return outputs

    def _copy(self, operation: Any, config: dict[str, Any]) -> Any:
        known, copy = self._copies.get(operation.name, (None, None))
        if copy is None:
            copy = operation.__class__.from_config(config)
            self._copies[operation.name] = (config, copy)
            self.sources[operation.name] = operation
        elif known != config:
            raise ValueError(
                f"Layer {operation.name!r} is used at two places that need different dilations; give each "
                "place a layer of its own."
            )
        return copy

    def _plan(self, operation: Any, grid: _Grid) -> tuple[dict[str, Any], keras.layers.ZeroPadding2D | None, _Grid]:
        """The copy's config, the padding to set before it, and the grid of its output."""
        config = operation.get_config()
        if isinstance(operation, keras.layers.BatchNormalization):
            config["momentum"] = BATCH_NORM_MOMENTUM
            config["epsilon"] = BATCH_NORM_EPSILON
            config["synchronized"] = self.synchronized
        elif isinstance(operation, keras.layers.ZeroPadding2D):
            config["padding"] = [[side * grid.dilation for side in axis] for axis in operation.padding]
        elif isinstance(operation, _CONVOLUTIONS):
            return self._plan_convolution(operation, config, grid)
        elif isinstance(operation, _POOLINGS):
            stride = _square(operation, "strides")
            if grid.dilation > 1 or grid.stride * stride > self.output_stride:
                raise _no_counterpart(operation, "a pooling")
            grid = _Grid(grid.stride * stride, grid.dilation)
        elif isinstance(operation, _RESAMPLINGS):
            raise _no_counterpart(operation, "a resampling")
        elif isinstance(operation, keras.Model):
            raise ValueError(f"The backbone holds the model {operation.name!r} as a layer; pass a flat one.")
        elif grid.dilation > 1 and type(operation).__name__ == "Pad":
            raise _no_counterpart(operation, "keras.ops.pad")
        return config, None, grid

    def _plan_convolution(
        self, layer: Any, config: dict[str, Any], grid: _Grid
    ) -> tuple[dict[str, Any], keras.layers.ZeroPadding2D | None, _Grid]:
        stride = _square(layer, "strides")
        config["dilation_rate"] = [
            rate * grid.dilation if size > 1 else rate
            for size, rate in zip(layer.kernel_size, layer.dilation_rate, strict=True)
        ]
        if grid.dilation == 1 and grid.stride * stride <= self.output_stride:
            return config, None, _Grid(grid.stride * stride, 1)

        config["strides"] = [1, 1]
        padding = None
        if layer.padding == "same" or max(layer.kernel_size) <= stride:
            # At sizes divisible by the stride, "same" pads reach + 1 - stride in total, the smaller half
            # first, and so does "valid" where the windows don't overlap: nothing. The taps have to stay where
            # they were, so the first half is kept (scaled), and the second keeps the size. "same" at stride 1
            # would do otherwise for an odd total: the sides differ where there was a stride or an even size.
            sides = []
            for size, rate in zip(layer.kernel_size, layer.dilation_rate, strict=True):
                reach = (size - 1) * rate
                first = max(reach + 1 - stride, 0) // 2 * grid.dilation
                sides.append([first, reach * grid.dilation - first])
            if any(first != last for first, last in sides):
                config["padding"] = "valid"
                padding = keras.layers.ZeroPadding2D(
                    sides, data_format=layer.data_format, dtype=layer.dtype_policy, name=f"{layer.name}_pad"
                )
        return config, padding, _Grid(grid.stride, grid.dilation * stride)


def _square(layer: Any, attribute: str) -> int:
    """The one stride of a layer, refusing different strides along height and width."""
    rows, columns = getattr(layer, attribute)
    if rows != columns:
        raise ValueError(f"Layer {layer.name!r} has strides {(rows, columns)}; only equal strides can be dilated.")
    return rows


def _no_counterpart(layer: Any, kind: str) -> ValueError:
    return ValueError(
        f"Layer {layer.name!r} ({type(layer).__name__}) is {kind} where the network would be dilated, and "
        "has no dilated counterpart. Use a larger output_stride, or a backbone that strides in convolutions."
    )
