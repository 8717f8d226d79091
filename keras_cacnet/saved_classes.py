"""The classes that saved models name, found by Keras although none of them is imported before it is needed."""

import importlib
from dataclasses import dataclass
from typing import Any

import wrapt

MODULES = {
    "layers.alternatives": (
        "FixedKernelLayer",
        "FullyConnectedKernelLayer",
        "PooledKernelLayer",
        "SqueezeExcitationLayer",
    ),
    "layers.cac": ("CaCLayer",),
    "layers.context_encoding": ("ContextEncodingLayer",),
    "layers.normalization": ("ImageNormalization",),
    "layers.resize": ("AdaptiveAveragePooling", "PadToMultiple", "ResizeLike", "ResizeTo"),
    "models.cacnet": ("CaCNet",),
    "models.heads.apcnet": ("APCHead", "RegionGathering"),
    "models.heads.cacnet": ("CaCHead", "GlobalPooling"),
    "models.heads.dmnet": ("DMHead", "DynamicFiltering"),
    "models.heads.encnet": ("EncHead",),
    "models.heads.fcn": ("FCNHead",),
    "models.heads.pspnet": ("PSPHead",),
    "models.network": ("SegmentationNetwork",),
    "training.losses.crossentropy": ("FocalCrossentropy", "OhemCrossentropy", "SegmentationCrossentropy"),
    "training.losses.regions": ("Dice", "LovaszSoftmax", "Tversky"),
    "training.losses.sums": ("WeightedSum",),
    "training.metrics": ("Crossentropy", "MeanIoU", "PixelAccuracy"),
    "training.optimizers.adamw": ("AdamW",),
    "training.optimizers.loss_scale": ("LossScaleOptimizer",),
    "training.optimizers.schedules": ("PolyDecay", "Warmup"),
    "training.optimizers.sgd": ("SGD",),
}
"""The classes that are registered with Keras, by their modules."""


@dataclass(frozen=True)
class ImportedOnUse:
    """What stands for a class until Keras asks for anything of it, such as `from_config`."""

    module: str
    name: str

    def __getattr__(self, attribute: str) -> Any:
        return getattr(getattr(importlib.import_module(self.module), self.name), attribute)


def find_in_saved_models() -> None:
    """Have `keras.models.load_model` find the classes; now, or once Keras is imported.

    Example:
        >>> import keras
        >>> keras.saving.get_registered_object("keras_cacnet>CaCNet").__name__
        'CaCNet'
    """
    wrapt.register_post_import_hook(_register, "keras")


def _register(keras: Any) -> None:
    registered = keras.saving.get_custom_objects()
    for module, names in MODULES.items():
        for name in names:
            # A class that is imported has registered itself, or does so and takes this place.
            registered.setdefault(f"keras_cacnet>{name}", ImportedOnUse(f"keras_cacnet.{module}", name))
