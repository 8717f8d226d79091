"""The training loop: Keras' own train step, under any `tf.distribute` strategy, from any step to any step."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from keras_cacnet.evaluation.inference import segmentation_logits
from keras_cacnet.layers.replicas import sum_over_replicas
from keras_cacnet.progress import verbosity_of_fit
from keras_cacnet.training.averaging import averaged
from keras_cacnet.training.checkpoint_file import Progress
from keras_cacnet.training.cluster import lost_workers, several_processes
from keras_cacnet.training.signals import Stopped, StopSignals


@dataclass(frozen=True)
class Validation:
    """What is scored between epochs.

    Args:
        batches: images and masks, distributed by the strategy; read from the start every time.
        metrics: what is logged, as `val_` and their names; made in the strategy's scope.
        epochs: the numbers of the epochs, from 1 on, after which it is scored; None for all.
    """

    batches: Iterable[Any]
    metrics: Sequence[keras.metrics.Metric]
    epochs: Collection[int] | None = None


class Saver(Protocol):
    """What writes checkpoints: called by all processes of a run at the same points of it."""

    def after_step(self, loop: "Loop") -> None: ...

    def after_epoch(self, loop: "Loop", logs: dict[str, float]) -> None: ...

    def save(self, loop: "Loop") -> None: ...


class Loop:
    """Trains a compiled network as `fit` does, where `fit` cannot.

    It runs under `tf.distribute.MultiWorkerMirroredStrategy`, where `fit` fails (keras#20585); it starts and stops
    at any step, with the metrics of the epoch as they were; and the logs of a batch are those of all replicas. It
    calls the model's `train_step`, and Keras' callbacks in the order of `fit`.

    Args:
        model: the network, built and compiled in the scope of its strategy.
        epochs: the number of epochs.
        steps_per_epoch: the number of steps of each.
        validation: what is scored between epochs.
        progress: where to begin; model and optimizer have to be as they were there.

    Raises:
        ValueError: fewer than one epoch or step, or a progress that is at the end or beyond it.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse", jit_compile=False)
        >>> batches = tf.data.Dataset.from_tensors((np.ones((4, 2)), np.ones((4, 1)))).repeat()
        >>> loop = Loop(model, epochs=2, steps_per_epoch=3)
        >>> loop.run(batches, verbose=0)
        >>> loop.progress.step, loop.progress.epochs
        (6, 2)
    """

    def __init__(
        self,
        model: keras.Model,
        epochs: int,
        steps_per_epoch: int,
        validation: Validation | None = None,
        progress: Progress | None = None,
    ) -> None:
        progress = progress or Progress()
        for name, value in (("epochs", epochs), ("steps_per_epoch", steps_per_epoch)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if not progress.epochs * steps_per_epoch <= progress.step <= epochs * steps_per_epoch:
            raise ValueError(f"{progress.step} steps and {progress.epochs} epochs are not on the way of this run")
        if progress.epochs == epochs:
            raise ValueError(f"all {epochs} epochs are done: there is nothing left to train")
        self.model = model
        self.strategy = model.distribute_strategy
        self.epochs = epochs
        self.steps_per_epoch = steps_per_epoch
        self.validation = validation
        self.step = progress.step
        self.epochs_done = progress.epochs
        self._start = progress
        self._several = several_processes(self.strategy)
        self._train = tf.function(self._train_step, autograph=False)
        self._score = tf.function(self._score_step, autograph=False)
        self._results = tf.function(model.get_metrics_result, autograph=False)

    @property
    def progress(self) -> Progress:
        """How far the run is now; all processes of a run have to ask at the same point."""
        metrics = tuple(keras.ops.convert_to_numpy(variable) for variable in self.model.metrics_variables)
        return Progress(self.step, self.epochs_done, metrics)

    def run(
        self,
        batches: Iterable[Any],
        callbacks: Sequence[keras.callbacks.Callback] = (),
        saver: Saver | None = None,
        stop: StopSignals | None = None,
        verbose: str | int = "auto",
    ) -> None:
        """Train to the end, or until a signal asks to stop.

        Args:
            batches: of the steps that are left, distributed by the strategy, as by
                `strategy.experimental_distribute_dataset(dataset)`; without a strategy, a `tf.data.Dataset`.
            callbacks: Keras' callbacks, on this process.
            saver: writes checkpoints.
            stop: asks to stop; where one process of a run is asked, all stop after the same step.
            verbose: as for `keras.Model.fit`; "auto" is a line an epoch where the output goes into a file or a pipe.

        Raises:
            ValueError: the batches have come to an end before the run.
            Stopped: a signal asked to stop, and the run is saved.
            WorkerLost: another process of the run has died.
        """
        stop = stop or StopSignals()
        verbose = verbosity_of_fit(verbose)
        with lost_workers(self.strategy):
            with self.strategy.scope():
                self.model.optimizer.build(self.model.trainable_variables)
            iterator = iter(batches)
            self._train.get_concrete_function(iterator, _flag(stop))
            if self._start.metrics:
                _restore(self.strategy, self.model.metrics_variables, self._start.metrics)
            self.model.stop_training = False
            calls = keras.callbacks.CallbackList(
                list(callbacks),
                add_progbar=verbose != 0,
                model=self.model,
                verbose=verbose,
                epochs=self.epochs,
                steps=self.steps_per_epoch,
            )
            calls.on_train_begin()
            stop.defer()
            try:
                while self.epochs_done < self.epochs and not self.model.stop_training:
                    self._epoch(iterator, calls, saver, stop)
            finally:
                calls.on_train_end()
            if stop.requested:
                raise self._stopped(stop)

    def _epoch(
        self, iterator: Iterator[Any], calls: keras.callbacks.CallbackList, saver: Saver | None, stop: StopSignals
    ) -> None:
        epoch = self.epochs_done
        calls.on_epoch_begin(epoch)
        done = self.step - epoch * self.steps_per_epoch
        if not done:
            self.model.reset_metrics()
        for batch in range(done, self.steps_per_epoch):
            calls.on_train_batch_begin(batch)
            try:
                results, asked = self._train(iterator, _flag(stop))
            except tf.errors.OutOfRangeError:
                raise ValueError(f"the batches have come to an end at step {self.step}") from None
            self.step += 1
            calls.on_train_batch_end(batch, _floats(results))
            if saver:
                saver.after_step(self)
            self._stop_if(asked, stop, saver)
        logs = _floats(self._results())
        # What is scored, and shown by callbacks, is what will be saved.
        with averaged(self.model):
            if self.validation and (self.validation.epochs is None or epoch + 1 in self.validation.epochs):
                logs |= self._scores(self.validation, saver, stop)
            self.epochs_done += 1
            calls.on_epoch_end(epoch, logs)
        if saver:
            saver.after_epoch(self, logs)

    def _scores(self, validation: Validation, saver: Saver | None, stop: StopSignals) -> dict[str, float]:
        for metric in validation.metrics:
            metric.reset_state()
        iterator = iter(validation.batches)
        while True:
            try:
                asked = self._score(iterator, _flag(stop))
            except tf.errors.OutOfRangeError:
                break
            self._stop_if(asked, stop, saver)
        return {f"val_{metric.name}": float(metric.result()) for metric in validation.metrics}

    def _stop_if(self, asked: tf.Tensor, stop: StopSignals, saver: Saver | None) -> None:
        # Several processes have to agree on the step; one of its own need not wait for the next.
        if int(asked) if self._several else stop.requested:
            if saver:
                saver.save(self)
            raise self._stopped(stop)

    def _stopped(self, stop: StopSignals) -> Stopped:
        by = stop.requested or "a signal to another process"
        return Stopped(f"stopped by {by} after step {self.step} of {self.epochs * self.steps_per_epoch}")

    def _train_step(self, iterator: Any, asked: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        asked = self._on_replicas(self.model.train_step, iterator, asked)
        return self.model.get_metrics_result(), asked

    def _score_step(self, iterator: Any, asked: tf.Tensor) -> tf.Tensor:
        def score(batch: Any) -> None:
            images, masks = batch
            logits = segmentation_logits(self.model, images)
            for metric in self.validation.metrics if self.validation else ():
                metric.update_state(masks, logits)

        return self._on_replicas(score, iterator, asked)

    def _on_replicas(self, step: Callable[[Any], Any], iterator: Any, asked: tf.Tensor) -> tf.Tensor:
        """Run a step on the next batch; how many replicas are asked to stop."""

        def replica(batch: Any, asked: tf.Tensor) -> tf.Tensor:
            step(batch)
            # Where the data end no sum may have begun: broken off, it would look as if another process had died.
            with tf.control_dependencies(tf.nest.flatten(batch)):
                return sum_over_replicas(tf.identity(asked))

        asked = self.strategy.run(replica, args=(iterator.get_next(), asked))
        return self.strategy.experimental_local_results(asked)[0]


def _flag(stop: StopSignals) -> tf.Tensor:
    return tf.constant(int(bool(stop.requested)))


def _floats(results: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in results.items()}


def _restore(strategy: tf.distribute.Strategy, variables: Sequence[Any], values: Sequence[np.ndarray]) -> None:
    """Give the first replica the whole state of the metrics, which are summed over the replicas.

    Assigning to all at once would divide it by their number, which whole numbers do not survive.
    """
    shapes = [tuple(variable.shape) for variable in variables], [value.shape for value in values]
    if shapes[0] != shapes[1]:
        raise ValueError(f"the metrics' states are of the shapes {shapes[0]}, those to restore of {shapes[1]}")

    def replica() -> None:
        context = tf.distribute.get_replica_context()
        first = tf.equal(context.replica_id_in_sync_group, 0)
        for variable, value in zip(variables, values, strict=True):
            variable.assign(tf.cast(first, variable.dtype) * value)

    strategy.run(replica)
