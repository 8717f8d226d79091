import gc
import itertools
import tracemalloc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import keras_cacnet as kc
from keras_cacnet.evaluation import (
    WHOLE,
    Protocol,
    evaluate,
    ids,
    predict_files,
    score_blocks,
    scores,
    weighting_maps,
)
from keras_cacnet.models.interface import require_class_count

SIZES = [(47, 31), (1, 1), (64, 90), (130, 21), (23, 23)]
PROTOCOLS = [
    Protocol(),
    Protocol((0.5, 0.75, 1.0, 1.25, 1.5, 1.75)),
    Protocol((0.5, 1.0, 1.75), flip=True),
    Protocol((0.5, 0.75, 1.0, 1.25, 1.5, 1.75), flip=True, crop_size=24),
    Protocol((0.6, 1.3), flip=True, crop_size=24, fusion="exp_sum"),
    Protocol((1.0, 1.9), crop_size=17, stride=1.0, fusion="exp_sum"),
    Protocol((0.8, 1.1), flip=True, crop_size=20, stride=0.3, base_size=50),
    Protocol((0.07, 3.2), crop_size=30, stride=0.9),
]


class Convolution:
    """A 3x3 convolution over black surroundings, once as a Keras model and once in NumPy."""

    def __init__(self, num_classes=5, seed=0):
        rng = np.random.default_rng(seed)
        self.kernel = rng.normal(size=(3, 3, 3, num_classes)).astype("float32") / 256
        self.bias = rng.normal(size=num_classes).astype("float32")
        layer = keras.layers.Conv2D(num_classes, 3, padding="same")
        self.model = keras.Sequential([keras.Input((None, None, 3)), layer], name="conv")
        layer.set_weights([self.kernel, self.bias])

    def logits(self, image):
        height, width, _ = image.shape
        padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
        result = np.zeros((height, width, len(self.bias))) + self.bias
        for i, j in itertools.product(range(3), range(3)):
            result += padded[i : i + height, j : j + width] @ self.kernel[i, j].astype("float64")
        return result


def slow_resize(x, height, width):
    """Bilinear, half-pixel centres, from the distances of pixel centres."""

    def weights(length, resized):
        matrix = np.zeros((resized, length))
        for k in range(resized):
            centre = min(max((k + 0.5) * length / resized - 0.5, 0), length - 1)
            for i in range(length):
                matrix[k, i] = max(0, 1 - abs(centre - i))
        return matrix

    return np.einsum("yi,xj,ijc->yxc", weights(x.shape[0], height), weights(x.shape[1], width), x, optimize=True)


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def slow_scores(logits_of, image, protocol):
    """The protocol step by step, in float64: whole score maps at every scale, added up window by window."""
    height, width, _ = image.shape
    total = 0
    for scale in protocol.scales:
        long = int(np.ceil(round((protocol.base_size or max(height, width)) * scale, 6)))
        if height > width:
            h, w = long, max(1, int(width * long / height + 0.5))
        else:
            h, w = max(1, int(height * long / width + 0.5)), long
        scaled = slow_resize(image.astype("float64"), h, w)
        crop_h, crop_w = (protocol.crop_size,) * 2 if protocol.crop_size else (h, w)
        padded = np.pad(scaled, ((0, max(0, crop_h - h)), (0, max(0, crop_w - w)), (0, 0)))
        stride = int(protocol.crop_size * protocol.stride) if protocol.crop_size else max(h, w)
        summed = seen = None
        rows = int(np.ceil((padded.shape[0] - crop_h) / stride)) + 1
        columns = int(np.ceil((padded.shape[1] - crop_w) / stride)) + 1
        for row, column in itertools.product(range(rows), range(columns)):
            top, left = row * stride, column * stride
            window = padded[top : top + crop_h, left : left + crop_w]
            inside = window.shape[:2]
            window = np.pad(window, ((0, crop_h - inside[0]), (0, crop_w - inside[1]), (0, 0)))
            found = logits_of(window)
            mirrored = logits_of(window[:, ::-1])[:, ::-1] if protocol.flip else None
            if protocol.fusion == "softmax_mean":
                found = softmax(found) if mirrored is None else (softmax(found) + softmax(mirrored)) / 2
            else:
                found = np.exp(found if mirrored is None else found + mirrored)
            if summed is None:
                summed, seen = np.zeros((*padded.shape[:2], found.shape[2])), np.zeros((*padded.shape[:2], 1))
            summed[top : top + inside[0], left : left + inside[1]] += found[: inside[0], : inside[1]]
            seen[top : top + inside[0], left : left + inside[1]] += 1
        assert seen.min() >= 1
        total = total + slow_resize((summed / seen)[:h, :w], height, width)
    return total / len(protocol.scales) if protocol.fusion == "softmax_mean" else total


