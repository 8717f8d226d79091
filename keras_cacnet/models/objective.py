"""How a network trains: all outputs by name, the losses on them, and what `compile` and `fit` take."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from keras_cacnet.arguments import require_count
from keras_cacnet.models.accumulation import accumulated_step, require_accumulation
from keras_cacnet.models.batch_statistics import require_statistics
from keras_cacnet.models.semantic_encoding import presence_weights, semantic_encoding_loss, void_of


class TrainableModel(keras.Model):
    """A functional model from images to logits, which in training gives further outputs with losses of their own.

    `model({"images": x}, training=True)` gives all outputs by name; this is how `fit` calls it. Every other call gives
    the logits only, one by a model that it is a layer of among them. Features that were computed before take the place
    of the images by the names of their levels: `model({"P5": p5}, training=True)`.
    """

    auxiliary_weight: float
    se_loss_weight: float
    loss_stride: int
    accumulate: int = 1

    def training_outputs(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Compute the logits, and those of "auxiliary" and "presence" that have a loss, on the grid of the loss.

        Args:
            inputs: the images by their name, or features by those of their levels.
        """
        raise NotImplementedError

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if isinstance(inputs, Mapping) and training:
            return self.training_outputs(inputs)
        images = inputs["images"] if isinstance(inputs, Mapping) else inputs
        return super().call(images, training=training, mask=mask)

    def _assert_input_compatibility(self, inputs: Any, *args: Any) -> None:
        # Keras looks for the images by name; of features the decoder checks the channels itself.
        if not isinstance(inputs, Mapping) or "images" in inputs:
            super()._assert_input_compatibility(inputs, *args)

    def compute_output_spec(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if isinstance(inputs, Mapping):
            raise ValueError(
                f"inside another model call {self.name!r} with only the images, not by name: it would hand on all "
                "outputs of its training"
            )
        return super().compute_output_spec(inputs, training=training, mask=mask)

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        *args: Any,
        accumulate: int = 1,
        **kwargs: Any,
    ) -> None:
        """Configure training, as `keras.Model.compile` does.

        Args:
            optimizer: as Keras takes it.
            loss: a `keras.losses.Loss` that takes logits; it is applied to the auxiliary logits too.
            loss_weights: None, as there is one loss.
            metrics: as Keras takes them.
            weighted_metrics: likewise.
            *args: what else Keras takes.
            accumulate: the number of parts of a batch that a training step computes one after the other: less memory,
                and the gradient of the whole batch. Batch norms see one part at a time.
            **kwargs: what else Keras takes.

        Raises:
            ValueError: a loss by name or a function, several losses, one that takes probabilities, weights of losses,
                a metric that takes class ids, or parts without TensorFlow or with a loss that is not of `kc.losses`.
        """
        if loss_weights is not None:
            raise ValueError(
                f"loss_weights={loss_weights!r}: the network has one loss; the factors of the other terms are its "
                "arguments auxiliary_weight and se_loss_weight"
            )
        self._auto_scale_loss = kwargs.get("auto_scale_loss", True)
        require_metrics_of_logits(metrics, weighted_metrics)
        one = require_loss(loss, self.output_names)
        self.accumulate = require_count("accumulate", accumulate)
        if self.accumulate > 1:
            require_accumulation(self.accumulate, one)
        super().compile(optimizer, one, None, metrics, weighted_metrics, *args, **kwargs)

    def get_compile_config(self) -> dict[str, Any] | None:
        config = super().get_compile_config()
        # Keras leaves it out, and would lose the optimizer's state where it was False.
        return config and {**config, "auto_scale_loss": self._auto_scale_loss, "accumulate": self.accumulate}

    def compile_from_config(self, config: dict[str, Any]) -> None:
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """Train, as `keras.Model.fit` does.

        Raises:
            ValueError: `class_weight`, which is for one label per image.
        """
        _require_no_class_weight(kwargs)
        return super().fit(*args, **kwargs)

    def train_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Train on one batch, as `keras.Model.train_on_batch` does; `class_weight` is refused."""
        _require_no_class_weight(kwargs)
        return super().train_on_batch(*args, **kwargs)

    def train_step(self, *state_and_data: Any) -> Any:
        """Take Keras' own step, with the images by name, so that `call` gives all outputs by name."""
        *state, data = state_and_data
        images, masks, weights = keras.utils.unpack_x_y_sample_weight(data)
        named = images if isinstance(images, Mapping) else {"images": images}
        require_statistics(self, _only(masks))
        if self.accumulate > 1:
            return accumulated_step(self, named, masks, weights)
        return super().train_step(*state, (named, masks, weights))

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Compute the compiled loss; in training with the auxiliary and the semantic encoding loss at their weights.

        Args:
            x: what the network was called with; masks that come with features are on the grid of the loss already.
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
        masks, weights = self._on_grid(x, _only(y), _only(sample_weight), training)
        outputs = y_pred if isinstance(y_pred, Mapping) else {"logits": y_pred}
        total = super().compute_loss(x, masks, outputs["logits"], weights, training=training)
        if not training:
            return total
        if missing := [name for name in self.training_names if name not in outputs]:
            raise ValueError(
                f"the loss in training needs the outputs {', '.join(missing)}, and got the logits only: take what "
                'model({"images": x}, training=True) gives, all outputs by name'
            )
        # Keras has cast its total to floatx; a cast of the weighted terms leaves float64 gradients as they are.
        if "auxiliary" in self.training_names:
            auxiliary = self.auxiliary_weight * self.loss(masks, outputs["auxiliary"], weights)
            total = total + ops.cast(auxiliary, total.dtype)
        if "presence" in self.training_names:
            presence = semantic_encoding_loss(masks, outputs["presence"], void_of(self.loss), weights)
            total = total + ops.cast(self.se_loss_weight * presence, total.dtype)
        return total

    def divisors_of_losses(self, inputs: Any, masks: Any, weights: Any) -> dict[str, Any]:
        """Give what the means of the losses divide by, of a part of a batch; see `accumulated_step`."""
        masks, weights = self._on_grid(inputs, _only(masks), _only(weights), training=True)
        like = keras.KerasTensor((*masks.shape[:3], self.output.shape[-1]), self.output.dtype)
        divisors = {"logits": self.loss.divisor(masks, like, weights)}
        if "presence" in self.training_names:
            found = presence_weights(masks, self.output.shape[-1], void_of(self.loss), weights, self.output.dtype)
            divisors["presence"] = ops.sum(found[1])
        return divisors

    def loss_of_part(self, inputs: Any, masks: Any, weights: Any, outputs: Any, divisors: dict[str, Any]) -> Any:
        """Compute what a part of a batch adds to the loss of training; see `accumulated_step`."""
        masks, weights = self._on_grid(inputs, _only(masks), _only(weights), training=True)
        total = self.loss(masks, outputs["logits"], weights, divisors["logits"])
        if "auxiliary" in self.training_names:
            auxiliary = self.loss(masks, outputs["auxiliary"], weights, divisors["logits"])
            total = total + self.auxiliary_weight * auxiliary
        if "presence" in self.training_names:
            presence = (masks, outputs["presence"], void_of(self.loss), weights, divisors["presence"])
            total = total + self.se_loss_weight * ops.cast(semantic_encoding_loss(*presence), total.dtype)
        for loss in self.losses:
            total = total + ops.cast(self._aggregate_additional_loss(loss), total.dtype) / self.accumulate
        return total

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        training = isinstance(y_pred, Mapping)
        masks, weights = self._on_grid(x, _only(y), _only(sample_weight), training)
        return super().compute_metrics(x, masks, y_pred["logits"] if training else y_pred, sample_weight=weights)

    def _on_grid(self, x: Any, masks: Any, weights: Any, training: bool) -> tuple[Any, Any]:
        """Masks and weights of pixels, at the centres of the grid that the outputs of training have."""
        from_features = isinstance(x, Mapping) and "images" not in x
        if self.loss_stride == 1 or not training or from_features:
            return masks, weights
        # (B, 1, 1) is a weight for each image, as the losses take it.
        by_pixel = weights is not None and len(weights.shape) > 2 and tuple(weights.shape[1:3]) != (1, 1)
        return on_grid(masks, self.loss_stride), on_grid(weights, self.loss_stride) if by_pixel else weights


