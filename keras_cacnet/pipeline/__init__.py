"""From a data set to augmented batches, with TensorFlow's `tf.data` under every Keras backend."""

from keras_cacnet.pipeline.augmentation import augment
from keras_cacnet.pipeline.batches import evaluation_batches, reading_error, training_batches, window_batches
from keras_cacnet.pipeline.calls import call
from keras_cacnet.pipeline.views import Views

__all__ = ["Views", "augment", "call", "evaluation_batches", "reading_error", "training_batches", "window_batches"]


def __dir__() -> list[str]:
    return sorted(__all__)
