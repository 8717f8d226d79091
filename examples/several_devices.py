"""All GPUs of a machine with `fit`, each with its share of every batch; `--devices cpu:2` tries it out without any."""

import argparse

import keras_cacnet as kc


def main(devices: str, data: str, steps: int, batch_size: int) -> None:
    strategy = kc.training.strategy_for(devices)  # before anything else runs on TensorFlow
    print(f"devices: {strategy.num_replicas_in_sync}")
    dataset = kc.datasets.open_dataset(data)
    classes = dataset.classes
    batches = kc.pipeline.training_batches(
        dataset.source("train"), classes, batch_size=batch_size, crop_size=64, steps=steps, seed=0
    )
    with strategy.scope():
        # The batch norms see the whole batch, so that the number of devices changes the time only.
        model = kc.CaCNet(len(classes), backbone="resnet14_narrow", head_channels=64, synchronized=True)
        rate = kc.optimizers.poly(0.02, total_steps=steps)
        metrics = [kc.metrics.MeanIoU(len(classes))]
        model.compile(kc.optimizers.SGD(rate), kc.losses.SegmentationCrossentropy(), metrics=metrics)
    model.fit(batches, shuffle=False)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", default="all", help="all, the first N, or cpu:N")
    parser.add_argument("--data", default="scenes", help="a folder, or the name of a data set")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch-size", type=int, default=8, help="of all devices together")
    options = parser.parse_args()
    main(options.devices, options.data, options.steps, options.batch_size)
