"""`keras-cacnet export` of a run, as a person types it."""

import json
import os
import shutil
import tempfile
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import keras_cacnet as kc
import small_networks
from keras_cacnet.cli import main
from keras_cacnet.export import onnx
from keras_cacnet.files import write_json
from keras_cacnet.training import Recipe, Run

NOBODY = 65534


@pytest.fixture
def place(tmp_path, model, classes):
    """A run as training leaves it, and three photographs in a folder that a file manager has been in."""
    config = {
        "data": "/somewhere/coast",
        "trained_on": ["/somewhere/coast/train"],
        "images": {"train": 4},
        "recipe": Recipe().to_json(),
        "versions": {"keras": keras.__version__},
    }
    (tmp_path / "run").mkdir()
    write_json(tmp_path / "run" / "config.json", config)
    write_json(tmp_path / "run" / "classes.json", classes.to_json())
    model.save(tmp_path / "run" / "best.keras")
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    rng = np.random.default_rng(0)
    for index in range(3):
        Image.fromarray(rng.integers(0, 256, (24, 32, 3)).astype("uint8")).save(photographs / f"{index}.png")
        (photographs / f"._{index}.png").write_bytes(b"\0\5\26\7 left by a file manager")
    (photographs / ".DS_Store").touch()
    return tmp_path


def error_of(words, capsys):
    """The one line that a command says on its way out, with status 2."""
    capsys.readouterr()
    assert main(list(map(str, words))) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line.removeprefix("error: ")


def test_tflite_files_have_classes_and_a_card(place, capsys):
    words = ["export", str(place / "run"), "--format", "tflite", "--output"]
    assert main(["export", str(place / "run"), "--output", str(place / "any.tflite")]) == 0
    names = zipfile.ZipFile(place / "any.tflite").read("labels.txt").decode().splitlines()
    assert names == ["sky", "sea", "sand", "palm tree", "boat"]
    int8 = [*words, str(place / "int8.tflite"), "--precision", "int8", "--size", "24x32", "--calibration"]
    capsys.readouterr()
    assert main([*int8, str(place / "photographs")]) == 0
    assert "warning: int8 was calibrated on 3 images" in capsys.readouterr().err
    card = json.loads((place / "int8.tflite.model_card.json").read_text())
    assert (card["precision"], card["size"]) == ("int8", [24, 32])
    assert "precision must be one of float32" in error_of([*words, place / "new.tflite", "--precision", "int4"], capsys)
    assert "int8.tflite is there already" in error_of([*int8, place / "photographs"], capsys)


def test_verify_compares_what_was_written(place, capsys):
    """And tells an export that is of other weights, by status 1."""
    output = place / "cacnet.onnx"
    words = ["export", str(place / "run"), "--format", "onnx", "--output", str(output)]
    words += ["--verify", str(place / "photographs")]
    assert main(words) == 0
    assert "3 photographs: the class of Keras on 100.0000 % of the pixels" in capsys.readouterr().out
    written = output.stat().st_mtime_ns
    assert main(words) == 0
    assert output.stat().st_mtime_ns == written
    model = Run(place / "run").load_model()
    model.set_weights([1.1 * weight for weight in model.get_weights()])
    onnx(model, output, overwrite=True)
    assert main(words) == 1
    told = capsys.readouterr().out
    assert "changed since it was written: cacnet.onnx is changed" in told
    assert "DIFFERENT" in told
    card = json.loads((place / "cacnet.onnx.model_card.json").read_text())
    assert [entry["name"] for entry in card["classes"]][:2] == ["sky", "sea"]


def test_class_ids_alone_are_verified_and_in_the_card(place, capsys):
    output = place / "ids.tflite"
    words = ["export", place / "run", "--format", "tflite", "--output", output, "--no-probabilities"]
    assert main([*map(str, words), "--verify", str(place / "photographs")]) == 0
    told = capsys.readouterr().out
    assert "the class of Keras on 100.0000 % of the pixels (float32: at least 99.99 %): as in Keras" in told
    card = json.loads((place / "ids.tflite.model_card.json").read_text())
    assert card["outputs"] == ["class_ids"]
    assert card["contract"].keys() == {"images", "class_ids"}
    assert "| probabilities" not in (place / "ids.tflite.model_card.md").read_text()


def test_home_is_meant_by_a_tilde_everywhere(place, monkeypatch):
    monkeypatch.setenv("HOME", str(place))
    monkeypatch.chdir(place / "photographs")
    before = sorted(Path.cwd().iterdir())
    words = ["export", str(place / "run"), "--output", "~/served/cacnet.tflite", "--format", "tflite"]
    words += ["--precision", "int8", "--size", "24x32", "--calibration", "~/photographs", "--verify", "~/photographs"]
    assert main(words) in (0, 1)  # noise in int8
    assert {path.name.partition(".tflite")[2] for path in (place / "served").iterdir()} == {
        "",
        ".model_card.json",
        ".model_card.md",
    }
    assert sorted(Path.cwd().iterdir()) == before


