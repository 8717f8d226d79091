"""CaC-Net, Section 3 of the paper: a `SegmentationNetwork` with its head."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_cacnet.arguments import require_count
from keras_cacnet.models.heads import CaCHead
from keras_cacnet.models.heads.base import positions
from keras_cacnet.models.heads.cacnet import per_head_kernel_sizes
from keras_cacnet.models.network import SegmentationNetwork
from keras_cacnet.models.settings import require_input_size


@keras.saving.register_keras_serializable("keras_cacnet")
class CaCNet(SegmentationNetwork):
    """Context-adaptive convolution network for semantic segmentation.

    A dilated ResNet, a 3x3 reduction, parallel heads that each end in a `CaCLayer`, a pooled branch, a 1x1
    classifier and bilinear resizing to the size of the input. `fit` adds an auxiliary loss, as in every
    `SegmentationNetwork`. `num_heads=0, global_pooling=False` is the paper's FCN baseline; with pooling on, the
    branch then joins the reduced map.

    The paper is silent on the 3x3 convolution before each head and inside the reduction (fixed by its Table 7),
    on dropout and the pooled branch's convolution (PyTorch-Encoding's).

    Args:
        num_classes: number of classes, at least 2; void is not counted, the background of a binary task is.
        backbone: `"resnet18"` to `"resnet152"` or another name that `kc.models.backbone` knows, or a functional
            Keras model with named feature levels "P4" and "P5" that takes images in 0..255.
        weights: weights of a backbone given by name: None, `"imagenet"`, or a local path.
        output_stride: size of the image over size of the backbone's last features; 8, 16 or 32.
        head_channels: channels of the reduction, of every head and of the pooled branch.
        num_heads: number of heads (Table 3).
        kernel_sizes: size of their kernels, one for all heads or one per head (Table 4).
        dilation_rates: dilation rates at which every head applies its kernels (Table 5).
        reweighting: what ends the heads: `"cac"`, or an alternative of Table 6: `"fixed"`, `"fc"`, `"gap"`, `"se"` or
            `"enc"`, the last two without kernels, so that their sizes and rates do nothing. `"none"` is no row of
            the paper but this project's control: the heads keep their 3x3 convolutions, and nothing is re-weighted.
        input_size: height and width of all images in pixels, or one number for both; for `reweighting="fc"` only,
            which has a weight for every position and cannot take another size.
        global_pooling: whether the pooled branch is there (Table 1).
        se_loss_weight: factor of EncNet's semantic encoding loss, for `reweighting="enc"` only: an FC on the joined
            encodings of the heads predicts which classes are in the image, in `fit` only. EncNet takes 0.2; whether
            the paper's Table 6 has this loss, it does not say.
        auxiliary_weight: factor of the auxiliary loss; 0 leaves its head out (Table 2).
        dropout: share dropped before both classifiers in training.
        synchronized: take all batch-norm statistics over all replicas of a `tf.distribute` strategy.
        loss_stride: pixels per position of the grid on which the losses are taken in training, see
            `SegmentationNetwork`.
        recompute: compute the backbone's blocks and the re-weightings a second time in the backward pass instead of
            keeping them, see `SegmentationNetwork`.
        name: name of the model.
        dtype: dtype policy of everything but a backbone that is given as a model; default: Keras' policy.
        trainable: False freezes the whole network.

    Shapes:
        - input: (B, H, W, 3), RGB in 0..255, uint8 or float; any B, H, W
        - output: (B, H, W, num_classes), logits, float32 (float64 under a float64 policy)

    Raises:
        ValueError: an argument outside its range, a backbone without the levels P4 and P5, or logits of the
            wrong shape; the message names the value.

    Example:
        >>> import numpy as np
        >>> model = CaCNet(num_classes=5, backbone="resnet14_narrow", head_channels=16)
        >>> tuple(model(np.zeros((1, 33, 47, 3), "uint8")).shape)
        (1, 33, 47, 5)

    Reference:
        Liu et al., "Learning to Predict Context-adaptive Convolution for Semantic Segmentation", ECCV 2020.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        backbone: str | keras.Model = "resnet50",
        weights: str | None = None,
        output_stride: int = 8,
        head_channels: int = 512,
        num_heads: int = 2,
        kernel_sizes: int | Sequence[int] = 3,
        dilation_rates: Sequence[int] = (1, 2, 3),
        reweighting: str = "cac",
        input_size: int | Sequence[int] | None = None,
        global_pooling: bool = True,
        auxiliary_weight: float = 0.2,
        dropout: float = 0.1,
        synchronized: bool = False,
        se_loss_weight: float = 0.0,
        loss_stride: int = 1,
        recompute: bool = False,
        name: str = "cacnet",
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        head_channels = require_count("head_channels", head_channels)
        num_heads = require_count("num_heads", num_heads, minimum=0)
        size = require_input_size(reweighting, input_size)
        output_stride = require_count("output_stride", output_stride)
        head = CaCHead(
            channels=head_channels,
            kernel_sizes=per_head_kernel_sizes(kernel_sizes, num_heads),
            dilation_rates=dilation_rates,
            reweighting=reweighting,
            positions=size and positions(size, output_stride),
            global_pooling=global_pooling,
            se_loss_weight=se_loss_weight,
        )
        super().__init__(
            num_classes,
            head,
            backbone=backbone,
            weights=weights,
            output_stride=output_stride,
            auxiliary_weight=auxiliary_weight,
            dropout=dropout,
            synchronized=synchronized,
            loss_stride=loss_stride,
            recompute=recompute,
            name=name,
            dtype=dtype,
            trainable=trainable,
        )
        self.head_channels = head_channels
        self.num_heads = num_heads
        self.kernel_sizes = head.kernel_sizes
        self.dilation_rates = head.dilation_rates
        self.reweighting = reweighting
        self.input_size = size
        self.global_pooling = head.global_pooling

    def weighting_maps(self, images: Any) -> dict[str, dict[str, Any]]:
        """Compute the features X, the weights W and the product X* of every head, for Figure 4 of the paper.

        Args:
            images: RGB in 0..255.

        Shapes:
            - images: (B, H, W, 3)
            - every map: (B, h, w, head_channels)

        Returns:
            For each head ("head_1", ...) a dict of "X", "W" and "X*".

        Raises:
            ValueError: the network has no head, or nothing re-weights.

        Example:
            >>> import numpy as np
            >>> model = CaCNet(5, backbone="resnet14_narrow", head_channels=16)
            >>> sorted(model.weighting_maps(np.zeros((1, 32, 32, 3)))["head_1"])
            ['W', 'X', 'X*']
        """
        if not self.num_heads:
            raise ValueError(f"{self.name} has num_heads=0: there is no weighting to look at")
        if self.reweighting == "none":
            raise ValueError(f"{self.name} has reweighting='none': there is no weighting to look at")
        heads = [f"head_{index}" for index in range(1, self.num_heads + 1)]
        before = keras.Model(
            self.decoder.input, {head: self.decoder.get_layer(f"{head}_relu").output for head in heads}
        )
        images = self.pad(ops.convert_to_tensor(images, dtype=self.input.dtype))
        maps = {}
        for head, x in before(self.backbone(images)["P5"]).items():
            weights = self.decoder.get_layer(f"{head}_{self.reweighting}").weighting(x)
            x = ops.cast(x, weights.dtype)  # W is in float32 at least
            weights = ops.broadcast_to(weights, ops.shape(x))  # "se" and "enc" have one W for all positions
            maps[head] = {"X": x, "W": weights, "X*": x * weights}
        return maps

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["head"]
        return {
            **config,
            "head_channels": self.head_channels,
            "num_heads": self.num_heads,
            "kernel_sizes": list(self.kernel_sizes),
            "dilation_rates": list(self.dilation_rates),
            "reweighting": self.reweighting,
            "input_size": self.input_size and list(self.input_size),
            "global_pooling": self.global_pooling,
            "se_loss_weight": self.se_loss_weight,
        }
