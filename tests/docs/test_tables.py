"""The tables of the pages are those of the results that the benchmarks wrote."""

import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize(("page", "fill"), [("results.md", "fill"), ("performance.md", "fill_performance")])
def test_tables_are_those_of_the_results(page, fill, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(DOCS), *sys.path])
    import tables

    text = (DOCS / page).read_text(encoding="utf-8")
    assert getattr(tables, fill)(text) == text, "write them by `python docs/tables.py --write`"


def test_a_figure_that_is_not_that_of_the_results_is_found(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(DOCS), *sys.path])
    import tables

    text = "<!-- step -->\n| another table |\n<!-- end -->\n"
    filled = tables.fill_performance(text)
    assert "| training step | 1.00 |" in filled
    assert filled.endswith("<!-- end -->\n")
