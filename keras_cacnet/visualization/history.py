"""The results of a training run by epoch: a table in a notebook, a data frame, a figure."""

import math
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from keras_cacnet.tables import html_table, require_pandas
from keras_cacnet.visualization.training_curve import curve, epochs_of


class History:
    """The results of a training run by epoch; in a notebook it shows itself as a table.

    Args:
        log: as for `curve`: the CSV log of `keras.callbacks.CSVLogger`, such as `log.csv` of a run, or what `fit`
            returns.

    Raises:
        FileNotFoundError: there is no such log.
        ValueError: the log has no column `epoch`, or no finished epoch.

    Example:
        >>> import tempfile
        >>> log = Path(tempfile.mkdtemp()) / "log.csv"
        >>> _ = log.write_text("epoch,loss,val_mean_iou\\n0,1.5,\\n1,1.2,0.31\\n")
        >>> History(log).epochs
        {0: {'loss': 1.5}, 1: {'loss': 1.2, 'val_mean_iou': 0.31}}
    """

    def __init__(self, log: str | Path | Any) -> None:
        self._log = log
        self.name, epochs = epochs_of(log)
        self.epochs = dict(sorted(epochs.items()))
        self.names = list(dict.fromkeys(name for row in self.epochs.values() for name in row))

    def to_dataframe(self) -> Any:
        """Give a row for every epoch, numbered from 1 on.

        Raises:
            ImportError: pandas is not installed.
        """
        pandas = require_pandas("a training log")
        columns = {name: [row.get(name, math.nan) for row in self.epochs.values()] for name in self.names}
        return pandas.DataFrame(columns, index=pandas.Index([epoch + 1 for epoch in self.epochs], name="epoch"))

    def plot(self) -> Figure:
        """Draw the losses above the scores, see `curve`."""
        return curve(self._log)

    def _repr_html_(self) -> str:
        rows = [
            (str(epoch + 1), *(f"{row[name]:.4g}" if name in row else "" for name in self.names))
            for epoch, row in self.epochs.items()
        ]
        return html_table(("epoch", *self.names), rows, self.name)
