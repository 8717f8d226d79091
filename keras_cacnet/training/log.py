"""The CSV log of a run that goes on after a break."""

import csv
import math
from pathlib import Path

from keras_cacnet.training.files import write_atomically


def best_score(log: Path, before_epoch: int, monitor: str = "val_mean_iou") -> float:
    """The largest score of the epochs before one; -inf where none was scored.

    Example:
        >>> import tempfile
        >>> log = Path(tempfile.mkdtemp()) / "log.csv"
        >>> _ = log.write_text("epoch,val_mean_iou\\n0,0.25\\n1,NA\\n2,0.75\\n")
        >>> best_score(log, before_epoch=2)
        0.25
    """
    scores = [
        float(row[monitor]) for row in _rows(log) if int(row["epoch"]) < before_epoch and _is_number(row.get(monitor))
    ]
    return max(scores, default=-math.inf)


def keep_rows(log: Path, before_epoch: int) -> None:
    """Drop what a killed run logged of epochs whose checkpoint it did not live to write.

    Args:
        log: the log; it need not be there.
        before_epoch: the first epoch whose row goes.
    """
    rows = _rows(log)
    kept = [row for row in rows if int(row["epoch"]) < before_epoch]
    if len(kept) == len(rows):
        return

    def write(path: Path) -> None:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(kept)

    write_atomically(log, write)


def _rows(log: Path) -> list[dict[str, str]]:
    if not log.exists():
        return []
    with log.open(newline="") as file:
        return list(csv.DictReader(file))


def _is_number(text: str | None) -> bool:
    try:
        return text is not None and math.isfinite(float(text))
    except ValueError:
        return False
