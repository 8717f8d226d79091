"""Scores by class as figures: bars of every measure."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure


def class_bars(names: Sequence[str], measures: Mapping[str, np.ndarray]) -> Figure:
    """Draw a group of bars for every class, one bar a measure.

    Args:
        names: the classes.
        measures: scores of every class in 0..1, by the name of the measure; NaN draws no bar.

    Returns:
        A figure of matplotlib; `savefig` writes it, no window is opened.

    Example:
        >>> class_bars(("sky", "sea"), {"IoU": np.array([0.75, 0.5])}).axes[0].get_xlabel()
        'score'
    """
    figure = Figure(figsize=(7, 0.9 + (0.14 * len(measures) + 0.16) * len(names)), dpi=110, layout="constrained")
    axes = figure.subplots()
    height = 0.8 / max(len(measures), 1)
    for number, (measure, values) in enumerate(measures.items()):
        places = np.arange(len(names)) + (number - (len(measures) - 1) / 2) * height
        axes.barh(places, np.nan_to_num(values), height, label=measure, color=f"C{number}")
    axes.set(xlim=(0, 1), xlabel="score", ylim=(len(names) - 0.5, -0.5))
    axes.set_yticks(range(len(names)))
    axes.set_yticklabels(names, parse_math=False)
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(measures), frameon=False)
    return figure
