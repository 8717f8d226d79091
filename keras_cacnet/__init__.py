"""CaC-Net semantic segmentation for Keras 3: layer, network, training, evaluation and export.

Names load on first use, so that `import keras_cacnet` and the command line's help are immediate; `__init__.pyi` lists
them, for type checkers and editors too.
"""

import lazy_loader

from keras_cacnet.saved_classes import find_in_saved_models

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

find_in_saved_models()
