"""The figure of an ablation, from its JSON: scores with their intervals, and cost beside them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from keras_cacnet.files import user_path
from keras_cacnet.paper.ablation import named
from keras_cacnet.paper.tables import TABLES

_COLOURS = {False: "C0", True: "0.5"}
_COSTS = {
    "multiply_adds": ("multiply-adds", 1e9, "{:.2f}G"),
    "parameters": ("parameters", 1e6, "{:.2f}M"),
    "processor_seconds": ("processor, seconds a run", 1, "{:.0f}"),
}


def draw(values: Mapping[str, Any], path: str | Path) -> None:
    """Draw the mean mIoU of every row with its 95 % interval and a point a seed, and cost beside it, as a PNG.

    Rows without a score are left out; controls, which the paper does not have, are grey.

    Args:
        values: what `to_json` gave, or what was read from its file.
        path: the PNG.

    Raises:
        ValueError: no row has a score yet.
    """
    rows = [row for row in values["rows"] if row["mean_iou"]["count"]]
    if not rows:
        raise ValueError(f"Table {values['table']} has no score yet: there is nothing to draw")
    costs = [key for key in _COSTS if any(row[key] for row in rows)]
    figure = Figure(figsize=(5.5 + 1.9 * len(costs), 1.5 + 0.42 * len(rows)), dpi=110, layout="constrained")
    widths = {"width_ratios": [3, *[1.2] * len(costs)]}
    scores, *others = figure.subplots(1, 1 + len(costs), sharey=True, squeeze=False, gridspec_kw=widths)[0]
    for place, row in enumerate(rows):
        _draw_scores(scores, place, row)
    scores.set_yticks(range(len(rows)), [named(row["row"], row["ours"]) for row in rows])
    scores.set_ylim(len(rows) - 0.5, -0.5)
    scores.set_xlabel("mIoU in %: mean, its 95 % interval, and a point a seed")
    scores.grid(alpha=0.3, axis="x")
    for axes, key in zip(others, costs, strict=True):
        _draw_costs(axes, rows, key)
    table = TABLES[values["table"]]
    data = Path(str(values["facts"].get("data", ""))).name
    mark = "; †: control, not the paper's" if any(row["ours"] for row in rows) else ""
    figure.suptitle(f"Table {table.number} on {data}, {len(values['seeds'])} seeds{mark}", fontsize="medium")
    figure.savefig(user_path(path), format="png")


def _draw_scores(axes: Axes, place: int, row: Mapping[str, Any]) -> None:
    colour, score = _COLOURS[row["ours"]], row["mean_iou"]
    found = [100 * run["mean_iou"] for run in row["runs"] if run["mean_iou"] is not None]
    axes.scatter(found, [place] * len(found), s=12, color=colour, alpha=0.45, linewidths=0, zorder=2)
    if score["interval"] is not None:
        low, high = (100 * end for end in score["interval"])
        axes.plot([low, high], [place, place], color=colour, linewidth=1.5, zorder=3)
    axes.plot(100 * score["mean"], place, marker="D", markersize=5, color=colour, zorder=4)


def _draw_costs(axes: Axes, rows: list[Mapping[str, Any]], key: str) -> None:
    title, unit, text = _COSTS[key]
    found = [(row[key] or 0) / unit for row in rows]
    colours = [_COLOURS[row["ours"]] for row in rows]
    bars = axes.barh(range(len(rows)), found, height=0.55, color=colours, alpha=0.7)
    axes.bar_label(bars, [text.format(value) if value else "" for value in found], padding=2, fontsize="small")
    axes.set_xlabel(title)
    axes.margins(x=0.5)
    axes.set_xticks([])
    axes.spines[["top", "right", "bottom"]].set_visible(False)
