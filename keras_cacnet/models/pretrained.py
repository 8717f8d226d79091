"""Find a backbone's weights, and tell whose graph and which normalisation they need.

Neither is written in a weights file as the libraries save it, so it is never guessed: a preset's config.json
says it, or the names of the layers in a file of ours do, or the class of a whole model.
"""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np

from keras_cacnet.files import user_path
from keras_cacnet.models.architectures import (
    ARCHITECTURES,
    IMAGENET_PRESETS,
    KERAS_CV,
    KERAS_HUB,
    EfficientNetLite,
    from_preset,
    identify,
    load_library,
    network,
    preset_handle,
)
from keras_cacnet.models.efficientnet_lite import imagenet_file, read_pytorch_weights
from keras_cacnet.models.transfer import Arrays, Pretrained, arrays_of
from keras_cacnet.wording import listed

IMAGENET_NORMALIZATION = "imagenet_normalization"
UNIT_NORMALIZATION = "unit_normalization"
LITE_NORMALIZATION = "efficientnet_lite_normalization"

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.weights.h5"

# KerasHub's and torchvision's ResNets saw mean/deviation, keras-cv's saw x/255 alone.
_NORMALIZATIONS = {KERAS_CV: UNIT_NORMALIZATION, KERAS_HUB: IMAGENET_NORMALIZATION}
_ALL_NORMALIZATIONS = (UNIT_NORMALIZATION, IMAGENET_NORMALIZATION, LITE_NORMALIZATION)
_UNNAMED = "layers/"
# A ResNet's layers with weights, under the names that Keras gives their classes in files.
_KINDS = {"conv2d": keras.layers.Conv2D, "batch_normalization": keras.layers.BatchNormalization}


def read_weights(weights: str | os.PathLike[str], name: str) -> Pretrained:
    """Read the weights of a backbone.

    Args:
        weights: "imagenet" or a path, as `backbone` takes it.
        name: the backbone's name.

    Returns:
        The weights by layer name, and whose graph and normalisation they need.

    Raises:
        ValueError: there are no such weights, the file cannot be read, or it is not of this network.
        FileNotFoundError: no such file, or the preset cannot be downloaded.

    Example:
        >>> read_weights("resnet50.keras", "resnet50")
        Traceback (most recent call last):
        FileNotFoundError: weights='resnet50.keras': there is no such file or folder...
    """
    architecture = ARCHITECTURES[name]
    if weights == "imagenet":
        if isinstance(architecture, EfficientNetLite):
            return _read_pytorch(imagenet_file(name), architecture)
        return _download(name)
    path = user_path(weights)
    if not path.exists():
        raise FileNotFoundError(
            f"weights={str(weights)!r}: there is no such file or folder (looked for {path.absolute()}). "
            "Pass None, 'imagenet', a preset folder, a .weights.h5 file or a .keras model."
        )
    if path.suffix in (".pth", ".pt"):
        if isinstance(architecture, EfficientNetLite):
            return _read_pytorch(path, architecture)
        raise ValueError(f"{path} is PyTorch's, and {name} takes the weights of keras-cv and KerasHub.")
    if path.is_dir():
        return _read_preset(path / CONFIG_FILE, None, name)
    if path.suffix == ".keras":
        return _read_model(path)
    return _read_weights_file(path, name)


def _download(name: str) -> Pretrained:
    if name not in IMAGENET_PRESETS:
        lites = [other for other, architecture in ARCHITECTURES.items() if isinstance(architecture, EfficientNetLite)]
        raise ValueError(
            f"There are no ImageNet weights of {name}: neither keras-cv nor KerasHub has any. Take "
            f"one of {', '.join([*IMAGENET_PRESETS, *lites])}, start from weights=None, or pass a path."
        )
    library, preset = IMAGENET_PRESETS[name]
    handle = preset_handle(library, preset)
    try:
        resnet = from_preset(library, preset)
    except Exception as cause:
        reason = f"{type(cause).__name__}: {cause}".splitlines()[0]
        raise FileNotFoundError(
            f"The ImageNet weights of {name} ({library}'s preset {preset}) could not be downloaded. Where "
            f"there is a network, fetch {CONFIG_FILE} and {WEIGHTS_FILE} of the Kaggle model {handle}: "
            f"python -c \"import kagglehub; print(kagglehub.model_download('{handle}'))\" prints their "
            f'folder. Bring it here and pass weights="path/to/folder". The reason: {reason}'
        ) from cause
    return Pretrained(library, _NORMALIZATIONS[library], arrays_of(resnet), f"{library}'s preset {preset}")


def _read_pytorch(path: Path, architecture: EfficientNetLite) -> Pretrained:
    arrays = read_pytorch_weights(path, architecture.block_names())
    return Pretrained(KERAS_CV, LITE_NORMALIZATION, arrays, str(path))


