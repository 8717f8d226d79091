"""Exports to places where they cannot be: one line before anything is converted, and all that was there is kept."""

import os
import re
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
import tensorflow as tf

from keras_cacnet.export import onnx, saved_model, tflite
from keras_cacnet.export.destination import one_line_errors, whole_folder, write_whole_file

NOBODY = 65534
WRITERS = {"1": saved_model, "cacnet.tflite": tflite, "cacnet.onnx": onnx}


def contents(folder):
    return {path.relative_to(folder): path.is_file() and path.read_bytes() for path in folder.rglob("*")}


@contextmanager
def without_privilege():
    """Root may write everywhere; for a while this process is nobody."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def locked():
    """A folder that may be read but not written. Not in tmp_path, into which only its owner can look."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "thesis.txt").write_text("three years")
        path.chmod(0o555)
        with without_privilege():
            yield path
        path.chmod(0o755)


@pytest.fixture
def unconverted(model, monkeypatch):
    """A model that must not be asked for anything yet."""

    def asked(*arguments, **options):
        raise AssertionError("the model was called before the place was looked at")

    monkeypatch.setattr(type(model), "call", asked)
    return model


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("between", ["", "new/deep"])
def test_an_unwritable_folder_is_found_first(unconverted, locked, name, between):
    path = locked / between / name
    message = f"{path} cannot be written: Permission denied in {locked}; name a place in which you may write"
    with pytest.raises(PermissionError, match=f"^{re.escape(message)}$"):
        WRITERS[name](unconverted, path)
    assert contents(locked).keys() == {Path("thesis.txt")}


@pytest.mark.parametrize("name", WRITERS)
def test_a_path_in_a_file_is_found_first(unconverted, tmp_path, name):
    (tmp_path / "thesis.txt").write_text("three years")
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    before = contents(tmp_path)
    for folder in (tmp_path / "thesis.txt", tmp_path / "thesis.txt" / "new", tmp_path / "broken"):
        with pytest.raises(ValueError, match=r"(thesis.txt|broken) is no folder, and a folder is needed"):
            WRITERS[name](unconverted, folder / name)
    assert contents(tmp_path) == before


def test_a_folder_that_cannot_be_replaced_is_found_first(unconverted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in (".", "..", "/"):
        with pytest.raises(ValueError, match=f"{re.escape(path)} is no name for a folder of its own"):
            saved_model(unconverted, path)
    with pytest.raises(ValueError, match="/proc is a mount point, which cannot be replaced whole: .* /proc/1"):
        saved_model(unconverted, "/proc")


LIMITED = """
import resource, sys
import keras
from keras_cacnet import export
layers = [keras.Input((None, None, 3)), keras.layers.Conv2D(200, 9, padding="same"), keras.layers.Conv2D(2, 1)]
network = keras.Sequential(layers)
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
for name in ("saved_model", "tflite", "onnx"):
    try:
        getattr(export, name)(network, sys.argv[1] + "/cacnet." + name, overwrite=True)
    except OSError as error:
        print(error)
"""


def test_a_full_disk_leaves_what_was_there(model, tmp_path):
    """No file may have more than 30 kB, which a network of 200 kB learns as it would that the disk is full."""
    for write in WRITERS.values():
        write(model, tmp_path / f"cacnet.{write.__name__}")
    before = contents(tmp_path)
    command = [sys.executable, "-c", LIMITED, tmp_path]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    saved, converted, written = process.stdout.splitlines()
    place, mend = re.escape(f"{tmp_path}/cacnet."), "make room there, or name another place"
    assert re.fullmatch(f"{place}saved_model cannot be written: File too large; {mend}", saved)
    # On the way to TFLite weights are in a temporary file.
    assert re.fullmatch(r"/.* cannot be written: File too large; make room there, or set TMPDIR .*", converted)
    assert re.fullmatch(f"{place}onnx cannot be written: File too large; {mend}", written)
    assert contents(tmp_path) == before


def test_folders_that_were_made_for_nothing_are_taken_away(tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(OSError, match="1 cannot be written: No space left"), whole_folder(tmp_path / "new" / "1"):
        raise OSError(28, "No space left on device")
    with pytest.raises(OSError, match="a cannot be written: .*[Nn]ame too long"):
        write_whole_file(tmp_path / "there" / "new" / ("b" * 300) / "a", b"")
    assert contents(tmp_path) == {Path("there"): False}


def test_what_cannot_be_renamed_comes_back(tmp_path, monkeypatch):
    target = tmp_path / "1"
    target.mkdir()
    (target / "saved_model.pb").write_text("former")
    rename = Path.rename

    def refuse(self, other):
        if "partial" in self.name:
            raise PermissionError(1, "Operation not permitted")
        return rename(self, other)

    monkeypatch.setattr(Path, "rename", refuse)
    message = f"{target} cannot be written: Operation not permitted"
    with pytest.raises(PermissionError, match=re.escape(message)), whole_folder(target) as folder:
        folder.mkdir()
    assert contents(tmp_path) == {Path("1"): False, Path("1/saved_model.pb"): b"former"}


def test_tensorflows_errors_are_one_line():
    message = "^cacnet cannot be written: Disk quota exceeded; make room there, or name another place$"
    with pytest.raises(OSError, match=message), one_line_errors(Path("cacnet")):
        raise tf.errors.ResourceExhaustedError(None, None, "cacnet/x; Disk quota exceeded\n\t [[node]]")


@pytest.mark.parametrize("name", WRITERS)
def test_a_tilde_is_the_home_folder_and_a_relative_path_the_working_one(model, tmp_path, monkeypatch, name):
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    assert WRITERS[name](model, f"~/served/{name}") == tmp_path / "home" / "served" / name
    assert WRITERS[name](model, name) == Path(name)
    assert {path.name for path in (tmp_path / "here").iterdir()} == {name}
