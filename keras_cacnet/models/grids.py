"""Where the values of a backbone lie in its image, and which of its operations leave them there."""

from __future__ import annotations

from typing import Any, NamedTuple

from keras import layers

# Images of which the original's grids are worked out: two sizes, and no square, so that rows, columns and
# what does not follow the image's size are told apart. All are divisible by any stride up to 256.
SIZES = ((512, 768), (1024, 1280))

# What computes every position from the same position of its inputs. Classes are compared, not their bases:
# a subclass may do anything.
_POINTWISE_LAYERS = (
    *(layers.Activation, layers.ReLU, layers.LeakyReLU, layers.ELU, layers.Softmax, layers.Identity, layers.Dense),
    *(layers.BatchNormalization, layers.LayerNormalization, layers.Normalization, layers.Rescaling),
    *(layers.Dropout, layers.SpatialDropout2D, layers.GaussianDropout, layers.GaussianNoise),
    *(layers.Add, layers.Subtract, layers.Multiply, layers.Average, layers.Maximum, layers.Minimum, layers.Concatenate),
)
_CONVNEXT_LAYERS = ("LayerScale", "StochasticDepth")  # pointwise; keras.applications does not export them
_POINTWISE_OPERATIONS = (
    *("Absolute", "Add", "Subtract", "Multiply", "Divide", "TrueDivide", "Maximum", "Minimum", "Negative", "Clip"),
    *("Square", "Sqrt", "Exp", "Tanh", "Concatenate", "Cast", "ConvertToTensor", "Softmax", "Softplus", "Sigmoid"),
    *("Relu", "Relu6", "LeakyRelu", "Elu", "Selu", "Gelu", "Silu", "HardSigmoid", "HardSilu"),
)


class Grid(NamedTuple):
    """Where the original's values lie: `stride` pixels apart, `excess` more rows and columns than pixels / stride."""

    stride: int
    excess: tuple[int, int] = (0, 0)


# A tensor that follows the image's size, but in no such way: tokens, or strides that differ by axis.
UNKNOWN = Grid(0)


def grid_of(specs: Any) -> Grid | None:
    """Find the grid of a tensor of the original from its shapes at the sizes tried; None for one without positions."""
    small, large = (tuple(spec.shape) for spec in specs[:2])
    if small == large:
        return None
    if len(small) != 4 or small[3] != large[3] or None in small[1:]:
        return UNKNOWN
    strides = {
        (pixels_b - pixels_a) / (b - a) if b > a else 0
        for pixels_a, pixels_b, a, b in zip(*SIZES, small[1:3], large[1:3], strict=True)
    }
    stride = strides.pop()
    if strides or stride < 1 or stride % 1:
        return UNKNOWN
    rows, columns = (size - pixels // int(stride) for size, pixels in zip(small[1:3], SIZES[0], strict=True))
    return Grid(int(stride), (rows, columns))


def is_pointwise(operation: Any) -> bool:
    """Tell whether every position of the result comes from the same position of the inputs, on any grid."""
    kind, module = type(operation).__name__, type(operation).__module__
    if module == "keras.src.applications.convnext":
        return kind in _CONVNEXT_LAYERS
    if not isinstance(operation, layers.Layer):
        known = module.startswith("keras.src.ops.") and kind in _POINTWISE_OPERATIONS
    else:
        known = type(operation) in _POINTWISE_LAYERS and known_activation(operation)
    axis = getattr(operation, "axis", -1)
    return known and all(index in (-1, 3) for index in (axis if isinstance(axis, list | tuple) else [axis]))


def known_activation(layer: Any) -> bool:
    """Tell whether a layer's activation, if it has one, is Keras' own and so no convolution in disguise."""
    activation = getattr(layer, "activation", None)
    if isinstance(activation, layers.Layer):
        return is_pointwise(activation)
    return activation is None or getattr(activation, "__module__", "").startswith("keras.src.")
