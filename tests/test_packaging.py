"""The wheel, and the package in an environment of its own."""

import re
import subprocess
import sys
import venv
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


@pytest.mark.slow
def test_the_wheel_works_in_an_environment_of_its_own(wheel, tmp_path):
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    constraints = ["--constraint", str(ROOT / "constraints.txt")]
    install = [str(python), "-m", "pip", "install", "--quiet", *constraints, str(wheel)]
    result = subprocess.run(install, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    code = (
        "import numpy as np, keras_cacnet as kc\n"
        "model = kc.CaCNet(3, backbone='resnet14_narrow', head_channels=8)\n"
        "print(model(np.zeros((1, 20, 30, 3), 'uint8')).shape)"
    )
    result = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert result.stdout.strip() == "(1, 20, 30, 3)", result.stderr
    command = tmp_path / "env" / "bin" / "keras-cacnet"
    result = subprocess.run([str(command), "--help"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert result.returncode == 0, result.stderr


def test_what_is_released_is_one_version():
    changes = (ROOT / "CHANGELOG.md").read_text()
    latest = re.search(r"^## (\d\S+), (\d{4}-\d\d-\d\d)$", changes, re.MULTILINE)
    citation = (ROOT / "CITATION.cff").read_text()
    assert latest[1] == __version__ == re.search(r"^version: (\S+)$", citation, re.MULTILINE)[1]
    assert f'date-released: "{latest[2]}"' in citation
    assert "version = attr: keras_cacnet.version.__version__" in (ROOT / "setup.cfg").read_text()


def test_the_first_page_is_short():
    assert len((ROOT / "README.md").read_text().split()) <= 700
