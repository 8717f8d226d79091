"""A segmentation network on a dilated backbone, with any head, as one functional Keras model."""

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops

from keras_cacnet.layers.normalization import synchronizes, without_synchronization
from keras_cacnet.layers.resize import PadToMultiple, ResizeLike
from keras_cacnet.models.arguments import require_classes, require_count, require_flag, require_loss, require_number
from keras_cacnet.models.backbones import backbone as named_backbone
from keras_cacnet.models.dilation import dilate
from keras_cacnet.models.heads import Head, HeadContext, head_of
from keras_cacnet.models.heads.base import positions, presence_classifier
from keras_cacnet.models.heads.fcn import auxiliary_head
from keras_cacnet.models.saving import (
    require_current_format,
    require_keras_format,
    seed_states,
    set_trainable_flags,
    trainable_flags,
)
from keras_cacnet.models.semantic_encoding import semantic_encoding_loss, void_of

RES4_STRIDE = 16  # of a ResNet that is not dilated


@keras.saving.register_keras_serializable("keras_cacnet")
class SegmentationNetwork(keras.Model):
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
        # The same layers with what only training needs; a partial, so that Keras saves and counts them once.
        self._with_losses = functools.partial(keras.Model(images, outputs, name="training"), training=True)
        self._outputs_in_training = tuple(outputs)
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

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if training and isinstance(inputs, Mapping):
            return self._with_losses(inputs["images"])
        return super().call(inputs, training=training, mask=mask)

    def compile(
        self, optimizer: Any = "rmsprop", loss: Any = None, loss_weights: Any = None, *args: Any, **kwargs: Any
    ) -> None:
        """Configure training, as `keras.Model.compile` does.

        Args:
            optimizer: as Keras takes it.
            loss: a `keras.losses.Loss` that takes logits; it is applied to the auxiliary logits too.
            loss_weights: None, as there is one loss.
            *args: what else Keras takes.
            **kwargs: likewise.

        Raises:
            ValueError: a loss by name or a function, several losses, one that takes probabilities, or weights of
                losses.
        """
        if loss_weights is not None:
            raise ValueError(
                f"loss_weights={loss_weights!r}: the network has one loss; the factors of the other terms are its "
                "arguments auxiliary_weight and se_loss_weight"
            )
        self._auto_scale_loss = kwargs.get("auto_scale_loss", True)
        super().compile(optimizer, require_loss(loss, self.output_names), None, *args, **kwargs)

    def get_compile_config(self) -> dict[str, Any] | None:
        config = super().get_compile_config()
        # Keras leaves it out, and would lose the optimizer's state where it was False.
        return config and {**config, "auto_scale_loss": self._auto_scale_loss}

    def compile_from_config(self, config: dict[str, Any]) -> None:
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    def train_step(self, *state_and_data: Any) -> Any:
        """Keras' own step, with the images by name, so that `call` gives all outputs by name."""
        *state, data = state_and_data
        images, masks, weights = keras.utils.unpack_x_y_sample_weight(data)
        named = images if isinstance(images, Mapping) else {"images": images}
        return super().train_step(*state, (named, masks, weights))

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The compiled loss; in training with the auxiliary and the semantic encoding loss at their weights.

        Args:
            x: not used.
            y: masks, of the shape that the loss takes.
            y_pred: logits; in training all outputs, as `model({"images": x}, training=True)` gives them.
            sample_weight: as the loss takes it.
            training: whether the other losses are added.

        Returns:
            A scalar.

        Raises:
            ValueError: in training, outputs that a loss needs are missing.
        """
        if self.loss is None:
            raise ValueError("there is no loss: compile with loss=keras_cacnet.losses.SegmentationCrossentropy()")
        outputs = y_pred if isinstance(y_pred, Mapping) else {"logits": y_pred}
        total = super().compute_loss(x=x, y=y, y_pred=outputs["logits"], sample_weight=sample_weight, training=training)
        if not training:
            return total
        if missing := [output for output in self._outputs_in_training if output not in outputs]:
            raise ValueError(
                f"the loss in training needs the outputs {', '.join(missing)}, and got the logits only: take what "
                'model({"images": x}, training=True) gives, all outputs by name'
            )
        masks, weights = _only(y), _only(sample_weight)
        # Keras has cast its total to floatx; a cast of the weighted terms leaves float64 gradients as they are.
        if self.auxiliary is not None:
            auxiliary = self.auxiliary_weight * self.loss(masks, outputs["auxiliary"], weights)
            total = total + ops.cast(auxiliary, total.dtype)
        if self.presence is not None:
            presence = semantic_encoding_loss(masks, outputs["presence"], void_of(self.loss), weights)
            total = total + ops.cast(self.se_loss_weight * presence, total.dtype)
        return total

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        logits = y_pred["logits"] if isinstance(y_pred, Mapping) else y_pred
        return super().compute_metrics(x, y, logits, sample_weight=sample_weight)

    def save(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Save the whole network as NAME.keras, as `keras.Model.save` does.

        Raises:
            ValueError: an HDF5 file, which could not be loaded.
        """
        require_keras_format(filepath)
        super().save(filepath, *args, **kwargs)

    def save_own_variables(self, store: Any) -> None:
        """Save the random state of every dropout, so that a resumed run draws the same masks."""
        for name, state in seed_states(self).items():
            store[name] = state

    def load_own_variables(self, store: Any) -> None:
        """Take over the random states that are there: weights fit whatever `dropout` they were trained with."""
        for name, state in seed_states(self).items():
            if name in store.keys():  # noqa: SIM118, an HDF5 store has no `in`
                state.assign(store[name])

    def _run_through_graph(self, *args: Any, **kwargs: Any) -> Any:
        # Once built, only keras.models.clone_model gives a call_fn; it would make a plain model without these losses.
        if self.built and "call_fn" in kwargs:
            raise ValueError(
                f"keras.models.clone_model cannot clone {type(self).__name__}, whose training needs more than its "
                "graph: take copy.deepcopy(model), or type(model).from_config(model.get_config()) for new weights; "
                "keras.Model(model.inputs, model.outputs) can be cloned"
            )
        return super()._run_through_graph(*args, **kwargs)

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


def _only(value: Any) -> Any:
    """What is given for the one output, alone or in a list or dict of one."""
    return value if value is None else keras.tree.flatten(value)[0]


@contextmanager
def _default_policy(policy: Any) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
