"""A backbone of your own under CaC-Net's heads: here MobileNetV2 of keras.applications, dilated to output stride 16."""

import argparse
from pathlib import Path

import keras

import keras_cacnet as kc


def backbone(weights: str | None) -> keras.Model:
    """MobileNetV2 from images in 0..255 to the levels P4 (for the auxiliary head) and P5."""
    network = keras.applications.MobileNetV2(include_top=False, weights=weights, input_shape=(None, None, 3))
    levels = keras.Model(network.input, {"P4": network.get_layer("block_12_add").output, "P5": network.output})
    images = keras.Input((None, None, 3))
    # Its weights belong to images in -1..1; every preprocessing has to be in the network.
    return keras.Model(images, levels(keras.layers.Rescaling(1 / 127.5, offset=-1)(images)))


def main(data: str, steps: int, output: Path, weights: str | None) -> None:
    dataset = kc.datasets.open_dataset(data)
    classes = dataset.classes
    batches = kc.pipeline.training_batches(
        dataset.source("train"), classes, batch_size=4, crop_size=64, steps=steps, seed=0, scale_range=(0.75, 1.5)
    )
    model = kc.CaCNet(len(classes), backbone=backbone(weights), output_stride=16, head_channels=64)
    rate = kc.optimizers.poly(0.02 if weights is None else 0.002, total_steps=steps)
    model.compile(kc.optimizers.SGD(rate), kc.losses.SegmentationCrossentropy())
    model.fit(batches, shuffle=False)
    model.save(output)
    print(f"written: {output}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="scenes", help="a folder, or the name of a data set")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--output", type=Path, default=Path("own_backbone.keras"))
    parser.add_argument("--weights", help="imagenet, which is downloaded; random where it is left out")
    options = parser.parse_args()
    main(options.data, options.steps, options.output, options.weights)
