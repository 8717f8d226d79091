"""A folder of your own images, with plain tf.data, compile and fit, as in a notebook.

FOLDER/images/{train,val}/NAME.jpg, FOLDER/labels/{train,val}/NAME.png (class ids), FOLDER/classes.txt.
`keras-cacnet train` does the same with the paper's augmentation, checkpoints and resuming.
"""

import argparse
import sys
from pathlib import Path

import keras
import tensorflow as tf

import keras_cacnet as kc


def batches(folder: Path, split: str, classes: kc.datasets.ClassTable, side: int, batch_size: int) -> tf.data.Dataset:
    """Images in 0..255 and masks of class indices, 255 where void, resized to one size."""
    found = (folder / "images" / split).glob("[!.]*")
    images = sorted(path for path in found if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if len(images) < 2 and split == "train":
        sys.exit(f"error: {folder / 'images' / split} has {len(images)} images: batch norm needs at least 2 to train")

    def read(path: bytes) -> tuple:
        image = Path(path.decode())
        mask = folder / "labels" / split / f"{image.stem}.png"
        return kc.datasets.read_example(kc.datasets.Example(image.stem, image, mask), classes)

    def load(path: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image, mask = tf.numpy_function(read, [path], (tf.uint8, tf.uint8))
        image.set_shape((None, None, 3))
        mask.set_shape((None, None))
        image = tf.image.resize(image, (side, side))
        mask = tf.image.resize(mask[..., None], (side, side), method="nearest")[..., 0]
        return image, mask

    def flip(image: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        left = tf.random.uniform(()) < 0.5
        return (image[:, ::-1], mask[:, ::-1]) if left else (image, mask)

    stream = tf.data.Dataset.from_tensor_slices([str(path) for path in images])
    if split == "train":
        stream = stream.shuffle(len(images), seed=0).map(load, tf.data.AUTOTUNE).map(flip)
        # Fewer images than a batch are one batch; a last batch of a single image would break the pooled batch norm.
        return stream.batch(min(batch_size, len(images)), drop_remainder=True).prefetch(2)
    return stream.map(load, tf.data.AUTOTUNE).batch(batch_size)


def train(folder: Path, output: Path, backbone: str, weights: str | None, side: int, epochs: int) -> keras.Model:
    dataset = kc.datasets.open_dataset(folder)
    kc.datasets.require_labels(dataset, "train")  # such as masks of 0 and 255, where 255 would be void
    classes = dataset.classes
    data, scored = (batches(folder, split, classes, side, batch_size=8) for split in ("train", "val"))
    # Random weights learn little at the rate that suits pretrained ones, which the larger one would undo.
    rate = kc.optimizers.poly(0.02 if weights is None else 0.002, total_steps=epochs * len(data))
    model = kc.CaCNet(len(classes), backbone=backbone, weights=weights, head_channels=128)
    loss, metrics = kc.losses.SegmentationCrossentropy(), [kc.metrics.MeanIoU(len(classes))]
    model.compile(kc.optimizers.SGD(rate), loss, metrics=metrics)
    model.fit(data, validation_data=scored if len(scored) else None, epochs=epochs, shuffle=False)
    output.mkdir(parents=True, exist_ok=True)
    model.save(output / "model.keras")
    kc.export.saved_model(model, output / "cacnet" / "1", classes)
    return model


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output", type=Path, default=Path("runs/own_images"))
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--weights", help="weights of the backbone: imagenet or a local path")
    parser.add_argument("--side", type=int, default=256, help="height and width of the training images, in pixels")
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args()
    if options.epochs < 1:
        parser.error(f"--epochs must be at least 1, got {options.epochs}")
    folder, output = options.folder.expanduser(), options.output.expanduser()
    train(folder, output, options.backbone, options.weights, options.side, options.epochs)