def on_grid(masks: Any, stride: int) -> Any:
    """Take masks at the centres of a grid that is coarser than their pixels.

    Args:
        masks: one value a pixel.
        stride: pixels of the image per position of the grid. The centre of an even number of them lies between two,
            of which the second is taken, as nearest-neighbour resizing does.

    Shapes:
        - masks: (B, H, W, ...)
        - result: (B, h, w, ...), as many positions as have their centre in the image

    Example:
        >>> import numpy as np
        >>> on_grid(np.arange(32).reshape(1, 4, 8), 4).tolist()
        [[[18, 22]]]
    """
    return masks[:, stride // 2 :: stride, stride // 2 :: stride]


def require_loss(loss: Any, names: list[str]) -> keras.losses.Loss | None:
    """Find the one loss of a network with one output, as `compile` was given it: alone, or in a list or dict of one.

    Args:
        loss: the loss, or None.
        names: the name of the output, as Keras has it.

    Raises:
        ValueError: something else than one loss object that takes logits.

    Example:
        >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        >>> require_loss([loss], ["resize"]) is loss
        True
    """
    one = loss
    if isinstance(loss, Mapping) and list(loss) == names:
        one = loss[names[0]]
    elif isinstance(loss, list | tuple) and len(loss) == 1:
        one = loss[0]
    if one is None:
        return None
    if not isinstance(one, keras.losses.Loss):
        raise ValueError(
            f"loss must be one keras.losses.Loss object that takes logits, got {loss!r}: compile with "
            "loss=keras_cacnet.losses.SegmentationCrossentropy()"
        )
    if getattr(one, "from_logits", True) is False:
        raise ValueError(
            f"loss={one.name!r} takes probabilities, and the network gives logits: build it with from_logits=True, or "
            "compile with loss=keras_cacnet.losses.SegmentationCrossentropy()"
        )
    return one


def require_metrics_of_logits(*metrics: Any) -> None:
    """Refuse metrics that take class ids for what a network gives.

    Args:
        *metrics: metrics, in any form in which `compile` takes them.

    Raises:
        ValueError: one of Keras' IoU metrics as it is by default.

    Example:
        >>> require_metrics_of_logits([keras.metrics.MeanIoU(5, sparse_y_pred=False)])
    """
    for metric in keras.tree.flatten(metrics):
        if isinstance(metric, keras.metrics.IoU) and metric.sparse_y_pred:
            raise ValueError(
                f"the metric {metric.name!r} takes class ids, and the network gives logits: build it with "
                "sparse_y_pred=False, or take keras_cacnet.metrics.MeanIoU, which leaves void out"
            )


def _only(value: Any) -> Any:
    """What is given for the one output, alone or in a list or dict of one."""
    if value is None:
        return None
    found = keras.tree.flatten(value)
    if len(found) != 1:
        raise ValueError(f"the network has one output, and got masks or weights for {len(found)}")
    return found[0]


def _require_no_class_weight(arguments: Mapping[str, Any]) -> None:
    if arguments.get("class_weight") is not None:
        raise ValueError(
            "class_weight is for one label per image; weigh pixels by sample_weight of the masks' shape (B, H, W), "
            "with the weight of its class at every pixel"
        )
