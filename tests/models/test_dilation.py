"""The à trous identity: a dilated network, sampled where the original computes, equals the original."""

import keras
import numpy as np
import pytest

from keras_cacnet.models.architectures import ARCHITECTURES, KERAS_CV, KERAS_HUB, ResNet, network
from keras_cacnet.models.backbones import backbone
from keras_cacnet.models.dilation import dilate

# Both libraries want 64 filters in the first stack of basic blocks, KerasHub in any first stack.
SMALL_BASIC = ResNet("basic_block", (1, 2, 2, 2), (64, 24, 24, 24))
SMALL_BOTTLENECK = ResNet("block", (1, 2, 2, 2), (64, 8, 8, 8))
SMALL = [
    pytest.param(library, small, id=f"{library}-{small.block_type}")
    for library in (KERAS_CV, KERAS_HUB)
    for small in (SMALL_BASIC, SMALL_BOTTLENECK)
]


def randomized(model, seed=0):
    """Random batch-norm statistics too: with Keras' initial ones, padding and dilation errors may cancel."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            n = layer.gamma.shape[0]
            statistics = rng.uniform(0.5, 1.5, n), rng.normal(0, 0.3, n), rng.normal(0, 0.3, n)
            layer.set_weights([*statistics, rng.uniform(0.5, 1.5, n)])
        elif layer.weights:
            layer.set_weights([rng.normal(0, np.sqrt(2 / np.prod(w.shape[:-1])), w.shape) for w in layer.weights])
    return model


def image(height, width, batch=2, seed=1):
    return np.random.default_rng(seed).normal(size=(batch, height, width, 3)).astype("float32")


def levels(model):
    """The original's levels, taken from the library's own table and not by the code under test."""
    if hasattr(model, "pyramid_outputs"):
        return keras.Model(model.input, {k: model.pyramid_outputs[k] for k in ("P2", "P3", "P4", "P5")})
    return keras.Model(model.input, {k: model.get_layer(v).output for k, v in model.pyramid_level_inputs.items()})


def assert_a_trous(original, dilated, output_stride, size):
    x = image(*size)
    expected, got = original(x), dilated(x)
    for level, stride in {"P2": 4, "P3": 8, "P4": 16, "P5": 32}.items():
        step = max(1, stride // output_stride)
        want, have = np.asarray(expected[level]), np.asarray(got[level])
        assert have.shape[1:3] == (
            size[0] // min(stride, output_stride),
            size[1] // min(stride, output_stride),
        )
        # Float32 keeps 6e-8 of a value, and a sum over thousands of products and some fifty layers loses a
        # digit or two of that; what is lost goes with the size of the summands, so with the largest output.
        # keras-cv's epsilon, 1.001e-5 made 1e-5, adds 1e-9. One wrong tap is off by 1e-2 and more.
        np.testing.assert_allclose(have[:, ::step, ::step], want, rtol=0, atol=5e-6 * np.abs(want).max())


@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize(("library", "small"), SMALL)
def test_a_trous_identity(library, small, output_stride):
    model = randomized(network(library, small))
    dilated = dilate(model, output_stride)
    for size in [(64, 96), (32, 128)]:
        assert_a_trous(levels(model), dilated, output_stride, size)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_a_trous_identity_of_the_real_networks(name):
    model = randomized(network(KERAS_CV, ARCHITECTURES[name]))
    assert_a_trous(levels(model), dilate(model, 8), 8, (96, 64))


def test_a_trous_identity_with_pre_activation():
    import keras_hub

    model = keras_hub.models.ResNetBackbone(
        [64], [7], [64, 8, 8, 8], [1, 2, 2, 2], [1, 2, 2, 2], "bottleneck_block", use_pre_activation=True
    )
    assert_a_trous(levels(randomized(model)), dilate(model, 8), 8, (64, 96))


@pytest.mark.parametrize("shape", [(33, 47), (1, 40)])
@pytest.mark.parametrize(("library", "small"), SMALL)
def test_any_size(library, small, shape):
    height, width = shape
    outputs = dilate(network(library, small), 8)(image(height, width, batch=1))
    for level, stride in {"P2": 4, "P3": 8, "P4": 8, "P5": 8}.items():
        assert tuple(outputs[level].shape[1:3]) == (-(-height // stride), -(-width // stride)), level


def test_dilating_step_by_step_and_twice():
    for library, small in [(KERAS_CV, SMALL_BASIC), (KERAS_HUB, SMALL_BOTTLENECK)]:
        model = randomized(network(library, small))
        at_once = dilate(model, 8)
        for other in (dilate(dilate(model, 16), 8), dilate(at_once, 8)):
            assert [layer.get_config() for layer in other.layers[1:]] == [
                layer.get_config() for layer in at_once.layers[1:]
            ]
            for mine, theirs in zip(at_once.get_weights(), other.get_weights(), strict=True):
                np.testing.assert_array_equal(mine, theirs)


def test_the_original_is_left_alone_and_nothing_is_shared():
    model = randomized(network(KERAS_CV, SMALL_BASIC))
    x = image(64, 64)
    configs, before = [layer.get_config() for layer in model.layers], np.asarray(model(x))
    dilated = dilate(model, 8)
    for variable in dilated.variables:
        variable.assign(variable * 0)
    assert [layer.get_config() for layer in model.layers] == configs
    np.testing.assert_array_equal(np.asarray(model(x)), before)


def test_batch_norms_and_name():
    dilated = dilate(network(KERAS_CV, SMALL_BASIC), 16, synchronized=True, name="trunk")
    norms = [layer for layer in dilated.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert dilated.name == "trunk"
    assert {(norm.momentum, norm.epsilon, norm.synchronized) for norm in norms} == {(0.9, 1e-5, True)}
    assert not any(getattr(layer, "synchronized", False) for layer in dilate(dilated, 16).layers)


def test_frozen_layers_stay_frozen():
    model = network(KERAS_CV, SMALL_BASIC)
    model.get_layer("conv1_conv").trainable = False
    assert not dilate(model).get_layer("conv1_conv").trainable


def test_only_plain_keras_layers():
    for library in (KERAS_CV, KERAS_HUB):
        dilated = dilate(network(library, SMALL_BOTTLENECK))
        assert {type(layer).__module__.split(".")[0] for layer in [dilated, *dilated.layers]} == {"keras"}


def plain(operations, shape=(None, None, 3)):
    """A functional network of (layer, ...) in a row, with P4 after the last but one and P5 after the last."""
    x = inputs = keras.Input(shape)
    outputs = [x := operation(x) for operation in operations]
    return randomized(keras.Model(inputs, {"P4": outputs[-2], "P5": outputs[-1]}))


def conv(stride, kernel=3, layer=keras.layers.Conv2D, padding="same", **kwargs):
    filters = {} if layer is keras.layers.DepthwiseConv2D else {"filters": 3}
    return layer(kernel_size=kernel, strides=stride, padding=padding, **filters, **kwargs)


def assert_p5_a_trous(model):
    size = (64, 96)
    want, have = (np.asarray(network(image(*size, batch=1))["P5"]) for network in (model, dilate(model, 8)))
    assert have.shape[1:3] == (8, 12)
    # A handful of layers: plain float32 rounding.
    np.testing.assert_allclose(have[:, ::4, ::4], want, rtol=0, atol=1e-6 * np.abs(want).max())


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 7, (1, 3)])
def test_strided_convolutions_of_any_size(kernel):
    """Also even kernels, for which "same" pads more after than before at stride 1, and a stride of 4."""
    assert_p5_a_trous(plain([conv(stride, kernel) for stride in (8, 2, 1, 2)]))
    assert_p5_a_trous(plain([conv(stride, kernel) for stride in (8, 1, 4, 1)]))


@pytest.mark.parametrize("layer", [keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D])
def test_other_convolutions(layer):
    assert_p5_a_trous(plain([conv(8), conv(2, 3, layer), conv(1, 3, layer), conv(2, 5, layer)]))


def test_patches_without_padding():
    assert_p5_a_trous(plain([conv(8), conv(2, 2, padding="valid"), conv(1), conv(2, 2, padding="valid")]))


def test_existing_dilation_is_multiplied():
    model = plain([conv(16), conv(2), conv(1, dilation_rate=3)])
    last = dilate(model, 16).layers[-1]
    assert tuple(last.dilation_rate) == (6, 6)


def test_shared_layer_at_two_dilations():
    shared = keras.layers.Conv2D(3, 3, padding="same")
    with pytest.raises(ValueError, match=rf"{shared.name}.*two places"):
        dilate(plain([shared, conv(16), keras.layers.Conv2D(3, 3, strides=2, padding="same"), shared]), 16)
    relu = keras.layers.ReLU()
    dilate(plain([conv(16), relu, conv(2), relu]), 16)


@pytest.mark.parametrize(
    ("operations", "message"),
    [
        ([conv(16), keras.layers.MaxPooling2D(2, name="late_pool")], "late_pool.*pooling"),
        ([conv(16), conv(2), keras.layers.AveragePooling2D(3, 1, "same", name="mean")], "mean.*pooling"),
        ([conv(16), conv(2), keras.layers.UpSampling2D(2, name="up")], "up.*resampling"),
        ([conv(16), conv(2), lambda x: keras.ops.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])], "keras.ops.pad"),
        ([conv(16), conv((2, 1), name="flat")], "flat.*strides"),
        ([conv(16), plain([conv(1), conv(2)])], "holds the model"),
    ],
)
def test_no_dilated_counterpart(operations, message):
    def last(x):
        for operation in operations[1:]:
            x = operation(x)
            x = x["P5"] if isinstance(x, dict) else x
        return x

    with pytest.raises(ValueError, match=message):
        dilate(plain([operations[0], last]), 16)


def test_output_strides():
    with pytest.raises(ValueError, match="8, 16 and 32, and is 4"):
        dilate(network(KERAS_CV, SMALL_BASIC), 4)
    with pytest.raises(ValueError, match=r"output_stride=32 cannot be reached.* has output stride 8"):
        dilate(backbone("resnet14_narrow", output_stride=8), 32)
    with pytest.raises(ValueError, match="has output stride 32, and removing strides from there gives 4"):
        dilate(plain([conv(4), conv(8)]), 16)


def test_levels_and_inputs_that_are_missing():
    x = keras.Input((None, None, 3))
    with pytest.raises(ValueError, match=r"P4 and P5.*names \['P4', 'other'\]"):
        dilate(keras.Model(x, {"P4": conv(16)(x), "other": conv(32)(x)}))
    with pytest.raises(ValueError, match="names none"):
        dilate(keras.Model(x, conv(32)(x)))
    with pytest.raises(ValueError, match=r"functional keras.Model with one input"):
        dilate(keras.Model([x, keras.Input((None, None, 3))], {"P4": conv(16)(x), "P5": conv(32)(x)}))
    with pytest.raises(ValueError, match=r"functional keras.Model.*'resnet50'"):
        dilate("resnet50")
