"""Frozen parts: in inference while the rest trains, untouched by it, and still frozen after a file."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_cacnet as kc
from keras_cacnet.models import SegmentationNetwork, freeze
from keras_cacnet.models.heads import FCNHead
from keras_cacnet.models.settings import FREEZE

CLASSES = 3


@pytest.fixture(scope="module")
def backbone():
    """Convolutions with a batch norm and a dropout among them, both of which training would show."""
    keras.utils.set_random_seed(1)
    image = x = keras.Input((None, None, 3))
    levels = {}
    for level, stride in (("P3", 8), ("P4", 2), ("P5", 2)):
        x = keras.layers.Conv2D(8, 3, strides=stride, padding="same", name=level.lower())(x)
        x = levels[level] = keras.layers.BatchNormalization(name=f"{level.lower()}_norm")(x)
    x = keras.layers.Dropout(0.5, name="drop")(x)
    return keras.Model(image, {**levels, "P5": x})


def build(backbone, **settings):
    keras.utils.set_random_seed(2)
    return SegmentationNetwork(CLASSES, FCNHead(8), backbone=backbone, output_stride=16, **{"dropout": 0.0, **settings})


def images(size=(32, 48)):
    return np.random.default_rng(0).uniform(0, 255, (2, *size, 3)).astype("float32")


def masks(size=(32, 48)):
    return np.random.default_rng(0).integers(0, CLASSES, (2, *size))


def steps(network, count=2):
    network.compile(kc.optimizers.SGD(0.1, weight_decay=0.1), kc.losses.SegmentationCrossentropy(), jit_compile=False)
    for _ in range(count):
        network.train_on_batch(images(), masks())


def values(part):
    return {variable.path: np.array(variable) for variable in part.variables if "seed_generator" not in variable.path}


def changed(before, part):
    return {path for path, value in values(part).items() if not np.array_equal(before[path], value)}


@pytest.mark.parametrize("parts", FREEZE)
def test_only_what_is_not_frozen_changes(backbone, parts):
    network = build(backbone)
    freeze(network, parts)
    before = values(network)
    steps(network)
    moved = changed(before, network)
    if parts == "none":
        assert moved == set(before)
    elif parts == "backbone_norms":
        norms = {path for path in before if "_norm/" in path and path in values(network.backbone)}
        assert len(norms) == 12
        assert moved == set(before) - norms
    elif parts == "backbone":
        # The statistics of the head's batch norms as well.
        assert moved == set(before) - set(values(network.backbone))
    else:
        assert moved == {f"{name}/{weight}" for name in CLASSIFIERS for weight in ("kernel", "bias")}


CLASSIFIERS = ("classifier", "auxiliary_classifier")


@pytest.mark.parametrize("named", [True, False])
def test_a_frozen_backbone_is_in_inference(backbone, named):
    network = build(backbone, auxiliary_weight=0)
    for layer in network.decoder.layers:
        layer.trainable = False
    x = images()

    def training():
        return np.array(network({"images": x}, training=True)["logits"] if named else network(x, training=True))

    # Both the batch norms and the dropout show while the backbone trains.
    assert np.abs(training() - np.array(network(x))).max() > 0.1
    freeze(network, "backbone")
    for layer in network.decoder.layers:
        layer.trainable = False
    np.testing.assert_allclose(training(), np.array(network(x)), atol=1e-6)


def test_it_costs_no_gradient(backbone):
    network = build(backbone)
    freeze(network, "backbone")
    x = tf.constant(images())
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = network({"images": x}, training=True)
        total = tf.reduce_sum(outputs["logits"]) + tf.reduce_sum(outputs["auxiliary"])
    assert tape.gradient(total, x) is None


@pytest.mark.parametrize("parts", FREEZE)
def test_it_stays_so_in_a_file(backbone, parts, tmp_path):
    network = build(backbone)
    freeze(network, parts)
    steps(network)
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    assert [v.path for v in loaded.trainable_variables] == [v.path for v in network.trainable_variables]
    before = values(loaded)
    loaded.train_on_batch(images(), masks())
    network.train_on_batch(images(), masks())
    if parts != "none":
        assert not changed(values(network), loaded)
    if parts in ("backbone", "all_but_classifier"):
        assert not changed(before, loaded.backbone)


def test_what_was_frozen_can_train_again(backbone):
    network = build(backbone)
    freeze(network, "all_but_classifier")
    freeze(network, "none")
    assert [v.path for v in network.trainable_variables] == [v.path for v in build(backbone).trainable_variables]


def test_another_word_is_refused(backbone):
    with pytest.raises(
        ValueError, match="freeze must be one of none, backbone_norms, backbone, all_but_classifier, got 'head'"
    ):
        freeze(build(backbone), "head")


@pytest.mark.parametrize("size", [(32, 48), (30, 45)])
@pytest.mark.parametrize("stride", [2, 4, 16])
def test_the_loss_on_a_coarser_grid(backbone, stride, size):
    network = build(backbone, loss_stride=stride)
    freeze(network, "backbone")
    network.compile(kc.optimizers.SGD(0.0), kc.losses.SegmentationCrossentropy(), jit_compile=False)
    outputs = network({"images": images(size)}, training=True)
    # The centres that lie in the image, in pixels from its edge.
    rows, columns = ([c for c in np.arange(0.5, 99) * stride if c < side] for side in size)
    total = 0.0
    for name, factor in (("logits", 1.0), ("auxiliary", 0.2)):
        part = network.decoder if name == "logits" else network.auxiliary
        level = network.features(images(size))["P5" if name == "logits" else "P4"]
        found = part(level, training=True)
        coarse = np.array(found["logits"] if name == "logits" else found, "float64")
        wanted = interpolated(interpolated(coarse, rows, 1), columns, 2)
        np.testing.assert_allclose(outputs[name], wanted, atol=1e-5)
        truth = masks(size)[:, np.int64(np.floor(rows))][:, :, np.int64(np.floor(columns))]
        total += factor * float(kc.losses.SegmentationCrossentropy()(truth, wanted))
    found = network.compute_loss(images(size), masks(size), outputs)
    assert float(found) == pytest.approx(total, rel=1e-5)
    # Outside of training every pixel counts.
    assert network(images(size)).shape == (2, *size, CLASSES)


def interpolated(x, centres, axis, stride=16):
    """Bilinear interpolation at pixels' positions, in float64."""
    places = np.array(centres) / stride - 0.5
    low = np.floor(places)
    share = np.expand_dims(places - low, tuple(other for other in range(x.ndim) if other != axis))
    take = [np.take(x, np.clip(low + k, 0, x.shape[axis] - 1).astype(int), axis) for k in (0, 1)]
    return take[0] * (1 - share) + take[1] * share