def photograph(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype("uint8")


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=Protocol.to_text)
def test_scores_follow_the_protocol(protocol):
    network = Convolution()
    for height, width in SIZES:
        image = photograph(height, width)
        expected = slow_scores(network.logits, image, protocol)
        found = scores(network.model, image, protocol)
        assert found.shape == expected.shape
        # float32 logits of a few units are right to 1e-6 of that, and exp keeps this as a relative error.
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_random_logits_under_windows_are_averaged_and_resized():
    # A network that gives any logits at all for a colour: the image is a table of random numbers.
    image = photograph(61, 43, seed=3)
    network = Convolution(num_classes=11, seed=4)
    network.kernel[:] = 0
    network.kernel[1, 1] = np.random.default_rng(5).normal(size=(3, 11)) / 40
    network.model.layers[0].set_weights([network.kernel, network.bias])
    protocol = Protocol((0.75, 1.5), flip=True, crop_size=32)
    expected = slow_scores(network.logits, image, protocol)
    np.testing.assert_allclose(scores(network.model, image, protocol), expected, rtol=2e-5, atol=1e-7)


def eager_logits(model, image):
    return keras.ops.convert_to_numpy(model(image[None].astype("float32"), training=False))[0].astype("float64")


def test_by_default_an_image_is_shown_once_whole_as_it_is(model):
    for height, width in SIZES:
        image = photograph(height, width)
        logits = eager_logits(model, image)
        found = ids(model, image)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, logits.argmax(axis=-1))
        probabilities = scores(model, image)
        assert probabilities.dtype == np.float32
        # float32 softmax against float64.
        np.testing.assert_allclose(probabilities, softmax(logits), atol=1e-6)
        np.testing.assert_array_equal(probabilities, scores(model, image, WHOLE))


def test_ids_of_one_view_are_those_of_the_logits_and_not_of_their_softmax():
    """Logits that differ by less than float32 can tell of their softmax: 1e-10 times red beside 1e-10 times green."""
    layer = keras.layers.Conv2D(2, 1, use_bias=False)
    model = keras.Sequential([keras.Input((None, None, 3)), layer])
    layer.set_weights([1e-10 * np.eye(3, 2)[None, None]])
    image = photograph(30, 40)
    # Each probability is 0.5 to an ulp or two of it, which one is up to the processor's exponential.
    np.testing.assert_allclose(scores(model, image), 0.5, rtol=2.5e-7, atol=0)
    np.testing.assert_array_equal(ids(model, image), image[..., 1] > image[..., 0])


def test_a_cacnet_is_scored_under_the_protocol():
    model = kc.CaCNet(5, backbone="resnet14_narrow", head_channels=8)
    image = photograph(70, 45)
    protocol = Protocol((0.5, 1.25), flip=True, crop_size=40)

    def logits_of(window):
        return keras.ops.convert_to_numpy(model(window[None].astype("float32"), training=False))[0].astype("float64")

    # The network itself is float32 in the reference, and sums in another order when compiled.
    np.testing.assert_allclose(
        scores(model, image, protocol), slow_scores(logits_of, image, protocol), rtol=1e-3, atol=1e-5
    )


def test_a_working_size_is_a_long_side_at_which_images_are_shown():
    network = Convolution()
    image = photograph(60, 80)
    protocol = Protocol(base_size=40)
    small = slow_resize(image.astype("float64"), 30, 40)
    expected = slow_resize(softmax(network.logits(small)), 60, 80)
    np.testing.assert_allclose(scores(network.model, image, protocol), expected, rtol=1e-5, atol=1e-7)
    assert ids(network.model, image, protocol).shape == (60, 80)


def test_ids_are_those_of_the_highest_scores():
    network = Convolution()
    image = photograph(150, 40)
    protocol = PROTOCOLS[3]
    found = ids(network.model, image, protocol)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, scores(network.model, image, protocol).argmax(axis=-1))


def test_memory_is_that_of_the_rows_in_work():
    network = Convolution(num_classes=100)
    image = photograph(1500, 20)
    tracemalloc.start()
    end = 0
    for first, block in score_blocks(network.model, image, Protocol((0.5, 1.0), crop_size=24)):
        assert first == end
        end += len(block)
        np.testing.assert_allclose(block.sum(axis=-1), 1, rtol=1e-5)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert end == 1500
    # All scores are 12 MB. A block of 64 rows is 0.5 MB: two lie under a row of windows at scale 0.5, which is 48
    # rows, one is being looked at, and the check makes a few arrays of its own.
    assert most < 4e6


