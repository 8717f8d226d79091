"""A training step in parts: the gradient of a batch that does not fit into memory at once."""

from collections.abc import Mapping
from typing import Any

import keras

from keras_cacnet.layers.replicas import sum_over_replicas


def accumulated_step(model: Any, inputs: Mapping[str, Any], masks: Any, weights: Any) -> dict[str, Any]:
    """Train on a batch in `model.accumulate` parts, one after the other, with one update of the weights.

    What the losses divide by is summed over all parts and replicas first, from nothing but masks and weights. So the
    gradient is that of the whole batch, however void is spread over the parts; a mean of their means is not. Batch
    norms see one part at a time: their statistics are those of the part, and the moving ones are updated by each.

    Args:
        model: a `TrainableModel`, compiled, under TensorFlow.
        inputs: what the network is called with, by name.
        masks: class ids.
        weights: as the loss takes them, or None.

    Returns:
        The metrics, as Keras' `train_step`.

    Raises:
        ValueError: the batch, of a known size, is no multiple of the parts.
        tf.errors.InvalidArgumentError: the same of a size that only the running graph knows.
    """
    import tensorflow as tf

    count = model.accumulate
    parts = parts_of(count, inputs, masks, weights)
    divisors = sum_of([model.divisors_of_losses(**part) for part in parts])
    divisors = keras.tree.map_structure(sum_over_replicas, divisors)
    variables, total = model.trainable_variables, 0.0
    gradients: list[Any] = []
    for part in parts:
        # One after the other, or all would be in memory at once.
        with tf.control_dependencies([one for one in gradients if one is not None]):
            part = keras.tree.map_structure(lambda one: one if one is None else tf.identity(one), part)
        with tf.GradientTape() as tape:
            outputs = model(part["inputs"], training=True)
            loss = model.loss_of_part(outputs=outputs, divisors=divisors, **part)
            scaled = model.optimizer.scale_loss(loss)
        found = tape.gradient(scaled, variables)
        gradients = sum_of([gradients, found]) if gradients else found
        total += loss
        model.compute_metrics(part["inputs"], part["masks"], outputs, part["weights"])
    replicas = model.distribute_strategy.num_replicas_in_sync
    model._loss_tracker.update_state(total * replicas, sample_weight=tf.shape(masks)[0])
    model.optimizer.apply_gradients(zip(gradients, variables, strict=True))
    return model.get_metrics_result()


def require_accumulation(accumulate: int, loss: Any) -> None:
    """Refuse to take batches in parts where their gradient would not be that of the whole batch.

    Raises:
        ValueError: another backend than TensorFlow, or a loss whose divisor is not known from the masks.
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(f"accumulate={accumulate} needs the TensorFlow backend: take smaller batches, or TensorFlow")
    if not hasattr(loss, "divisor") or getattr(loss, "reduction", None) in (None, "none"):
        raise ValueError(
            f"accumulate={accumulate} needs a loss of kc.losses that is one number, got {loss!r}: of others it is not "
            "known what their mean divides by"
        )


def parts_of(count: int, inputs: Mapping[str, Any], masks: Any, weights: Any) -> list[dict[str, Any]]:
    """Split a batch into parts of equal size, in order, each with its inputs, masks and weights."""
    import tensorflow as tf

    size = masks.shape[0]
    if size is not None and size % count:
        raise ValueError(
            f"a batch of {size} on each device cannot be taken in {count} parts (accumulate={count}): "
            f"take a multiple of {count}"
        )

    def split(value: Any) -> list[Any]:
        return [value] * count if value is None or not len(value.shape) else tf.split(value, count)

    by_name = {name: split(value) for name, value in inputs.items()}
    return [
        {"inputs": {name: values[i] for name, values in by_name.items()}, "masks": one, "weights": weight}
        for i, (one, weight) in enumerate(zip(split(masks), split(weights), strict=True))
    ]


def sum_of(structures: list[Any]) -> Any:
    """Add up structures of tensors, leaf by leaf; a leaf that is None in all stays None."""
    return keras.tree.map_structure(
        lambda *leaves: None if leaves[0] is None else sum(leaves[1:], leaves[0]), *structures
    )