def _read_preset(config_path: Path, weights_path: Path | None, name: str) -> Pretrained:
    """A folder as Kaggle delivers it: its config.json says whose network it holds, and which."""
    if not config_path.is_file():
        raise FileNotFoundError(
            f"{config_path.parent} has no {CONFIG_FILE}. A preset folder holds {CONFIG_FILE} and {WEIGHTS_FILE}."
        )
    try:
        serialized = json.loads(config_path.read_text(encoding="utf-8"))
        library, found = identify(serialized)
    except (ValueError, AttributeError, KeyError, TypeError) as cause:
        raise ValueError(f"{config_path} is not the configuration of a Keras preset: {cause!r}.") from cause
    if found is None:
        raise ValueError(
            f"{config_path} describes {serialized.get('registered_name') or serialized.get('class_name')!r}, "
            "which is no plain ResNet (v1) of keras-cv or KerasHub."
        )
    if found != ARCHITECTURES[name]:
        known = [other for other, candidate in ARCHITECTURES.items() if candidate == found]
        hint = f"that is {known[0]}, ask for it by that name" if known else "no backbone here has these"
        raise ValueError(f"{config_path} does not describe {name} {ARCHITECTURES[name]} but {found}: {hint}.")
    path = weights_path or config_path.parent / (serialized.get("weights") or WEIGHTS_FILE)
    if not path.is_file():
        raise FileNotFoundError(f"{path.parent} has no {path.name}: download it too, beside its {CONFIG_FILE}.")

    arrays, _ = _read_layers(path)
    if any(layer.startswith(_UNNAMED) for layer in arrays):
        arrays = _named_by_order(arrays, network(library, found))
    return Pretrained(library, _NORMALIZATIONS[library], arrays, str(path))


def _read_weights_file(path: Path, name: str) -> Pretrained:
    arrays, layers = _read_layers(path)
    normalization = next((layer for layer in _ALL_NORMALIZATIONS if layer in layers), None)
    if arrays and normalization:  # only our own files hold such a layer
        return Pretrained(_library(arrays, path), normalization, arrays, str(path))
    config_path = path.parent / CONFIG_FILE
    if config_path.is_file():
        return _read_preset(config_path, path, name)
    raise ValueError(
        f"{path} does not say whose graph and normalisation its weights need: it was saved by no backbone of "
        f"ours, and there is no {CONFIG_FILE} beside it. Put the preset's {CONFIG_FILE} into "
        f"{path.parent.absolute()}."
    )


def _read_model(path: Path) -> Pretrained:
    """A whole model: a backbone, ours or a library's, or a CaCNet."""
    try:
        with zipfile.ZipFile(path) as archive:
            config = archive.read(CONFIG_FILE).decode("utf-8")
        for library in (KERAS_CV, KERAS_HUB):
            if f'"{library}>' in config:
                load_library(library)
        model = keras.models.load_model(path, compile=False)
    except ImportError:
        raise
    except Exception as cause:
        raise ValueError(f"{path} is not a Keras model that can be loaded: {cause}") from cause
    resnet = getattr(model, "backbone", model)
    arrays = arrays_of(resnet)
    library = type(resnet).__module__.split(".")[0]
    if library in _NORMALIZATIONS:
        return Pretrained(library, _NORMALIZATIONS[library], arrays, str(path))
    names = {layer.name for layer in resnet.layers}
    for normalization in _ALL_NORMALIZATIONS:
        if normalization in names:
            return Pretrained(_library(arrays, path), normalization, arrays, str(path))
    raise ValueError(
        f"{path} holds the model {resnet.name!r}, no backbone of ours, of keras-cv or of KerasHub. A model "
        "of your own goes in as it is: CaCNet(backbone=keras.models.load_model(...))."
    )


def _read_layers(path: Path) -> tuple[Arrays, set[str]]:
    """Weights by layer name, and the names of all layers, from a Keras 3 weights file.

    A file of an older Keras version names no layers: they are then called after their place in it.
    """
    arrays: Arrays = {}
    names = set()
    try:
        with h5py.File(path, "r") as file:
            for place, group in file["layers"].items():
                variables = group["vars"]
                name = variables.attrs.get("name", _UNNAMED + place)
                names.add(name)
                if len(variables):
                    arrays[name] = [np.asarray(variables[str(index)]) for index in range(len(variables))]
    except (OSError, KeyError, RuntimeError, TypeError, AttributeError) as cause:
        raise ValueError(
            f"{path} is not a readable Keras weights file ({cause}). If it was downloaded, it may be "
            "incomplete: download it again and compare its size."
        ) from cause
    return arrays, names


def _named_by_order(arrays: Arrays, resnet: keras.Model) -> Arrays:
    """Name the layers of an older file as Keras reads it: each class counts its layers from the input on."""
    names: dict[str, str] = {}
    for kind, layer_class in _KINDS.items():
        layers = [layer.name for layer in resnet.layers if isinstance(layer, layer_class)]
        names |= {f"{_UNNAMED}{kind}_{index}": layer for index, layer in enumerate(layers)}
        names[_UNNAMED + kind] = names.pop(f"{_UNNAMED}{kind}_0")
    return {names.get(layer, layer): values for layer, values in arrays.items()}


def _library(arrays: Arrays, path: Path) -> str:
    if any(layer.startswith(("v2_stack_", "block1a_")) for layer in arrays):
        return KERAS_CV
    if any(layer.startswith("stack") for layer in arrays):
        return KERAS_HUB
    raise ValueError(f"{path} holds none of the layers of a backbone; it has {listed(sorted(arrays), 4)}.")
