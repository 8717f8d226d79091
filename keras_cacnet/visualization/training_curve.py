"""The curve of a training run, from the CSV log that Keras writes."""

import csv
import math
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from keras_cacnet.files import user_path

_NOT_SCORES = ("loss", "learning_rate")


def curve(log_csv: str | Path, path: str | Path) -> None:
    """Draw the losses of a run above its scores, training and validation together, and write them as a PNG.

    Columns are taken as they come: `NAME` and `val_NAME` share a colour. An epoch without a value (validation
    runs seldom, NaN) is a gap that the line bridges; an epoch that stands there twice, as in the log of a
    resumed run, counts as it was last written; a last line that a kill cut off is left out.

    Args:
        log_csv: the log of `keras.callbacks.CSVLogger`.
        path: the PNG.

    Raises:
        FileNotFoundError: there is no such log.
        ValueError: the log has no column `epoch`, no finished epoch, or neither a loss nor a score.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "log.csv").write_text("epoch,loss,val_mean_iou\\n0,1.5,\\n1,1.2,0.31\\n")
        >>> curve(folder / "log.csv", folder / "curve.png")
        >>> (folder / "curve.png").stat().st_size > 0
        True
    """
    log_csv = user_path(log_csv)
    epochs = _read(log_csv)
    names = list(dict.fromkeys(name for row in epochs.values() for name in row))
    base = dict.fromkeys(name.removeprefix("val_") for name in names)
    losses = [name for name in base if name == "loss" or name.endswith("_loss")]
    scores = [name for name in base if name not in losses and name not in _NOT_SCORES]
    panels = [panel for panel in (losses, scores) if panel]
    if not panels:
        raise ValueError(f"{log_csv}: there is neither a loss nor a score in its columns {', '.join(names)}")
    figure = Figure(figsize=(8, 3.2 * len(panels) + 0.3), dpi=110, layout="constrained")
    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, panel in zip(grid, panels, strict=True):
        for number, name in enumerate(panel):
            for column, style in ((name, "--"), (f"val_{name}", "-")):
                points = [(epoch + 1, row[column]) for epoch, row in sorted(epochs.items()) if column in row]
                if points:
                    kind = "validation" if column.startswith("val_") else "training"
                    # Points are drawn too, so that a single epoch can be seen.
                    x, y = zip(*points, strict=True)
                    axes.plot(x, y, style, color=f"C{number}", marker=".", label=f"{name}, {kind}")
        axes.grid(alpha=0.3)
        axes.margins(y=0.08)
        axes.set_ylabel("loss" if panel is losses else "score")
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    grid[-1].set_xlabel("epoch")
    figure.savefig(user_path(path), format="png")


def _read(log: Path) -> dict[int, dict[str, float]]:
    if not log.is_file():
        raise FileNotFoundError(f"{log}: no such training log")
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
