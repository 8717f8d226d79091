"""One training run: from a job to a folder with checkpoints, logs and a curve."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from keras_cacnet.evaluation.protocol import Protocol
from keras_cacnet.pipeline.batches import evaluation_batches, training_batches, window_batches
from keras_cacnet.pipeline.views import Views
from keras_cacnet.training.averaging import swap_averages
from keras_cacnet.training.checkpoint_file import load_checkpoint
from keras_cacnet.training.checkpoints import FiniteLoss, TrainingWarning
from keras_cacnet.training.cluster import lost_workers, require_agreement
from keras_cacnet.training.crops import crop_settings
from keras_cacnet.training.features import Features
from keras_cacnet.training.logs import Curve, Log
from keras_cacnet.training.loop import Loop, Validation
from keras_cacnet.training.metrics import Crossentropy, MeanIoU, PixelAccuracy
from keras_cacnet.training.observing import Observations, Times, spread
from keras_cacnet.training.recipe import Recipe
from keras_cacnet.training.run import TIMES_FILE
from keras_cacnet.training.signals import StopSignals
from keras_cacnet.training.start import Job, Start, begin


def train(job: Job, strategy: tf.distribute.Strategy | None = None, verbose: str | int = "auto") -> keras.Model:
    """Train a CaC-Net and leave everything about the run in its folder.

    Images of the recipe's split are cropped and augmented; its validation split, where the data set has one, is
    scored on whole images, or, where the network takes images of one size only (`reweighting="fc"`), on windows of
    the crops' size that lie side by side; with `image_size` all are brought to that first. The best
    checkpoint is the one with the largest mIoU there. With `cached_views` the features of the frozen backbone are
    computed first, or taken from an earlier run, see `Features`.

    The number of devices changes nothing but the time, dropout apart. SIGTERM and SIGINT save the run and stop it.
    A run that is finished is returned as it is, with a warning.

    Args:
        job: what the run is: recipe, data, where it goes and where it comes from.
        strategy: the devices; by default those of the scope that this is called in.
        verbose: as for `keras.Model.fit`.

    Returns:
        The trained network, in its last state: with `ema` the moving averages of the weights; with `early_stopping`
        that of the best score.

    Raises:
        ValueError: data that cannot be trained on, labels that are wrong, a recipe that does not fit the data or the
            devices, a validation split whose images are trained on, a folder that holds something, or a run to go on
            from or to start from that is of another recipe, network, classes or data.
        OSError: the folder cannot be written, or weights cannot be had.
        NonFiniteTraining: the loss or a weight stopped being finite; the last good checkpoint stays.
        CheckpointError: a checkpoint cannot be written; the last good one stays.
        Stopped: a signal asked for it; everything that was done is saved.
        WorkerLost: another process of the run has died.

    Example:
        A folder of your own images, from random weights::

            dataset = kc.datasets.open_dataset("photographs")
            recipe = kc.training.Recipe(**kc.training.FROM_SCRATCH, crop_size=256, batch_size=8)
            model = kc.training.train(kc.training.Job(recipe, dataset, "runs/mine"))

    Reference:
        Section 4.1 of the CaC-Net paper, "Training Setting".
    """
    if not isinstance(job, Job):
        raise ValueError(
            f"train takes a keras_cacnet.training.Job, such as Job(recipe, dataset, 'runs/mine'); got {job!r}"
        )
    strategy = strategy or tf.distribute.get_strategy()
    with StopSignals() as stop, lost_workers(strategy), _floats_of(job.recipe):
        start = begin(job, strategy)
        epochs, checkpoints = job.recipe.epochs, start.checkpoints
        if start.progress.epochs == epochs or checkpoints.out_of_patience:
            done = f"all {epochs} epochs are done" if start.progress.epochs == epochs else "it was stopped early"
            message = f"{checkpoints.folder} is finished: {done}, and nothing was trained"
            warnings.warn(message, TrainingWarning, stacklevel=2)
            return _trained(start, strategy)
        verbose = verbose if checkpoints.chief else 0
        batches = strategy.distribute_datasets_from_function(_training(job, start, verbose))
        validation = _validation(job, start, strategy)
        callbacks = _callbacks(job, start, validation)
        loop = Loop(start.model, epochs, start.steps_per_epoch, validation, start.progress)
        loop.run(batches, callbacks, checkpoints, stop, verbose)
        return _trained(start, strategy)


def _trained(start: Start, strategy: tf.distribute.Strategy) -> keras.Model:
    """What a run leaves: of one that may stop early the best network, with moving averages those, else the last."""
    if start.checkpoints.patience is not None:
        # All wait here for the process that writes.
        require_agreement(strategy, start.checkpoints.waited)
        with strategy.scope():
            return load_checkpoint(start.checkpoints.folder / "best.keras", compile=True)
    swap_averages(start.model)
    return start.model


@contextmanager
def _floats_of(recipe: Recipe) -> Iterator[None]:
    # By `floatx` Keras chooses the type of the loss in the logs, which float64 is asked for to compare. Its default
    # policy is what `floatx` is where it is first asked for, and stays.
    keras.config.dtype_policy()
    before = keras.config.floatx()
    keras.config.set_floatx("float64" if recipe.precision == "float64" else before)
    try:
        yield
    finally:
        keras.config.set_floatx(before)


def _callbacks(job: Job, start: Start, validation: Validation | None) -> list[keras.callbacks.Callback]:
    folder, chief = start.checkpoints.folder, start.checkpoints.chief
    everywhere: list[keras.callbacks.Callback] = [FiniteLoss(folder, start.progress.step)]
    if validation is not None and start.scored is not None:
        metric = next(metric for metric in validation.metrics if isinstance(metric, MeanIoU))
        size = job.recipe.input_size
        protocol = Protocol(image_size=job.recipe.image_size, crop_size=size)
        everywhere.append(Observations(folder, metric, job.dataset.classes, spread(start.scored), protocol, chief))
    if not chief:
        return everywhere
    return [
        *everywhere,
        Times(folder / TIMES_FILE),
        Log(folder / "log.csv"),
        keras.callbacks.TensorBoard(str(folder / "tensorboard"), write_graph=False),
        Curve(folder / "log.csv", folder / "curve.png"),
    ]


def _training(job: Job, start: Start, verbose: str | int) -> Callable[[tf.distribute.InputContext], tf.data.Dataset]:
    """The batches that are left, of which each replica has a part."""
    recipe, classes = job.recipe, job.dataset.classes
    crops = crop_settings(recipe)
    features = None
    if recipe.cached_views:
        views = Views(recipe.cached_views, **crops)
        features = Features.of(start.model, start.source, classes, views, recipe.cached_dtype, start.digest)
        features.fill(start.model, start.source, verbose)

    def share(context: tf.distribute.InputContext) -> tf.data.Dataset:
        steps: dict[str, Any] = {
            "batch_size": recipe.batch_size,
            "steps": start.steps_per_epoch * recipe.epochs,
            "start_step": start.progress.step,
            "seed": recipe.seed,
            "shard": (context.input_pipeline_id, context.num_input_pipelines),
        }
        batches = features.batches(**steps) if features else training_batches(start.source, classes, **crops, **steps)
        return batches.rebatch(recipe.batch_size // context.num_replicas_in_sync, drop_remainder=True)

    return share


def _validation(job: Job, start: Start, strategy: tf.distribute.Strategy) -> Validation | None:
    """The images to score, of which each replica has its own."""
    recipe, classes, scored = job.recipe, job.dataset.classes, start.scored
    if scored is None:
        return None

    def share(context: tf.distribute.InputContext) -> tf.data.Dataset:
        images: dict[str, Any] = {
            "replicas": context.num_replicas_in_sync,
            "shard": (context.input_pipeline_id, context.num_input_pipelines),
            "image_size": recipe.image_size,
        }
        if recipe.input_size is None:
            return evaluation_batches(scored, classes, **images)
        return window_batches(scored, classes, recipe.input_size, **images)

    batches = strategy.distribute_datasets_from_function(share)
    with strategy.scope():
        # Keras' own `val_loss` is a mean over batches, and depends on how images share them.
        metrics = [Crossentropy(name="loss"), MeanIoU(len(classes)), PixelAccuracy(len(classes))]
    epochs = {*range(recipe.validate_every, recipe.epochs, recipe.validate_every), recipe.epochs}
    return Validation(batches, metrics, epochs)
