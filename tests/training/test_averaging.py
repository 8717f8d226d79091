"""Moving averages of the weights against NumPy; what is scored and saved; and going on, bit for bit."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_cacnet as kc
from keras_cacnet.training.averaging import averaged, swap_averages
from keras_cacnet.training.checkpoints import Checkpoints
from keras_cacnet.training.loop import Loop, Validation

EPOCHS, STEPS, MOMENTUM = 2, 3, 0.7


def network(scaled=False):
    keras.utils.set_random_seed(5)
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 3, padding="same")])
    rate = kc.optimizers.Warmup(kc.optimizers.cosine(0.1, 6), 2)
    optimizer = kc.optimizers.AdamW(rate, multipliers=[("bias", 2.0)], use_ema=True, ema_momentum=MOMENTUM)
    if scaled:
        optimizer = kc.optimizers.LossScaleOptimizer(optimizer)
    loss = kc.losses.loss_named("crossentropy+dice", [1.0, 2.0])
    model.compile(optimizer, loss, metrics=[kc.metrics.PixelAccuracy(2)], jit_compile=False)
    return model


def batches(start=0):
    rng = np.random.default_rng(0)
    images = rng.normal(size=(2 * EPOCHS * STEPS, 8, 8, 3)).astype("float32")
    masks = (images[..., 0] > 0).astype("uint8")
    return tf.data.Dataset.from_tensor_slices((images, masks)).batch(2).skip(start)


def state(model):
    return [keras.ops.convert_to_numpy(value) for value in (*model.variables, *model.optimizer.variables)]


@pytest.mark.parametrize("scaled", [False, True])
def test_averages_are_those_of_the_formula(scaled):
    model, average = network(scaled), None
    for images, masks in batches():
        model.train_on_batch(images, masks)
        weights = model.get_weights()
        average = average or weights
        average = [MOMENTUM * old + (1 - MOMENTUM) * new for old, new in zip(average, weights, strict=True)]
    with averaged(model):
        for found, expected in zip(model.get_weights(), average, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
            assert not np.array_equal(found, weights)


def test_they_change_places_bit_for_bit():
    model = network()
    for images, masks in batches().take(3):
        model.train_on_batch(images, masks)
    before = state(model)
    for _ in range(7):
        with averaged(model):
            pass
    for found, expected in zip(state(model), before, strict=True):
        np.testing.assert_array_equal(found, expected)
    plain = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    plain.compile("sgd", "mse")
    swap_averages(plain)


class Killed(Exception):
    pass


class Kill(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 1:
            raise Killed


def run(folder, model, start=None, callbacks=()):
    folder.mkdir(exist_ok=True)
    checkpoints = Checkpoints(folder, every=1, monitor="val_pixel_accuracy")
    if start is not None:
        model, start = checkpoints.resume()
    scores = Validation(batches().take(2), [kc.metrics.PixelAccuracy(2)])
    loop = Loop(model, EPOCHS, STEPS, scores, start)
    loop.run(batches(start.step if start else 0), callbacks, checkpoints, verbose=0)
    return loop


def test_a_run_that_goes_on_is_one_that_was_not_broken_off(tmp_path):
    whole = run(tmp_path / "whole", network())
    with pytest.raises(Killed):
        run(tmp_path / "broken", network(), callbacks=[Kill()])
    resumed = run(tmp_path / "broken", None, start=True)
    assert whole.step == resumed.step == EPOCHS * STEPS
    for found, expected in zip(state(resumed.model), state(whole.model), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_run_that_is_stopped_while_it_is_scored_saves_the_same(tmp_path):
    loop = run(tmp_path / "run", network())
    checkpoints = Checkpoints(tmp_path)
    before = state(loop.model)
    with averaged(loop.model):
        checkpoints.save(loop)
    resumed, _ = Checkpoints(tmp_path).resume()
    for found, same, expected in zip(state(resumed), state(loop.model), before, strict=True):
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(same, expected)


def test_what_is_scored_and_saved_is_the_average(tmp_path):
    loop = run(tmp_path, network())
    weights = loop.model.get_weights()
    with averaged(loop.model):
        average = loop.model.get_weights()
        score = kc.metrics.PixelAccuracy(2)
        for images, masks in batches().take(2):
            score.update_state(masks, loop.model(images))
    saved = keras.models.load_model(tmp_path / "last.keras", compile=False).get_weights()
    for found, expected, trained in zip(saved, average, weights, strict=True):
        np.testing.assert_array_equal(found, expected)
        assert not np.array_equal(found, trained)
    best = Checkpoints(tmp_path)
    best.resume()
    assert best.best >= float(score.result()) > 0
