"""What a run writes as it goes: a row an epoch, which a kill leaves whole and a resumed run continues, and a curve."""

import csv
from pathlib import Path
from typing import Any

import keras

from keras_cacnet.files import write_atomically
from keras_cacnet.visualization import curve


class Log(keras.callbacks.Callback):
    """Writes the results of every epoch to a CSV file, in the format of `keras.callbacks.CSVLogger`.

    The file is replaced as a whole, so that a kill leaves no half row. Rows of epochs that are done again, since their
    checkpoint was not written before the kill, are dropped. An epoch without validation has NA there.

    Args:
        path: the file.

    Example:
        >>> import tempfile
        >>> log = Log(Path(tempfile.mkdtemp()) / "log.csv")
        >>> log.on_epoch_end(0, {"loss": 1.5})
        >>> log.on_epoch_end(1, {"loss": 1.25, "val_loss": 1.5})
        >>> log.path.read_text().split()
        ['epoch,loss,val_loss', '0,1.5,NA', '1,1.25,1.5']
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        rows: list[dict[str, Any]] = [row for row in _rows(self.path) if int(row["epoch"]) < epoch]
        rows.append({"epoch": epoch, **(logs or {})})
        names = sorted({name for row in rows for name in row} - {"epoch"}, key=lambda name: ("val_" in name, name))

        def write(path: Path) -> None:
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, fieldnames=["epoch", *names], restval="NA")
                writer.writeheader()
                writer.writerows(rows)

        write_atomically(self.path, write)


class Curve(keras.callbacks.Callback):
    """Draws the log of a run after every epoch.

    Args:
        log: the CSV file that `Log` writes; this callback has to follow it.
        path: the PNG.
    """

    def __init__(self, log: Path, path: Path) -> None:
        super().__init__()
        self.log = log
        self.path = path

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        write_atomically(self.path, lambda part: curve(self.log, part))


def _rows(log: Path) -> list[dict[str, str]]:
    if not log.exists():
        return []
    with log.open(newline="") as file:
        return list(csv.DictReader(file))
