"""A table of the paper as it came out here, over several seeds: ours beside the paper's, as JSON and as Markdown."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from keras_cacnet.paper.ablation import Result, RowResult
from keras_cacnet.paper.tables import TABLES
from keras_cacnet.training.recipe import Recipe

NOT_RUN = "not run yet"
_SCORES = {"mean_iou": "mIoU", "pixel_accuracy": "pixAcc"}


class Spread(NamedTuple):
    """Scores of one row over its seeds: their number, mean and sample standard deviation (None for one)."""

    number: int
    mean: float
    deviation: float | None


class Difference(NamedTuple):
    """A row less another over the seeds they share: their number, mean and standard error (None for one)."""

    number: int
    mean: float
    error: float | None


def spread(values: Sequence[float]) -> Spread | None:
    """Sum up the scores of one row.

    Args:
        values: one a seed.

    Returns:
        Number, mean and sample standard deviation, with n - 1; None for no values.

    Example:
        >>> spread([0.25, 0.75, 0.5])
        Spread(number=3, mean=0.5, deviation=0.25)
        >>> spread([0.5])
        Spread(number=1, mean=0.5, deviation=None)
    """
    if not values:
        return None
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Spread(len(values), statistics.fmean(values), deviation)


def paired_difference(ours: Mapping[int, float], reference: Mapping[int, float]) -> Difference | None:
    """Compare two rows by the seeds that both have.

    A seed fixes the order of the images and the augmentation, so what it moves in both rows drops out.

    Args:
        ours: scores by seed.
        reference: scores by seed of the row to compare with.

    Returns:
        Number of common seeds, mean difference and its standard error; None without a common seed.

    Example:
        >>> paired_difference({0: 0.5, 1: 0.75, 2: 0.5}, {0: 0.25, 1: 0.25})
        Difference(number=2, mean=0.375, error=0.125)
    """
    found = spread([ours[seed] - reference[seed] for seed in ours if seed in reference])
    if found is None:
        return None
    error = None if found.deviation is None else found.deviation / math.sqrt(found.number)
    return Difference(found.number, found.mean, error)


def critical_errors(count: int, level: float = 0.05) -> float:
    """How many standard errors a mean difference has to be away from 0 to be told from chance.

    Args:
        count: number of pairs, at least 2.
        level: how often pure chance may get so far, on either side.

    Returns:
        The two-sided quantile of Student's t with `count` - 1 degrees of freedom.

    Example:
        >>> [round(critical_errors(count), 2) for count in (2, 3, 10)]
        [12.71, 4.3, 2.26]
    """
    from scipy import stats

    return float(stats.t.ppf(1 - level / 2, count - 1))


def to_json(result: Result, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Everything about a table as values that JSON can hold; scores of ours are shares, the paper's percent.

    Args:
        result: the rows.
        facts: what else to state, such as the data, the command and the versions.
    """
    plan = result.plan
    return {
        "table": plan.table,
        "reference": plan.reference,
        "seeds": list(result.seeds),
        "missing": result.missing,
        **facts,
        "recipe": plan.base.to_json(),
        "protocol": plan.protocol.to_json(),
        "rows": [_row_json(result, row) for row in result.rows],
        "left_out": dict(plan.left_out),
        "remarks_on_the_paper": [
            {"kind": remark.kind, "text": remark.text, "cells": [list(cell) for cell in remark.cells]}
            for remark in TABLES[plan.table].remarks
        ],
    }


def to_markdown(result: Result, facts: Mapping[str, Any]) -> str:
    """The table for a document, with everything that its figures depend on.

    Args:
        result: the rows.
        facts: what else to state, by name, such as the data, the command and the versions.
    """
    plan, table = result.plan, TABLES[result.plan.table]
    head = ["row", "mIoU, ours", "difference", "mIoU, paper", "difference", "pixAcc, ours", "pixAcc, paper", "runs"]
    lines = [
        f"Table {plan.table}: {table.caption}.",
        "",
        f"| {' | '.join(head)} |",
        "|---|" + "---:|" * (len(head) - 1),
        *(f"| {' | '.join(_cells(result, name))} |" for name in table.names),
        "",
        f"In %. {_basis(result)}",
        "",
    ]
    changed = {name: value for name, value in plan.base.to_json().items() if value != Recipe().to_json()[name]}
    settings = ", ".join(f"{name} {value}" for name, value in changed.items()) or "the paper's for PASCAL Context"
    told = {**facts, "protocol": plan.protocol.to_text(), "settings beside the recipe's defaults": settings}
    lines += [f"- {name.replace('_', ' ')}: {_fact(value)}" for name, value in told.items()]
    lines += [f"- seeds: {', '.join(map(str, result.seeds))}"]
    lines += [
        f"- the paper's figures: {table.dataset}, {table.split}, {table.protocol}; "
        + "; ".join(_remark(remark.text, remark.cells) for remark in table.remarks)
    ]
    for row in result.rows:
        own = [] if row.row.protocol == plan.protocol else [f"scored by {row.row.protocol.to_text()}"]
        lines += [f"- {row.row.name}: {note}" for note in (*row.row.notes, *own)]
        lines += [f"- {row.row.name}, seed {seed}: failed: {error}" for seed, error in row.errors.items()]
    lines += [f"- {name}: left out: {reason}" for name, reason in plan.left_out.items()]
    return "\n".join(lines) + "\n"


