"""The public names: where they are, that completion shows them, and that docs and examples use no others."""

import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import keras_cacnet as kc

ROOT = Path(__file__).resolve().parents[1]
PUBLIC = (
    *(
        "",
        "datasets",
        "evaluation",
        "export",
        "layers",
        "losses",
        "metrics",
        "models",
        "models.heads",
        "optimizers",
    ),
    *("paper", "pipeline", "report", "training", "training.losses", "training.optimizers", "visualization"),
)
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").rglob("*.py")])
PROGRAMS = {"keras_cacnet.cli"}
INSIDE = {"keras_cacnet.datasets.importing"}  # what is public there is a name of the package around it
BUILDERS = {"datasets.voc2012", "datasets.pascal_context", "datasets.ade20k"}  # imported so that `tfds.load` finds them
SHORTCUTS = ("", "losses", "metrics", "optimizers")  # to modules of other packages


def package(path):
    found = kc
    for name in filter(None, path.split(".")):
        found = getattr(found, name)
    return found


@pytest.mark.parametrize("path", PUBLIC)
def test_every_name_of_a_package_is_there_and_completed(path):
    module = package(path)
    assert dir(module) == sorted(module.__all__)
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = module.nothing


def test_every_package_is_public_or_a_program():
    packages = {found.name for found in pkgutil.walk_packages(kc.__path__, "keras_cacnet.") if found.ispkg}
    assert packages - PROGRAMS - INSIDE == {f"keras_cacnet.{path}" for path in PUBLIC if path not in SHORTCUTS}


def used(text):
    """The dotted names that a page uses: after `kc.`, and as it imports them."""
    yield from re.findall(r"(?<![\w./-])(?:kc|keras_cacnet)\.([A-Za-z_][\w.]*\w)", text)
    for module, names in re.findall(r"from keras_cacnet(\.[\w.]+)? import ([\w, ]+)", text):
        yield from (f"{module}.{name.split()[0]}".lstrip(".") for name in names.split(","))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_use_public_names_only(page):
    for path in used(page.read_text()):
        if f"keras_cacnet.{path.partition('.')[0]}" in PROGRAMS or path in BUILDERS:
            continue
        module, names = kc, path.split(".")
        for name in names:
            public = getattr(module, "__all__", None)
            if public is not None:
                assert name in public, f"{page.name}: keras_cacnet.{path} is not public"
            module = getattr(module, name)
            if not isinstance(module, type(importlib)):
                break
