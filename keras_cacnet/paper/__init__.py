"""Reproducing the paper: tables as data, recipes by name, ablations, costs, figures, archives for servers."""

import importlib
from typing import Any

from keras_cacnet.paper.claims import CLAIMS, Claim
from keras_cacnet.paper.table import Remark, Row, Table
from keras_cacnet.paper.tables_1_to_6 import TABLE_1, TABLE_2, TABLE_3, TABLE_4, TABLE_5, TABLE_6
from keras_cacnet.paper.tables_7_to_10 import TABLE_7, TABLE_8, TABLE_9, TABLE_10, VOC_COLUMNS

TABLES = {
    table.number: table
    for table in (TABLE_1, TABLE_2, TABLE_3, TABLE_4, TABLE_5, TABLE_6, TABLE_7, TABLE_8, TABLE_9, TABLE_10)
}
"""The tables by their number."""

# The tables and claims need nothing but Python; what runs them needs TensorFlow.
_ON_FIRST_USE = {
    "Difference": "ablation_table",
    "FULL_NETWORK": "ablation_rows",
    "PAPER_RECIPES": "recipes",
    "PaperFigure": "recipes",
    "PaperRecipe": "recipes",
    "Plan": "ablation_rows",
    "PlannedRow": "ablation_rows",
    "Result": "ablation",
    "RowResult": "ablation",
    "Runs": "ablation_runs",
    "Score": "ablation_runs",
    "Spread": "ablation_table",
    "VARIANTS": "ablation_rows",
    "Variant": "ablation_rows",
    "ablate": "ablation",
    "archive_form": "submission",
    "dry_run": "ablation",
    "paired_difference": "ablation_table",
    "plan": "ablation_rows",
    "recipe_named": "recipes",
    "require_submission": "submission",
    "scored_source": "ablation_runs",
    "scored_split": "ablation_runs",
    "spread": "ablation_table",
    "to_json": "ablation_table",
    "to_markdown": "ablation_table",
    "write_submission": "submission",
}

__all__ = ["CLAIMS", "TABLES", "VOC_COLUMNS", "Claim", "Remark", "Row", "Table", *_ON_FIRST_USE]


def __getattr__(name: str) -> Any:
    if name in _ON_FIRST_USE:
        return getattr(importlib.import_module(f"keras_cacnet.paper.{_ON_FIRST_USE[name]}"), name)
    raise AttributeError(f"module 'keras_cacnet.paper' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
