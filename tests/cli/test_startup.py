"""How the command begins: at once where it only answers, and without TensorFlow's start-up lines."""

import os
import resource
import subprocess
import sys

import pytest

from keras_cacnet.cli import main

ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
LOADED = """
import sys
sys.argv[0] = "keras-cacnet"
from keras_cacnet.cli import main
try:
    main(sys.argv[1:])
except SystemExit as ended:
    assert not ended.code
heavy = {"keras", "tensorflow", "matplotlib", "jax", "keras_cv"} & set(sys.modules)
assert not heavy, heavy
"""


def run(*words, module="keras_cacnet", **environment):
    command = [sys.executable, "-m", module, *words]
    return subprocess.run(command, env=ENVIRONMENT | environment, capture_output=True, text=True, check=False)


def test_both_modules_are_the_command():
    one, other = (run("evaluate", "nowhere", "--data", "scenes", module=f"keras_cacnet{part}") for part in ("", ".cli"))
    assert (one.returncode, one.stdout, one.stderr) == (other.returncode, other.stdout, other.stderr)
    assert one.returncode == 2
    assert one.stderr.startswith("error: nowhere")


@pytest.mark.parametrize("words", ["--help", "--version", "recipes", "recipes laptop", "train --help", "ablate --help"])
def test_answers_come_at_once(words):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-c", LOADED, *words.split()]
    result = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout
    # Processor time, which other processes do not lengthen much; 0.2 s on the machine of the documentation.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5


def test_help_says_each_default_once(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "default: None" not in text
    assert "default: False" not in text
    assert text.count("(default: 1") == 1
    assert "(default: auto)" in text


def test_the_module_is_the_command():
    from keras_cacnet import __version__

    assert run("--version").stdout == f"keras-cacnet {__version__}\n"


def test_other_commands_leave_start_up_lines_out(tmp_path, write_coast):
    write_coast(tmp_path / "coast")
    result = run("check", "--data", str(tmp_path / "coast"))
    assert (result.returncode, result.stderr) == (0, "")


STAND_IN = """
import os, sys
os.write(2, b"what TensorFlow says\\n")
{rest}
"""


@pytest.fixture
def stand_in(tmp_path):
    """A package that takes TensorFlow's place, and writes to the descriptor as its libraries do."""

    def write(rest):
        (tmp_path / "tensorflow").mkdir()
        (tmp_path / "tensorflow" / "__init__.py").write_text(STAND_IN.format(rest=rest))
        path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
        return {"PYTHONPATH": path}

    return write


CONFIG = "class config:\n    list_physical_devices = staticmethod(lambda: [])"


@pytest.mark.parametrize(
    ("rest", "words", "told"),
    [
        ("raise ImportError('no libcuda')", ("check", "--data", "x"), "what TensorFlow says\nerror: no libcuda\n"),
        (CONFIG, ("check", "--data", "nowhere"), "error: nowhere: does not exist"),
        ("os.abort()", ("check", "--data", "x"), "Fatal Python error: Aborted"),
    ],
)
def test_what_was_held_back_is_shown_where_the_import_fails(stand_in, rest, words, told):
    result = run(*words, **stand_in(rest))
    assert result.returncode != 0
    assert result.stderr.startswith(told)


def test_a_failure_that_is_nobodys_input_shows_them(monkeypatch, capsys):
    from keras_cacnet import cli
    from keras_cacnet.cli import check

    def fails(options):
        raise AssertionError("not foreseen")

    monkeypatch.setattr(cli, "import_tensorflow", lambda: "what TensorFlow says\n")
    monkeypatch.setattr(check, "run", fails)
    with pytest.raises(AssertionError, match="not foreseen"):
        cli.main(["check", "--data", "x"])
    assert capsys.readouterr().err == "what TensorFlow says\n"
