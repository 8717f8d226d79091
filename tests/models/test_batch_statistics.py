"""Batch norms of one value per image, which batches of one image cannot train."""

import numpy as np
import pytest
import tensorflow as tf

import keras_cacnet as kc
from keras_cacnet.models.batch_statistics import norms_of_one_value
from keras_cacnet.models.heads.pspnet import PSPHead

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (9, 32, 32, 3)).astype("float32")
MASKS = RNG.integers(0, 2, (9, 32, 32)).astype("uint8")


def network(accumulate=1, eager=False, **settings):
    model = kc.CaCNet(2, backbone="resnet14_narrow", head_channels=8, **settings)
    loss = kc.losses.SegmentationCrossentropy()
    model.compile(kc.optimizers.SGD(0.01), loss, accumulate=accumulate, run_eagerly=eager, jit_compile=False)
    return model


def test_they_are_found_by_what_they_are_built_for():
    assert norms_of_one_value(network()) == ["pooling/norm"]
    assert norms_of_one_value(network(global_pooling=False)) == []
    assert norms_of_one_value(network(global_pooling=False, kernel_sizes=(1, 3))) == ["head_1_cac/norm"]
    pyramid = kc.models.SegmentationNetwork(2, PSPHead(8), backbone=kc.models.backbone("resnet14_narrow"))
    assert norms_of_one_value(pyramid) == ["context_1_norm"]
    frozen = network()
    frozen.decoder.get_layer("pooling").trainable = False
    assert norms_of_one_value(frozen) == []


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize(("batch_size", "accumulate", "told"), [(1, 1, "batches of one image"), (4, 4, "accumulate=4")])
def test_fit_refuses_parts_of_one_image(eager, batch_size, accumulate, told):
    model = network(accumulate, eager)
    with pytest.raises(ValueError, match=f"{told}.* cannot train the batch norm pooling/norm"):
        model.fit(IMAGES[:8], MASKS[:8], batch_size=batch_size, verbose=0)


def test_a_size_that_only_the_graph_knows_is_refused():
    one = tf.data.Dataset.from_tensor_slices((IMAGES[:1], MASKS[:1])).batch(2)  # its last batch has one image
    assert one.element_spec[0].shape[0] is None
    with pytest.raises(tf.errors.InvalidArgumentError, match="batches of one image cannot train"):
        network().fit(one, shuffle=False, verbose=0)


@pytest.mark.parametrize("eager", [False, True])
def test_a_last_batch_of_one_image_is_no_error(eager):
    assert np.isfinite(network(eager=eager).fit(IMAGES, MASKS, batch_size=8, verbose=0).history["loss"][0])


def test_without_such_a_norm_one_image_trains():
    assert np.isfinite(network(global_pooling=False).train_on_batch(IMAGES[:1], MASKS[:1]))
