"""Sums of losses and losses by name."""

import keras
import numpy as np
import pytest

import keras_cacnet as kc

MASKS = np.array([[[0, 1, 2, 255]], [[2, 2, 255, 0]]])
LOGITS = np.random.default_rng(0).normal(size=(2, 1, 4, 3))


def test_a_sum_is_the_sum_and_survives_serialisation():
    parts = [kc.losses.SegmentationCrossentropy(label_smoothing=0.1), kc.losses.Dice(class_weights=(1, 2, 3))]
    loss = kc.losses.WeightedSum(parts, [0.5, 2.0])
    weights = np.random.default_rng(1).random(MASKS.shape)
    expected = 0.5 * float(parts[0](MASKS, LOGITS, weights)) + 2 * float(parts[1](MASKS, LOGITS, weights))
    restored = keras.losses.deserialize(keras.losses.serialize(loss))
    for one in (loss, restored):
        assert float(one(MASKS, LOGITS, weights)) == pytest.approx(expected, rel=1e-14)
    assert restored.get_config() == loss.get_config()
    divisors = [one + other for one, other in zip(loss.divisor(MASKS, LOGITS), (1, 2), strict=True)]
    expected = float(parts[0](MASKS, LOGITS)) * 6 / 7 * 0.5 + float(parts[1](MASKS, LOGITS)) * 2 / 4 * 2
    assert float(loss(MASKS, LOGITS, divisor=divisors)) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_fit_reports_and_follows_it(jit_compile):
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(3, 1)])
    loss = kc.losses.loss_named("ohem+lovasz", class_weights=[1, 2, 3])
    model.compile("sgd", loss, jit_compile=jit_compile)
    images = LOGITS.astype("float32")
    expected = float(loss(MASKS, model(images)))
    history = model.fit(images, MASKS, epochs=3, verbose=0).history["loss"]
    assert history[0] == pytest.approx(expected, rel=1e-5)
    assert history[2] < history[0]


@pytest.mark.parametrize(
    ("text", "kinds", "weights"),
    [
        ("crossentropy+dice", ["SegmentationCrossentropy", "Dice"], (1, 1)),
        ("0.5*focal + 2 * lovasz", ["FocalCrossentropy", "LovaszSoftmax"], (0.5, 2)),
        ("2*tversky", ["Tversky"], (2,)),
    ],
)
def test_losses_by_name(text, kinds, weights):
    loss = kc.losses.loss_named(text, class_weights=(1, 2, 3))
    assert ([type(one).__name__ for one in loss.losses], loss.weights) == (kinds, weights)
    assert {one.class_weights for one in loss.losses} == {(1.0, 2.0, 3.0)}


def test_label_smoothing_goes_where_it_is_taken():
    loss = kc.losses.loss_named("ohem+dice", label_smoothing=0.1)
    assert loss.losses[0].label_smoothing == 0.1
    assert type(kc.losses.loss_named("crossentropy")) is kc.losses.SegmentationCrossentropy
    with pytest.raises(ValueError, match="label_smoothing=0.1 would have no effect: loss=dice has none"):
        kc.losses.loss_named("dice", label_smoothing=0.1)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("dise", r"loss='dise': no loss is called 'dise'; did you mean dice\? There are crossentropy, focal"),
        ("focal+", "no loss is called ''"),
        ("x*focal", r"'x' is no factor; write 0\.5\*focal"),
        ("-1*focal", "'-1' is no factor"),
    ],
)
def test_wrong_words_are_answered(text, told):
    with pytest.raises(ValueError, match=told):
        kc.losses.loss_named(text)


@pytest.mark.parametrize(
    ("losses", "weights", "told"),
    [
        ([], None, r"at least one, with one ignore_class; got \[\]"),
        ([kc.losses.Dice(), kc.losses.Dice(None)], None, r"got \[255, None\]"),
        ([keras.losses.Dice()], None, "losses of kc.losses"),
        ([kc.losses.Dice(reduction=None)], None, "dice has reduction=None"),
        ([kc.losses.Dice()], [1, 2], "weights has 2 numbers, and there are 1 losses"),
    ],
)
def test_bad_sums_are_named(losses, weights, told):
    with pytest.raises(ValueError, match=told):
        kc.losses.WeightedSum(losses, weights)
