"""EncNet's semantic encoding loss: which classes are in the image, told from nothing but its encoding."""

from typing import Any

import keras
from keras import ops

from keras_cacnet.labels import pixel_weights
from keras_cacnet.layers.replicas import sum_over_replicas


def classes_present(masks: Any, num_classes: int, ignore_class: int | None = None, pixel_weights: Any = None) -> Any:
    """Tell which classes have at least one pixel, image by image.

    Args:
        masks: class ids of any integer type.
        num_classes: number of classes; ids from there on, as void ones are, count nowhere.
        ignore_class: the void id, which counts nowhere either where it is below `num_classes`.
        pixel_weights: a pixel that weighs 0 counts nowhere.

    Shapes:
        - masks: (B, H, W) or (B, H, W, 1)
        - pixel_weights: (B, H, W)
        - result: bool (B, num_classes)

    Returns:
        True where the class is there.

    Example:
        >>> import numpy as np
        >>> classes_present(np.array([[[0, 2, 255]], [[1, 1, 1]]]), 3).numpy().tolist()
        [[True, False, True], [False, True, False]]
    """
    labels = ops.cast(masks, "int32")
    if len(labels.shape) == 4:
        labels = ops.squeeze(labels, axis=-1)
    counts = ops.logical_and(labels >= 0, labels < num_classes)
    if ignore_class is not None:
        counts = ops.logical_and(counts, labels != ignore_class)
    if pixel_weights is not None:
        counts = ops.logical_and(counts, ops.convert_to_tensor(pixel_weights) != 0)
    images = ops.shape(labels)[0]
    first = (num_classes + 1) * ops.reshape(ops.arange(images, dtype="int32"), (-1, 1, 1))
    # One cell per image and class and one for the rest: a one-hot mask would be as large as the logits.
    cells = ops.reshape(first + ops.where(counts, labels, num_classes), (-1,))
    found = ops.segment_sum(ops.ones_like(cells), cells, num_segments=images * (num_classes + 1))
    return ops.reshape(found, (images, num_classes + 1))[:, :num_classes] > 0


def semantic_encoding_loss(
    masks: Any, scores: Any, ignore_class: int | None = None, sample_weight: Any = None, divisor: Any = None
) -> Any:
    """Compute the binary cross-entropy of the classes that are in an image, averaged over classes and images.

    The average is taken over the whole batch: under a `tf.distribute` strategy the number of images is summed over
    the replicas, and the replicas' results add up to that of one device. An image without a valid pixel tells
    nothing of its classes and does not count (ours; EncNet takes all classes of such an image for absent).

    Args:
        masks: class ids of any integer type.
        scores: one logit per class, from the encoding of the image.
        ignore_class: the void id.
        sample_weight: weighs images in the numerator and the denominator, or tells by 0 which pixels are void.
        divisor: of the mean, where this is a part of a larger batch: the sum of `presence_weights` over all of it.

    Shapes:
        - masks: (B, H, W) or (B, H, W, 1)
        - scores: (B, C)
        - sample_weight: none, (), (B,) or (B, 1) for images, (B, H, W) or (B, H, W, 1) for pixels
        - result: scalar, in nats per image and class

    Returns:
        The loss.

    Example:
        >>> import numpy as np
        >>> round(float(semantic_encoding_loss(np.array([[[0, 255]]]), np.zeros((1, 4), "float32"))), 4)  # ln 2
        0.6931

    Reference:
        Zhang et al., "Context Encoding for Semantic Segmentation", CVPR 2018, Section 3.1, "Semantic Encoding Loss".
    """
    scores = ops.convert_to_tensor(scores)
    present, weights = presence_weights(masks, scores.shape[-1], ignore_class, sample_weight, scores.dtype)
    targets = ops.cast(present, scores.dtype)
    # -t log(sigmoid(z)) - (1 - t) log(1 - sigmoid(z)), without overflow for any z.
    entropies = ops.maximum(scores, 0) - scores * targets + ops.log1p(ops.exp(-ops.abs(scores)))
    summed = ops.sum(ops.mean(entropies, axis=-1) * weights)
    count = sum_over_replicas(ops.sum(weights)) if divisor is None else ops.cast(divisor, summed.dtype)
    return summed / ops.where(count == 0, ops.ones_like(count), count)


def presence_weights(
    masks: Any, num_classes: int, ignore_class: int | None, sample_weight: Any, dtype: Any
) -> tuple[Any, Any]:
    """Tell which classes are in each image, and how much the image weighs: 0 without a pixel that has a class.

    Args:
        masks, num_classes, ignore_class: as for `classes_present`.
        sample_weight: as for `semantic_encoding_loss`.
        dtype: of the weights.

    Shapes:
        - result: bool (B, num_classes), and (B,)
    """
    by_pixel = False
    if sample_weight is not None:
        masks = ops.convert_to_tensor(masks)
        logits_like = masks if len(masks.shape) == 4 else ops.expand_dims(masks, -1)
        sample_weight = pixel_weights(sample_weight, logits_like, dtype)
        by_pixel = tuple(sample_weight.shape[1:]) != (1, 1)
    present = classes_present(masks, num_classes, ignore_class, sample_weight if by_pixel else None)
    weights = ops.cast(ops.any(present, axis=-1), dtype)
    if sample_weight is not None and not by_pixel:
        weights = weights * ops.reshape(sample_weight, (-1,))
    return present, weights


def void_of(loss: keras.losses.Loss) -> int | None:
    """Give the void id of a compiled loss, where it has one.

    Example:
        >>> void_of(keras.losses.SparseCategoricalCrossentropy(ignore_class=7))
        7
    """
    return getattr(loss, "ignore_class", None)
