"""A segmentation network on a dilated backbone, with any head, as one functional Keras model."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras

from keras_cacnet.layers.normalization import synchronizes, without_synchronization
from keras_cacnet.layers.resize import PadToMultiple, ResizeLike
from keras_cacnet.models.arguments import require_classes, require_count, require_flag, require_number
from keras_cacnet.models.backbones import backbone as named_backbone
from keras_cacnet.models.dilation import dilate
from keras_cacnet.models.heads import Head, HeadContext, head_of
from keras_cacnet.models.heads.base import positions, presence_classifier
from keras_cacnet.models.heads.fcn import auxiliary_head
from keras_cacnet.models.objective import TrainableModel
from keras_cacnet.models.saving import SavableModel, require_current_format, set_trainable_flags, trainable_flags

RES4_STRIDE = 16  # of a ResNet that is not dilated


@keras.saving.register_keras_serializable("keras_cacnet")
class SegmentationNetwork(TrainableModel, SavableModel):
    """A dilated backbone, a head, and bilinear resizing to the size of the input.

    An FCN head on the last backbone stage but one adds an auxiliary loss in `fit`, and a head that encodes the image
    its semantic encoding loss: data stays `(image, mask)` and the loss one object; `predict`, `evaluate`, saving and
    export see the segmentation logits only, and so does a model that this one is a layer of.

    A training loop of your own calls the network by the name of its input, and gets all outputs by name:
    `outputs = model({"images": x}, training=True)`, then `model.compute_loss(x, y, outputs)` is the loss of `fit`.

    Args:
        num_classes: number of classes, at least 2; void is not counted, the background of a binary task is.
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
        trainable: False freezes the whole network.

    Shapes:
        - input: (B, H, W, 3), RGB in 0..255, uint8 or float; any B, H, W
        - output: (B, H, W, num_classes), logits, float32 (float64 under a float64 policy)

    Raises:
        ValueError: an argument outside its range, an unknown head, or a backbone without the levels P4 and P5; the
            message names the value.

    Example:
        >>> import numpy as np
        >>> from keras_cacnet.models.heads import FCNHead
        >>> model = SegmentationNetwork(5, FCNHead(channels=16), backbone="resnet14_narrow")
        >>> tuple(model(np.zeros((1, 33, 47, 3), "uint8")).shape)
        (1, 33, 47, 5)

    Reference:
        Section 4.1 of the CaC-Net paper.
    """

    def __init__(
        self,
        num_classes: int,
        head: str | Head = "cacnet",
        *,
        backbone: str | keras.Model = "resnet50",
        weights: str | None = None,
        output_stride: int = 8,
        auxiliary_weight: float = 0.2,
        dropout: float = 0.1,
        synchronized: bool = False,
        name: str = "segmentation_network",
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        num_classes = require_classes(num_classes)
        output_stride = require_count("output_stride", output_stride)
        auxiliary_weight = require_number("auxiliary_weight", auxiliary_weight)
        dropout = require_number("dropout", dropout, below=1)
        synchronized = require_flag("synchronized", synchronized)
        trainable = require_flag("trainable", trainable)
        head = head_of(head)
        policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
        context = HeadContext(num_classes, dropout, synchronized, policy)

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
        decoder = head.decoder(channels["P5"], context)
        auxiliary = auxiliary_head(channels["P4"], context) if auxiliary_weight else None
        presence = presence_classifier(context) if head.se_loss_weight else None
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
        super().__init__(inputs=images, outputs=outputs["logits"], name=name)
        self.set_training_outputs(images, outputs)
        self.dtype_policy = policy

        # === Config ===
        self.num_classes = num_classes
        self.head: Any = head
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
        self.input_size: tuple[int, int] | None = None
        if head.positions:
            self.input_size = head.positions[0] * output_stride, head.positions[1] * output_stride
        if not trainable:
            self.trainable = False

    def require_image_size(self, height: int, width: int) -> None:
        """Refuse an image that a network for one `input_size` cannot take, before it is computed.

        Images whose sides round up to the same multiples of the output stride have the same features and pass.

        Args:
            height: height of the image, in pixels.
            width: width of the image, in pixels.

        Raises:
            ValueError: the network has an `input_size`, and this is another; the message names both.
        """
        stride, wanted = self.output_stride, self.input_size
        if wanted and positions(wanted, stride) != positions((height, width), stride):
            raise ValueError(
                f"model {self.name!r} takes images of {wanted[0]}x{wanted[1]} pixels alone, for "
                f"reweighting={self.head.reweighting!r} has a weight for every position; got {height}x{width}: resize "
                "or crop the images, or train another reweighting"
            )

    def get_config(self) -> dict[str, Any]:
        backbone = keras.saving.serialize_keras_object(self.backbone)
        require_current_format(backbone)
        return {
            "num_classes": self.num_classes,
            "head": keras.saving.serialize_keras_object(self.head),
            "backbone": backbone,
            "output_stride": self.output_stride,
            "auxiliary_weight": self.auxiliary_weight,
            "dropout": self.dropout,
            "synchronized": self.synchronized,
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "trainable": trainable_flags(self),
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
        flags = config.pop("trainable", {})
        network = cls(dtype=dtype, **config)
        set_trainable_flags(network, flags)
        return network


@contextmanager
def _default_policy(policy: Any) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
