"""The images of a run: which it is trained on, which it is scored on, and how its devices share them."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from keras_cacnet.datasets import shares_images
from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.datasets.source import SegmentationDataset, Source
from keras_cacnet.pipeline.batches import evaluation_batches, training_batches, window_batches
from keras_cacnet.training.loop import Validation
from keras_cacnet.training.metrics import Crossentropy, MeanIoU, PixelAccuracy
from keras_cacnet.training.recipes import Recipe


def training_source(recipe: Recipe, dataset: SegmentationDataset, replicas: int) -> Source:
    """The examples to train on; ValueError where they or the devices do not fit the batch size."""
    source = dataset.source(recipe.split)
    if len(source) < recipe.batch_size:
        raise ValueError(
            f"batch_size={recipe.batch_size} is more than {dataset.name} has images in {recipe.split}, {len(source)}: "
            "set a smaller batch_size, or add images"
        )
    if recipe.batch_size % replicas:
        raise ValueError(
            f"batch_size={recipe.batch_size} cannot be shared by {replicas} devices: set a multiple of {replicas}, "
            "or take fewer devices"
        )
    return source


def validation_source(recipe: Recipe, dataset: SegmentationDataset, seen: Sequence[str]) -> Source | None:
    """The examples to score, None where there are none; ValueError where the network has seen some of them."""
    split = recipe.validation_split
    if split is None or (split == "val" and split not in dataset.splits):
        return None
    for other in seen:
        if shares_images(dataset, split, other.removeprefix(f"{dataset.name}/")):
            raise ValueError(
                f"validation_split={split!r} has images of {other}, which the network is trained on: its scores would "
                "be those of training images; set validation_split=none, or train on another split"
            )
    return dataset.source(split)


def shared_training_batches(
    recipe: Recipe, source: Source, classes: ClassTable, step: int, strategy: tf.distribute.Strategy
) -> Any:
    """The batches from a step on, each shared by all replicas of the strategy."""

    def batches(context: tf.distribute.InputContext) -> tf.data.Dataset:
        shared = training_batches(
            source,
            classes,
            batch_size=recipe.batch_size,
            crop_size=recipe.crop_size,
            steps=len(source) // recipe.batch_size * recipe.epochs,
            start_step=step,
            seed=recipe.seed,
            scale_range=(recipe.scale_min, recipe.scale_max),
            flip=recipe.flip,
            shard=(context.input_pipeline_id, context.num_input_pipelines),
        )
        # Of one batch a part for every replica.
        return shared.rebatch(recipe.batch_size // context.num_replicas_in_sync, drop_remainder=True)

    return strategy.distribute_datasets_from_function(batches)


def shared_validation(
    recipe: Recipe, scored: Source, classes: ClassTable, strategy: tf.distribute.Strategy
) -> Validation:
    """The images to score, whole or in windows, of which every replica has its own; call it in the strategy's scope."""

    def batches(context: tf.distribute.InputContext) -> tf.data.Dataset:
        shared = {
            "replicas": context.num_replicas_in_sync,
            "shard": (context.input_pipeline_id, context.num_input_pipelines),
        }
        if recipe.input_size is None:
            return evaluation_batches(scored, classes, **shared)
        return window_batches(scored, classes, recipe.input_size, **shared)

    # Keras' own `val_loss` is a mean over batches, and depends on how images share them.
    metrics = [Crossentropy(name="loss"), MeanIoU(len(classes)), PixelAccuracy(len(classes))]
    return Validation(strategy.distribute_datasets_from_function(batches), metrics, _validation_epochs(recipe))


def _validation_epochs(recipe: Recipe) -> list[int]:
    epochs = list(range(recipe.validate_every, recipe.epochs + 1, recipe.validate_every))
    return epochs if recipe.epochs in epochs else [*epochs, recipe.epochs]
