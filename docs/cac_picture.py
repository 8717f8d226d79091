"""Draws docs/images/cac.svg: the CaC module, from the features to their re-weighting.

python docs/cac_picture.py
"""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

BLUE, GREEN, RED, GREY = "#4c78a8", "#54a24b", "#e45756", "#555555"


def stack(axes: Axes, x: float, y: float, colour: str, title: str, shape: str, side: float = 1.0) -> None:
    """A tensor as a few sheets, one behind the other."""
    for sheet in reversed(range(4)):
        corner = (x + 0.09 * sheet, y + 0.09 * sheet)
        axes.add_patch(Rectangle(corner, side, side, facecolor=colour, edgecolor="white", linewidth=1))
    axes.text(x + side / 2, y + side / 2, title, ha="center", va="center", color="white", fontsize=13, weight="bold")
    axes.text(x + side / 2 + 0.12, y - 0.12, shape, ha="center", va="top", color=GREY, fontsize=9)


def kernel(axes: Axes, x: float, y: float, rate: int, shades: np.ndarray) -> None:
    """A 3x3 kernel with the gaps of its dilation rate."""
    step = 0.11
    for row in range(3):
        for column in range(3):
            corner = (x + (column - 1) * step * rate - step / 2, y + (row - 1) * step * rate - step / 2)
            axes.add_patch(
                Rectangle(corner, step, step, facecolor=str(shades[row, column]), edgecolor="white", linewidth=0.4)
            )


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=11, color=GREY, linewidth=1.2))


def picture(output: Path) -> None:
    shades = np.random.default_rng(4).uniform(0.25, 0.85, (3, 3))  # of D, which all rates share
    figure = Figure(figsize=(11.4, 4.5))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-0.3, 13.3), ylim=(-0.75, 4.6), aspect="equal")
    axes.axis("off")

    stack(axes, 0, 1.45, BLUE, "X", "$h \\times w \\times c$")
    stack(axes, 2.3, 3.05, GREEN, "Q", "$h \\times w \\times s^2$", 0.8)
    stack(axes, 2.3, 1.55, GREEN, "K", "$h \\times w \\times c$", 0.8)
    arrow(axes, (1.35, 2.3), (2.2, 3.3))
    arrow(axes, (1.35, 2.0), (2.2, 2.0))
    axes.text(1.55, 3.1, "1x1", fontsize=9, color=GREY)
    axes.text(1.6, 1.72, "1x1", fontsize=9, color=GREY)

    axes.add_patch(Rectangle((4.3, 2.05), 1.15, 1.3, facecolor="white", edgecolor=GREY, linewidth=1.2))
    axes.text(4.875, 2.7, "QᵀK\n÷ (h·w)", ha="center", va="center", fontsize=11, color=GREY)
    axes.text(4.875, 3.5, "Eq. 1: all positions meet", ha="center", fontsize=9, color=GREY)
    arrow(axes, (3.5, 3.4), (4.25, 2.95))
    arrow(axes, (3.5, 2.05), (4.25, 2.45))
    stack(axes, 6.3, 2.25, RED, "D", "$s \\times s \\times c$, batch norm", 0.8)
    arrow(axes, (5.5, 2.7), (6.25, 2.7))

    for rate, y in ((1, 3.75), (2, 2.7), (3, 1.5)):
        kernel(axes, 8.45, y, rate, shades)
        arrow(axes, (7.5, 2.7), (8.0, y))
        axes.text(8.95, y, f"dilation {rate}\nsigmoid", va="center", fontsize=9, color=GREY)
        arrow(axes, (9.85, y), (10.25, 2.7))
    axes.text(8.45, 4.3, "Eq. 2: D convolves X, channel by channel", ha="center", fontsize=9, color=GREY)
    axes.text(10.42, 2.7, "+", ha="center", va="center", fontsize=18, color=GREY)
    stack(axes, 10.9, 2.25, "#b279a2", "W", "$h \\times w \\times c$, in 0..3", 0.8)
    arrow(axes, (10.55, 2.7), (10.85, 2.7))

    # X goes below the prediction to the convolutions and to the product.
    axes.plot([0.6, 0.6, 11.3], [1.05, 0.15, 0.15], color=BLUE, linewidth=1.6)
    arrow(axes, (8.45, 0.15), (8.45, 1.05))
    axes.text(8.6, 0.55, "X", fontsize=11, color=BLUE)
    arrow(axes, (11.3, 1.95), (11.3, 0.42))
    axes.text(11.3, 0.15, "$\\times$", ha="center", va="center", fontsize=17, color=GREY)
    stack(axes, 12.0, -0.3, BLUE, "X*", "", 0.8)
    arrow(axes, (11.5, 0.15), (11.95, 0.15))

    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, metadata={"Date": None})


if __name__ == "__main__":
    picture(Path(__file__).parent / "images" / "cac.svg")
