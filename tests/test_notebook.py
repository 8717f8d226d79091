"""examples/colab.ipynb: what jupytext makes of its source, and executed from top to bottom."""

import re
from pathlib import Path

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SMALLER = {
    'DATA = "scenes"': 'DATA = "coast"',
    "EPOCHS, STEPS, CROP = 6, 50, 96": "EPOCHS, STEPS, CROP = 1, 2, 16",
    "batch_size=8, crop": "batch_size=2, crop",
    "head_channels=64": "head_channels=8, num_heads=1, dilation_rates=(1,)",
    '["image_size=192", "crop_size=128"]': (
        '["image_size=48", "crop_size=16", "batch_size=2", "backbone=resnet14_narrow", "weights=none", '
        '"head_channels=8", "num_heads=1", "dilation_rates=1", "learning_rate=0.001"]'
    ),
    '"epochs=4", ': '"epochs=1", "freeze=none", "cached_views=0", ',
    ', "cached_views=2"': "",
}


# Kept by its name: what it has changed would be undone with it.
SMALL_BACKBONES = f"""
import sys
sys.path.append({str(Path(__file__).parent)!r})
from small_networks import small_networks
small = small_networks()
small.__enter__()
"""


def notebook():
    return jupytext.read(EXAMPLES / "colab.py")


def execute(book, folder):
    book.cells = [cell for cell in book.cells if "install" not in cell.metadata.get("tags", [])]
    NotebookClient(book, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(folder)}}).execute()
    return book


def outputs(book):
    texts = (out.get("text", "") for cell in book.cells for out in cell.get("outputs", []))
    pictures = [out for cell in book.cells for out in cell.get("outputs", []) if "image/png" in out.get("data", {})]
    return "".join(texts), pictures


def test_the_notebook_is_what_its_source_gives():
    """`jupytext --to ipynb examples/colab.py` writes it."""
    kept = nbformat.read(EXAMPLES / "colab.ipynb", as_version=4)
    cells = [(cell.cell_type, cell.source) for cell in notebook().cells]
    assert [(cell.cell_type, cell.source) for cell in kept.cells] == cells
    assert not any(cell.get("outputs") for cell in kept.cells)


def smaller(book):
    for whole, small in SMALLER.items():
        assert any(whole in cell.source for cell in book.cells), whole
        for cell in book.cells:
            cell.source = cell.source.replace(whole, small)
    book.cells.insert(0, nbformat.v4.new_code_cell(SMALL_BACKBONES))
    return book


def test_it_runs_from_top_to_bottom(tmp_path, write_coast):
    write_coast(tmp_path / "coast")
    book = smaller(notebook())
    text, pictures = outputs(execute(book, tmp_path))
    assert "(1, 40, 44)" in text
    assert "pixels as in Keras: 100.00%" in text
    assert "the same: True" in text
    assert "a binary task has num_classes=2" in text
    assert "loss nan" in text
    assert len(pictures) == 5


@pytest.mark.slow
def test_it_trains_well(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_CACNET_DATA", str(tmp_path / "data"))
    text, pictures = outputs(execute(notebook(), tmp_path))
    assert float(re.search(r"mean IoU +([\d.]+)", text)[1]) > 0.8
    assert len(pictures) == 5
