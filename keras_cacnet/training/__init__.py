"""Losses, metrics, optimizers and the training run."""

import importlib
from typing import Any

# The loss, the metrics and the optimizer come with `import keras_cacnet`; a run also needs what reads images and draws
# curves.
_ON_FIRST_USE = {
    "FROM_SCRATCH": "recipe",
    "CheckpointError": "checkpoints",
    "Checkpoints": "checkpoints",
    "Features": "features",
    "Job": "start",
    "Loop": "loop",
    "NonFiniteTraining": "checkpoints",
    "Progress": "checkpoints",
    "RECIPES": "recipes",
    "Recipe": "recipe",
    "Run": "run",
    "StopSignals": "signals",
    "Stopped": "signals",
    "TrainingWarning": "checkpoints",
    "Validation": "loop",
    "WorkerLost": "cluster",
    "is_chief": "cluster",
    "load_checkpoint": "checkpoints",
    "read_progress": "checkpoints",
    "strategy_for": "cluster",
    "train": "trainer",
    "with_settings": "recipe",
}
_MODULES = ("losses", "metrics", "optimizers")

__all__ = [*_MODULES, *_ON_FIRST_USE]


def __getattr__(name: str) -> Any:
    if name in _ON_FIRST_USE:
        return getattr(importlib.import_module(f"{__name__}.{_ON_FIRST_USE[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
