"""Draws docs/images/scenes.png: generated scenes, their masks, and what a run sees in them.

python docs/scenes_picture.py quickstart/run --data-dir quickstart/data
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from keras_cacnet import evaluation
from keras_cacnet.datasets import VOID, open_dataset, read_example
from keras_cacnet.training import Run


def picture(run: Run, data_dir: Path | None, scenes: list[int], output: Path) -> None:
    dataset = open_dataset("scenes", data_dir)
    model = run.load_model()
    source = dataset.source("test")
    palette = np.array([*dataset.classes.palette, (0, 0, 0)], "uint8")
    figure = Figure(figsize=(2.4 * len(scenes), 7.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(3, len(scenes))
    for column, index in zip(axes.T, scenes, strict=True):
        image, mask = read_example(source[index], dataset.classes)
        truth = palette[np.where(mask == VOID, len(dataset.classes), mask)]
        for axis, shown in zip(column, (image, truth, palette[evaluation.ids(model, image)]), strict=True):
            axis.imshow(shown)
            axis.set(xticks=[], yticks=[])
    for axis, title in zip(axes[:, 0], ("scene", "ground truth (void black)", "CaC-Net"), strict=True):
        axis.set_ylabel(title)
    colours = zip(dataset.classes.names, dataset.classes.palette, strict=True)
    handles = [Patch(facecolor=np.array(colour) / 255, edgecolor="grey", label=name) for name, colour in colours]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=8)
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--scenes", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "images" / "scenes.png")
    options = parser.parse_args()
    picture(Run(options.run), options.data_dir, options.scenes, options.output)
