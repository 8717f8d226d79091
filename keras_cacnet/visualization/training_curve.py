"""The curve of a training run, from the CSV log that Keras writes or from what `fit` returns."""

import csv
import math
from pathlib import Path
from statistics import median
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from keras_cacnet.files import user_path

_NOT_SCORES = ("loss", "learning_rate")
_NARROW = 6
_FAR = 10  # times the median


def curve(log: str | Path | Any, path: str | Path | None = None, width: float = 8) -> Figure:
    """Draw the losses of a run above its scores, training and validation together, with the best epoch marked.

    Columns are taken as they come: `NAME` and `val_NAME` share a colour. An epoch without a value (validation
    runs seldom, NaN) is a gap that the line bridges; an epoch that is there twice, as in the log of a
    resumed run, counts as it was last written; a last line that a kill cut off is left out. Values far beyond all
    others are left out of the picture, and counted in it. The best epoch is that of the largest `val_mean_iou`, where
    there is one, else of the smallest `val_loss`.

    Args:
        log: the CSV log of `keras.callbacks.CSVLogger`, such as `log.csv` of a run; or what `fit` returns.
        path: a PNG to write.
        width: of the figure, in inches; legends are beside the panels where they are wide, above them otherwise.

    Returns:
        A figure of matplotlib; `savefig` writes it, no window is opened.

    Raises:
        FileNotFoundError: there is no such log.
        ValueError: the log has no column `epoch`, no finished epoch, or neither a loss nor a score.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "log.csv").write_text("epoch,loss,val_mean_iou\\n0,1.5,\\n1,1.2,0.31\\n")
        >>> figure = curve(folder / "log.csv", folder / "curve.png")
        >>> (folder / "curve.png").stat().st_size > 0
        True
    """
    title, epochs = epochs_of(log)
    names = list(dict.fromkeys(name for row in epochs.values() for name in row))
    base = dict.fromkeys(name.removeprefix("val_") for name in names)
    losses = [name for name in base if name == "loss" or name.endswith("_loss")]
    scores = [name for name in base if name not in losses and name not in _NOT_SCORES]
    panels = [panel for panel in (losses, scores) if panel]
    if not panels:
        where = "the history" if hasattr(log, "history") else user_path(log)
        raise ValueError(f"{where}: there is neither a loss nor a score in its columns {', '.join(names)}")
    beside = width > _NARROW
    height = (3.2 if beside else 3.6) * len(panels) + 0.6
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    best = _best(epochs)
    for axes, panel in zip(grid, panels, strict=True):
        drawn: list[float] = []
        for number, name in enumerate(panel):
            for column, style in ((name, "--"), (f"val_{name}", "-")):
                points = [(epoch + 1, row[column]) for epoch, row in sorted(epochs.items()) if column in row]
                if points:
                    kind = "validation" if column.startswith("val_") else "training"
                    # Points are drawn too, so that a single epoch can be seen.
                    x, y = zip(*points, strict=True)
                    axes.plot(x, y, style, color=f"C{number}", marker=".", label=f"{name}, {kind}")
                    drawn.extend(y)
                if best and best[0] == column:
                    value = epochs[best[1]][column]
                    axes.scatter([best[1] + 1], [value], s=90, facecolors="none", edgecolors=f"C{number}", zorder=3)
                    title += f"; best {column} {value:.3g} in epoch {best[1] + 1}"
        axes.grid(alpha=0.3)
        axes.margins(y=0.08)
        _without_the_far(axes, drawn)
        axes.set_ylabel("loss" if panel is losses else "score")
        place: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1.01, 0.5)}
        if not beside:
            place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": 2, "fontsize": "small"}
        axes.legend(frameon=False, **place)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    grid[-1].set_xlabel("epoch")
    figure.suptitle(title, fontsize="medium")
    if path is not None:
        figure.savefig(user_path(path), format="png")
    return figure


def epochs_of(log: Any) -> tuple[str, dict[int, dict[str, float]]]:
    """Take from a log a name for the run, and its values by epoch and column."""
    if not hasattr(log, "history"):
        file = user_path(log)
        return file.absolute().parent.name, _read(file)
    rows: dict[int, dict[str, float]] = {epoch: {} for epoch in log.epoch}
    for name, values in log.history.items():
        # Validation that does not follow every epoch has fewer values, each of the last epoch of its stretch.
        step = max(1, len(log.epoch) // max(1, len(values)))
        for epoch, value in zip(log.epoch[step - 1 :: step], values, strict=False):
            if math.isfinite(value):
                rows[epoch][name] = float(value)
    rows = {epoch: row for epoch, row in rows.items() if row}
    if not rows:
        raise ValueError("the history of `fit`: no epoch has been finished")
    return f"{log.model.name if getattr(log, 'model', None) else 'fit'}", rows


def _best(epochs: dict[int, dict[str, float]]) -> tuple[str, int] | None:
    for column, sign in (("val_mean_iou", 1), ("val_loss", -1)):
        found = {epoch: sign * row[column] for epoch, row in epochs.items() if column in row}
        if found:
            return column, max(found, key=lambda epoch: found[epoch])
    return None


def _without_the_far(axes: Axes, values: list[float]) -> None:
    """Choose the axis for the usual values where one is ten times beyond the median, and say what is left out."""
    limit = _FAR * max(median(map(abs, values)), 1e-12)
    near = [value for value in values if abs(value) <= limit]
    far = [value for value in values if abs(value) > limit]
    if not far:
        return
    low, high = min(near), max(near)
    margin = 0.08 * (high - low) or 0.1 * abs(high) or 0.1
    axes.set_ylim(low - margin, high + margin)
    text = f"{len(far)} value{'s'[: len(far) > 1]} beyond, up to {max(far, key=abs):.3g}"
    axes.text(0.99, 0.97, text, ha="right", va="top", transform=axes.transAxes, fontsize="small")


def _read(log: Path) -> dict[int, dict[str, float]]:
    if not log.is_file():
        raise FileNotFoundError(f"{log}: no such training log; give log.csv of a run's folder, or what fit returns")
    text = log.read_text(encoding="utf-8")
    # A last line without its end was cut off by a kill, maybe within a number.
    lines = text[: text.rfind("\n") + 1].splitlines()
    reader = csv.DictReader(lines, restkey="")
    if "epoch" not in (reader.fieldnames or ()):
        raise ValueError(f"{log}: no column 'epoch'; a log of keras.callbacks.CSVLogger is needed")
    epochs: dict[int, dict[str, float]] = {}
    for row in reader:
        epoch = _number(row.pop("epoch"))
        values = {name: value for name in row if name and (value := _number(row[name])) is not None}
        if epoch is not None and values:
            epochs[int(epoch)] = values
    if not epochs:
        raise ValueError(f"{log}: no epoch has been finished")
    return epochs


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
