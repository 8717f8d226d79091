"""From a data set to augmented batches, with TensorFlow's `tf.data` under every Keras backend."""

from keras_cacnet.pipeline.augmentation import augment
from keras_cacnet.pipeline.batches import evaluation_batches, reading_error, training_batches, window_batches

__all__ = ["augment", "evaluation_batches", "reading_error", "training_batches", "window_batches"]
