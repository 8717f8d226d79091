"""Turn a classification backbone into a dilated one: the same weights, a finer grid.

A classifier halves its grid five times. Segmentation wants the last grids finer, so the strides of the last
stages are removed and the convolutions behind them look correspondingly further (the "à trous" algorithm):
at every position that the original network computes, the dilated one computes the same number.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from keras_cacnet.models.grids import SIZES, UNKNOWN, Grid, grid_of, is_pointwise, known_activation
from keras_cacnet.models.levels import feature_levels, flat, image_input
from keras_cacnet.wording import listed

OUTPUT_STRIDES = (8, 16, 32)

# With Keras' default of 0.99 the moving statistics of a run of a few hundred steps lag far behind. This is
# PyTorch's, which the paper's own backbone was trained with.
BATCH_NORM_MOMENTUM = 0.9

_CONVOLUTIONS = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D)
_POOLINGS = (layers.MaxPooling2D, layers.AveragePooling2D)
_GLOBAL_POOLINGS = (layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D)


def dilate(
    backbone: keras.Model, output_stride: int = 8, synchronized: bool = False, name: str = "backbone"
) -> keras.Model:
    """Rebuild a convolutional backbone with a finer output grid and the same weights.

    Strides beyond `output_stride` are removed, and what follows is dilated in their place. The first convolution
    of a dilated stage keeps the dilation of its input (as PyTorch-Encoding does), so that at sizes divisible by
    the original stride the result, sampled at the original's positions, equals the original to rounding: explicit
    padding, squeeze-and-excitation (its mean is taken over the original's positions) and patches included.
    At other multiples of `output_stride` all windows lie where they lie at those sizes, whereas the original
    would shift "same" ones by its grids' parity, or drop the last rows. At its own stride a backbone is not
    changed. Batch norms get momentum 0.9 (ours, after PyTorch) and keep their epsilon.

    Args:
        backbone: a functional model of one image input with named feature levels: keras-cv's or KerasHub's
            `ResNetBackbone`, the result of an earlier `dilate` or `backbone`, or any functional model whose
            output is a dict with (some of) the keys P2, P3, P4, P5; P4 and P5 are needed. It is not changed.
        output_stride: pixels between neighbouring positions of P5: 8 (the paper), 16 or 32.
        synchronized: whether batch norms average their statistics over all replicas.
        name: the name of the new model.

    Shapes:
        - input: (B, H, W, channels), H and W divisible by `output_stride`
        - output: level Pn is (B, H / stride, W / stride, c), stride = min(2^n, output_stride)

    Returns:
        A flat functional `keras.Model` of plain Keras layers that keep their names. Its output is a dict of levels.

    Raises:
        ValueError: no such levels, or levels of another stride or size, an output stride that is none of 8, 16
            and 32 or larger than the network's own, or a layer that has no exact dilated counterpart, such as
            attention, pooling over windows, or a layer that is not Keras'; the message names it.

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
    require_output_stride(output_stride)
    original = flat(keras.Model(image_input(backbone), feature_levels(backbone), name=name))
    source = original.input
    image = keras.Input((None, None, source.shape[-1]), dtype=source.dtype, name=source.name)
    # A network for one size need not take others.
    sizes = SIZES if None in source.shape[1:3] else (*SIZES, (None, None))
    rewriter = _Rewriter(output_stride, synchronized, image, sizes)
    dilated = keras.models.clone_model(
        original,
        input_tensors=image,
        # Which layer to build depends on the grid of its input, which only the call knows.
        clone_function=lambda layer: layer,
        call_function=rewriter,
    )
    rewriter.check_levels(backbone.name, dilated.output)
    for layer in dilated.layers:
        if layer.name in rewriter.sources:
            layer.set_weights(rewriter.sources[layer.name].get_weights())
            if isinstance(layer, layers.Normalization):
                layer.finalize_state()  # it computes with copies of its weights
    return dilated


def require_output_stride(output_stride: int) -> None:
    """Refuse an output stride that is none of 8, 16 and 32."""
    if output_stride not in OUTPUT_STRIDES:
        raise ValueError(f"output_stride has to be one of 8, 16 and 32, and is {output_stride!r}.")


class _Rewriter:
    """Calls a dilated copy of each layer, in the order of the graph, keeping account of the original's grids.

    A value of the original at (i, j) of its grid is the dilated network's at (d i, d j), where d is the
    original's stride over the output stride, and 1 where nothing was removed.
    """

    def __init__(self, output_stride: int, synchronized: bool, image: keras.KerasTensor, sizes: Any) -> None:
        self.output_stride = output_stride
        self.synchronized = synchronized
        self.sizes = sizes
        self.sources: dict[str, layers.Layer] = {}
        self._copies: dict[str, tuple[dict[str, Any], layers.Layer]] = {}
        # Tensor of the copy -> the original's at the sizes tried. The tensor is kept beside it: an id may be given
        # again once its owner is gone.
        specs = [keras.KerasTensor((None, *size, image.shape[-1]), image.dtype) for size in sizes]
        self._originals = {id(image): (image, specs)}

    def __call__(self, operation: Any, *args: Any, **kwargs: Any) -> Any:
        before = [self._grid(x) for x in keras.tree.flatten((args, kwargs)) if isinstance(x, keras.KerasTensor)]
        specs = self._original_outputs(operation, args, kwargs)
        after = [grid_of(sizes) for sizes in zip(*map(keras.tree.flatten, specs), strict=True)]
        if getattr(operation, "data_format", None) == "channels_first":
            raise ValueError(f"Layer {operation.name!r} takes channels first; a backbone has to take them last.")

        if type(operation).__name__ == "ConvertToTensor" and specs[0].dtype == args[0].dtype:
            return args[0]  # flattening leaves one at each inner model's entrance

        config = operation.get_config()
        if isinstance(operation, layers.BatchNormalization):
            config |= {"momentum": BATCH_NORM_MOMENTUM, "synchronized": self.synchronized}
        if any(grid is not None and grid.stride > self.output_stride for grid in (*before, *after)):
            args = self._prepare(operation, config, args, before, after)
        outputs = self._copy(operation, config)(*args, **kwargs)
        for x, *sizes in zip(keras.tree.flatten(outputs), *map(keras.tree.flatten, specs), strict=True):
            self._originals[id(x)] = (x, sizes)
        return outputs

    def check_levels(self, backbone: str, levels: dict[str, keras.KerasTensor]) -> None:
        for level, x in levels.items():
            specs, grid = self._originals[id(x)][1], self._grid(x)
            sizes = [f"{spec.shape[1:-1]} for an image of {size}" for spec, size in zip(specs, SIZES, strict=False)]
            if grid is None or grid is UNKNOWN or any(grid.excess):
                raise ValueError(
                    f"Level {level} of the backbone {backbone!r} does not divide the image: its size is "
                    f"{listed(sizes)}. Convolutions without padding lose rows; a fixed size cannot follow the image."
                )
            wanted, reached = min(2 ** int(level[1]), self.output_stride), min(grid.stride, self.output_stride)
            if reached != wanted:
                raise ValueError(
                    f"output_stride={self.output_stride} cannot be reached: level {level} of the backbone {backbone!r} "
                    f"has stride {grid.stride}, and needs {wanted} or a multiple. Dilating refines a grid, it cannot "
                    "coarsen one."
                )

    def _grid(self, x: keras.KerasTensor) -> Grid | None:
        return grid_of(self._originals[id(x)][1])

    def _removed(self, grid: Grid | None) -> int:
        """How many times finer the dilated network's grid is."""
        return 1 if grid is None else max(1, grid.stride // self.output_stride)

    def _original_outputs(self, operation: Any, args: Any, kwargs: Any) -> list[Any]:
        """What the original computes from these inputs, at the sizes tried."""
        specs = []
        for index, size in enumerate(self.sizes):
            inputs = keras.tree.map_structure(
                lambda x, index=index: self._originals[id(x)][1][index] if isinstance(x, keras.KerasTensor) else x,
                (args, kwargs),
            )
            try:
                specs.append(operation.compute_output_spec(*inputs[0], **inputs[1]))
            except Exception as cause:
                raise ValueError(
                    f"Layer {operation.name!r} ({type(operation).__name__}) does not take images of any size; for "
                    f"{size}: {cause}. Build the backbone for images of (None, None, channels)."
                ) from cause
        return specs

    def _copy(self, operation: Any, config: dict[str, Any]) -> Any:
        known, copy = self._copies.get(operation.name, (None, None))
        if copy is None:
            try:
                copy = operation.__class__.from_config(config)
            except Exception as cause:
                raise ValueError(
                    f"Layer {operation.name!r} ({type(operation).__name__}) cannot be built from its config: {cause}"
                ) from cause
            self._copies[operation.name] = (config, copy)
            if getattr(operation, "weights", None):
                self.sources[operation.name] = operation
        elif known != config:
            raise ValueError(
                f"Layer {operation.name!r} is used at two places that need different dilations; give each "
                "place a layer of its own."
            )
        return copy

    def _prepare(self, operation: Any, config: dict[str, Any], args: Any, before: list[Any], after: list[Any]) -> Any:
        """Dilate the config of a layer, and return its inputs with what has to be done to them first."""
        dilation = max(map(self._removed, before), default=1)
        known = all(grid is None or self._refined(grid) for grid in (*before, *after)) and known_activation(operation)
        if known and type(operation) in _GLOBAL_POOLINGS:
            # Over the positions of the original alone.
            return (self._extra(operation, layers.AveragePooling2D, "sample", 1, dilation)(args[0]), *args[1:])
        if known and type(operation) is layers.ZeroPadding2D:
            config["padding"] = [[side * dilation for side in axis] for axis in operation.padding]
            return args
        if known and type(operation) in _CONVOLUTIONS:
            return self._prepare_convolution(operation, config, args, before[0], after[0])
        if (
            known
            and type(operation) in _POOLINGS
            and tuple(operation.pool_size) == (1, 1)
            and not any(before[0].excess)
        ):
            config["strides"] = [self._refined(after[0]) // self._refined(before[0])] * 2
            return args
        if known and is_pointwise(operation):
            return args
        raise ValueError(
            f"Layer {operation.name!r} ({type(operation).__name__}) has no exact counterpart on the finer grid of "
            f"output_stride={self.output_stride}, where Keras' convolutions, global pooling and layers that treat "
            "every position alike have one. Take a larger output_stride or another backbone."
        )

    def _refined(self, grid: Grid) -> int:
        """The dilated network's stride where the original has this grid; 0 where there can be none."""
        if grid.stride <= self.output_stride:
            return grid.stride
        return 0 if grid.stride % self.output_stride else self.output_stride

    def _prepare_convolution(self, layer: Any, config: dict[str, Any], args: Any, before: Grid, after: Grid) -> Any:
        dilation, stride = self._removed(before), self._refined(after) // self._refined(before)
        sides = []
        for axis, (size, rate) in enumerate(zip(layer.kernel_size, layer.dilation_rate, strict=True)):
            reach = (size - 1) * rate
            # "same" pads until the last window ends with the last row, the smaller half first. The taps have to stay
            # where they were, so the first half is kept, scaled; the second gives the size.
            total = 0
            if layer.padding == "same":
                last = before.excess[axis] % layer.strides[axis] or layer.strides[axis]
                total = max(reach + 1 - last, 0)
            first = total // 2 * dilation
            grown = after.excess[axis] * self._removed(after) * stride - before.excess[axis] * dilation
            sides.append((first, grown + reach * dilation - first))
        config["strides"] = [stride, stride]
        config["dilation_rate"] = [
            rate * dilation if size > 1 else rate
            for size, rate in zip(layer.kernel_size, layer.dilation_rate, strict=True)
        ]
        as_same = layer.padding == "same" and stride == 1 and all(first == last for first, last in sides)
        if as_same or not any(map(any, sides)):
            return args
        config["padding"] = "valid"
        return (self._extra(layer, layers.ZeroPadding2D, "pad", sides)(args[0]), *args[1:])

    def _extra(self, layer: Any, kind: Any, purpose: str, *settings: Any) -> layers.Layer:
        """A layer of ours, without weights, to be set before one of the backbone's."""
        name = f"{layer.name}_dilation_{purpose}"
        extra = kind(*settings, data_format="channels_last", dtype=layer.dtype_policy, name=name)
        return self._copies.setdefault(name, (extra.get_config(), extra))[1]
