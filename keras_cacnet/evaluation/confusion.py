"""The confusion matrix of a model over images of any sizes, counted by one compiled function."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_cacnet.datasets.classes import VOID
from keras_cacnet.evaluation.inference import require_class_count, require_tensorflow, segmentation_logits


class ConfusionCounter:
    """Counts how often pixels of one class are taken for another.

    Model, argmax and counting are one `tf.function` whose signature leaves batch, height and width open, so it
    is traced once whatever the sizes. Counts are int64: exact, and the same in any order of the images.

    Args:
        model: gives logits of the size of its input.
        num_classes: number of classes, void left out.

    Raises:
        ValueError: the model predicts another number of classes (both are named) or gives no logits, or Keras
            does not run on TensorFlow.

    Example:
        >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 1)])
        >>> counter = ConfusionCounter(model, 2)
        >>> counter.add(np.zeros((1, 2, 2, 3), "float32"), np.array([[[0, 1], [VOID, 1]]], "uint8"))
        >>> int(counter.matrix().sum()), counter.void_pixels
        (3, 1)
    """

    def __init__(self, model: keras.Model, num_classes: int) -> None:
        require_tensorflow("evaluation")
        self.images = 0
        self._model = model
        self._num_classes = num_classes
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
        # Traced here, a model of another number of classes is refused before any image is read.
        self._step.get_concrete_function()

    @property
    def void_pixels(self) -> int:
        """Number of pixels left out because their label is void."""
        return int(self._cells[-1])

    def matrix(self) -> np.ndarray:
        """The counts so far: int64, (classes, classes); rows are the truth, columns the prediction."""
        return self._cells.numpy()[:-1].reshape(self._num_classes, self._num_classes)

    def add(self, images: Any, masks: Any) -> None:
        """Count a batch.

        Args:
            images: RGB in 0..255.
            masks: class indices, and `VOID`.

        Shapes:
            - images: (B, H, W, 3)
            - masks: (B, H, W)

        Raises:
            ValueError: shapes that do not belong together, ids outside the classes, logits of another size than
                the mask, or logits that are not finite; the message names the image by its index.
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
        logits_shape, known, finite = self._step(tf.cast(images, tf.float32), tf.cast(masks, tf.int32))
        found = tuple(logits_shape.numpy().tolist())
        if found[:3] != mask_shape:
            raise ValueError(
                f"image {first}: the model gives logits {found} for a mask {mask_shape}; logits "
                "must have the size of the input: resize them inside the model"
            )
        if not np.all(known):
            index = int(np.argmin(known))
            ids = np.unique(np.asarray(masks)[index])
            wrong = [int(i) for i in ids if i != VOID and not 0 <= i < self._num_classes]
            raise ValueError(
                f"image {first + index}: ids {wrong} in its mask are outside 0..{self._num_classes - 1}; void is {VOID}"
            )
        if not np.all(finite):
            raise ValueError(
                f"image {first + int(np.argmin(finite))}: the model gives logits that are not finite (NaN or "
                "infinite); its weights are broken, or numbers overflow in half precision"
            )
        self.images += shape[0]

    def _count(self, images: tf.Tensor, truth: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        classes = self._num_classes
        logits = segmentation_logits(self._model, images)
        require_class_count(self._model, logits, classes)
        void = tf.equal(truth, VOID)

        def counts() -> tf.Tensor:
            guess = tf.argmax(logits, axis=-1, output_type=tf.int32)
            cell = tf.where(void, classes**2, truth * classes + guess)
            size = classes**2 + 1
            return tf.cast(tf.math.bincount(tf.reshape(cell, [-1]), minlength=size, maxlength=size), tf.int64)

        same_size = tf.reduce_all(tf.equal(tf.shape(logits)[:3], tf.shape(truth)))
        self._cells.assign_add(tf.cond(same_size, counts, lambda: tf.zeros_like(self._cells)))
        known = tf.reduce_all(void | ((truth >= 0) & (truth < classes)), axis=[1, 2])
        finite = tf.reduce_all(tf.math.is_finite(logits), axis=[1, 2, 3])
        return tf.shape(logits), known, finite