def test_pixel_weights_go_along(backbone):
    network = build(backbone, loss_stride=4, auxiliary_weight=0)
    network.compile(kc.optimizers.SGD(0.0), kc.losses.SegmentationCrossentropy(), jit_compile=False)
    weights = np.random.default_rng(1).uniform(0.1, 1, (2, 32, 48)).astype("float32")
    outputs = network({"images": images()}, training=True)
    loss = network.loss
    wanted = loss(masks()[:, 2::4, 2::4], outputs["logits"], weights[:, 2::4, 2::4])
    assert float(network.compute_loss(None, masks(), outputs, weights)) == pytest.approx(float(wanted), rel=1e-6)
    wanted = loss(masks()[:, 2::4, 2::4], outputs["logits"], weights[:, 0, 0])
    assert float(network.compute_loss(None, masks(), outputs, weights[:, 0, 0])) == pytest.approx(
        float(wanted), rel=1e-6
    )


@pytest.mark.parametrize("auxiliary_weight", [0.0, 0.2])
def test_features_take_the_place_of_images(backbone, auxiliary_weight):
    """The step is the same, to the bit: what Keras computes of the images is what was computed before."""
    found = []
    for cached in (True, False):
        network = build(backbone, loss_stride=4, auxiliary_weight=auxiliary_weight)
        freeze(network, "backbone")
        network.compile(
            kc.optimizers.SGD(0.1),
            kc.losses.SegmentationCrossentropy(),
            metrics=[kc.metrics.PixelAccuracy(CLASSES)],
            jit_compile=False,
        )
        x = {name: np.array(level) for name, level in network.features(images()).items()} if cached else images()
        y = masks()[:, 2::4, 2::4] if cached else masks()
        data = tf.data.Dataset.from_tensors((x, y)).repeat(3)
        history = network.fit(data, shuffle=False, verbose=0).history
        found.append((history, values(network)))
    assert found[0][0].keys() == {"loss", "pixel_accuracy"}
    for name, one in found[0][0].items():
        assert one == pytest.approx(found[1][0][name], rel=1e-6)
    for path, value in found[0][1].items():
        np.testing.assert_allclose(value, found[1][1][path], rtol=1e-5, atol=1e-6, err_msg=path)


@pytest.mark.parametrize("stride", [3, 32, 0, 2.0])
def test_strides_that_do_not_fit_are_refused(backbone, stride):
    with pytest.raises(ValueError, match="loss_stride must"):
        build(backbone, loss_stride=stride)
