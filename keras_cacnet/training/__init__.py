"""Losses, metrics, optimizers and the training run."""

import importlib
from typing import Any

# The loss and the optimizer come with `import keras_cacnet`; a run also needs what reads images and draws curves.
_ON_FIRST_USE = {
    "Loop": "keras_cacnet.training.loop",
    "Recipe": "keras_cacnet.training.recipes",
    "Run": "keras_cacnet.training.run",
    "train": "keras_cacnet.training.trainer",
    "with_settings": "keras_cacnet.training.settings",
}


def __getattr__(name: str) -> Any:
    if name in _ON_FIRST_USE:
        return getattr(importlib.import_module(_ON_FIRST_USE[name]), name)
    raise AttributeError(f"module 'keras_cacnet.training' has no attribute {name!r}")
