"""CaC-Net, Section 3 of the paper, as one functional Keras model."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops

from keras_cacnet.layers.normalization import synchronizes, without_synchronization
from keras_cacnet.layers.resize import PadToMultiple, ResizeLike
from keras_cacnet.layers.reweighting import checked_dilation_rates
from keras_cacnet.models.backbones import backbone as named_backbone
from keras_cacnet.models.dilation import dilate
from keras_cacnet.models.heads import auxiliary_head, decoder, per_head_kernel_sizes
from keras_cacnet.models.reweighting import checked_reweighting, positions

RES4_STRIDE = 16  # of a ResNet that is not dilated


@keras.saving.register_keras_serializable("keras_cacnet")
class CaCNet(keras.Model):
    """Context-adaptive convolution network for semantic segmentation.

    A dilated ResNet, a 3x3 reduction, parallel heads that each end in a `CaCLayer`, a pooled branch, a 1x1
    classifier and bilinear resizing to the size of the input. An FCN head on the last backbone stage but one
    adds an auxiliary loss in `fit`: data stays `(image, mask)` and the loss one object; `predict`, `evaluate`,
    saving and export see the segmentation logits alone. `num_heads=0, global_pooling=False` is the paper's FCN
    baseline; with pooling on, the branch then joins the reduced map.

    The paper is silent on the 3x3 convolution before each head and inside the reduction (fixed by its Table 7),
    on dropout and the pooled branch's convolution (PyTorch-Encoding's).

    Args:
        num_classes: number of classes, void not counted.
        backbone: `"resnet18"` to `"resnet152"` or another name that `kc.models.backbone` knows, or a functional
            Keras model with named feature levels "P4" and "P5" that takes images in 0..255.
        weights: weights of a backbone given by name: None, `"imagenet"`, or a local path.
        output_stride: size of the image over size of the backbone's last features; 8, 16 or 32.
        head_channels: channels of the reduction, of every head and of the pooled branch.
        num_heads: number of heads (Table 3).
        kernel_sizes: size of their kernels, one for all heads or one per head (Table 4).
        dilation_rates: dilation rates at which every head applies its kernels (Table 5).
        reweighting: what stands in the heads: `"cac"`, or an alternative of Table 6: `"fixed"`, `"fc"`, `"gap"`,
            `"se"` or `"enc"`. The last two have no kernels, and take no notice of their sizes and rates.
        input_size: height and width of all images in pixels, or one number for both; for `reweighting="fc"` alone,
            which has a weight for every position and cannot take another size.
        global_pooling: whether the pooled branch is there (Table 1).
        auxiliary_weight: factor of the auxiliary loss; 0 leaves its head out (Table 2).
        dropout: share dropped before both classifiers in training.
        synchronized: take all batch-norm statistics over all replicas of a `tf.distribute` strategy.
        name: name of the model.
        dtype: dtype policy of everything but a backbone that is given as a model; default: Keras' policy.

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
        name: str = "cacnet",
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        _check("num_classes", num_classes, num_classes >= 1, "at least 1")
        _check("head_channels", head_channels, head_channels >= 1, "at least 1")
        _check("num_heads", num_heads, num_heads >= 0, "at least 0")
        _check("auxiliary_weight", auxiliary_weight, auxiliary_weight >= 0, "at least 0")
        _check("dropout", dropout, 0 <= dropout < 1, "in [0, 1)")
        sizes = per_head_kernel_sizes(kernel_sizes, num_heads)
        rates = checked_dilation_rates(dilation_rates)
        size = checked_reweighting(reweighting, input_size)
        policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())

        # === Layers ===
        if isinstance(backbone, str):
            with _default_policy(policy):
                network = named_backbone(backbone, weights, output_stride, synchronizes(synchronized))
        elif weights is not None:
            raise ValueError(
                f"weights={weights!r} goes with a backbone given by name; load the weights of a model before passing it"
            )
        else:
            network = dilate(backbone, output_stride, synchronizes(synchronized))
        channels = {level: tensor.shape[-1] for level, tensor in network.output.items()}
        module = (reweighting, size and positions(size, output_stride))
        settings = (num_classes, head_channels, sizes, rates, *module, global_pooling, dropout, synchronized, policy)
        decode = decoder(channels["P5"], *settings)
        auxiliary = None
        if auxiliary_weight:
            auxiliary = auxiliary_head(channels["P4"], num_classes, dropout, synchronized, policy)
        logits_dtype = decode.output.dtype
        resize = ResizeLike(output_stride, name="resize", dtype=logits_dtype)

        # === Functional model ===
        float64 = policy.compute_dtype == "float64"
        images = keras.Input((None, None, 3), name="images", dtype="float64" if float64 else "float32")
        pad = PadToMultiple(output_stride, name="pad", dtype=images.dtype)
        logits = resize([decode(network(pad(images))["P5"]), images])
        super().__init__(inputs=images, outputs=logits, name=name, **kwargs)

        # === Config ===
        self.num_classes = num_classes
        self.backbone = network
        self.output_stride = output_stride
        self.head_channels = head_channels
        self.num_heads = num_heads
        self.kernel_sizes = sizes
        self.dilation_rates = rates
        self.reweighting = reweighting
        self.input_size = size
        self.global_pooling = global_pooling
        self.auxiliary_weight = auxiliary_weight
        self.dropout = dropout
        self.synchronized = synchronized
        self.decoder = decode
        self.auxiliary = auxiliary
        self.pad = pad
        self.resize = resize
        self.resize_auxiliary = ResizeLike(min(output_stride, RES4_STRIDE), name="resize_auxiliary", dtype=logits_dtype)
        self.policy = policy
        self._latest = threading.local()

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if not training or self.auxiliary is None:
            return super().call(inputs, training=training, mask=mask)
        images = ops.convert_to_tensor(inputs, dtype=self.input.dtype)
        features = self.backbone(self.pad(images), training=True)
        logits = self.resize([self.decoder(features["P5"], training=True), images])
        auxiliary = self.resize_auxiliary([self.auxiliary(features["P4"], training=True), images])
        # Replicas trace in threads of their own, hence one slot a thread; `compute_loss` empties it.
        self._latest.logits, self._latest.auxiliary = logits, auxiliary
        return logits

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The compiled loss, in training with the auxiliary loss added at its weight (Section 4.1)."""
        total = super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)
        if not training or self.auxiliary is None:
            return total
        if not isinstance(self.loss, keras.losses.Loss):
            raise ValueError(
                f"auxiliary_weight={self.auxiliary_weight} needs one loss object, got loss={self.loss!r}: "
                "compile with loss=keras_cacnet.losses.SegmentationCrossentropy(), or build the network with "
                "auxiliary_weight=0"
            )
        if getattr(self._latest, "logits", None) is not y_pred:
            raise RuntimeError(
                "the auxiliary logits of this batch are missing: compute_loss(training=True) takes the result "
                "of the model's latest call with training=True as y_pred"
            )
        auxiliary = self._latest.auxiliary
        del self._latest.logits, self._latest.auxiliary
        return total + self.auxiliary_weight * self.loss(y, auxiliary, sample_weight)

    def weighting_maps(self, images: Any) -> dict[str, dict[str, Any]]:
        """The features X, the weights W and the product X* of every head, for Figure 4 of the paper.

        Args:
            images: RGB in 0..255.

        Shapes:
            - images: (B, H, W, 3)
            - every map: (B, h, w, head_channels)

        Returns:
            For each head ("head_1", ...) a dict of "X", "W" and "X*".

        Raises:
            ValueError: the network has no head.

        Example:
            >>> import numpy as np
            >>> model = CaCNet(5, backbone="resnet14_narrow", head_channels=16)
            >>> sorted(model.weighting_maps(np.zeros((1, 32, 32, 3)))["head_1"])
            ['W', 'X', 'X*']
        """
        if not self.num_heads:
            raise ValueError(f"{self.name} has num_heads=0: there is no weighting to look at")
        heads = [f"head_{index}" for index in range(1, self.num_heads + 1)]
        before = keras.Model(
            self.decoder.input, {head: self.decoder.get_layer(f"{head}_relu").output for head in heads}
        )
        images = self.pad(ops.convert_to_tensor(images, dtype=self.input.dtype))
        maps = {}
        for head, x in before(self.backbone(images)["P5"]).items():
            weights = self.decoder.get_layer(f"{head}_{self.reweighting}").weighting(x)
            weights = ops.broadcast_to(weights, ops.shape(x))  # "se" and "enc" have one W for all positions
            maps[head] = {"X": x, "W": weights, "X*": x * weights}
        return maps

    def save_own_variables(self, store: Any) -> None:
        """Save the state of every dropout, which Keras leaves out, so that a resumed run draws the same masks."""
        for name, state in self._dropout_states().items():
            store[name] = state

    def load_own_variables(self, store: Any) -> None:
        for name, state in self._dropout_states().items():
            state.assign(store[name])

    def _dropout_states(self) -> dict[str, Any]:
        heads = [head for head in (self.decoder, self.auxiliary) if head is not None]
        dropouts = [layer for head in heads for layer in head.layers if isinstance(layer, keras.layers.Dropout)]
        return {layer.name: layer.seed_generator.state for layer in dropouts if layer.rate > 0}

    def get_config(self) -> dict[str, Any]:
        return {
            "num_classes": self.num_classes,
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "output_stride": self.output_stride,
            "head_channels": self.head_channels,
            "num_heads": self.num_heads,
            "kernel_sizes": list(self.kernel_sizes),
            "dilation_rates": list(self.dilation_rates),
            "reweighting": self.reweighting,
            "input_size": self.input_size and list(self.input_size),
            "global_pooling": self.global_pooling,
            "auxiliary_weight": self.auxiliary_weight,
            "dropout": self.dropout,
            "synchronized": self.synchronized,
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.policy),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "CaCNet":
        config = dict(config)
        backbone = config.pop("backbone")
        if isinstance(backbone, Mapping):
            if not synchronizes(True):
                backbone = without_synchronization(backbone)
            backbone = keras.saving.deserialize_keras_object(backbone, custom_objects=custom_objects)
        dtype = keras.dtype_policies.deserialize(config.pop("dtype"))
        return cls(backbone=backbone, dtype=dtype, **config)


@contextmanager
def _default_policy(policy: Any) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _check(name: str, value: Any, holds: bool, wanted: str) -> None:
    if not holds:
        raise ValueError(f"{name} must be {wanted}, got {value!r}")
