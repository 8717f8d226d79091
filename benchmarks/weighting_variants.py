"""What other starts and rates of the re-weighting are worth: `Ours` of Table 6 once more, with one thing changed.

python benchmarks/weighting_variants.py --json FILE --beside TABLE_6.json --output DIR [--variants NAME ...] \
    -- OPTIONS OF keras-cacnet ablate, without --table, --rows and --output

The variants are no options of the library: each is put into the layers and the optimizer of this process. They are
compared, seed by seed, with the rows `Ours` and `None` of a Table 6 that was run with the same options.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import keras
from keras import ops

from keras_cacnet.cli import main as keras_cacnet
from keras_cacnet.files import write_json
from keras_cacnet.layers import CaCLayer
from keras_cacnet.models.heads import cacnet
from keras_cacnet.paper.ablation_statistics import paired_difference, spread
from keras_cacnet.training import compiling


@contextmanager
def gamma(start: float) -> Iterator[None]:
    """Let the batch norm of D begin with that scale instead of 1."""
    build = CaCLayer.build

    def scaled(self: CaCLayer, input_shape: Any) -> None:
        build(self, input_shape)
        self.norm.gamma.assign(start * ops.ones(self.channels))

    with patch.object(CaCLayer, "build", scaled):
        yield


@contextmanager
def rate(factor: float) -> Iterator[None]:
    """Train query and key at that many times the rate of the other layers of the head."""
    optimizer_of = compiling.optimizer_of

    def with_rate(recipe: Any, total_steps: int) -> Any:
        optimizer = optimizer_of(recipe, total_steps)
        optimizer.multipliers = (("/(query|key)/", factor * recipe.head_factor), *optimizer.multipliers)
        return optimizer

    with patch.object(compiling, "optimizer_of", with_rate):
        yield


@contextmanager
def before_relu() -> Iterator[None]:
    """Let a head's ReLU follow its re-weighting: relu(X W) is relu(X) W, so W alone comes of features of both signs."""
    conv_norm_relu, reweighting_layer = cacnet.conv_norm_relu, cacnet.reweighting_layer

    def without_relu(x: Any, channels: int, size: int, name: str, context: Any) -> Any:
        found = conv_norm_relu(x, channels, size, name, context)
        return found._keras_history.operation.input if name.startswith("head_") else found

    def with_relu(*args: Any, name: str, dtype: Any, **settings: Any) -> Callable[[Any], Any]:
        layer = reweighting_layer(*args, name=name, dtype=dtype, **settings)
        return lambda x: keras.layers.ReLU(name=f"{name}_relu", dtype=dtype)(layer(x))

    with (
        patch.object(cacnet, "conv_norm_relu", without_relu),
        patch.object(cacnet, "reweighting_layer", with_relu),
    ):
        yield


VARIANTS: dict[str, Callable[[], Any]] = {
    "gamma from 1/3": lambda: gamma(1 / 3),
    "gamma from 0": lambda: gamma(0.0),
    "query and key at 10 times the rate": lambda: rate(10.0),
    "query and key at a tenth of the rate": lambda: rate(0.1),
    "W from X before its ReLU": before_relu,
}


def scores(table: Path, row: str) -> dict[int, float]:
    """The mIoU of a row by seed."""
    rows = {found["row"]: found["runs"] for found in json.loads(table.read_text())["rows"]}
    return {run["seed"]: run["mean_iou"] for run in rows[row] if run["mean_iou"] is not None}


def compared(ours: dict[int, float], other: dict[int, float]) -> dict[str, Any] | None:
    found = paired_difference(ours, other)
    return None if found is None else {"pairs": found.number, "mean": found.mean, "interval": found.interval}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--beside", type=Path, required=True, help="table_6.json with the rows Ours and None")
    parser.add_argument("--output", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--variants", nargs="*", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("ablate", nargs="+", help="options of keras-cacnet ablate")
    options = parser.parse_args()
    found: dict[str, Any] = json.loads(options.json.read_text())["variants"] if options.json.is_file() else {}
    for name in options.variants:
        folder = options.output / name.replace("/", " of ").replace(" ", "_")
        command = ["ablate", "--table", "6", "--rows", "Ours", "--output", str(folder), *options.ablate]
        with VARIANTS[name]():
            if keras_cacnet(command):
                raise SystemExit(f"{name}: keras-cacnet {' '.join(command)} failed")
        ours = scores(folder / "table_6.json", "Ours")
        total = spread(list(ours.values()))
        found[name] = {
            "mean_iou": ours,
            "mean": total and total.mean,
            "less_ours": compared(ours, scores(options.beside, "Ours")),
            "less_control": compared(ours, scores(options.beside, "None")),
        }
        write_json(options.json, {"options": options.ablate, "variants": found})


if __name__ == "__main__":
    main()
