"""What an export is: classes, input, training, scores, versions and checksums, for people and for programs."""

import hashlib
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from keras_cacnet.datasets.classes import VOID
from keras_cacnet.evaluation.protocol import Protocol
from keras_cacnet.export.destination import EXTRA, one_line_errors
from keras_cacnet.export.exportable_models import require_size
from keras_cacnet.export.to_tflite import TFLITE_PRECISIONS
from keras_cacnet.files import user_path, write_atomically, write_json
from keras_cacnet.models.presets import CARD_FILE, CONTRACT, is_preset
from keras_cacnet.training.recipe_settings import setting_text
from keras_cacnet.training.run import Run

INPUT = {
    "images": "RGB, 0..255; the network scales and normalises them itself",
    "class_ids": "of every pixel the index of its likeliest class, in the order of the classes here",
    "probabilities": "of every pixel the softmax over the classes, in the same order",
}

FILES = {
    "image_bytes": "of the signature serve_encoded: JPEG and PNG files as they are, turned upright by EXIF",
    "sizes": "of the signature serve_encoded: height and width of every image inside class_ids, which it pads",
}
"""What a SavedModel takes and gives besides."""


def card_paths(export: str | Path) -> tuple[Path, Path]:
    """Name the files of an export's card, JSON and Markdown.

    Args:
        export: a folder, as of a SavedModel, or a file.

    Returns:
        Inside a folder in `assets.extra`, of a preset as KerasHub has it; beside a file under its name.

    Example:
        >>> [str(path) for path in card_paths("served/cacnet.tflite")]
        ['served/cacnet.tflite.model_card.json', 'served/cacnet.tflite.model_card.md']
    """
    export = user_path(export)
    if is_preset(export):
        return export / "model_card.json", export / CARD_FILE
    if export.is_dir():
        return export / EXTRA / "model_card.json", export / EXTRA / "model_card.md"
    return export.with_name(f"{export.name}.model_card.json"), export.with_name(f"{export.name}.model_card.md")


def require_card_places(export: str | Path) -> None:
    """Refuse an export beside which its card cannot be written, before it is made.

    Raises:
        ValueError: there is a folder where the card would be.
    """
    for path in card_paths(export):
        if path.is_dir():
            raise ValueError(
                f"{path} is a folder, where the card of the export has to be: move it, or name another file"
            )


def model_card(
    run: Run,
    checkpoint: str = "best",
    *,
    precision: str = "float32",
    size: tuple[int, int] | None = None,
    probabilities: bool = True,
) -> dict[str, Any]:
    """Collect what is known of a run's network, for the card of an export of it.

    Args:
        run: the run; its evaluations of this checkpoint are the scores.
        checkpoint: which of the run's checkpoints: "best", "last" or "previous".
        precision: what the export computes in, as `export.tflite` names it.
        size: height and width of the only images that it takes; None for any.
        probabilities: whether it gives any.

    Returns:
        Values that JSON can hold: `name`, `checkpoint`, `precision`, `size`, `outputs`, `classes` with their colours,
        `void_id`, `training` with recipe and data, `scores`, each with its protocol, and `versions`.

    Raises:
        FileNotFoundError: the run has no such checkpoint.
        ValueError: another checkpoint, precision or size than there are, or a file of the run that cannot be read.
    """
    run.checkpoint(checkpoint)
    if precision not in TFLITE_PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(TFLITE_PRECISIONS)}, got {precision!r}")
    config, classes = run.config, run.classes
    return {
        "name": config.get("recipe_name") or run.path.resolve().name,
        "checkpoint": checkpoint,
        "precision": precision,
        "size": size and [*require_size(size, "size")],
        "outputs": ["class_ids", "probabilities"] if probabilities else ["class_ids"],
        "classes": [
            {"index": index, "name": name, "color": list(color)}
            for index, (name, color) in enumerate(zip(classes.names, classes.palette, strict=True))
        ],
        "void_id": VOID,
        "training": {
            "data": _names_alone(config["data"]),
            "trained_on": [_names_alone(seen, 2) for seen in config["trained_on"]],
            "images": config["images"],
            "recipe": config["recipe"],
        },
        "scores": _scores(run, checkpoint),
        "versions": config["versions"],
    }


def write_model_card(export: str | Path, card: dict[str, Any]) -> tuple[Path, Path]:
    """Write the card of an export, as JSON and as Markdown.

    Args:
        export: the folder or file.
        card: what `model_card` has collected. What belongs to the export is added: `format`, the `contract` of input
            and output, and `files` with sizes and SHA-256.

    Returns:
        The two paths, see `card_paths`.

    Raises:
        FileNotFoundError: there is no export.
        OSError: the card cannot be written; the message names its file.
    """
    export = user_path(export)
    if not export.exists():
        raise FileNotFoundError(f"{export} is not there: export the run first")
    card = {
        "name": card["name"],
        "format": _format(export),
        **card,
        "contract": CONTRACT if is_preset(export) else _contract(export, card),
        "files": _files(export),
    }
    machine, people = card_paths(export)
    with one_line_errors(machine):
        machine.parent.mkdir(exist_ok=True)
        write_json(machine, card)
    with one_line_errors(people):
        write_atomically(people, lambda path: path.write_text(to_markdown(card), encoding="utf-8"))
    return machine, people


