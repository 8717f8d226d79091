"""A folder of your own images, with plain tf.data, compile and fit, as in a notebook.

FOLDER/images/{train,val}/NAME.jpg, FOLDER/labels/{train,val}/NAME.png (class ids), FOLDER/classes.txt.
`keras-cacnet train` does the same with the paper's augmentation, checkpoints and resuming.
"""

import argparse
from pathlib import Path

import keras
import tensorflow as tf

import keras_cacnet as kc


def batches(folder: Path, split: str, classes: kc.datasets.ClassTable, side: int, batch_size: int) -> tf.data.Dataset:
    """Images in 0..255 and masks of class indices, 255 where void, resized to one size."""
    images = sorted((folder / "images" / split).iterdir())

    def read(path: bytes) -> tuple:
        image = Path(path.decode())
        mask = folder / "labels" / split / f"{image.stem}.png"
        return kc.datasets.read_image(image), classes.to_training(kc.datasets.read_mask(mask), str(mask))

    def load(path: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image, mask = kc.pipeline.calls.call(read, [path], (tf.uint8, tf.uint8))
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
        return stream.batch(batch_size, drop_remainder=True).prefetch(2)
    return stream.map(load, tf.data.AUTOTUNE).batch(batch_size)


def train(folder: Path, output: Path, backbone: str, weights: str | None, side: int, epochs: int) -> keras.Model:
    classes = kc.datasets.ClassTable.from_file(folder / "classes.txt")
    model = kc.CaCNet(len(classes), backbone=backbone, weights=weights, head_channels=128)
    model.compile(
        optimizer=kc.optimizers.SGD(0.01),
        loss=kc.losses.SegmentationCrossentropy(),
        metrics=[kc.metrics.MeanIoU(len(classes))],
    )
    model.fit(
        batches(folder, "train", classes, side, batch_size=8),
        validation_data=batches(folder, "val", classes, side, batch_size=8),
        epochs=epochs,
        shuffle=False,
    )
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
    train(options.folder, options.output, options.backbone, options.weights, options.side, options.epochs)
