"""A program that tests run: the training of train_on_replicas.py by `Loop`, in one process or in several.

    python train_on_workers.py OUTPUT_FOLDER [SYNCHRONIZED]

Where TF_CONFIG is set, it is one of the processes that it names; each writes what it ends with.
"""

import os
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from train_on_replicas import BATCH, CLASSES, EPOCHS, HEAD_LAYERS, Run, data, examples, network

import keras_cacnet as kc
from keras_cacnet.datasets import ClassTable
from keras_cacnet.pipeline import evaluation_batches
from keras_cacnet.training.cluster import is_chief, strategy_for
from keras_cacnet.training.logs import Log
from keras_cacnet.training.loop import Loop, Validation

STEPS, SIZES = 10, ((16, 24), (24, 16), (32, 40))


def main(folder, synchronized="True"):
    strategy = strategy_for("all", "tf_config") if "TF_CONFIG" in os.environ else strategy_for()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    run = Run(steps=STEPS, synchronized=synchronized == "True")
    images, masks = data(STEPS)
    classes = ClassTable(("a", "b", "c", "d"), ((0, 0, 0),) * CLASSES, tuple(range(CLASSES)))

    def training(context):
        parts = tf.data.Dataset.from_tensor_slices((images, masks)).batch(BATCH // context.num_replicas_in_sync)
        return parts.shard(context.num_input_pipelines, context.input_pipeline_id).repeat(EPOCHS)

    def validation(context):
        shard = (context.input_pipeline_id, context.num_input_pipelines)
        return evaluation_batches(list(examples(SIZES)), classes, replicas=context.num_replicas_in_sync, shard=shard)

    with strategy.scope():
        model = network(run)
        optimizer = kc.optimizers.SGD(0.05, multipliers=[(HEAD_LAYERS, 2.0)], global_clipnorm=1.0)
        metrics = [kc.metrics.MeanIoU(CLASSES), kc.metrics.PixelAccuracy(CLASSES), kc.metrics.Crossentropy()]
        model.compile(optimizer, kc.losses.SegmentationCrossentropy(), metrics=metrics, jit_compile=False)
        scores = [kc.metrics.Crossentropy(name="loss"), kc.metrics.MeanIoU(CLASSES)]
        scored = Validation(strategy.distribute_datasets_from_function(validation), scores)
    folder, batch_logs = Path(folder), []
    record = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: batch_logs.append(dict(logs)))
    loop = Loop(model, EPOCHS, STEPS, scored)
    callbacks = [record, Log(folder / "log.csv")] if is_chief(strategy) else [record]
    loop.run(strategy.distribute_datasets_from_function(training), callbacks, verbose=0)
    found = {
        **{f"weight/{weight.path}": keras.ops.convert_to_numpy(weight) for weight in model.variables},
        **{f"optimizer/{state.path}": keras.ops.convert_to_numpy(state) for state in optimizer.variables},
        **{f"metric/{index}": state for index, state in enumerate(loop.progress.metrics)},
        **{f"batch_log/{name}": np.array([log[name] for log in batch_logs]) for name in batch_logs[0]},
    }
    index = strategy.cluster_resolver.task_id if strategy.cluster_resolver else 0
    np.savez(folder / f"{index}.npz", **{name.replace("/", "|"): value for name, value in found.items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
