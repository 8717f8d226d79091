"""A head of your own on any backbone: trained, saved and loaded like CaC-Net's."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

import keras_cacnet as kc


@keras.saving.register_keras_serializable("examples")
@dataclass(frozen=True)
class SeparableHead(kc.models.heads.Head):
    """A depthwise separable convolution and a classifier.

    Args:
        channels: channels of the convolution.
        kernel_size: side of its kernels.
    """

    kernel_size: int = 5

    def outputs(self, features: Any, context: kc.models.heads.HeadContext) -> dict[str, Any]:
        x = keras.layers.SeparableConv2D(self.channels, self.kernel_size, padding="same", use_bias=False)(features)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
        return {"logits": keras.layers.Conv2D(context.num_classes, 1, dtype="float32", name="classifier")(x)}


def main(data: str, steps: int, output: Path) -> None:
    dataset = kc.datasets.open_dataset(data)
    classes = dataset.classes
    batches = kc.pipeline.training_batches(
        dataset.source("train"), classes, batch_size=4, crop_size=64, steps=steps, seed=0, scale_range=(0.75, 1.5)
    )
    model = kc.models.SegmentationNetwork(len(classes), SeparableHead(channels=64), backbone="resnet14_narrow")
    rate = kc.optimizers.poly(0.02, total_steps=steps)
    model.compile(kc.optimizers.SGD(rate), kc.losses.SegmentationCrossentropy())
    model.fit(batches, shuffle=False)
    model.save(output)
    again = keras.models.load_model(output)
    print(f"saved and loaded: {again.head}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="scenes", help="a folder, or the name of a data set")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--output", type=Path, default=Path("own_head.keras"))
    options = parser.parse_args()
    main(options.data, options.steps, options.output)
