"""A table of the paper as it came out here, over several seeds, as values that JSON can hold."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from keras_cacnet.paper.ablation import Result, RowResult
from keras_cacnet.paper.ablation_statistics import Difference, paired_difference, spread
from keras_cacnet.paper.costs import Cost
from keras_cacnet.paper.tables import TABLES

SCORES = {"mean_iou": "mIoU", "pixel_accuracy": "pixAcc"}
"""The scores that are averaged over seeds, each with how the paper's columns begin that have it."""


def to_json(
    result: Result,
    facts: Mapping[str, Any],
    costs: Mapping[str, Cost] | None = None,
    images: Mapping[str, int] | None = None,
    counted: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Everything about a table as values that JSON can hold; scores of ours are shares, the paper's percent.

    Args:
        result: the rows.
        facts: what else to state, such as the data, the command and the versions.
        costs: parameters and multiply-adds by row, see `plan_costs`.
        images: number of scored images that every class is in; None where they were not counted.
        counted: the classes whose IoU counts in the mean, as `Runs` has them.

    Returns:
        The values: `to_markdown` and `draw` take them.
    """
    plan = result.plan
    return {
        "table": plan.table,
        "reference": plan.reference,
        "seeds": list(result.seeds),
        "missing": result.missing,
        "facts": dict(facts),
        "recipe": plan.base.to_json(),
        "protocol": {**plan.protocol.to_json(), "text": plan.protocol.to_text()},
        "classes_that_count": None if counted is None else list(counted),
        "images_by_class": None if images is None else dict(images),
        "rows": [_row(result, row, (costs or {}).get(row.row.name)) for row in result.rows],
        "left_out": dict(plan.left_out),
        "remarks_on_the_paper": [
            {"kind": remark.kind, "text": remark.text, "cells": [list(cell) for cell in remark.cells]}
            for remark in TABLES[plan.table].remarks
        ],
    }


def _row(result: Result, row: RowResult, cost: Cost | None) -> dict[str, Any]:
    planned = row.row
    seconds = [score.processor_seconds for score in row.scores.values() if score.processor_seconds is not None]
    losses = [score.training_loss for score in row.scores.values() if score.training_loss is not None]
    own = planned.protocol != result.plan.protocol
    return {
        "row": planned.name,
        "ours": planned.ours,
        "control": planned.control,
        "recipe": planned.recipe.to_json(),
        "protocol": {**planned.protocol.to_json(), "text": planned.protocol.to_text()},
        "notes": [*planned.notes, *([f"scored by {planned.protocol.to_text()}"] if own else [])],
        "parameters": cost and cost.parameters,
        "multiply_adds": cost and cost.multiply_adds,
        # The first run on a cache computes the features too, so the mean would be none of a usual run.
        "processor_seconds": round(statistics.median(seconds), 1) if seconds else None,
        "training_loss": statistics.fmean(losses) if losses else None,
        "runs": [_run(row, seed) for seed in result.seeds],
        **{name: _score(result, row, name) for name in SCORES},
    }


def _run(row: RowResult, seed: int) -> dict[str, Any]:
    score = row.scores.get(seed)
    return {
        "seed": seed,
        "folder": row.folders[seed].name if seed in row.folders else None,
        "mean_iou": score and score.mean_iou,
        "pixel_accuracy": score and score.pixel_accuracy,
        "classes": score and dict(score.classes),
        "processor_seconds": score and score.processor_seconds,
        "training_loss": score and score.training_loss,
        "error": row.errors.get(seed),
    }


def _score(result: Result, row: RowResult, name: str) -> dict[str, Any]:
    found = spread(list(_by_seed(row, name).values()))
    table, control = TABLES[result.plan.table], row.row.control
    column = next(column for column in table.columns if column.startswith(SCORES[name]))
    return {
        "mean": found and found.mean,
        "deviation": found and found.deviation,
        "interval": found and found.interval,
        "count": found.number if found else 0,
        "to_reference": _difference(result, row, result.plan.reference, name),
        "to_control": None if control is None else _difference(result, row, control, name),
        "paper": table.value(row.row.name, column) if row.row.name in table.names else None,
    }


def _difference(result: Result, row: RowResult, other: str, name: str) -> dict[str, Any] | None:
    reference = result.by_name(other)
    if reference is None or row is reference:
        return None
    found: Difference | None = paired_difference(_by_seed(row, name), _by_seed(reference, name))
    if found is None:
        return None
    return {
        "row": other,
        "mean": found.mean,
        "error": found.error,
        "interval": found.interval,
        "count": found.number,
        "beyond_chance": found.beyond_chance,
    }


def _by_seed(row: RowResult, name: str) -> dict[int, float]:
    return {seed: getattr(score, name) for seed, score in row.scores.items()}
