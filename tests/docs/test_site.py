"""The site: built without a warning, with every public name in the reference, and examples that run."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import keras_cacnet as kc

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
PACKAGES = (
    *("datasets", "evaluation", "export", "layers", "losses", "metrics", "models", "models.heads", "optimizers"),
    *("paper", "pipeline", "report", "training", "visualization"),
)


def package(path):
    found = kc
    for name in path.split("."):
        found = getattr(found, name)
    return found


def test_every_package_has_a_page_of_the_reference():
    documented = set()
    for page in (DOCS / "api").glob("*.md"):
        documented |= set(re.findall(r"\.\. automodule:: ([\w.]+)", page.read_text()))
    assert documented == {package(path).__name__ for path in PACKAGES}
    # Names at the top are either such packages or shown by one of them.
    for name in set(kc.__all__) - {"__version__", *PACKAGES}:
        assert any(name in package(path).__all__ for path in PACKAGES)


def test_every_page_is_in_the_contents():
    listed = set()
    for page in PAGES:
        for tree in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(), re.DOTALL):
            names = [line for line in tree.splitlines() if line and not line.startswith(":")]
            listed |= {(page.parent / f"{name}.md").resolve() for name in names}
    assert set(PAGES) - listed == {DOCS / "index.md"}


def test_the_messages_of_troubleshooting_are_those_of_the_package():
    source = "".join(path.read_text() for path in (ROOT / "keras_cacnet").rglob("*.py"))
    # As they are printed: strings that Python puts together, and the id of void.
    source = re.sub(r'"\n\s*f?"', "", source).replace("{VOID}", "255")
    headings = re.findall(r"^### (.*)$", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE)
    messages = [message for heading in headings for message in re.findall("`([^`]+)`", heading)]
    assert len(messages) > 10
    assert [message for message in messages if message not in source] == []


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_has_every_public_name(tmp_path):
    from sphinx.util.inventory import InventoryFile

    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "-q", "-b", "html"]
    command += ["-d", str(tmp_path / "doctrees"), str(DOCS), str(tmp_path / "html")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    inventory = InventoryFile.loads((tmp_path / "html" / "objects.inv").read_bytes(), uri="")
    names = {name for kind, entries in inventory.data.items() if kind.startswith("py:") for name in entries}
    missing = {f"{path}.{name}" for path in PACKAGES for name in package(path).__all__ if not named(path, name, names)}
    assert not missing


def named(path, name, names):
    """Whether a name, or the sub-package of that name, is in the reference."""
    return f"{package(path).__name__}.{name}" in names or f"{path}.{name}" in PACKAGES
