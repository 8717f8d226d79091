"""The card of an export against the run's own files, and what it says of files that were changed."""

import hashlib
import json

import pytest

from keras_cacnet.evaluation import Protocol
from keras_cacnet.export.card import card_paths, changed_files, model_card, read_model_card, write_model_card
from keras_cacnet.files import write_json
from keras_cacnet.training.recipe import Recipe
from keras_cacnet.training.run import Run


@pytest.fixture
def run(tmp_path, classes):
    """What a card reads of a run."""
    folder = tmp_path / "coast"
    folder.mkdir()
    write_json(folder / "classes.json", classes.to_json())
    config = {
        "recipe_name": None,
        "data": "/home/someone/coast",
        "trained_on": ["/home/someone/coast/train"],
        "images": {"train": 1200, "val": 20},
        "recipe": Recipe(epochs=7).to_json(),
        "versions": {"keras": "3.15.1"},
    }
    write_json(folder / "config.json", config)
    for checkpoint in ("best", "last"):
        (folder / f"{checkpoint}.keras").touch()
    return Run(folder)


def score(run, name, checkpoint, mean_iou, protocol):
    facts = {
        "data": "/home/someone/coast",
        "split": "val",
        "images": 20,
        "pixel_accuracy": 0.75,
        "mean_iou": mean_iou,
        "absent_rule": "left out",
    }
    facts |= {"checkpoint": checkpoint, "protocol": protocol.to_json(), "classes": [{"name": "sky", "iou": 0.5}]}
    write_json(run.path / f"evaluation_{name}.json", {**facts, "confusion": [[1]]})


@pytest.fixture
def folder(tmp_path):
    export = tmp_path / "served" / "1"
    (export / "variables").mkdir(parents=True)
    (export / "saved_model.pb").write_bytes(b"graph")
    (export / "variables" / "data").write_bytes(b"weights")
    return export


def test_a_folder_has_it_where_servers_leave_it_alone(run, folder):
    score(run, "val", "best", 0.25, Protocol())
    score(run, "scales", "best", None, Protocol((0.5, 1.0), flip=True, crop_size=96))
    score(run, "last", "last", 0.9, Protocol())
    machine, people = write_model_card(folder, model_card(run))
    assert machine == folder / "assets.extra" / "model_card.json"
    card = json.loads(machine.read_text())
    write_model_card(folder, model_card(run))
    assert card == read_model_card(folder)  # written again, the card does not count itself
    assert [(c["index"], c["name"], c["color"]) for c in card["classes"]][1] == (1, "sea", [20, 60, 140])
    assert [score["mean_iou"] for score in card["scores"]] == [None, 0.25]  # none of another checkpoint
    assert card["training"]["recipe"]["epochs"] == 7
    assert card["files"] == [
        {"path": path, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for path, content in (("saved_model.pb", b"graph"), ("variables/data", b"weights"))
    ]
    assert list(card["contract"]) == ["images", "class_ids", "probabilities", "image_bytes", "sizes"]
    assert "someone" not in machine.read_text() + people.read_text()
    text = people.read_text()
    for told in (
        "# coast",
        "| 2 | palm tree | 230,210,150 |",
        "| 20 of coast/val | scale 1.0 of the image, not mirrored, whole | 75.00 | 25.00 |",
        "| 20 of coast/val | scales 0.5, 1.0 of the image, mirrored as well, windows of 96 pixels every 64 (2/3)",
        "| undefined |",
        "| dilation_rates | 1,2,3 |",
        "On coast/train (1,200 images in train, 20 images in val).",
    ):
        assert told in text


def test_a_file_has_it_beside(run, tmp_path):
    export = tmp_path / "coast.tflite"
    export.write_bytes(b"flat")
    machine, people = write_model_card(export, model_card(run, "last"))
    assert (machine, people) == card_paths(export)
    assert {path.name for path in tmp_path.iterdir()} >= {"coast.tflite.model_card.json", "coast.tflite.model_card.md"}
    card = json.loads(machine.read_text())
    assert (card["format"], card["checkpoint"]) == ("tflite", "last")
    assert list(card["contract"]) == ["images", "class_ids", "probabilities"]
    assert [entry["path"] for entry in card["files"]] == ["coast.tflite"]
    assert "None yet: `keras-cacnet evaluate" in people.read_text()


def test_files_that_are_not_as_they_were(run, folder):
    write_model_card(folder, model_card(run))
    assert changed_files(folder) == []
    (folder / "variables" / "data").write_bytes(b"weighty")
    (folder / "saved_model.pb").unlink()
    (folder / "new").touch()  # servers put files of their own there
    assert changed_files(folder) == ["saved_model.pb is missing", "variables/data is changed"]


def test_what_is_not_there_is_named(run, folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="1 is not there: export the run first"):
        write_model_card(tmp_path / "nowhere" / "1", model_card(run))
    with pytest.raises(FileNotFoundError, match="has no model card at .*model_card.json"):
        changed_files(folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"checkpoint": "worst"}, "which must be 'best', 'last' or 'previous', got 'worst'"),
        ({"precision": "int4"}, "precision must be one of float32, float16, dynamic, int8, got 'int4'"),
        ({"size": (0, 4)}, r"size must be a height and a width from 1 on, in pixels, got \(0, 4\)"),
    ],
)
def test_what_no_export_has_is_refused(run, options, message):
    with pytest.raises(ValueError, match=message):
        model_card(run, **options)


def test_files_that_are_no_json_are_named(run, folder):
    write_model_card(folder, model_card(run))
    (folder / "assets.extra" / "model_card.json").write_text("{")
    with pytest.raises(ValueError, match="model_card.json is no JSON"):
        read_model_card(folder)
    (run.path / "evaluation_val.json").write_text("{")
    with pytest.raises(ValueError, match="evaluation_val.json is no JSON"):
        model_card(run)
