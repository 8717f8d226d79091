"""The alternatives of Table 6: each takes one step of `CaCLayer` from elsewhere.

"Fixed", "FC" and "GAP" have other kernels; "SEHead" has other weights W, one per channel for all positions, as has
"EncHead", which is in `context_encoding`.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_cacnet.arguments import require_count, require_counts
from keras_cacnet.layers.base import ReweightingLayer
from keras_cacnet.layers.cac import CaCLayer


@keras.saving.register_keras_serializable("keras_cacnet")
class FixedKernelLayer(CaCLayer):
    """Re-weights by kernels that are learned and then the same for every image ("Fixed").

    There is no batch norm: it would have nothing to take statistics of. Trainable parameters: s^2 c.

    Args:
        kernel_size: as in `CaCLayer`.
        dilation_rates: as in `CaCLayer`.
        **kwargs: `name`, `dtype`, `trainable`, `activity_regularizer`.

    Example:
        >>> import numpy as np
        >>> layer = FixedKernelLayer(kernel_size=3)
        >>> tuple(layer(np.ones((2, 5, 7, 4), "float32")).shape), layer.count_params()
        ((2, 5, 7, 4), 36)

    Reference:
        Table 6 of the CaC-Net paper, "Fixed".
    """

    def __init__(self, kernel_size: int = 3, dilation_rates: Sequence[int] = (1, 2, 3), **kwargs: Any) -> None:
        if "synchronized" in kwargs:
            raise ValueError("FixedKernelLayer has no batch norm to synchronise: leave synchronized out")
        super().__init__(kernel_size, dilation_rates, **kwargs)

    def build(self, input_shape: Sequence[int | None]) -> None:
        ReweightingLayer.build(self, input_shape)
        self.kernel = self.add_weight(
            shape=(self.kernel_size, self.kernel_size, self.channels),
            # The sum of s^2 taps keeps the scale of the features.
            initializer=keras.initializers.RandomNormal(stddev=1 / self.kernel_size),
            autocast=False,
            name="kernel",
        )

    def predict_kernels(self, x: Any, training: bool = False) -> Any:
        """The learned kernels, once per sample: (B, s, s, c)."""
        x = self.features(x)
        shape = (ops.shape(x)[0], self.kernel_size, self.kernel_size, self.channels)
        return ops.broadcast_to(self._wide(self.kernel)[None], shape)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["synchronized"]
        return config


@keras.saving.register_keras_serializable("keras_cacnet")
class FullyConnectedKernelLayer(CaCLayer):
    """Predicts the kernels of each channel by an FC over its positions ("FC").

    The paper's depthwise FC: every value of a channel's kernel is a weighted sum of that channel over all
    positions, without bias, followed by batch norm as in CaC. Trainable parameters: h w s^2 c for the FC (at
    64x64 positions 72 times those of CaC with 512 channels; the paper's text calls the two the same) and 2c for
    the norm.

    There is a weight for every position, so the layer takes features of one size only: `input_size`, or where
    none is given the size it is first built with.

    Args:
        input_size: height and width of the features, in positions.
        kernel_size: as in `CaCLayer`, like all that follow.
        dilation_rates: as there.
        synchronized: as there.
        **kwargs: as there.

    Shapes:
        - input: (B, h, w, c) with (h, w) the input size; B may be unknown, and h and w where the size is given
        - output: (B, h, w, c)

    Raises:
        ValueError: as `CaCLayer`; no size given and an unknown one to build with; features of another size
            (tf.errors.InvalidArgumentError where a compiled function learns the size only as it runs).

    Example:
        >>> import numpy as np
        >>> layer = FullyConnectedKernelLayer(input_size=(5, 7))
        >>> tuple(layer(np.ones((2, 5, 7, 4), "float32")).shape)
        (2, 5, 7, 4)
        >>> sum(int(np.prod(weight.shape)) for weight in layer.trainable_variables)  # 5*7*9*4 + 2*4
        1268

    Reference:
        Table 6 of the CaC-Net paper, "FC".
    """

    def __init__(
        self,
        input_size: Sequence[int] | None = None,
        kernel_size: int = 3,
        dilation_rates: Sequence[int] = (1, 2, 3),
        synchronized: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(kernel_size, dilation_rates, synchronized, **kwargs)
        self.input_size = None if input_size is None else _require_size(input_size)

    def build_prediction(self, input_shape: Sequence[int | None]) -> None:
        if self.input_size is None:
            if None in input_shape[1:3]:
                raise ValueError(
                    f"{self.name} has a weight for every position and needs to know their number: give input_size, "
                    f"or build it with a known height and width, not {tuple(input_shape)}"
                )
            self.input_size = _require_size(input_shape[1:3])
        height, width = self._positions = self.input_size
        # One matrix per channel, the form in which a batched product takes it.
        self.kernel = self.add_weight(
            shape=(self.channels, height * width, self.kernel_size**2),
            initializer=keras.initializers.RandomNormal(stddev=(height * width) ** -0.5),
            autocast=False,
            name="kernel",
        )

    def raw_kernels(self, x: Any) -> Any:
        """The weighted sums over positions, (B, s * s, c)."""
        x = self._of_required_size(x)
        height, width = self._positions
        flat = ops.reshape(self._wide(x), (ops.shape(x)[0], height * width, self.channels))
        sums = ops.matmul(ops.transpose(flat, (2, 0, 1)), self._wide(self.kernel))
        return ops.transpose(sums, (1, 2, 0))

    def require_shape(self, shape: Sequence[int | None]) -> None:
        super().require_shape(shape)
        if self.input_size is None:
            return
        if any(side not in (None, wanted) for side, wanted in zip(shape[1:3], self.input_size, strict=True)):
            raise ValueError(
                f"{self._takes_one_size()}, got features of {shape[1]}x{shape[2]}: give it images of one size, or "
                "choose a layer that takes any"
            )

    def _of_required_size(self, x: Any) -> Any:
        if None not in x.shape[1:3]:
            return x
        import tensorflow as tf  # under other backends sizes are known

        message = f"{self._takes_one_size()}, got features of size:"
        # Without the dependency the reshape that follows may fail first, and less clearly.
        with tf.control_dependencies([tf.debugging.assert_equal(tf.shape(x)[1:3], self.input_size, message=message)]):
            return tf.identity(x)

    def _takes_one_size(self) -> str:
        size = "x".join(map(str, self.input_size or ()))
        return f"{self.name} has one weight for each of {size} positions and takes no other size"

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "input_size": None if self.input_size is None else list(self.input_size)}


@keras.saving.register_keras_serializable("keras_cacnet")
class PooledKernelLayer(CaCLayer):
    """Predicts the kernels by an FC on the mean of the features over positions ("GAP").

    The FC has no bias and is followed by batch norm as in CaC. Trainable parameters: s^2 c^2 for the FC and 2c
    for the norm. Arguments and shapes are those of `CaCLayer`.

    Example:
        >>> import numpy as np
        >>> layer = PooledKernelLayer()
        >>> tuple(layer(np.ones((2, 5, 7, 4), "float32")).shape)
        (2, 5, 7, 4)
        >>> sum(int(np.prod(weight.shape)) for weight in layer.trainable_variables)  # 9*4*4 + 2*4
        152

    Reference:
        Table 6 of the CaC-Net paper, "GAP".
    """

    def build_prediction(self, input_shape: Sequence[int | None]) -> None:
        self.dense = keras.layers.Dense(
            self.kernel_size**2 * self.channels,
            use_bias=False,
            trainable=self.trainable,
            name="dense",
            dtype=self.wide_dtype,
        )
        self.dense.build((None, self.channels))

    def raw_kernels(self, x: Any) -> Any:
        """The FC of the mean, (B, s * s * c); the channel varies fastest."""
        return self.dense(ops.mean(self._wide(x), axis=(1, 2)))


@keras.saving.register_keras_serializable("keras_cacnet")
class SqueezeExcitationLayer(ReweightingLayer):
    """Re-weights the channels by a bottleneck of two FCs on their means ("SEHead").

    Mean over positions, FC to c / r, ReLU, FC to c, sigmoid: W lies in (0, 1) and is the same at every
    position. Both FCs have a bias, as in SE-Net's published code. With m = max(c // r, 1) the trainable
    parameters are 2 c m + m + c. Mean and FCs are computed in float32 under half-precision policies.

    Args:
        reduction: r, the channels over the bottleneck's; SE-Net's 16 by default.
        **kwargs: `name`, `dtype`, `trainable`, `activity_regularizer`.

    Shapes:
        - input: (B, h, w, c); B, h and w may be unknown
        - output: (B, h, w, c)

    Raises:
        ValueError: a reduction below 1, or an input that is not of rank 4 with known channels.

    Example:
        >>> import numpy as np
        >>> layer = SqueezeExcitationLayer(reduction=2)
        >>> x = np.ones((2, 5, 7, 4), "float32")
        >>> tuple(layer(x).shape), tuple(layer.weighting(x).shape), layer.count_params()  # 2*4*2 + 2 + 4
        ((2, 5, 7, 4), (2, 1, 1, 4), 22)

    Reference:
        Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018, Eq. 2 and 3; Table 6 of the CaC-Net paper.
    """

    def __init__(self, reduction: int = 16, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.reduction = require_count("reduction", reduction)

    def build(self, input_shape: Sequence[int | None]) -> None:
        super().build(input_shape)
        options = {"trainable": self.trainable, "dtype": self.wide_dtype}
        bottleneck = max(self.channels // self.reduction, 1)
        self.squeeze = keras.layers.Dense(bottleneck, "relu", kernel_initializer="he_normal", name="squeeze", **options)
        self.excite = keras.layers.Dense(self.channels, "sigmoid", name="excite", **options)
        self.squeeze.build((None, self.channels))
        self.excite.build((None, bottleneck))

    def weighting(self, x: Any, *, training: bool = False) -> Any:
        """Compute the weights that all positions share, (B, 1, 1, c); `training` makes no difference here."""
        pooled = ops.mean(self._wide(self.features(x)), axis=(1, 2))
        return ops.cast(self.excite(self.squeeze(pooled))[:, None, None, :], self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "reduction": self.reduction}


def _require_size(size: Any) -> tuple[int, int]:
    sides = require_counts("input_size", size)
    if len(sides) != 2:
        raise ValueError(f"input_size must be a height and a width, got {size!r}")
    return sides[0], sides[1]