def read_model_card(export: str | Path) -> dict[str, Any]:
    """Read the card that was written beside an export.

    Args:
        export: the folder or file.

    Raises:
        FileNotFoundError: there is no card.
        ValueError: it is no JSON.
    """
    path, _ = card_paths(export)
    if not path.is_file():
        raise FileNotFoundError(f"{export} has no model card at {path}: export it again")
    return _json(path)


def changed_files(export: str | Path) -> list[str]:
    """Compare the files of an export with the checksums of its card.

    Args:
        export: the folder or file.

    Returns:
        What is missing or not as it was written; nothing where all is well.

    Raises:
        FileNotFoundError: there is no card.
    """
    then = {entry["path"]: entry["sha256"] for entry in read_model_card(export)["files"]}
    now = {entry["path"]: entry["sha256"] for entry in _files(user_path(export))}
    return [f"{name} is {'changed' if name in now else 'missing'}" for name in then if now.get(name) != then[name]]


def to_markdown(card: dict[str, Any]) -> str:
    """Write the card as people read it."""
    training = card["training"]
    lines = [
        f"# {card['name']}",
        "",
        f"A network for semantic segmentation as {card['format']}, from the run's checkpoint `{card['checkpoint']}`,",
        f"in {card['precision']}, for images of {'x'.join(map(str, card['size'])) if card['size'] else 'any size'}.",
        "Every pixel gets one of the classes below: there is no answer for what is none of them.",
        "",
        "## Input and output",
        "",
        *_table(("name", "is"), card["contract"].items()),
        "",
        "## Classes",
        "",
        *_table(
            ("index", "name", "colour"),
            [(c["index"], c["name"], setting_text(tuple(c["color"]))) for c in card["classes"]],
        ),
        "",
        f"Masks mark pixels of no class with {card['void_id']}; predictions never do.",
        "",
        "## Scores",
        "",
        *_score_lines(card["scores"]),
        "",
        "## Training",
        "",
        f"On {', '.join(training['trained_on'])} ({_counts(training['images'])}).",
        "",
        *_table(
            ("setting", "value"), [(key, setting_text(_tuple(value))) for key, value in training["recipe"].items()]
        ),
        "",
        "## Versions",
        "",
        *_table(("package", "version"), card["versions"].items()),
        "",
        "## Files",
        "",
        *_table(("file", "bytes", "SHA-256"), [(f["path"], f["bytes"], f["sha256"]) for f in card["files"]]),
    ]
    return "\n".join(lines) + "\n"


def _contract(export: Path, card: dict[str, Any]) -> dict[str, str]:
    given = {name: words for name, words in INPUT.items() if name in ("images", *card["outputs"])}
    return given | FILES if export.is_dir() else given


def _format(export: Path) -> str:
    if is_preset(export):
        return "preset"
    return "SavedModel" if export.is_dir() else export.suffix.removeprefix(".")


def _scores(run: Run, checkpoint: str) -> list[dict[str, Any]]:
    kept = ("data", "split", "protocol", "images", "pixel_accuracy", "mean_iou", "absent_rule", "classes")
    found = []
    for path in sorted(run.path.glob("evaluation_*.json")):
        values = _json(path)
        if values.get("checkpoint") == checkpoint:
            found.append({name: values[name] for name in kept} | {"data": _names_alone(values["data"])})
    return found


def _names_alone(path: str, parts: int = 1) -> str:
    """The end of a path: whose disk the data lay on is nobody's business."""
    return "/".join(Path(path).parts[-parts:])


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error}): write it anew, or remove it") from error


def _score_lines(scores: list[dict[str, Any]]) -> list[str]:
    if not scores:
        return [
            "None yet: `keras-cacnet evaluate RUN --data DATA --split val` writes them, and the next export has them."
        ]
    names = {entry.name for entry in fields(Protocol)}
    rows = []
    for score in scores:
        given: dict[str, Any] = {key: _tuple(value) for key, value in score["protocol"].items() if key in names}
        figures = [_percent(score[name]) for name in ("pixel_accuracy", "mean_iou")]
        rows.append((f"{score['images']:,} of {score['data']}/{score['split']}", Protocol(**given).to_text(), *figures))
    rules = {score["absent_rule"] for score in scores}
    return [*_table(("images", "shown as", "pixel accuracy, %", "mIoU, %"), rows), "", "; ".join(sorted(rules)) + "."]


def _files(export: Path) -> list[dict[str, Any]]:
    own = set(card_paths(export))
    paths = sorted(path for path in export.rglob("*") if path.is_file()) if export.is_dir() else [export]
    root = export if export.is_dir() else export.parent
    found = []
    for path in (path for path in paths if path not in own):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        found.append({"path": path.relative_to(root).as_posix(), "bytes": path.stat().st_size, "sha256": digest})
    return found


def _table(head: tuple[str, ...], rows: Any) -> list[str]:
    lines = [head, ("---",) * len(head), *rows]
    return ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in lines]


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _counts(images: dict[str, int]) -> str:
    return ", ".join(f"{count:,} images in {split}" for split, count in images.items())


def _percent(share: float | None) -> str:
    return "undefined" if share is None else f"{100 * share:.2f}"
