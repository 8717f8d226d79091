"""Class indices and probabilities of one image of any size."""

import weakref
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_cacnet.datasets.classes import VOID
from keras_cacnet.evaluation.inference import require_tensorflow, segmentation_logits
from keras_cacnet.models.interface import require_image_size

_compiled: "weakref.WeakKeyDictionary[keras.Model, dict[str, Any]]" = weakref.WeakKeyDictionary()


def predict_ids(model: keras.Model, image: np.ndarray) -> np.ndarray:
    """Predict the class of every pixel.

    The first call compiles one function for all sizes; it lives as long as the model.

    Args:
        model: gives logits of the size of its input, for up to 255 classes.
        image: RGB, uint8.

    Shapes:
        - image: (H, W, 3)
        - result: (H, W)

    Returns:
        Class indices, uint8. Where logits are equal the lower index wins.

    Raises:
        ValueError: an image that is not uint8 (H, W, 3) or of a size that the model does not take, a model whose
            output is not logits of the image's size or that has more than 255 classes, logits that are not finite,
            or Keras on another backend than TensorFlow.

    Example:
        >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 1)])
        >>> predict_ids(model, np.zeros((4, 6, 3), "uint8")).shape
        (4, 6)
    """
    return _predict(model, image, "ids").astype("uint8")


def predict_probabilities(model: keras.Model, image: np.ndarray) -> np.ndarray:
    """Predict the probability of every class at every pixel.

    Args:
        model: gives logits of the size of its input.
        image: RGB, uint8.

    Shapes:
        - image: (H, W, 3)
        - result: (H, W, classes)

    Returns:
        The softmax of the logits over the classes, float32.

    Raises:
        ValueError: as `predict_ids`.

    Example:
        >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 1)])
        >>> probabilities = predict_probabilities(model, np.zeros((4, 6, 3), "uint8"))
        >>> bool(np.allclose(probabilities.sum(axis=-1), 1))
        True
    """
    return _predict(model, image, "probabilities")


def _predict(model: keras.Model, image: np.ndarray, kind: str) -> np.ndarray:
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3 or 0 in image.shape:
        raise ValueError(f"an image must be uint8 (H, W, 3), RGB and not empty; got {image.dtype} {image.shape}")
    require_image_size(model, *image.shape[:2])
    functions = _compiled.setdefault(model, {})
    if kind not in functions:
        require_tensorflow("prediction")
        functions[kind] = _compile(model, kind)
    result, finite = functions[kind](image[None])
    if result.shape[1:3] != image.shape[:2]:
        raise ValueError(
            f"model {model.name!r} gives logits {tuple(result.shape[1:3])} for an image {image.shape[:2]}; logits must "
            "have the size of the input: resize them inside the model"
        )
    if not finite:
        raise ValueError(
            f"model {model.name!r} gives logits that are not finite (NaN or infinite) for this image; its weights "
            "are broken, or numbers overflow in half precision"
        )
    return result[0].numpy()


def _compile(model: keras.Model, kind: str) -> Callable[[Any], Any]:
    # The cache must not keep the model alive: functions hold it by a weak reference.
    reference = weakref.ref(model)

    def predict(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        logits = segmentation_logits(reference(), tf.cast(images, tf.float32))
        finite = tf.reduce_all(tf.math.is_finite(logits))
        if kind == "probabilities":
            return tf.nn.softmax(tf.cast(logits, tf.float32)), finite
        if logits.shape[-1] > VOID:
            raise ValueError(
                f"model {model_name!r} predicts {logits.shape[-1]} classes; masks of uint8 hold {VOID}, as {VOID} is "
                "void: take predict_probabilities"
            )
        return tf.argmax(logits, axis=-1, output_type=tf.int32), finite

    model_name = model.name
    return tf.function(predict, input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8)], autograph=False)
