"""The confusion matrix of a model over images of any sizes: whole in one compiled function, or under a protocol."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_cacnet.datasets.classes import VOID
from keras_cacnet.evaluation.fusion import fused_ids
from keras_cacnet.evaluation.inference import require_tensorflow, segmentation_logits
from keras_cacnet.evaluation.protocol import Protocol
from keras_cacnet.models.interface import require_class_count, require_image_size


class ConfusionCounter:
    """Counts how often pixels of one class are taken for another.

    Without a protocol model, argmax and counting are one `tf.function` whose signature leaves batch, height and
    width open, so it is traced once whatever the sizes. Counts are int64: exact, and the same in any order of the
    images.

    Args:
        model: gives logits of the size of its input.
        num_classes: number of classes, void left out.
        protocol: how images are shown to the model; None shows whole batches in one pass.

    Raises:
        ValueError: the model predicts another number of classes (both are named) or gives no logits, or Keras
            does not run on TensorFlow.

    Example:
        >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 1)])
        >>> counter = ConfusionCounter(model, 2)
        >>> ids = counter.add(np.zeros((1, 2, 2, 3), "float32"), np.array([[[0, 1], [VOID, 1]]], "uint8"))
        >>> int(counter.matrix().sum()), counter.void_pixels
        (3, 1)
    """

    def __init__(self, model: keras.Model, num_classes: int, protocol: Protocol | None = None) -> None:
        require_tensorflow("evaluation")
        self.images = 0
        self._model = model
        self._num_classes = num_classes
        self._protocol = protocol
        # One cell per pair of truth and prediction, and a last one for void.
        self._cells = tf.Variable(tf.zeros((num_classes**2 + 1,), tf.int64), trainable=False)
        self._step = tf.function(
            self._count,
            input_signature=[
                tf.TensorSpec((None, None, None, 3), tf.float32),
                tf.TensorSpec((None, None, None), tf.int32),
            ],
            autograph=False,
        )
        # A model of another number of classes is refused before any image is read.
        require_class_count(model, num_classes)
        if protocol is None:
            self._step.get_concrete_function()

    @property
    def void_pixels(self) -> int:
        """Number of pixels left out because their label is void."""
        return int(self._cells[-1])

    def matrix(self) -> np.ndarray:
        """The counts so far: int64, (classes, classes); rows are the truth, columns the prediction."""
        return self._cells.numpy()[:-1].reshape(self._num_classes, self._num_classes)

    def add(self, images: Any, masks: Any) -> np.ndarray:
        """Count a batch.

        Args:
            images: RGB in 0..255.
            masks: class indices, and `VOID`.

        Shapes:
            - images: (B, H, W, 3)
            - masks: (B, H, W)
            - result: (B, H, W)

        Returns:
            The predicted class indices, whole numbers.

        Raises:
            ValueError: shapes that do not belong together, a size that the model does not take, ids outside the
                classes, logits of another size than the mask, or logits that are not finite; the message names the
                image by its index.
        """
        first = self.images
        shape, mask_shape = tuple(images.shape), tuple(masks.shape)
        if len(shape) != 4 or shape[-1] != 3 or len(mask_shape) != 3 or 0 in shape:
            raise ValueError(
                f"image {first}: batches are images (B, H, W, 3) and masks (B, H, W), got {shape} and {mask_shape}"
            )
        if shape[:3] != mask_shape:
            raise ValueError(
                f"image {first}: images are {shape}, masks {mask_shape}; a mask must have its image's size"
            )
        ids = self._add_whole(images, masks) if self._protocol is None else self._add_fused(images, masks)
        self.images += shape[0]
        return ids

    def _add_whole(self, images: Any, masks: Any) -> np.ndarray:
        first, mask_shape = self.images, tuple(masks.shape)
        try:
            require_image_size(self._model, *mask_shape[1:])
        except ValueError as error:
            raise ValueError(f"image {first}: {error}") from None
        ids, known, finite = self._step(tf.cast(images, tf.float32), tf.cast(masks, tf.int32))
        if tuple(ids.shape) != mask_shape:
            raise ValueError(
                f"image {first}: the model gives logits {(*ids.shape, self._num_classes)} for a mask {mask_shape}; "
                "logits must have the size of the input: resize them inside the model"
            )
        self._require_known(masks, known)
        if not np.all(finite):
            raise ValueError(
                f"image {first + int(np.argmin(finite))}: the model gives logits that are not finite (NaN or "
                "infinite); its weights are broken, or numbers overflow in half precision"
            )
        return ids.numpy()

    def _add_fused(self, images: Any, masks: Any) -> np.ndarray:
        assert self._protocol is not None
        truth, classes = np.asarray(masks).astype("int64"), self._num_classes
        void = truth == VOID
        self._require_known(masks, (void | ((truth >= 0) & (truth < classes))).all(axis=(1, 2)))
        ids = np.empty(truth.shape, "uint8")
        for index, image in enumerate(np.asarray(images)):
            try:
                ids[index] = fused_ids(self._model, image, self._protocol)
            except ValueError as error:
                raise ValueError(f"image {self.images + index}: {error}") from error
        cells = np.where(void, classes**2, truth * classes + ids)
        self._cells.assign_add(np.bincount(cells.ravel(), minlength=classes**2 + 1))
        return ids

    def _require_known(self, masks: Any, known: Any) -> None:
        if not np.all(known):
            index = int(np.argmin(known))
            ids = np.unique(np.asarray(masks)[index])
            wrong = [int(i) for i in ids if i != VOID and not 0 <= i < self._num_classes]
            raise ValueError(
                f"image {self.images + index}: ids {wrong} in its mask are outside 0..{self._num_classes - 1}; void is "
                f"{VOID}"
            )

    def _count(self, images: tf.Tensor, truth: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        classes = self._num_classes
        logits = segmentation_logits(self._model, images)
        guess = tf.argmax(logits, axis=-1, output_type=tf.int32)
        void = tf.equal(truth, VOID)

        def counts() -> tf.Tensor:
            cell = tf.where(void, classes**2, truth * classes + guess)
            size = classes**2 + 1
            return tf.cast(tf.math.bincount(tf.reshape(cell, [-1]), minlength=size, maxlength=size), tf.int64)

        same_size = tf.reduce_all(tf.equal(tf.shape(logits)[:3], tf.shape(truth)))
        self._cells.assign_add(tf.cond(same_size, counts, lambda: tf.zeros_like(self._cells)))
        known = tf.reduce_all(void | ((truth >= 0) & (truth < classes)), axis=[1, 2])
        finite = tf.reduce_all(tf.math.is_finite(logits), axis=[1, 2, 3])
        return guess, known, finite
