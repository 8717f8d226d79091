"""A network as a preset, in KerasHub's layout: the files of its folder, written and read."""

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import keras

from keras_cacnet.files import user_path, writable_folder
from keras_cacnet.models.hubs import fetched, is_handle
from keras_cacnet.models.pretrained import CONFIG_FILE, WEIGHTS_FILE

METADATA_FILE, TASK_FILE, CARD_FILE = "metadata.json", "task.json", "README.md"
CHECKPOINT, CLASSES_FILE = "best.keras", "classes.json"
"""What is read of a training run's folder, beside its `config.json`."""

CONTRACT = {
    "input": "RGB in 0..255, uint8 or float, (B, H, W, 3); the network scales and normalises it itself",
    "output": "logits (B, H, W, classes), of the size of the input; the classes are in the order given here",
}
"""What a network takes and gives."""

_OURS = "keras_cacnet>"


def write_preset(network: Any, folder: str | os.PathLike[str], card: str | None = None) -> Path:
    """Write a network as a preset.

    Args:
        network: a `SegmentationNetwork`.
        folder: where; files of an earlier preset there are replaced.
        card: the model card, Markdown; by default what the network itself knows.

    Returns:
        The folder.

    Raises:
        ValueError: a file is in the way.
        OSError: the folder cannot be written.
    """
    folder = writable_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    serialized = keras.saving.serialize_keras_object(network)
    for of_a_compiled_model in ("compile_config", "build_config"):
        serialized.pop(of_a_compiled_model, None)
    texts = {
        METADATA_FILE: _json(_metadata(network)),
        TASK_FILE: _json({"task": "ImageSegmenter", **CONTRACT, **network.task}),
        CARD_FILE: card or model_card(network),
        # The last one: a folder without it is no preset.
        CONFIG_FILE: _json(serialized),
    }
    with tempfile.TemporaryDirectory(prefix=".preset-", dir=folder) as part:
        network.save_weights(Path(part) / WEIGHTS_FILE)
        for name, text in texts.items():
            (Path(part) / name).write_text(text, encoding="utf-8")
        for name in (WEIGHTS_FILE, *texts):
            os.replace(Path(part) / name, folder / name)
    return folder


def is_preset(path: Path) -> bool:
    """Tell whether a path is the folder of a preset."""
    return (path / METADATA_FILE).is_file() and (path / WEIGHTS_FILE).is_file()


def require_free(folder: Path, overwrite: bool = False) -> None:
    """Refuse a folder that holds something, unless it is a preset that may be replaced.

    Raises:
        ValueError: it does.
    """
    if folder.is_dir() and any(folder.iterdir()) and not (overwrite and is_preset(folder)):
        mend = "is not empty: name another folder, or replace a preset that is there with --overwrite"
        raise ValueError(f"{folder} {'holds something else than a preset: name another' if overwrite else mend}")


def read_network(preset: str | os.PathLike[str], load_weights: bool = True) -> Any:
    """Read a network that somebody has taken along.

    Args:
        preset: the folder of a preset, or its handle on a hub; the folder of a training run, whose best network is
            taken; or a `.keras` file.
        load_weights: False leaves the weights random.

    Returns:
        The network, not compiled.

    Raises:
        FileNotFoundError: it is not there, or a file in it is missing; the message names it.
        ValueError: it is of another library or does not fit together, or a handle is of another form.
        ImportError: a hub's client is not installed.
    """
    if is_handle(name := os.fspath(preset)):
        path = fetched(name)
    elif not (path := user_path(preset)).exists():
        raise FileNotFoundError(
            f"{preset}: there is no such preset, run or file; on a hub it is hf://OWNER/MODEL or "
            "kaggle://OWNER/MODEL/keras/VARIANT"
        )
    if path.suffix == ".keras":
        network = _read_keras_file(path)
    elif (path / CHECKPOINT).is_file():
        network = with_record(_read_keras_file(path / CHECKPOINT), path)
    else:
        return _read_folder(path, load_weights)
    return network if load_weights else type(network).from_config(network.get_config())


