"""A batch in parts against the same batch at once, in float64, batch norms in inference."""

import keras
import numpy as np
import pytest

import keras_cacnet as kc
from keras_cacnet.models.heads.encnet import EncHead

ENCNET = EncHead(4, 2, se_loss_weight=0.3)
LOSS = kc.losses.loss_named("crossentropy+0.5*dice", [1.0, 2.0, 0.5])


def network(head, loss_stride=1):
    keras.utils.set_random_seed(1)
    image = x = keras.Input((None, None, 3), dtype="float64")
    levels = {}
    for level, stride in (("P3", 8), ("P4", 1), ("P5", 1)):
        conv = keras.layers.Conv2D(6, 3, strides=stride, padding="same", activation="relu", dtype="float64", name=level)
        x = levels[level] = conv(x)
    body = keras.Model(image, levels)
    model = kc.models.SegmentationNetwork(3, head, backbone=body, dropout=0, dtype="float64", loss_stride=loss_stride)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    return model


def batch(seed=0):
    """Six images of which one has a class nowhere and others in few places."""
    rng = np.random.default_rng(seed)
    masks = rng.integers(0, 3, (6, 16, 16))
    masks[rng.uniform(size=masks.shape) < np.linspace(0, 0.95, 6)[:, None, None]] = 255
    masks[1] = 255
    return rng.uniform(0, 2, (6, 16, 16, 3)), masks


def trained(accumulate, weights=None, loss=LOSS, head=ENCNET, **settings):
    # The default policy follows `floatx` where it is first asked for, and stays.
    keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    try:
        model = network(head, **settings)
        metrics = [kc.metrics.MeanIoU(3)]
        model.compile(
            kc.optimizers.SGD(0.05), loss, metrics=metrics, jit_compile=False, run_eagerly=True, accumulate=accumulate
        )
        given = () if weights is None else (weights,)
        logs = [model.train_on_batch(*batch(step), *given, return_dict=True) for step in range(2)]
    finally:
        keras.config.set_floatx("float32")
    return [*model.get_weights(), *(value for log in logs for value in log.values())], model


def worst(one, other):
    """The greatest difference over the greatest value, or 1."""
    pairs = zip(one, other, strict=True)
    return max(np.abs(np.subtract(a, b)).max() / max(np.abs(a).max(), 1) for a, b in pairs)


@pytest.mark.parametrize("kind", ["none", "images", "pixels", "one"])
def test_parts_are_the_whole_batch(kind):
    rng = np.random.default_rng(2)
    shapes = {"none": None, "images": (6,), "pixels": (6, 16, 16), "one": ()}
    weights = None if shapes[kind] is None else np.asarray(rng.uniform(0.1, 2, shapes[kind]))
    if kind == "one":
        weights = np.full(6, 2.0)
    whole, _ = trained(1, weights)
    parts, _ = trained(3, weights)
    # float64 sums in another order.
    assert worst(whole, parts) < 1e-12


def test_on_a_coarser_grid_and_of_another_loss():
    whole, parts = (trained(count, loss=kc.losses.loss_named("ohem"), head="fcn", loss_stride=4)[0] for count in (1, 2))
    assert worst(whole, parts) < 1e-12


def test_a_mean_of_the_means_of_the_parts_would_be_another_gradient():
    _, masks = batch()
    logits = np.random.default_rng(3).normal(size=(*masks.shape, 3))
    means = [float(LOSS(masks[i : i + 2], logits[i : i + 2])) for i in (0, 2, 4)]
    assert abs(np.mean(means) - float(LOSS(masks, logits))) > 1e-2


def test_it_is_saved_and_what_does_not_fit_is_told(tmp_path):
    _, model = trained(2, head="fcn")
    model.save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").accumulate == 2
    with pytest.raises(ValueError, match=r"a batch of 3 on each device cannot be taken in 2 parts \(accumulate=2\)"):
        model.train_on_batch(*(part[:3] for part in batch()))
    for loss in (keras.losses.SparseCategoricalCrossentropy(from_logits=True), kc.losses.Dice(reduction=None)):
        with pytest.raises(ValueError, match="accumulate=2 needs a loss of kc.losses that is one number"):
            model.compile("sgd", loss, accumulate=2)
    with pytest.raises(ValueError, match="accumulate must be a whole number from 1 on, got 0"):
        model.compile("sgd", LOSS, accumulate=0)
