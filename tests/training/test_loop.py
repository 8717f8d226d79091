"""The loop against Keras' `fit`: the same numbers, the same calls of callbacks, from any step on."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_cacnet.training.checkpoint_file import Progress
from keras_cacnet.training.loop import Loop, Validation
from keras_cacnet.training.losses import SegmentationCrossentropy
from keras_cacnet.training.metrics import Crossentropy, PixelAccuracy

EPOCHS, STEPS = 2, 3


def network(learning_rate=0.1):
    keras.utils.set_random_seed(5)
    model = keras.Sequential(
        [
            keras.Input((None, None, 3)),
            keras.layers.Conv2D(4, 3, padding="same"),
            keras.layers.BatchNormalization(),
            keras.layers.Conv2D(2, 1),
        ]
    )
    sgd = keras.optimizers.SGD(learning_rate, momentum=0.9)
    model.compile(sgd, SegmentationCrossentropy(), metrics=[PixelAccuracy(2)], jit_compile=False)
    return model


def batches(start=0, steps=EPOCHS * STEPS, size=8):
    rng = np.random.default_rng(0)
    images = rng.normal(size=(EPOCHS * STEPS * 2, size, size, 3)).astype("float32")
    masks = (images[..., 0] > 0).astype("uint8")
    masks[:, :2] = 255
    return tf.data.Dataset.from_tensor_slices((images, masks)).batch(2).skip(start).take(steps - start)


class Record(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.calls = []

    def __getattribute__(self, name):
        if not name.startswith("on_"):
            return super().__getattribute__(name)

        def record(*arguments, logs=None):
            # Keras passes logs by place or by name.
            numbers = [one for one in arguments if isinstance(one, int)]
            (logs,) = [one for one in arguments if isinstance(one, dict)] or [logs]
            self.calls.append((name, *numbers, logs))

        return record


def validation(size=8):
    return Validation(batches(0, 2, size), [Crossentropy(name="loss"), PixelAccuracy(2)])


def variables(model):
    return [keras.ops.convert_to_numpy(value) for value in (*model.variables, *model.optimizer.variables)]


def assert_equal(one, other):
    for ours, theirs in zip(one, other, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def by_loop(start=0, progress=None, model=None, **options):
    model, record = model or network(), Record()
    loop = Loop(model, EPOCHS, STEPS, validation(), progress)
    loop.run(batches(start), [record], verbose=0, **options)
    return loop, record


def test_it_is_fit():
    model, record = network(), Record()
    model.fit(batches(), epochs=EPOCHS, steps_per_epoch=STEPS, shuffle=False, callbacks=[record], verbose=0)
    loop, ours = by_loop()
    assert_equal(variables(loop.model), variables(model))
    names = ("on_train_begin", "on_epoch_begin", "on_train_batch_begin", "on_train_batch_end", "on_epoch_end")

    def calls(record):
        """Names, numbers of epochs and batches, and logs but for the scores, which `fit` did not ask for."""
        for name, *numbers, logs in record.calls:
            if name in names:
                yield name, numbers, {key: float(value) for key, value in (logs or {}).items() if "val_" not in key}

    assert list(calls(ours)) == list(calls(record))
    assert sum(bool(logs) for *_, logs in calls(ours)) == EPOCHS * (STEPS + 1)


def test_scores_are_those_of_evaluate_and_leave_the_training_alone():
    loop, record = by_loop()
    (*_, logs) = next(call for call in reversed(record.calls) if call[0] == "on_epoch_end")
    loop.model.compile(loss=SegmentationCrossentropy(), metrics=[PixelAccuracy(2)], jit_compile=False)
    scores = loop.model.evaluate(batches(0, 2), verbose=0, return_dict=True)
    # Both batches have the same number of valid pixels, so the mean of their losses is that of all pixels.
    assert logs["val_loss"] == pytest.approx(scores["loss"], rel=1e-6)
    assert logs["val_pixel_accuracy"] == pytest.approx(scores["pixel_accuracy"], rel=1e-6)


@pytest.mark.parametrize("stop", [1, 2, 3, 4])
def test_it_goes_on_from_any_step(stop):
    whole, whole_record = by_loop()
    model, taken = network(), []

    class Break(BaseException):
        pass

    class Saver:
        def after_step(self, loop):
            if loop.step == stop:
                taken.append(loop.progress)
                raise Break

        def after_epoch(self, loop, logs): ...

        def save(self, loop): ...

    with pytest.raises(Break):
        by_loop(model=model, saver=Saver())
    assert (taken[0].step, taken[0].epochs) == (stop, (stop - 1) // STEPS)
    rest, record = by_loop(stop, taken[0], model)
    assert_equal(variables(rest.model), variables(whole.model))
    assert_equal(rest.progress.metrics, whole.progress.metrics)
    ends = [call for call in record.calls if call[0] == "on_epoch_end"]
    assert ends == [call for call in whole_record.calls if call[0] == "on_epoch_end"][-len(ends) :]


def test_nothing_is_traced_twice():
    loop, _ = by_loop()
    assert loop._train.experimental_get_tracing_count() == 1
    assert loop._score.experimental_get_tracing_count() == 1


def test_epochs_without_validation():
    model, record = network(), Record()
    scored = Validation(batches(0, 2), [PixelAccuracy(2)], epochs=[2])
    Loop(model, EPOCHS, STEPS, scored).run(batches(), [record], verbose=0)
    first, second = (call[-1] for call in record.calls if call[0] == "on_epoch_end")
    assert "val_pixel_accuracy" not in first
    assert "val_pixel_accuracy" in second


def test_a_callback_may_stop_it():
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = True

    loop = Loop(network(), EPOCHS, STEPS)
    loop.run(batches(), [Stop()], verbose=0)
    assert (loop.progress.step, loop.progress.epochs) == (STEPS, 1)


def test_too_few_batches_are_an_error():
    with pytest.raises(ValueError, match="the batches have come to an end at step 4"):
        Loop(network(), EPOCHS, STEPS).run(batches(0, 4), verbose=0)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((0, 3), "epochs must be at least 1, got 0"),
        ((2, 0), "steps_per_epoch must be at least 1, got 0"),
        ((2, 3, None, Progress(7, 2)), "7 steps and 2 epochs are not on the way"),
        ((2, 3, None, Progress(2, 1)), "2 steps and 1 epochs are not on the way"),
        ((2, 3, None, Progress(6, 2)), "all 2 epochs are done: there is nothing left to train"),
    ],
)
def test_what_cannot_be_a_run(arguments, told):
    with pytest.raises(ValueError, match=told):
        Loop(network(), *arguments)


def test_progress_of_other_metrics_is_refused():
    progress = Progress(2, 0, (np.zeros(3),))
    with pytest.raises(ValueError, match="the metrics' states are of the shapes"):
        Loop(network(), EPOCHS, STEPS, progress=progress).run(batches(2), verbose=0)
