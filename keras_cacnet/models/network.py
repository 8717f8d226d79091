"""A segmentation network on a dilated backbone, with any head, as one functional Keras model."""

import functools
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops

from keras_cacnet.layers.replicas import synchronizes, without_synchronization
from keras_cacnet.layers.resize import PadToMultiple, ResizeLike
from keras_cacnet.models.backbones import backbone as named_backbone
from keras_cacnet.models.dilation import dilate
from keras_cacnet.models.heads import Head, Settings, checked_head
from keras_cacnet.models.heads.base import presence_classifier
from keras_cacnet.models.heads.fcn import auxiliary_head
from keras_cacnet.models.semantic_encoding import semantic_encoding_loss, void_of

RES4_STRIDE = 16  # of a ResNet that is not dilated


@keras.saving.register_keras_serializable("keras_cacnet")
class SegmentationNetwork(keras.Model):
    """A dilated backbone, a head, and bilinear resizing to the size of the input.

    An FCN head on the last backbone stage but one adds an auxiliary loss in `fit`, and a head that encodes the image
    its semantic encoding loss: data stays `(image, mask)` and the loss one object; `predict`, `evaluate`, saving and
    export see the segmentation logits alone. `CaCNet` is this network with the head of the paper.

    Args:
        num_classes: number of classes, void not counted.
        head: `"pspnet"`, `"apcnet"` or another name of `kc.models.heads.HEADS`, or a head with settings of its own,
            such as `kc.models.heads.PSPHead(channels=256)`.
        backbone: `"resnet18"` to `"resnet152"` or another name that `kc.models.backbone` knows, or a functional
            Keras model with named feature levels "P4" and "P5" that takes images in 0..255.
        weights: weights of a backbone given by name: None, `"imagenet"`, or a local path.
        output_stride: size of the image over size of the backbone's last features; 8, 16 or 32.
        auxiliary_weight: factor of the auxiliary loss; 0 leaves its head out (Table 2).
        dropout: share dropped before both classifiers in training.
        synchronized: take all batch-norm statistics over all replicas of a `tf.distribute` strategy.
        name: name of the model.
        dtype: dtype policy of everything but a backbone that is given as a model; default: Keras' policy.

    Shapes:
        - input: (B, H, W, 3), RGB in 0..255, uint8 or float; any B, H, W
        - output: (B, H, W, num_classes), logits, float32 (float64 under a float64 policy)

    Raises:
        ValueError: an argument outside its range, an unknown head, or a backbone without the levels P4 and P5; the
            message names the value.

    Example:
        >>> import numpy as np
        >>> from keras_cacnet.models.heads import FCNHead
        >>> model = SegmentationNetwork(5, head=FCNHead(channels=16), backbone="resnet14_narrow")
        >>> tuple(model(np.zeros((1, 33, 47, 3), "uint8")).shape)
        (1, 33, 47, 5)

    Reference:
        Section 4.1 of the CaC-Net paper.
    """

    def __init__(
        self,
        num_classes: int,
        head: str | Head = "cacnet",
        backbone: str | keras.Model = "resnet50",
        weights: str | None = None,
        output_stride: int = 8,
        auxiliary_weight: float = 0.2,
        dropout: float = 0.1,
        synchronized: bool = False,
        name: str = "segmentation_network",
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        require("num_classes", num_classes, num_classes >= 1, "at least 1")
        require("auxiliary_weight", auxiliary_weight, auxiliary_weight >= 0, "at least 0")
        require("dropout", dropout, 0 <= dropout < 1, "in [0, 1)")
        head = checked_head(head)
        policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
        settings = Settings(num_classes, dropout, synchronized, policy)

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
        decoder = head.decoder(channels["P5"], settings)
        auxiliary = auxiliary_head(channels["P4"], settings) if auxiliary_weight else None
        presence = presence_classifier(settings) if head.se_loss_weight else None
        logits_dtype = decoder.output["logits"].dtype
        float64 = policy.compute_dtype == "float64"
        images = keras.Input((None, None, 3), name="images", dtype="float64" if float64 else "float32")
        pad = PadToMultiple(output_stride, name="pad", dtype=images.dtype)
        resize = ResizeLike(output_stride, name="resize", dtype=logits_dtype)
        resize_auxiliary = ResizeLike(min(output_stride, RES4_STRIDE), name="resize_auxiliary", dtype=logits_dtype)

        # === Functional model ===
        features = network(pad(images))
        decoded = decoder(features["P5"])
        outputs = {"logits": resize([decoded["logits"], images])}
        if auxiliary is not None:
            outputs["auxiliary"] = resize_auxiliary([auxiliary(features["P4"]), images])
        if presence is not None:
            outputs["presence"] = presence(decoded["encoding"])
        super().__init__(inputs=images, outputs=outputs["logits"], name=name, **kwargs)
        # The same layers with what only `fit` needs; a partial, so that Keras saves and counts them once.
        self._with_losses = functools.partial(keras.Model(images, outputs, name="training"), training=True)
        self._latest = threading.local()

        # === Config ===
        self.num_classes = num_classes
        self.head = head
        self.backbone = network
        self.output_stride = output_stride
        self.auxiliary_weight = auxiliary_weight
        self.se_loss_weight = head.se_loss_weight
        self.dropout = dropout
        self.synchronized = synchronized
        self.decoder = decoder
        self.auxiliary = auxiliary
        self.presence = presence
        self.pad = pad
        self.resize = resize
        self.resize_auxiliary = resize_auxiliary
        self.policy = policy

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if not training or not self._has_losses:
            return super().call(inputs, training=training, mask=mask)
        # Replicas trace in threads of their own, hence one slot a thread; `compute_loss` empties it.
        self._latest.outputs = self._with_losses(inputs)
        return self._latest.outputs["logits"]

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The compiled loss; in training with the auxiliary and the semantic encoding loss at their weights."""
        total = super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)
        if not training or not self._has_losses:
            return total
        if not isinstance(self.loss, keras.losses.Loss):
            raise ValueError(
                f"auxiliary_weight={self.auxiliary_weight} and se_loss_weight={self.se_loss_weight} need one loss "
                f"object, got loss={self.loss!r}: compile with loss=keras_cacnet.losses.SegmentationCrossentropy(), "
                "or build the network with both at 0"
            )
        outputs = getattr(self._latest, "outputs", {})
        if outputs.get("logits") is not y_pred:
            raise RuntimeError(
                "the auxiliary logits of this batch are missing: compute_loss(training=True) takes the result "
                "of the model's latest call with training=True as y_pred"
            )
        del self._latest.outputs
        # Keras has cast its total to floatx; a cast of the weighted terms leaves float64 gradients as they are.
        if self.auxiliary is not None:
            auxiliary = self.auxiliary_weight * self.loss(y, outputs["auxiliary"], sample_weight)
            total = total + ops.cast(auxiliary, total.dtype)
        if self.presence is not None:
            presence = semantic_encoding_loss(y, outputs["presence"], void_of(self.loss), sample_weight)
            total = total + ops.cast(self.se_loss_weight * presence, total.dtype)
        return total

    @property
    def _has_losses(self) -> bool:
        return self.auxiliary is not None or self.presence is not None

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
            "head": keras.saving.serialize_keras_object(self.head),
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "output_stride": self.output_stride,
            "auxiliary_weight": self.auxiliary_weight,
            "dropout": self.dropout,
            "synchronized": self.synchronized,
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.policy),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "SegmentationNetwork":
        config = dict(config)
        if isinstance(config["backbone"], Mapping) and not synchronizes(True):
            config["backbone"] = without_synchronization(config["backbone"])
        for part in ("backbone", "head"):
            if isinstance(config.get(part), Mapping):
                config[part] = keras.saving.deserialize_keras_object(config[part], custom_objects=custom_objects)
        dtype = keras.dtype_policies.deserialize(config.pop("dtype"))
        return cls(dtype=dtype, **config)


def require(name: str, value: Any, holds: bool, wanted: str) -> None:
    """ValueError with the name of an argument, what it must be and what it is, where the condition fails."""
    if not holds:
        raise ValueError(f"{name} must be {wanted}, got {value!r}")


@contextmanager
def _default_policy(policy: Any) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
