"""SE-Net's re-weighting, one of the alternatives of Table 6: one weight per channel for all positions."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_cacnet.layers.normalization import at_least_float32
from keras_cacnet.layers.reweighting import ReweightingLayer


@keras.saving.register_keras_serializable("keras_cacnet")
class SqueezeExcitationLayer(ReweightingLayer):
    """Re-weights the channels by a bottleneck of two FCs on their means ("SEHead").

    Mean over positions, FC to c / r, ReLU, FC to c, sigmoid: W lies in (0, 1) and is the same at every
    position. Both FCs have a bias, as in SE-Net's published code. With m = max(c // r, 1) the trainable
    parameters are 2 c m + m + c. Mean and FCs are computed in float32 under half-precision policies.

    Args:
        reduction: r, the channels over the bottleneck's; SE-Net's 16 by default.
        **kwargs: `name`, `dtype`, `trainable`.

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
        if isinstance(reduction, bool) or int(reduction) != reduction or reduction < 1:
            raise ValueError(f"reduction must be a whole number from 1 on, got {reduction!r}")
        self.reduction = int(reduction)

    def build_prediction(self, input_shape: Sequence[int | None]) -> None:
        dtype = at_least_float32(self.compute_dtype)
        bottleneck = max(self.channels // self.reduction, 1)
        self.squeeze = keras.layers.Dense(
            bottleneck, "relu", kernel_initializer="he_normal", name="squeeze", dtype=dtype
        )
        self.excite = keras.layers.Dense(self.channels, "sigmoid", name="excite", dtype=dtype)
        self.squeeze.build((None, self.channels))
        self.excite.build((None, bottleneck))

    def weighting(self, x: Any, *, training: bool = False) -> Any:
        """Compute the weights that all positions share.

        Args:
            x: features.
            training: without effect here.

        Shapes:
            - x: (B, h, w, c)
            - result: (B, 1, 1, c)

        Returns:
            W, with values between 0 and 1.
        """
        x = self._features(x)
        pooled = ops.mean(self._wide(x), axis=(1, 2))
        return ops.cast(self.excite(self.squeeze(pooled))[:, None, None, :], self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "reduction": self.reduction}