def test_options_go_with_their_formats(place, capsys):
    words = ["export", place / "run", "--output", place / "out"]
    for more, told in (
        (["--format", "saved_model", "--output", place / "out.onnx"], "writes a folder, and --output"),
        (["--format", "preset", "--output", place / "out.TFLITE"], "has a file's name: leave .tflite out"),
        (["--output", place / "out.onnx", "--precision", "int8"], "goes only with --format tflite, not with onnx"),
        (["--precision", "int8"], "--precision goes only with --format tflite, not with saved_model"),
        (["--format", "onnx", "--precision", "int8"], "--precision goes only with --format tflite, not with onnx"),
        (["--size", "32"], "--size goes only with --format tflite or onnx, not with saved_model"),
        (["--no-probabilities"], "--no-probabilities goes only with --format tflite or onnx, not with saved_model"),
        (["--format", "onnx", "--scales", "0.5,1"], "go only with --format saved_model, not with onnx"),
        (["--scales", "0.5,1", "--crop-size", "64"], "an export shows every scaled image whole: leave --crop-size out"),
        (
            ["--format", "tflite", "--max-pixels", "9"],
            "--max-pixels goes only with --format saved_model, not with tflite",
        ),
        (["--max-pixels", "0"], "max_pixels (--max-pixels) must be a whole number, at least 1, got 0"),
    ):
        assert told in error_of([*words, *more], capsys)
    assert not list(place.glob("out*"))


def test_what_is_missing_is_found_before_the_model_is_loaded(place, capsys, monkeypatch):
    def loaded(self, which):
        raise AssertionError("the model was loaded first")

    monkeypatch.setattr(Run, "load_model", loaded)
    words = ["export", place / "run", "--format", "tflite", "--output", place / "cacnet.tflite"]
    (place / "empty").mkdir()
    for flag in ("--verify", "--calibration"):
        for folder, told in (
            ("nowhere", "is no folder"),
            ("run/config.json", "is no folder"),
            ("empty", "has no photo"),
        ):
            assert f"{place / folder} {told}" in error_of([*words, flag, place / folder], capsys)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "cacnet.tflite is run by ai-edge-litert: pip install" in error_of(
        [*words, "--verify", place / "photographs"], capsys
    )


@pytest.mark.parametrize("form", ["saved_model", "tflite", "onnx"])
def test_an_unwritable_folder_is_one_line(place, capsys, form):
    """A run that may only be read is exported elsewhere, but not into itself."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(shutil.copytree(place / "run", Path(folder, "run")))
        os.chmod(folder, 0o755)
        run.chmod(0o555)
        before = sorted(run.iterdir())
        # Root may write everywhere, so for a while this process is nobody.
        root = os.geteuid() == 0
        if root:
            os.seteuid(NOBODY)
        try:
            output = run / "exports" / f"1.{form}"
            told = error_of(["export", run, "--output", output, "--format", form], capsys)
            with tempfile.TemporaryDirectory() as elsewhere:
                assert main(["export", str(run), "--output", f"{elsewhere}/1.{form}", "--format", form]) == 0
        finally:
            if root:
                os.seteuid(0)
        assert told == f"{output} cannot be written: Permission denied in {run}; name a place in which you may write"
        assert sorted(run.iterdir()) == before
        run.chmod(0o755)


def test_a_card_that_cannot_be_made_is_found_before_the_export(place, capsys):
    words = ["export", place / "run", "--format", "tflite", "--output", place / "cacnet.tflite"]
    (place / "run" / "evaluation_val.json").write_text("{")
    assert "evaluation_val.json is no JSON" in error_of(words, capsys)
    (place / "run" / "evaluation_val.json").unlink()
    (place / "cacnet.tflite.model_card.md").mkdir()
    assert "cacnet.tflite.model_card.md is a folder, where the card" in error_of(words, capsys)
    assert not (place / "cacnet.tflite").exists()


def test_a_preset_has_the_card_of_its_run(place, classes, capsys):
    small_networks.small_network(len(classes)).save(place / "run" / "best.keras")
    words = ["export", place / "run", "--format", "preset", "--output", place / "coast"]
    assert "a preset is read by Keras itself" in error_of([*words, "--verify", place / "photographs"], capsys)
    assert main(list(map(str, words))) == 0
    network = kc.CaCNet.from_preset(place / "coast")
    assert network.classes == classes
    for text in ((place / "coast" / "README.md").read_text(), (place / "coast" / "model_card.json").read_text()):
        assert "palm tree" in text
        assert "preset" in text
        assert "train" in text
    assert "is not empty" in error_of(words, capsys)
    assert main([*map(str, words), "--overwrite"]) == 0
    (place / "coast" / "metadata.json").unlink()
    assert "holds something else than a preset" in error_of([*words, "--overwrite"], capsys)
