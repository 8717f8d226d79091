"""The table of an ablation for a document, from its JSON: ours beside the paper's, and what the figures depend on."""

from collections.abc import Mapping, Sequence
from typing import Any

from keras_cacnet.paper.ablation import CONTROL_NOTE, named
from keras_cacnet.paper.ablation_rows import VARIANTS
from keras_cacnet.paper.tables import TABLES
from keras_cacnet.training.recipe import Recipe

NOT_RUN = "not run yet"


def to_markdown(values: Mapping[str, Any]) -> str:
    """The table for a document, with everything that its figures depend on.

    Args:
        values: what `to_json` gave, or what was read from its file.
    """
    table = TABLES[values["table"]]
    lines = [f"Table {table.number}: {table.caption}.", "", *table_lines(values), "", f"In %. {basis(values)}", ""]
    changed = {name: value for name, value in values["recipe"].items() if value != Recipe().to_json()[name]}
    settings = ", ".join(f"{name} {value}" for name, value in changed.items()) or "the paper's for PASCAL Context"
    told = {
        **values["facts"],
        "classes that count in the mean": _counted(values),
        "protocol": values["protocol"]["text"],
        "settings beside the recipe's defaults": settings,
    }
    lines += [f"- {name.replace('_', ' ')}: {_fact(value)}" for name, value in told.items()]
    lines += [f"- seeds: {', '.join(map(str, values['seeds']))}"]
    remarks = [
        f"{', '.join(' '.join(cell) for cell in remark.cells)}: {remark.text}" if remark.cells else remark.text
        for remark in table.remarks
    ]
    lines += [f"- the paper's figures: {table.dataset}, {table.split}, {table.protocol}; {'; '.join(remarks)}"]
    for row in values["rows"]:
        lines += [f"- {row['row']}: {note}" for note in row["notes"]]
        errors = {run["seed"]: run["error"] for run in row["runs"] if run["error"]}
        lines += [f"- {row['row']}, seed {seed}: failed: {error}" for seed, error in errors.items()]
    lines += [f"- {name}: left out: {reason}" for name, reason in values["left_out"].items()]
    return "\n".join(lines) + "\n"


def table_lines(values: Mapping[str, Any]) -> list[str]:
    """The lines of the table itself; columns of what no row has are left out.

    Args:
        values: what `to_json` gave.
    """
    rows = {row["row"]: row for row in values["rows"]}
    cells = [_cells(values, variant.row, variant.ours, rows.get(variant.row)) for variant in VARIANTS[values["table"]]]
    head = ["row", "mIoU, ours", f"less {values['reference']}", "less its control", "mIoU, paper", "difference"]
    head += ["pixAcc, ours", "pixAcc, paper", "training loss", "parameters", "multiply-adds", "processor", "runs"]
    optional = ("less its control", "training loss", "parameters", "multiply-adds", "processor")
    kept = [i for i, name in enumerate(head) if name not in optional or any(row[i] for row in cells)]
    rules = "|---|" + "---:|" * (len(kept) - 1)
    titles, *lines = (f"| {' | '.join(row[i] for i in kept)} |" for row in (head, *cells))
    return [titles, rules, *lines]


def basis(values: Mapping[str, Any]) -> str:
    """What the table's figures are, and which differences are beyond chance, in sentences.

    Args:
        values: what `to_json` gave.
    """
    rows = {row["row"]: row for row in values["rows"]}
    note = f" {CONTROL_NOTE}." if any(row["ours"] for row in rows.values()) else ""
    if len(values["seeds"]) == 1:
        return (
            "One seed: how far seeds spread is not known, so no row can be called better or worse than another." + note
        )
    text = "Ours: mean ± sample standard deviation over the seeds."
    reference = values["reference"]
    if reference not in rows:
        text += f" `{reference}`, the row to compare with, was not run."
    compared = {kind: _beyond(values, kind) for kind in ("to_reference", "to_control")}
    if any(found is not None for found in compared.values()):
        text += (
            " Differences: the mean over seeds of the row less the other with the same seed, and its 95 % interval by "
            "Student's t. Between runs that are alike chance takes an interval past 0 once in 20 times; past 0 here"
        )
        told = {"to_reference": f"against `{reference}`", "to_control": "against its control"}
        parts = [f"{told[kind]}: {', '.join(names) or 'none'}" for kind, names in compared.items() if names is not None]
        text += f", {'; '.join(parts)}."
    return text + note


def _beyond(values: Mapping[str, Any], kind: str) -> list[str] | None:
    found = {row["row"]: row["mean_iou"][kind] for row in values["rows"] if row["mean_iou"][kind]}
    if not any(one["interval"] for one in found.values()):
        return None
    return [name for name, one in found.items() if one["beyond_chance"]]


def _cells(values: Mapping[str, Any], name: str, ours: bool, row: Mapping[str, Any] | None) -> list[str]:
    table = TABLES[values["table"]]
    in_paper = name in table.names
    columns = [next(one for one in table.columns if one.startswith(start)) for start in ("mIoU", "pixAcc")]
    printed = [("lost" if (cell := table.cell(name, one)) is None else cell) if in_paper else "" for one in columns]
    paper = table.value(name, columns[0]) if in_paper else None
    other = table.value(values["reference"], columns[0]) if values["reference"] in table.names else None
    apart = "" if name == values["reference"] or paper is None or other is None else f"{paper - other:+.1f}"
    shown = named(name, ours)
    if row is None:
        return [shown, "left out", "", "", printed[0], apart, "", printed[1], "", "", "", "", "0"]
    scored, seeds = row["mean_iou"]["count"], len(values["seeds"])
    missing = "failed" if any(run["error"] for run in row["runs"]) else NOT_RUN
    seconds = row["processor_seconds"]
    return [
        shown,
        _percent(row["mean_iou"]) or missing,
        _percent_difference(row["mean_iou"]["to_reference"]),
        _percent_difference(row["mean_iou"]["to_control"]),
        printed[0],
        apart,
        _percent(row["pixel_accuracy"]),
        printed[1],
        "" if row["training_loss"] is None else f"{row['training_loss']:.3f}",
        "" if row["parameters"] is None else f"{row['parameters'] / 1e6:.2f}M",
        "" if row["multiply_adds"] is None else f"{row['multiply_adds'] / 1e9:.2f}G",
        "" if seconds is None else f"{seconds:.0f} s",
        f"{scored}" if scored == seeds else f"{scored} of {seeds}",
    ]


def _percent(score: Mapping[str, Any]) -> str:
    if score["mean"] is None:
        return ""
    text = f"{100 * score['mean']:.2f}"
    return text if score["deviation"] is None else f"{text} ± {100 * score['deviation']:.2f}"


def _percent_difference(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    text = f"{100 * found['mean']:+.2f}"
    if found["interval"] is None:
        return text
    low, high = found["interval"]
    return f"{text} [{100 * low:+.2f}, {100 * high:+.2f}]"


def _counted(values: Mapping[str, Any]) -> str:
    images, counted = values["images_by_class"], values["classes_that_count"]
    if counted is None:
        return "those that are in the scored masks"
    left_out = [f"{name} ({count})" for name, count in (images or {}).items() if name not in counted]
    few = f"; in too few images, with their number: {', '.join(left_out)}" if left_out else ""
    return f"{_listed(counted)}{few}"


def _listed(names: Sequence[str]) -> str:
    return f"{len(names)}, {', '.join(names)}"


def _fact(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {one}" for name, one in value.items())
    return str(value)
