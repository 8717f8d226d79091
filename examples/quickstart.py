"""From nothing to a served segmentation network in a few minutes, on generated scenes: `make quickstart`."""

import argparse
import sys
import time
from pathlib import Path

from keras_cacnet.cli import main as keras_cacnet
from keras_cacnet.datasets import open_dataset, read_image
from keras_cacnet.export import verify
from keras_cacnet.training import FROM_SCRATCH, Run

RATES = " ".join(f"{name}={value:g}" for name, value in FROM_SCRATCH.items())
NETWORK = f"--set backbone=resnet14_narrow head_channels=64 {RATES} scale_min=0.75 scale_max=1.5 validate_every=3"


def command(words: list[str]) -> None:
    print("\n$ keras-cacnet " + " ".join(words), flush=True)
    if status := keras_cacnet(words):
        sys.exit(status)


def quickstart(output: Path, epochs: int, crop_size: int) -> None:
    data = ["--data", "scenes", "--data-dir", str(output / "data")]
    run, pictures, served = output / "run", output / "pictures", output / "cacnet" / "1"
    images = output / "images"

    command(["check", *data])
    schedule = [f"epochs={epochs}", "batch_size=8", f"crop_size={crop_size}"]
    command(["train", *data, "--output", str(run), *NETWORK.split(), *schedule])
    command(["evaluate", str(run), *data, "--split", "val"])

    images.mkdir()
    source = open_dataset("scenes", output / "data").source("test")
    for index in range(4):
        (images / f"scene_{index}.png").write_bytes(bytes(source[index].image))
    command(["predict", str(run), str(images), "--output", str(pictures), "--weighting"])
    command(["export", str(run), "--output", str(served)])

    scenes = [read_image(path)[None] for path in sorted(images.iterdir())]
    result = verify(served, Run(run).load_model(), scenes)
    difference = result.largest_difference
    print(f"\nThe SavedModel in a process without Keras: probabilities differ by {difference:.1e}")
    if difference is None or difference > 1e-5:
        sys.exit("error: the SavedModel is not the network that was trained")
    print(f"\nPictures:   {pictures}\nCurve:      {run / 'curve.png'}\nSavedModel: {served}")
    what_next()


def what_next() -> None:
    print("\nNext, on photographs and masks of your own (layout: docs/your_data.md):")
    print("  .venv/bin/keras-cacnet check --data FOLDER")
    print("  .venv/bin/keras-cacnet train --recipe laptop --data FOLDER --output RUN    # minutes: ImageNet weights")
    own = "backbone=resnet18 crop_size=256 batch_size=8 head_channels=128 epochs=40"
    print("and for images that are no photographs, from random weights, in hours:")
    print(f"  .venv/bin/keras-cacnet train --data FOLDER --output RUN --set {own} {RATES}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("quickstart"), help="folder for everything it makes")
    parser.add_argument("--epochs", type=int, default=12, help="passes over the training scenes")
    parser.add_argument("--crop-size", type=int, default=96, help="side of the training crops, in pixels")
    options = parser.parse_args()
    if options.output.exists():
        options.output = options.output.with_name(f"{options.output.name}-{time.strftime('%Y%m%d-%H%M%S')}")
    options.output.mkdir(parents=True)
    started = time.perf_counter()
    quickstart(options.output, options.epochs, options.crop_size)
    print(f"\n{time.perf_counter() - started:.0f} seconds.")
