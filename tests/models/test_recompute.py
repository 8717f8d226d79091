"""Networks whose training computes the backbone twice, against the same networks as they are by default."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_cacnet as kc
from keras_cacnet.models.backbones import backbone
from keras_cacnet.models.blocks import blocks
from small_networks import random_statistics


def residual_backbone(dtype):
    """A stem and three residual blocks, with a dropout of its own."""
    image = x = keras.Input((None, None, 3), dtype="float64" if dtype == "float64" else "float32")
    x = layers.Rescaling(1 / 64, dtype=image.dtype)(x)
    x = layers.Conv2D(6, 3, strides=8, padding="same", dtype=dtype)(x)
    levels = {}
    for level in ("P3", "P4", "P5"):
        y = layers.Conv2D(6, 3, padding="same", use_bias=False, dtype=dtype)(x)
        y = layers.BatchNormalization(momentum=0.9, dtype=dtype)(y)
        y = layers.Dropout(0.2, dtype=dtype)(layers.ReLU(dtype=dtype)(y))
        x = levels[level] = layers.ReLU(name=level, dtype=dtype)(layers.Add(dtype=dtype)([x, y]))
    return keras.Model(image, levels)


def network(recompute, dtype="float64", **settings):
    keras.utils.set_random_seed(1)
    options = {"backbone": residual_backbone(dtype), "dtype": dtype, "recompute": recompute, "dropout": 0.2}
    if "head" in settings:
        return random_statistics(kc.models.SegmentationNetwork(3, **options, **settings))
    return random_statistics(kc.CaCNet(3, head_channels=8, **options, **settings))


def trained(recompute, dtype="float64", steps=2, eager=False, **settings):
    keras.config.dtype_policy()
    keras.config.set_floatx("float64" if dtype == "float64" else "float32")
    try:
        model = network(recompute, dtype, **settings)
        loss = kc.losses.SegmentationCrossentropy()
        model.compile(kc.optimizers.SGD(0.05), loss, jit_compile=False, run_eagerly=eager)
        rng = np.random.default_rng(0)
        logs = []
        for _ in range(steps):
            images, masks = rng.uniform(0, 255, (2, 40, 33, 3)), rng.integers(0, 3, (2, 40, 33))
            logs.append(model.train_on_batch(images, masks, return_dict=True)["loss"])
    finally:
        keras.config.set_floatx("float32")
    return model, logs


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"auxiliary_weight": 0.0, "num_heads": 0, "eager": True},
        {"reweighting": "gap", "loss_stride": 4, "synchronized": True, "eager": True},
        {"head": kc.models.heads.EncHead(8, codewords=3), "eager": True},
    ],
)
def test_training_is_the_same(settings):
    kept, first = trained(False, **settings)
    again, second = trained(True, **settings)
    np.testing.assert_allclose(second, first, rtol=1e-12)
    assert second != [0.0] * len(second)
    for one, other in zip(again.weights, kept.weights, strict=True):
        # float64 sums in another order, over two steps. Moving statistics that were updated twice would be 0.1 off.
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-11, err_msg=one.path)


@pytest.mark.parametrize("settings", [{"reweighting": "enc"}, {"head": kc.models.heads.EncHead(8, codewords=3)}])
def test_a_context_encoding_is_computed_again(monkeypatch, settings):
    calls = []
    encode = kc.layers.ContextEncodingLayer.encode
    monkeypatch.setattr(
        kc.layers.ContextEncodingLayer, "encode", lambda self, *a, **k: calls.append(self.name) or encode(self, *a, **k)
    )
    for recompute, times in ((False, 1), (True, 2)):
        calls.clear()
        trained(recompute, dtype="float32", steps=1, eager=True, **settings)
        assert {calls.count(name) for name in calls} == {times}


def test_frozen_stages_and_parts_of_a_batch():
    def run(recompute):
        model = network(recompute)
        for layer in model.backbone.layers[:8]:
            layer.trainable = False
        loss = kc.losses.SegmentationCrossentropy()
        model.compile(kc.optimizers.SGD(0.05), loss, jit_compile=False, run_eagerly=True, accumulate=2)
        rng = np.random.default_rng(0)
        model.train_on_batch(rng.uniform(0, 255, (4, 32, 32, 3)), rng.integers(0, 3, (4, 32, 32)))
        return model.get_weights()

    for one, other in zip(run(True), run(False), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-11)


def test_half_precision_trains():
    kept, first = trained(False, "mixed_bfloat16", steps=1, eager=True)
    again, second = trained(True, "mixed_bfloat16", steps=1, eager=True)
    # bfloat16 has 8 bits.
    np.testing.assert_allclose(second, first, rtol=2e-2)
    assert all(np.isfinite(weight).all() for weight in again.get_weights())
    assert {weight.dtype for weight in again.weights} == {weight.dtype for weight in kept.weights}


def test_it_is_kept_in_files_and_may_be_set_later(tmp_path):
    model = network(True, "float32")
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.recompute
    assert [layer.recompute for layer in loaded.decoder.layers if layer.name.endswith("_cac")] == [True, True]
    images = np.zeros((1, 33, 47, 3), "uint8")
    expected = model(images)
    np.testing.assert_array_equal(loaded(images), expected)
    loaded.recompute = False
    assert not any(layer.recompute for layer in loaded.decoder.layers if layer.name.endswith("_cac"))
    # What an earlier version saved does not have it.
    config = model.get_config()
    del config["recompute"]
    assert not kc.CaCNet.from_config(config).recompute
    with pytest.raises(ValueError, match="recompute must be True or False"):
        model.recompute = "yes"


def test_blocks_begin_where_a_resnet_has_its_own():
    body = backbone("resnet50")
    found = blocks(body, ("P4", "P5"))
    # The stem, and 3, 4, 6 and 3 blocks.
    assert len(found) == 1 + 3 + 4 + 6 + 3
    assert [index for index, block in enumerate(found) if block.levels] == [13, 16]
    names = [part.name for block in found for part in block.parts]
    assert sorted(names) == sorted(layer.name for layer in body.layers[1:])


def test_blocks_of_a_network_without_forks_end_with_its_levels():
    images = x = keras.Input((None, None, 3))
    levels = {}
    for level in ("P3", "P4", "P5"):
        for _ in range(2):
            x = keras.layers.Conv2D(4, 3, padding="same")(x)
        levels[level] = x
    found = blocks(keras.Model(images, levels), ("P4", "P5"))
    assert [(len(block.nodes), list(block.levels)) for block in found] == [(4, ["P4"]), (2, ["P5"])]
    x = np.random.default_rng(0).normal(size=(1, 8, 9, 3))
    model = keras.Model(images, levels)
    for block in found:
        x, level = block(x, training=True)
        assert x is level
    np.testing.assert_array_equal(x, model(np.random.default_rng(0).normal(size=(1, 8, 9, 3)))["P5"])
