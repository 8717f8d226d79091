"""A segmentation network on a dilated backbone, with any head, as one functional Keras model."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops

from keras_cacnet.arguments import require_classes, require_count, require_flag, require_number
from keras_cacnet.layers.base import ReweightingLayer
from keras_cacnet.layers.replicas import synchronizes, without_synchronization
from keras_cacnet.layers.resize import PadToMultiple, ResizeLike, resize_bilinear
from keras_cacnet.models.backbones import backbone as named_backbone
from keras_cacnet.models.blocks import recomputed_levels
from keras_cacnet.models.dilation import dilate
from keras_cacnet.models.heads import Head, HeadContext, head_of
from keras_cacnet.models.heads.base import positions, presence_classifier
from keras_cacnet.models.heads.fcn import auxiliary_head
from keras_cacnet.models.objective import TrainableModel
from keras_cacnet.models.portable import PortableModel
from keras_cacnet.models.saving import SavableModel, require_current_format, set_trainable_flags, trainable_flags
from keras_cacnet.models.settings import RES4_STRIDE, require_loss_stride


@keras.saving.register_keras_serializable("keras_cacnet")
class SegmentationNetwork(TrainableModel, PortableModel, SavableModel):
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
        loss_stride: pixels per position of the grid on which the losses are taken in training; 1 takes every pixel.
            It divides the strides of the features, `output_stride` and at most 16, and may be set later.
        recompute: in training keep only what the blocks of the backbone and the re-weightings begin with, and compute
            them once more in the backward pass: the same gradient with less memory, in more time. May be set later.
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
        loss_stride: int = 1,
        recompute: bool = False,
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
        if presence is not None:
            presence.build(decoder.output["encoding"].shape)
        logits_dtype = decoder.output["logits"].dtype
        float64 = policy.compute_dtype == "float64"
        images = keras.Input((None, None, 3), name="images", dtype="float64" if float64 else "float32")
        pad = PadToMultiple(output_stride, name="pad", dtype=images.dtype)
        resize = ResizeLike(output_stride, name="resize", dtype=logits_dtype)

        # === Functional model ===
        features = network(pad(images))
        decoded = decoder(features["P5"])
        super().__init__(inputs=images, outputs=resize([decoded["logits"], images]), name=name)
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
        self.loss_stride = loss_stride
        self.recompute = recompute
        self.input_size: tuple[int, int] | None = None
        if head.positions:
            self.input_size = head.positions[0] * output_stride, head.positions[1] * output_stride
        if not trainable:
            self.trainable = False

    @property
    def loss_stride(self) -> int:
        """Pixels per position of the grid on which the losses are taken in training."""
        return self._loss_stride

    @loss_stride.setter
    def loss_stride(self, stride: int) -> None:
        self._loss_stride = require_loss_stride(stride, self.output_stride)

    @property
    def recompute(self) -> bool:
        """Whether training computes the backbone and the re-weightings a second time instead of keeping them."""
        return self._recompute

    @recompute.setter
    def recompute(self, recompute: bool) -> None:
        self._recompute = require_flag("recompute", recompute)
        for layer in self.decoder.layers:
            if isinstance(layer, ReweightingLayer):
                layer.recompute = self._recompute

    @property
    def training_names(self) -> tuple[str, ...]:
        """The names of the outputs in training."""
        parts = {"auxiliary": self.auxiliary, "presence": self.presence}
        return ("logits", *(name for name, part in parts.items() if part is not None))

    def features(self, images: Any, training: bool = False) -> dict[str, Any]:
        """Compute the feature levels that the network uses.

        A frozen backbone is in inference whatever `training` says, its dropouts included, and has no gradient.

        Args:
            images: RGB in 0..255.
            training: whether batch norms and dropouts train.

        Shapes:
            - images: (B, H, W, 3)
            - P5: (B, ceil(H / output_stride), ceil(W / output_stride), c); P4 likewise, at 16 at most

        Returns:
            "P5", and "P4" where there is an auxiliary head.

        Example:
            >>> import numpy as np
            >>> model = SegmentationNetwork(5, "fcn", backbone="resnet14_narrow", auxiliary_weight=0)
            >>> {level: tuple(x.shape) for level, x in model.features(np.zeros((1, 33, 47, 3))).items()}
            {'P5': (1, 5, 6, 1024)}
        """
        images = self.pad(ops.convert_to_tensor(images, dtype=self.input.dtype))
        frozen = not self.backbone.trainable_variables
        names = ("P5",) if self.auxiliary is None else ("P4", "P5")
        if training and self.recompute and not frozen:
            return recomputed_levels(self.backbone, images, names)
        levels = self.backbone(images, training=bool(training) and not frozen)
        return {name: ops.stop_gradient(levels[name]) if frozen else levels[name] for name in names}

    def training_outputs(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return self._on_grid_of(inputs, self.loss_stride)

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if training and not isinstance(inputs, Mapping) and not self.backbone.trainable_variables:
            # Keras' own way through the graph would have the dropouts of a frozen backbone train.
            return self._on_grid_of({"images": inputs}, 1)["logits"]
        return super().call(inputs, training=training, mask=mask)

    def _on_grid_of(self, inputs: Mapping[str, Any], loss_stride: int) -> dict[str, Any]:
        """The outputs of training, on a grid of that stride, cut to the image where that is known."""
        features, size = inputs, None
        if "images" in inputs:
            features, size = self.features(inputs["images"], training=True), ops.shape(inputs["images"])[1:3]
        decoded = self.decoder(features["P5"], training=True)
        outputs = {"logits": self._enlarged(decoded["logits"], self.output_stride, loss_stride, size)}
        if self.auxiliary is not None:
            logits = self.auxiliary(features["P4"], training=True)
            outputs["auxiliary"] = self._enlarged(logits, min(self.output_stride, RES4_STRIDE), loss_stride, size)
        if self.presence is not None:
            outputs["presence"] = self.presence(decoded["encoding"])
        return outputs

    def _enlarged(self, logits: Any, stride: int, loss_stride: int, size: Any) -> Any:
        _, rows, columns, _ = ops.shape(logits)
        factor = stride // loss_stride
        enlarged = resize_bilinear(logits, rows * factor, columns * factor, self.resize.compute_dtype)
        if size is None:
            return enlarged
        # As many positions as have their centre in the image.
        height, width = ((side - loss_stride // 2 + loss_stride - 1) // loss_stride for side in size)
        return enlarged[:, :height, :width]

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
                f"model {self.name!r} takes only images of {wanted[0]}x{wanted[1]} pixels, for "
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
            "loss_stride": self.loss_stride,
            "recompute": self.recompute,
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "trainable": trainable_flags(self),
            "task": self.task,
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
        flags, task = config.pop("trainable", {}), config.pop("task", {})
        network = cls(dtype=dtype, **config)
        set_trainable_flags(network, flags)
        network.set_task(task)
        return network


@contextmanager
def _default_policy(policy: Any) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
