"""The Python of the pages, run from top to bottom on a small set, with smaller networks and shorter trainings."""

import re
from pathlib import Path

import pytest

from keras_cacnet.training import Job, Recipe, train

DOCS = Path(__file__).resolve().parents[2] / "docs"
SMALLER = {
    '"scenes"': '"photographs"',
    "batch_size=8, crop_size=96, steps=50": "batch_size=2, crop_size=16, steps=2",
    "epochs=12": "epochs=1",
    "total_steps=600": "total_steps=2",
    "head_channels=64": "head_channels=8",
    "head_channels=128": "head_channels=8",
    'backbone="efficientnet_lite0", weights="imagenet"': 'backbone="resnet14_narrow"',
    "kc.CaCNet(21)": 'kc.CaCNet(21, backbone="resnet14_narrow", head_channels=8)',
    "kc.CaCNet(21, num": 'kc.CaCNet(21, backbone="resnet14_narrow", head_channels=8, num',
    "kc.CaCNet(21, rew": 'kc.CaCNet(21, backbone="resnet14_narrow", head_channels=8, rew',
    "model = kc.training.train(kc.training.Job(recipe, data, ": "prepared = (kc.training.Job(recipe, data, ",
}
GIVEN = "import numpy as np, keras, keras_cacnet as kc\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, write_coast, small_networks):
    """Where the reader is: with a data set, a photograph, and a finished run."""
    from keras_cacnet.datasets import open_dataset

    root = tmp_path_factory.mktemp("reader")
    coast = write_coast(root / "photographs")
    images = sorted((coast / "images" / "val").iterdir())
    (root / "holiday").mkdir()
    for name in ("photograph.jpg", "holiday/a.png"):
        (root / name).write_bytes(images[0].read_bytes())
    recipe = Recipe(
        backbone="resnet14_narrow", head_channels=8, crop_size=16, batch_size=2, epochs=1, learning_rate=0.02
    )
    train(Job(recipe, open_dataset(coast), root / "runs" / "first"), verbose=0)
    return root


def code(page):
    text = "\n".join(re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE))
    for whole, small in SMALLER.items():
        text = text.replace(whole, small)
    return text


SLOW = [
    pytest.param(f"{name}.md", marks=pytest.mark.slow)
    for name in ("get_started", "coming_from", "how_it_works", "cookbook")
]


PAGES = ("your_data.md", "importing.md", "settings.md", "losses.md", *SLOW)


@pytest.mark.parametrize("page", PAGES)
def test_the_pages_run(page, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    names = {"__name__": f"docs.{page.removesuffix('.md')}"}
    exec(GIVEN, names)
    if page in ("settings.md", "coming_from.md"):
        names["photograph"] = names["image"] = names["kc"].datasets.read_image("photograph.jpg")
        names["model"] = names["kc"].training.Run("runs/first").load_model()
    exec(compile(code(page), page, "exec"), names)


def test_what_is_made_smaller_is_on_the_pages():
    everything = "".join(path.read_text() for path in DOCS.glob("*.md"))
    assert [whole for whole in SMALLER if whole not in everything] == []
