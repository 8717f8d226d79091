"""The wheel, and the package in an environment of its own."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from keras_cacnet.version import __version__

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    output = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(output), str(ROOT)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return next(output.glob("*.whl"))


@pytest.mark.slow
def test_the_wheel_holds_every_module_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    files = (
        path for path in (ROOT / "keras_cacnet").rglob("*") if path.suffix in (".py", ".pyi") or path.name == "py.typed"
    )
    modules = {str(path.relative_to(ROOT)) for path in files}
    assert packed == modules


def pythons():
    """The interpreters of this machine that the package is for, by version."""
    found = {}
    for version in ("3.11", "3.12", "3.13"):
        installed = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
        # pyenv's own command of that name only works where that version is switched on.
        found[version] = next(map(str, reversed(installed)), None) or shutil.which(f"python{version}")
    found["{}.{}".format(*sys.version_info)] = sys.executable
    return {version: path for version, path in found.items() if path}


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_the_wheel_works_in_an_environment_of_its_own(wheel, tmp_path, version):
    if version not in pythons():
        pytest.skip(f"there is no Python {version} here")

    # With a checkout on it pip would find the package installed already.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*command):
        words = [*map(str, command)]
        result = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()

    run(pythons()[version], "-m", "venv", tmp_path / "env")
    python = tmp_path / "env" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt", wheel)
    code = (
        "import numpy as np, keras_cacnet as kc\n"
        "model = kc.CaCNet(3, backbone='resnet14_narrow', head_channels=8)\n"
        "print(model(np.zeros((1, 20, 30, 3), 'uint8')).shape)"
    )
    assert run(python, "-c", code) == "(1, 20, 30, 3)"
    assert run(tmp_path / "env" / "bin" / "keras-cacnet", "--version") == f"keras-cacnet {__version__}"


def test_what_is_released_is_one_version():
    changes = (ROOT / "CHANGELOG.md").read_text()
    latest = re.search(r"^## (\d\S+), (\d{4}-\d\d-\d\d)$", changes, re.MULTILINE)
    citation = (ROOT / "CITATION.cff").read_text()
    assert latest[1] == __version__ == re.search(r"^version: (\S+)$", citation, re.MULTILINE)[1]
    assert f'date-released: "{latest[2]}"' in citation
    assert "version = attr: keras_cacnet.version.__version__" in (ROOT / "setup.cfg").read_text()


def test_the_first_page_is_short():
    assert len((ROOT / "README.md").read_text().split()) <= 700
