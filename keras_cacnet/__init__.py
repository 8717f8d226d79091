"""CaC-Net semantic segmentation for Keras 3: layer, network, training, evaluation and export."""

import importlib
from typing import Any

from keras_cacnet import layers, models
from keras_cacnet.layers import CaCLayer
from keras_cacnet.models import CaCNet
from keras_cacnet.training import losses, metrics, optimizers

__version__ = "0.1.0"
__all__ = [
    "CaCLayer",
    "CaCNet",
    "__version__",
    "datasets",
    "evaluation",
    "export",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "paper",
    "pipeline",
    "training",
    "visualization",
]

_ON_FIRST_USE = ("datasets", "evaluation", "export", "paper", "pipeline", "training", "visualization")
"""What reads images, draws pictures or imports TensorFlow: `import keras_cacnet` loads what `import keras` loads."""


def __getattr__(name: str) -> Any:
    if name in _ON_FIRST_USE:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
