"""A program that tests run: the same short training on one device and on logical devices, compared by its caller.

    python train_on_replicas.py OUTPUT_FOLDER RUNS    # RUNS: JSON, {name: settings of `Run`}

A process of its own, for logical devices can only be made before TensorFlow has started. All runs of one process
have the same number of replicas, or none: TensorFlow keeps the group of devices that sum up.
"""

import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

import keras_cacnet as kc
from keras_cacnet.datasets import ClassTable, Example
from keras_cacnet.models import SegmentationNetwork
from keras_cacnet.models.heads import HEAD_LAYERS
from keras_cacnet.models.heads.cacnet import CaCHead
from keras_cacnet.models.heads.encnet import EncHead
from keras_cacnet.pipeline import evaluation_batches

sys.path.append(str(Path(__file__).parents[1]))
from small_networks import small_backbone

DEVICES, BATCH, CLASSES, SIZE = 4, 8, 4, (16, 24)
EPOCHS = 2


@dataclass(frozen=True)
class Run:
    """One training; `replicas` 0 stands for no strategy at all."""

    replicas: int = 0
    steps: int = 20
    dtype: str = "float64"
    reweighting: str = "cac"
    synchronized: bool = True
    loss: str = "global"
    clipnorm: float | None = None
    loss_scale: bool = False
    learning_rate: float = 0.05
    optimizer: str = "sgd"
    ema: float = 0.0
    accumulate: int = 1
    frozen: bool = False  # batch norms in inference, as they see one part of a batch at a time


def data(steps):
    """Images, and masks from void all over to none; a replica in step 3, and two of four in step 4, see no class."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (steps, BATCH, *SIZE, 3)).astype("float32")
    masks = rng.integers(0, CLASSES, (steps, BATCH, *SIZE)).astype("uint8")
    masks[rng.uniform(size=masks.shape) < rng.uniform(size=(steps, BATCH, 1, 1))] = 255
    masks[3, : BATCH // 2] = 255
    masks[4, BATCH // 4 : -BATCH // 4] = 255
    return images.reshape(-1, *SIZE, 3), masks.reshape(-1, *SIZE)


def network(run):
    keras.utils.set_random_seed(1)
    settings = {"auxiliary_weight": 0.2, "dropout": 0.0, "synchronized": run.synchronized}
    body = small_backbone(batch_norm=True)
    if run.reweighting == "encnet":
        return SegmentationNetwork(CLASSES, EncHead(8, 4), backbone=body, **settings)
    head = CaCHead(8, (3,), dilation_rates=(1, 2), reweighting=run.reweighting)
    model = SegmentationNetwork(CLASSES, head, backbone=body, **settings)
    for layer in model._flatten_layers() if run.frozen else ():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    return model


def train(run):
    """Train and evaluate; everything that must not depend on the number of replicas, by name."""
    keras.utils.clear_session()  # or paths would differ from run to run
    keras.config.set_floatx("float64" if run.dtype == "float64" else "float32")
    keras.config.set_dtype_policy(run.dtype)
    devices = [f"CPU:{index}" for index in range(run.replicas)]
    strategy = tf.distribute.MirroredStrategy(devices) if devices else tf.distribute.get_strategy()
    images, masks = data(run.steps)
    batches = tf.data.Dataset.from_tensor_slices((images, masks)).batch(BATCH, drop_remainder=True)
    losses = {
        "global": kc.losses.SegmentationCrossentropy(),
        "sum": kc.losses.loss_named("crossentropy+0.5*dice+ohem", [1.0, 2.0, 0.5, 3.0], label_smoothing=0.1),
        "by_replica": keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, ignore_class=255, reduction="mean_with_sample_weight"
        ),
    }
    batch_logs = []
    record = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: batch_logs.append(dict(logs)))
    with strategy.scope():
        model = network(run)
        rate = kc.optimizers.poly(run.learning_rate, run.steps)
        averages = {"use_ema": True, "ema_momentum": run.ema} if run.ema else {}
        kind = {"sgd": kc.optimizers.SGD, "adamw": kc.optimizers.AdamW}[run.optimizer]
        optimizer = kind(rate, multipliers=[(HEAD_LAYERS, 2.0)], global_clipnorm=run.clipnorm, **averages)
        if run.loss_scale:
            optimizer = kc.optimizers.LossScaleOptimizer(optimizer)
        metrics = [kc.metrics.MeanIoU(CLASSES), kc.metrics.PixelAccuracy(CLASSES), kc.metrics.Crossentropy()]
        model.compile(optimizer, losses[run.loss], metrics=metrics, jit_compile=False, accumulate=run.accumulate)
    history = model.fit(
        batches,
        epochs=EPOCHS,
        steps_per_epoch=run.steps // EPOCHS,
        shuffle=False,
        verbose=0,
        callbacks=[record],
        validation_data=batches.take(2),
    ).history
    return {
        **{f"score/{name}": value for name, value in scores(model, 4 if devices else 1).items()},
        **{f"weight/{weight.path}": np.array(weight) for weight in model.variables},
        **{f"optimizer/{state.path}": np.array(state) for state in optimizer.variables},
        **{f"epoch_log/{name}": np.array(values) for name, values in history.items()},
        **{f"batch_log/{name}": np.array([log[name] for log in batch_logs]) for name in batch_logs[0]},
    }


def examples(sizes):
    """An image and a mask of noise, as PNG, of every size."""
    rng = np.random.default_rng(1)
    for index, size in enumerate(sizes):
        files = []
        for pixels in (rng.integers(0, 256, (*size, 3)), rng.integers(0, CLASSES, size)):
            file = io.BytesIO()
            Image.fromarray(pixels.astype("uint8")).save(file, "PNG")
            files.append(file.getvalue())
        yield Example(f"image_{index}", *files)


def scores(model, batch_size):
    """What `evaluate` finds on five images, which 2 and 4 replicas cannot share."""
    classes = ClassTable(("a", "b", "c", "d"), ((0, 0, 0),) * CLASSES, tuple(range(CLASSES)))
    batches = evaluation_batches(list(examples([SIZE] * 5)), classes, batch_size=batch_size)
    found = model.evaluate(batches, return_dict=True, verbose=0)
    del found["loss"]  # counts the images that fill up the last batch
    return found


def main(folder, runs):
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * DEVICES)
    for name, settings in json.loads(runs).items():
        np.savez(Path(folder) / f"{name}.npz", **{k.replace("/", "|"): v for k, v in train(Run(**settings)).items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
