"""From a data set to augmented batches, with TensorFlow's `tf.data` under every Keras backend."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
