"""Paths as users give them, and places that are tried before the work whose results go there."""

import ast
import os
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

import keras_cacnet
from keras_cacnet.files import existing, writable_file, writable_folder

SCRIPT = """
import sys
from keras_cacnet.files import writable_file, writable_folder
for check, path in ((writable_folder, "locked/new/folder"), (writable_file, "locked/scores.json")):
    try:
        check(path)
    except OSError as error:
        print(error)
"""


def as_anybody():
    """What a command starts with to have no more rights than the file system gives: root may write everywhere."""
    if os.getuid():
        return []
    if not shutil.which("setpriv"):
        pytest.skip("root may write everywhere, and setpriv is not installed")
    rights = "-dac_override,-dac_read_search"
    return ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}"]


def test_a_folder_that_the_file_system_locks_is_refused(tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0o555)
    words = [*as_anybody(), sys.executable, "-c", SCRIPT]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        f"{name} cannot be written: Permission denied in locked; name a place in which you may write"
        for name in ("locked/new/folder", "locked/scores.json")
    ]
    assert not list(locked.iterdir())


def test_places_that_can_be_written_are_left_as_they_are(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert writable_folder("~/new/folder") == tmp_path / "new" / "folder"
    assert writable_file("~/new/scores.json") == tmp_path / "new" / "scores.json"
    assert writable_folder(tmp_path) == tmp_path
    assert not list(tmp_path.iterdir())


def test_what_is_in_the_way_is_named(tmp_path):
    (tmp_path / "file").touch()
    for check in (writable_folder, writable_file):
        with pytest.raises(ValueError, match=f"{tmp_path / 'file'} is no folder, and a folder is needed"):
            check(tmp_path / "file" / "a" / "b")
    with pytest.raises(ValueError, match=f"{tmp_path} is a folder, and a file is needed"):
        writable_file(tmp_path)


def test_a_file_is_found_in_any_unicode_normal_form(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "p\u00e4ge \u30ac.png") for form in ("NFC", "NFD"))
    (tmp_path / decomposed).touch()
    assert existing(tmp_path / composed) == tmp_path / decomposed
    assert existing(tmp_path / decomposed) == tmp_path / decomposed
    (tmp_path / composed).touch()
    assert existing(tmp_path / composed) == tmp_path / composed
    for missing in (tmp_path / "\u00f6.png", tmp_path / "nowhere" / "\u00f6.png"):
        assert existing(missing) == missing


def paths_as_given(module):
    """Where a path that a function takes as text, or a command as an option, becomes one without `user_path`."""
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            taken = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            texts = {one.arg for one in taken if one.annotation and "Path" in ast.unparse(one.annotation)}
            for call in ast.walk(node):
                if isinstance(call, ast.Call) and ast.unparse(call.func) == "Path" and len(call.args) == 1:
                    argument = ast.unparse(call.args[0])
                    if argument in texts or argument.startswith("options."):
                        yield f"{node.name}: {ast.unparse(call)}"


def test_every_path_of_a_user_knows_the_home_folder():
    package = Path(keras_cacnet.__file__).parent
    found = {
        file.relative_to(package).as_posix(): calls
        for file in package.rglob("*.py")
        if (calls := list(paths_as_given(ast.parse(file.read_text()))))
    }
    assert found == {"files.py": ["user_path: Path(path)"]}