def test_one_trace_serves_all_sizes_and_windows(model):
    traced = model.get_layer("traced")
    for crop_size, flip in ((None, True), (16, True), (11, True)):
        for height, width in SIZES[:2] + SIZES[4:]:
            scores(model, photograph(height, width), Protocol((0.5, 1.5), flip, crop_size))
    assert traced.traces == 1


def test_one_trace_serves_all_sizes_shown_whole_and_the_check_before(model):
    require_class_count(model, 5)
    for height, width in SIZES:
        ids(model, photograph(height, width))
    assert model.get_layer("traced").traces == 1


def test_models_do_not_share_a_function(build_model):
    image = photograph(16, 16)
    for seed in (0, 1):
        model = build_model(seed=seed)
        np.testing.assert_array_equal(ids(model, image), eager_logits(model, image).argmax(axis=-1))


def test_new_weights_are_used_at_once(model):
    image = photograph(16, 16)
    before = scores(model, image)
    model.set_weights([-weight for weight in model.get_weights()])
    after = scores(model, image)
    np.testing.assert_allclose(after, softmax(eager_logits(model, image)), atol=1e-6)
    assert np.abs(after - before).max() > 0.1


def test_a_model_is_let_go_with_its_functions(build_model):
    model = build_model()
    scores(model, photograph(9, 9), Protocol(crop_size=8))
    ids(model, photograph(9, 9))
    reference = weakref.ref(model)
    del model
    gc.collect()
    assert reference() is None


def test_float_images_are_taken_as_they_are():
    network = Convolution()
    image = photograph(20, 30)
    protocol = Protocol((0.5, 1.0), crop_size=16)
    np.testing.assert_array_equal(
        scores(network.model, image.astype("float32"), protocol), scores(network.model, image, protocol)
    )


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4)),
        np.zeros((4, 4, 4), "uint8"),
        np.zeros((0, 4, 3)),
        np.zeros((1, 4, 4, 3)),
        np.zeros((4, 4, 3), complex),
        np.array("a"),
    ],
)
def test_other_images_are_refused(model, image):
    for predict in (scores, ids):
        with pytest.raises(ValueError, match=r"an image must be RGB \(H, W, 3\)"):
            predict(model, image)


def test_logits_of_another_size_are_refused():
    small = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(5, 1, strides=2)], name="halves")
    with pytest.raises(ValueError, match=r"'halves' gives logits \(8, 8\) for an image \(16, 16\)"):
        scores(small, photograph(20, 20), Protocol(crop_size=16))
    with pytest.raises(ValueError, match=r"'halves' gives logits \(10, 15\) for an image \(20, 30\)"):
        ids(small, photograph(20, 30))


def test_logits_that_are_not_finite_are_refused():
    network = Convolution()
    network.model.layers[0].set_weights([network.kernel, np.full(5, np.nan)])
    for predict in (scores, ids):
        with pytest.raises(ValueError, match="logits that are not finite"):
            predict(network.model, photograph(9, 9))


def test_exp_sum_says_where_it_overflows():
    network = Convolution()
    network.model.layers[0].set_weights([network.kernel, network.bias + 60])
    scores(network.model, photograph(9, 9), Protocol(fusion="exp_sum"))
    with pytest.raises(ValueError, match="overflows above 88: take 'softmax_mean'"):
        scores(network.model, photograph(9, 9), Protocol(flip=True, fusion="exp_sum"))


@pytest.mark.parametrize("protocol", [WHOLE, Protocol(crop_size=3)])
def test_more_classes_than_a_mask_holds_are_refused(protocol):
    network = Convolution(num_classes=256)
    with pytest.raises(ValueError, match="predicts 256 classes; masks of uint8 hold 255"):
        ids(network.model, photograph(4, 4), protocol)
    assert scores(network.model, photograph(4, 4), protocol).shape == (4, 4, 256)


def test_weighting_maps_are_those_of_the_network(cacnet):
    image = photograph(33, 47)
    expected = cacnet.weighting_maps(image[None])
    found = weighting_maps(cacnet, image)
    assert found.keys() == expected.keys()
    for head, parts in expected.items():
        for part, values in parts.items():
            # Compiled and eager sums in float32.
            np.testing.assert_allclose(found[head][part], values, rtol=1e-4, atol=1e-4)
    assert weighting_maps(cacnet).keys() == expected.keys()