def _row_json(result: Result, row: RowResult) -> dict[str, Any]:
    value: dict[str, Any] = {
        "row": row.row.name,
        "recipe": row.row.recipe.to_json(),
        "protocol": row.row.protocol.to_json(),
        "notes": list(row.row.notes),
        "runs": [
            {
                "seed": seed,
                "folder": row.folders[seed].name if seed in row.folders else None,
                **(row.scores[seed]._asdict() if seed in row.scores else dict.fromkeys(_SCORES)),
                "error": row.errors.get(seed),
            }
            for seed in result.seeds
        ],
    }
    for name, printed in _SCORES.items():
        found, apart = _spread(row, name), _difference(result, row, name)
        value[name] = {
            "mean": found and found.mean,
            "deviation": found and found.deviation,
            "count": found.number if found else 0,
            "difference": apart and apart.mean,
            "difference_error": apart and apart.error,
            "difference_count": apart.number if apart else 0,
            "paper": _paper(result, row.row.name, printed),
        }
    return value


def _cells(result: Result, name: str) -> list[str]:
    row = result.by_name(name)
    table = TABLES[result.plan.table]
    paper, reference = (_paper(result, key, "mIoU") for key in (name, result.plan.reference))
    apart = "" if name == result.plan.reference or paper is None or reference is None else f"{paper - reference:+.1f}"
    printed = [table.cell(name, _column(result, column)) for column in ("mIoU", "pixAcc")]
    figures = ["lost" if cell is None else cell for cell in printed]
    if row is None:
        return [name, "left out", "", figures[0], apart, "", figures[1], "0"]
    mean_iou, accuracy = _spread(row, "mean_iou"), _spread(row, "pixel_accuracy")
    ours = _percent(mean_iou) or ("failed" if row.errors else NOT_RUN)
    difference = _percent_difference(_difference(result, row, "mean_iou"))
    runs = f"{len(row.scores)}" if len(row.scores) == len(result.seeds) else f"{len(row.scores)} of {len(result.seeds)}"
    return [name, ours, difference, figures[0], apart, _percent(accuracy), figures[1], runs]


def _basis(result: Result) -> str:
    reference = result.plan.reference
    if len(result.seeds) == 1:
        return "One seed: how far seeds spread is not known, so no row can be called better or worse than another."
    text = "Ours: mean ± sample standard deviation over the seeds."
    if result.by_name(reference) is None:
        return f"{text} `{reference}`, the row to compare with, was not run."
    text += f" Difference: the mean over seeds of the row less `{reference}` with the same seed ± its standard error."
    apart = {row.row.name: _difference(result, row, "mean_iou") for row in result.rows}
    tested = {name: found for name, found in apart.items() if found is not None and found.error is not None}
    for count in sorted({found.number for found in tested.values()}):
        limit = critical_errors(count)
        beyond = [
            name
            for name, found in tested.items()
            if found.number == count and found.error is not None and abs(found.mean) > limit * found.error
        ]
        text += (
            f" Between {count} pairs of runs that are alike, chance takes a difference beyond {limit:.1f} standard "
            f"errors once in 20 times (Student's t); beyond it here: {', '.join(beyond) or 'none'}."
        )
    return text


def _spread(row: RowResult, name: str) -> Spread | None:
    return spread([getattr(score, name) for score in row.scores.values()])


def _difference(result: Result, row: RowResult, name: str) -> Difference | None:
    reference = result.by_name(result.plan.reference)
    if reference is None or row is reference:
        return None
    ours, theirs = ({seed: getattr(score, name) for seed, score in one.scores.items()} for one in (row, reference))
    return paired_difference(ours, theirs)


def _paper(result: Result, row: str, printed: str) -> float | None:
    return TABLES[result.plan.table].value(row, _column(result, printed))


def _column(result: Result, printed: str) -> str:
    return next(column for column in TABLES[result.plan.table].columns if column.startswith(printed))


def _percent(found: Spread | None) -> str:
    if found is None:
        return ""
    text = f"{100 * found.mean:.2f}"
    return text if found.deviation is None else f"{text} ± {100 * found.deviation:.2f}"


def _percent_difference(found: Difference | None) -> str:
    if found is None:
        return ""
    text = f"{100 * found.mean:+.2f}"
    return text if found.error is None else f"{text} ± {100 * found.error:.2f}"


def _remark(text: str, cells: tuple[tuple[str, str], ...]) -> str:
    return f"{', '.join(' '.join(cell) for cell in cells)}: {text}" if cells else text


def _fact(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {one}" for name, one in value.items())
    return str(value)
