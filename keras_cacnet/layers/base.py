"""What the layers share beside the paper: the dtype they compute in, the shapes they take, what a file keeps of them.

Features are channels-last whatever `keras.config.image_data_format()` says.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import keras
from keras import ops

from keras_cacnet.layers.recompute import Recomputed

KERNEL_SIZES = (1, 3, 5, 7)


class FeatureLayer(keras.layers.Layer):
    """A layer that computes in the dtype of its policy, whatever dtype its input has.

    Args:
        **kwargs: `name`, `dtype`, `trainable`, `activity_regularizer`, as for any Keras layer.

    Raises:
        ValueError: a dtype that is not of floating point, or `autocast=False`.
    """

    def __init__(self, **kwargs: Any) -> None:
        if not kwargs.get("autocast", True):
            raise ValueError(
                f"{type(self).__name__} always casts its input to its own dtype, which Keras would not save with "
                "autocast=False: leave that out, and give the dtype to compute in as dtype"
            )
        super().__init__(**kwargs)
        if not keras.backend.is_float_dtype(self.compute_dtype):
            raise ValueError(f"{self.name} needs a dtype of floating point, got {self.compute_dtype!r}")

    @property
    def wide_dtype(self) -> str:
        """The dtype of sums: the layer's own, float32 where that is of half precision."""
        return at_least_float32(self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        # For layers without arguments of their own, too: what Keras would put together itself leaves things out.
        return super().get_config()

    def _wide(self, x: Any) -> Any:
        return ops.cast(ops.convert_to_tensor(x), self.wide_dtype)


class ReweightingLayer(FeatureLayer):
    """A layer that multiplies features X by weights W; a subclass computes them in `weighting`.

    Shapes:
        - input: (B, h, w, c); B, h and w may be unknown
        - output: (B, h, w, c)

    Raises:
        ValueError: an input that is not of rank 4, or of unknown or other channels than the layer was built for.
    """

    channels = 0  # of the features, once it is built
    recompute = False  # in training, compute W once more in the backward pass instead of keeping what led to it

    def build(self, input_shape: Sequence[int | None]) -> None:
        self.require_shape(input_shape)
        self.channels = int(input_shape[-1] or 0)
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={-1: self.channels})

    def require_shape(self, shape: Sequence[int | None]) -> None:
        """ValueError where the layer cannot take features of this shape."""
        if len(shape) != 4 or not shape[-1]:
            raise ValueError(f"{self.name} needs features of shape (B, h, w, c) with known c, got {tuple(shape)}")
        if self.channels not in (0, shape[-1]):
            raise ValueError(
                f"{self.name} was built for {self.channels} channels, got an input of shape {tuple(shape)}"
            )

    def features(self, x: Any) -> Any:
        """Cast features to the dtype of the layer and check their shape; the first ones build the layer."""
        x = ops.cast(ops.convert_to_tensor(x), self.compute_dtype)
        if not self.built:
            self.build(x.shape)
        self.require_shape(x.shape)
        return x

    def weighting(self, x: Any, *, training: bool = False) -> Any:
        """The weights W of the features x, (B, h, w, c), or (B, 1, 1, c) where all positions share them."""
        raise NotImplementedError(f"{type(self).__name__} needs weighting")

    def call(self, x: Any, training: bool = False) -> Any:
        """Return X * W, the features re-weighted by their global context."""
        x = self.features(x)
        if training and self.recompute:
            found = Recomputed(self, partial(self.reweighted, training=True))(x)
            return tuple(found) if isinstance(found, list) else found
        return self.reweighted(x, training=training)

    def reweighted(self, x: Any, training: bool = False) -> Any:
        """Compute X * W for features of the layer's dtype and shape."""
        return x * self.weighting(x, training=training)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        self.require_shape(input_shape)
        return tuple(input_shape)

    def get_build_config(self) -> dict[str, Any] | None:
        """Say also which of the layer's own parts are frozen while it is not, such as only its batch norm."""
        config = super().get_build_config()
        frozen = [part.name for part in self._parts() if not part.trainable]
        return {**config, "frozen": frozen} if config and frozen and self.trainable else config

    def build_from_config(self, config: dict[str, Any]) -> None:
        super().build_from_config(config)
        for part in self._parts():
            if part.name in config.get("frozen", ()):
                part.trainable = False

    def _parts(self) -> list[keras.layers.Layer]:
        return list(self._flatten_layers(include_self=False))


def at_least_float32(dtype: str) -> str:
    """The dtype itself, or float32 for one of half precision.

    Example:
        >>> at_least_float32("bfloat16"), at_least_float32("float64")
        ('float32', 'float64')
    """
    return "float32" if dtype in ("float16", "bfloat16") else dtype


def require_kernel_size(size: Any) -> int:
    """The side of a depthwise kernel, if it is one of 1, 3, 5, 7; ValueError otherwise.

    Example:
        >>> require_kernel_size(3)
        3
    """
    if isinstance(size, bool | float) or size not in KERNEL_SIZES:
        raise ValueError(f"kernel_size must be one of {KERNEL_SIZES}, got {size!r}")
    return int(size)