def with_record(network: Any, run: Path) -> Any:
    """Tell a network that does not know its task what the record of its training run says of it.

    Args:
        network: a network of the run.
        run: the folder of the run.

    Returns:
        The network.
    """
    if getattr(network, "task", None) == {} and (run / CLASSES_FILE).is_file():
        from keras_cacnet.datasets.classes import ClassTable

        network.classes = ClassTable.from_json(_read_json(run / CLASSES_FILE))
        network.image_size = _read_json(run / CONFIG_FILE)["recipe"].get("image_size")
    return network


def model_card(network: Any) -> str:
    """Write the model card of a network in Markdown, from what the network itself knows."""
    classes = network.classes
    names = classes.names if classes else [f"{index}, without a name" for index in range(network.num_classes)]
    size = network.image_size and f"Images are brought to a long side of {network.image_size} pixels first."
    lines = [
        *("---", "library_name: keras-cacnet", "pipeline_tag: image-segmentation", "---", "", f"# {network.name}", ""),
        f"A {type(network).__name__} of {network.count_params():,} parameters, output stride {network.output_stride}.",
        "",
        *(f"- {name}: {text}" for name, text in CONTRACT.items()),
        *([f"- working size: {size}"] if size else []),
        *("", "Classes:", "", *(f"{index}. {name}" for index, name in enumerate(names)), ""),
        *("```python", "import keras_cacnet as kc", "", 'result = kc.Segmenter("FOLDER")("photograph.jpg")', "```", ""),
    ]
    return "\n".join(lines)


def _metadata(network: Any) -> dict[str, Any]:
    from keras_cacnet import __version__

    return {
        "keras_version": keras.version(),
        "keras_cacnet_version": __version__,
        "parameter_count": network.count_params(),
        "date_saved": time.strftime("%Y-%m-%d@%H:%M:%S"),
        "tasks": ["ImageSegmenter"],
    }


def _read_keras_file(path: Path) -> keras.Model:
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:
        raise ValueError(f"{path} cannot be loaded, it may be damaged or no model of Keras: {error}") from error


def _read_folder(folder: Path, load_weights: bool) -> Any:
    wanted = (CONFIG_FILE, WEIGHTS_FILE) if load_weights else (CONFIG_FILE,)
    serialized = _read_json(folder / CONFIG_FILE) if (folder / CONFIG_FILE).is_file() else {}
    if "recipe" in serialized:
        raise FileNotFoundError(f"{folder} has no {CHECKPOINT}: the run has not finished its first epoch")
    if missing := [name for name in wanted if not (folder / name).is_file()]:
        raise FileNotFoundError(
            f"{folder} has no {' and no '.join(missing)}: a preset holds {CONFIG_FILE}, {WEIGHTS_FILE}, "
            f"{METADATA_FILE} and {TASK_FILE}, and the folder of a training run {CHECKPOINT}"
        )
    owner = str(serialized.get("registered_name"))
    if not owner.startswith(_OURS):
        raise ValueError(
            f"{folder / CONFIG_FILE} describes {owner}, no network of keras_cacnet; the weights of a backbone of "
            "keras-cv or KerasHub go in as CaCNet(num_classes, backbone=NAME, weights=FOLDER)"
        )
    try:
        network = keras.saving.deserialize_keras_object(serialized)
    except Exception as error:
        raise ValueError(f"{folder / CONFIG_FILE} cannot be built: {error}") from error
    if load_weights:
        try:
            network.load_weights(folder / WEIGHTS_FILE)
        except Exception as error:
            raise ValueError(f"{folder / WEIGHTS_FILE} does not fit {CONFIG_FILE} beside it: {error}") from error
    return network


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} is not the description of a network or a run")
    return value


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2) + "\n"