def test_weighting_maps_need_a_cacnet(model):
    with pytest.raises(ValueError, match="'small' has no weighting_maps: only a CaCNet"):
        weighting_maps(model)


@pytest.mark.parametrize("flip", [False, True])
def test_images_are_brought_to_the_working_size_first(flip):
    model = Convolution().model
    image = np.random.default_rng(3).integers(0, 256, (90, 61, 3)).astype("uint8")
    small = tf.image.resize(image, (40, 27), antialias=True).numpy()
    wanted = tf.image.resize(scores(model, small, Protocol(flip=flip)), (90, 61)).numpy()
    found = scores(model, image, Protocol(flip=flip, image_size=40))
    # Weights of the two interpolations are rounded differently in float32.
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    np.testing.assert_array_equal(ids(model, image, Protocol(flip=flip, image_size=40)), found.argmax(-1))
    same = ids(model, image, Protocol(flip=flip, image_size=90))
    np.testing.assert_array_equal(same, ids(model, image, Protocol(flip=flip)))
    large = tf.image.resize(image, (180, 122)).numpy()
    wanted = tf.image.resize(scores(model, large, Protocol(flip=flip)), (90, 61)).numpy()
    np.testing.assert_allclose(scores(model, image, Protocol(flip=flip, image_size=180)), wanted, atol=1e-4)


def test_the_two_sizes_exclude_each_other():
    with pytest.raises(ValueError, match="base_size=520 and image_size=512 are both the long side at scale 1"):
        Protocol(base_size=520, image_size=512)


def test_a_single_view_is_enlarged_by_blocks_to_the_same_scores(model, photograph):
    """Two equal views are put together in the general way, of blocks that all views have a share in."""
    image = photograph(150, 40)
    one = scores(model, image, Protocol(image_size=60))
    np.testing.assert_allclose(one, scores(model, image, Protocol((1.0, 1.0), image_size=60)), rtol=1e-6, atol=1e-7)


def test_a_model_that_knows_its_working_size_is_shown_images_at_it(tmp_path):
    rng = np.random.default_rng(0)
    network = Convolution()
    image = rng.integers(0, 256, (33, 47, 3), "uint8")
    at_own_size = ids(network.model, image)
    network.model.image_size = 24
    trained = Protocol(image_size=24)
    np.testing.assert_array_equal(scores(network.model, image), scores(network.model, image, trained))
    np.testing.assert_array_equal(ids(network.model, image), ids(network.model, image, trained))
    np.testing.assert_array_equal(ids(network.model, image, WHOLE), at_own_size)
    assert (ids(network.model, image) != at_own_size).any()
    classes = kc.datasets.ClassTable(tuple("abcde"), ((0, 0, 0),) * 5, tuple(range(5)))
    batches = [(image[None], at_own_size[None])]
    found = [
        evaluate(network.model, batches, classes, progress=False, **given).confusion.tolist()
        for given in ({}, {"protocol": trained}, {"protocol": WHOLE})
    ]
    assert found[0] == found[1] != found[2]
    Image.fromarray(image).save(tmp_path / "one.png")
    assert predict_files(network.model, [tmp_path / "one.png"], tmp_path / "out", classes, progress=False) == []
    with Image.open(tmp_path / "out" / "one_ids.png") as written:
        np.testing.assert_array_equal(written, ids(network.model, image, trained))


def test_weighting_maps_are_those_of_the_image_as_it_is_predicted():
    rng = np.random.default_rng(0)
    model = kc.CaCNet(3, backbone="resnet14_narrow", head_channels=8)
    image = rng.integers(0, 256, (40, 64, 3), "uint8")
    assert {part.shape[1:3] for part in weighting_maps(model, image)["head_1"].values()} == {(5, 8)}
    model.image_size = 32
    assert {part.shape[1:3] for part in weighting_maps(model, image)["head_1"].values()} == {(3, 4)}


@pytest.mark.parametrize(
    ("scale", "offset", "message"),
    [
        (1 / 255, 0, "got values from 0 to 1: multiply them by 255"),
        (1, 1, "got values from 1 to 256"),
        (1, -1, "got values from -1 to 254"),
    ],
)
def test_values_beyond_rgb_are_refused(scale, offset, message):
    image = np.tile(np.arange(256.0)[:, None, None], (1, 2, 3)) * scale + offset
    with pytest.raises(ValueError, match=f"RGB is in 0..255, {message}"):
        ids(Convolution().model, image)
