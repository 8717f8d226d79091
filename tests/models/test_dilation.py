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
        # One wrong tap is off by 1e-2 and more.
        np.testing.assert_allclose(have[:, ::step, ::step], want, rtol=0, atol=5e-6 * np.abs(want).max())


@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize(("library", "small"), SMALL)
def test_a_trous_identity(library, small, output_stride):
    model = randomized(network(library, small))
    dilated = dilate(model, output_stride)
    for size in [(64, 96), (32, 128)]:
        assert_a_trous(levels(model), dilated, output_stride, size)


@pytest.mark.parametrize("name", ["resnet18", pytest.param("resnet50", marks=pytest.mark.slow)])
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
    assert {(norm.momentum, norm.epsilon, norm.synchronized) for norm in norms} == {(0.9, 1.001e-5, True)}  # keras-cv's
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


def refuses(operations, message, output_stride=16):
    with pytest.raises(ValueError, match=message):
        dilate(plain(operations), output_stride)


@keras.saving.register_keras_serializable("tests")
class Doubled(keras.layers.Layer):
    def call(self, x):
        return x * 2


@keras.saving.register_keras_serializable("tests")
class OtherConvolution(keras.layers.Conv2D):
    pass


def upside_down(x):
    return x[:, ::-1]


LATE = [conv(16), conv(2)]


@pytest.mark.parametrize(
    ("operations", "message"),
    [
        ([conv(16), keras.layers.MaxPooling2D(2, name="late_pool"), conv(1)], "'late_pool' .MaxPooling2D"),
        ([*LATE, keras.layers.AveragePooling2D(3, 1, "same", name="mean")], "'mean' .AveragePooling2D"),
        ([*LATE, keras.layers.UpSampling2D(2, name="up"), conv(2)], "'up' .UpSampling2D"),
        ([*LATE, lambda x: keras.ops.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])], r".Pad. has no exact counterpart"),
        ([conv(16), conv((2, 1)), conv((1, 2), name="second")], "'second' .Conv2D"),
        ([conv(24), conv(2)], r"P4 .*\(22, 32\) for an image of \(512, 768\)"),
        ([*LATE, keras.layers.Lambda(lambda x: x, name="anything")], "'anything' .Lambda"),
        ([*LATE, Doubled(name="own")], "'own' .Doubled"),
        ([*LATE, OtherConvolution(3, 3, padding="same", name="own")], "'own' .OtherConvolution"),
        ([*LATE, conv(1, activation=upside_down, name="mirrored")], "'mirrored' .Conv2D"),
        ([*LATE, keras.layers.Activation(upside_down, name="mirrored")], "'mirrored' .Activation"),
        ([*LATE, keras.layers.GroupNormalization(1, name="norm")], "'norm' .GroupNormalization"),
        ([*LATE, keras.layers.Softmax(axis=1, name="over_rows")], "'over_rows' .Softmax"),
        ([*LATE, keras.layers.Concatenate(axis=1, name="below"), conv(1)], "'below' .Concatenate"),
        ([*LATE, keras.layers.Reshape((-1, 3), name="tokens")], "'tokens' .Reshape"),
        ([conv(16), keras.layers.Resizing(8, 8, name="fixed"), conv(2)], r"P5 .*\(4, 4\) for an image of \(512, 768\)"),
        ([conv(16), conv(2, padding="valid")], r"P5 .*\(15, 23\) for an image of \(512, 768\).*lose rows"),
    ],
)
def test_what_has_no_exact_counterpart_is_refused_by_name(operations, message):
    def last(x):
        for operation in operations[1:]:
            x = operation([x, x]) if isinstance(operation, keras.layers.Concatenate) else operation(x)
        return x

    refuses([operations[0], last], message)


def test_channels_first_is_refused():
    x = keras.Input((3, None, None))
    y = keras.layers.Conv2D(3, 1, strides=16, data_format="channels_first", name="first")(x)
    with pytest.raises(ValueError, match="channels"):
        dilate(keras.Model(x, {"P4": y, "P5": y}), 16)
    x = keras.Input((None, None, 3))
    y = keras.layers.Conv2D(3, 1, strides=16, name="last")(x)
    y = keras.layers.MaxPooling2D(1, data_format="channels_first", name="first")(y)
    with pytest.raises(ValueError, match="'first' takes channels first"):
        dilate(keras.Model(x, {"P4": y, "P5": y}), 16)


def test_layers_of_unknown_effect_are_kept_where_nothing_is_dilated():
    model = plain([conv(8), Doubled(), keras.layers.MaxPooling2D(3, 2, "same"), Doubled(), conv(2)])
    x = image(64, 96)
    for output_stride in (16, 32):
        want, have = (np.asarray(network(x)["P5"]) for network in (model, dilate(model, output_stride)))
        np.testing.assert_array_equal(have[:, :: 32 // output_stride, :: 32 // output_stride], want)
    refuses([conv(8), keras.layers.MaxPooling2D(3, 2, "same", name="pool"), conv(2)], "'pool' .MaxPooling2D", 8)


def test_output_strides():
    with pytest.raises(ValueError, match="8, 16 and 32, and is 4"):
        dilate(network(KERAS_CV, SMALL_BASIC), 4)
    with pytest.raises(ValueError, match=r"output_stride=32 cannot be reached: level P4 .* has stride 8, and needs 16"):
        dilate(backbone("resnet14_narrow", output_stride=8), 32)
    # The auxiliary head's logits are enlarged by P4's stride, so that another one has to be refused.
    refuses([conv(4), conv(8)], "level P4 .* has stride 4, and needs 16", 16)


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


def test_models_inside_the_backbone():
    """With preprocessing around it, as transfer learning has it."""
    inner = plain([conv(8), conv(2), keras.layers.BatchNormalization(name="norm"), conv(2)])
    x = keras.Input((None, None, 3))
    rescaled = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Rescaling(1 / 127.5, -1)])(x)
    model = keras.Model(x, inner(rescaled, training=False))
    assert_p5_a_trous(model)
    dilated = dilate(model, 8)
    assert not any(isinstance(layer, keras.Model) for layer in dilated.layers)


def test_a_fixed_size_is_freed_and_what_needs_it_is_refused():
    model = plain([conv(16), conv(2)], (64, 64, 3))
    assert dilate(model, 16)(image(32, 96, batch=1))["P5"].shape == (1, 2, 6, 3)
    with pytest.raises(
        ValueError, match=r"'grid' .Reshape. does not take images of any size.*\(None, None, channels\)"
    ):
        dilate(plain([conv(16), keras.layers.Reshape((4, 4, 3), name="grid")], (64, 64, 3)), 16)


def test_attention_is_refused_by_name():
    """KerasHub's MiT: its levels are one off from P4 and P5, and its layers take square images of one size alone."""
    import keras_hub

    mit = keras_hub.models.MiTBackbone(
        [1, 1, 1, 1], 4, [1, 1, 1, 1], [8, 4, 2, 1], 0.0, [7, 3, 3, 3], [4, 2, 2, 2], (64, 64, 3), [8, 8, 8, 8]
    )
    with pytest.raises(ValueError, match=r"P4 and P5.*names \['P1', 'P2', 'P3', 'P4'\]"):
        dilate(mit, 32)
    levels = {"P4": mit.pyramid_outputs["P3"], "P5": mit.pyramid_outputs["P4"]}
    for output_stride in (8, 32):
        with pytest.raises(ValueError, match="patch_and_embed_0.*does not take images of any size"):
            dilate(keras.Model(mit.input, levels), output_stride)


def test_statistics_and_constants_of_a_normalisation():
    """Keras' Normalization computes with copies of its weights."""
    normalization = keras.layers.Normalization(name="normalization")
    normalization.adapt(image(8, 8) * 3 + 5)
    x = inputs = keras.Input((None, None, 3))
    levels = [x := operation(x) for operation in (normalization, conv(16), conv(2))]
    model = keras.Model(inputs, {"P4": levels[1], "P5": levels[2]})
    np.testing.assert_array_equal(model(image(64, 64))["P5"], dilate(model, 32)(image(64, 64))["P5"])


def test_strides_are_removed_in_part_and_in_poolings_of_one():
    assert_p5_a_trous(plain([conv(4), conv(8), conv(1)]))
    for pooling in (keras.layers.MaxPooling2D, keras.layers.AveragePooling2D):
        assert_p5_a_trous(plain([conv(8), pooling(1, 2), conv(1), pooling(1, 2), conv(1)]))


@pytest.mark.parametrize("layer", [keras.layers.Conv2D, keras.layers.DepthwiseConv2D])
@pytest.mark.parametrize(
    ("kernel", "side"), [(3, (0, 1)), (3, (1, 0)), (3, (1, 1)), (5, (1, 2)), (5, (2, 2)), (5, (0, 3)), (2, (0, 0))]
)
def test_explicit_padding_before_a_strided_convolution(kernel, side, layer):
    """MobileNets, EfficientNets (0, 1) and (1, 2); PyTorch's networks (1, 1); activations may be between the two."""

    def stage():
        pad = keras.layers.ZeroPadding2D((side, side))
        return pad, keras.layers.ReLU(), conv(2, kernel, layer, padding="valid"), keras.layers.BatchNormalization()

    assert_p5_a_trous(plain([conv(8), *stage(), conv(1), *stage()]))


def test_rows_that_are_lost_or_added_on_the_way():
    pad = keras.layers.ZeroPadding2D
    lost = [conv(1, padding="valid"), conv(2), pad(((0, 1), (1, 0)))]
    assert_p5_a_trous(plain([conv(8), conv(2), *lost, conv(1), conv(1)]))
    assert_p5_a_trous(plain([conv(8), *lost, conv(1), conv(2)]))
    added = [pad(((1, 0), (0, 1))), conv(2), conv(1, 2, padding="valid")]
    assert_p5_a_trous(plain([conv(8), *added, conv(1), conv(2)]))
    assert_p5_a_trous(plain([conv(8), conv(2), *added, conv(1), conv(1)]))


def squeezed(x):
    """The gate of a squeeze-and-excitation, in two of the ways in which it is written."""
    gate = keras.layers.GlobalAveragePooling2D()(x)
    gate = keras.layers.Reshape((1, 1, 3))(keras.layers.Dense(3, activation="sigmoid")(gate))
    x = keras.layers.Multiply()([x, gate])
    gate = keras.layers.Conv2D(3, 1)(keras.layers.GlobalMaxPooling2D(keepdims=True)(x))
    return x * keras.ops.hard_sigmoid(gate)


def test_squeeze_and_excitation():
    """Its mean is over the positions that the original has; over all of them it would be another number."""
    assert_p5_a_trous(plain([conv(8), squeezed, conv(2), squeezed, conv(2), squeezed, conv(1)]))


def windows(x, layer, first):
    """A convolution by hand: window i begins at i * stride - first, and beyond the map there are zeros."""
    kernel, bias = (np.asarray(w, "float64") for w in layer.get_weights())
    stride, size = layer.strides[0], len(kernel)
    rows, columns = (-(-side // stride) for side in x.shape[:2])
    x = np.pad(x, [(first, size), (first, size), (0, 0)])
    taps = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(0, 1))[::stride, ::stride][:rows, :columns]
    return np.einsum("ijcab,abcd->ijd", taps, kernel) + bias


def test_sizes_that_the_original_stride_does_not_divide():
    """Every window lies where it lies at sizes divisible by 32, and the mean is over the coarse grid.

    The original would shift the windows of its "same" convolution on odd grids and drop the rows of the "valid" one,
    so that it is no reference there; it is one, for the reference too, at 64 x 96.
    """
    stem, down, flat, last = conv(8), conv(2, padding="valid"), conv(1), conv(2, 5)
    gate = keras.layers.Conv2D(3, 1, activation="sigmoid")

    def gated(x):
        return keras.layers.Multiply()([x, gate(keras.layers.GlobalAveragePooling2D(keepdims=True)(x))])

    model = plain([stem, keras.layers.ZeroPadding2D(((0, 1), (0, 1))), down, flat, gated, last])

    def reference(x):
        x = windows(windows(windows(x, stem, 0), down, 0), flat, 1)
        kernel, bias = (np.asarray(w, "float64") for w in gate.get_weights())
        x = x / (1 + np.exp(-(x.mean(axis=(0, 1)) @ kernel[0, 0] + bias)))
        return windows(x, last, 1)

    dilated = dilate(model, 8)
    for size in [(64, 96), (40, 56), (8, 72), (104, 16)]:
        x = image(*size, batch=1)
        want, have = reference(x[0].astype("float64")), np.asarray(dilated(x)["P5"])[0]
        assert have.shape[:2] == (size[0] // 8, size[1] // 8)
        # Five layers: plain float32 rounding.
        np.testing.assert_allclose(have[::4, ::4], want, rtol=0, atol=2e-6 * np.abs(want).max())
        if size == (64, 96):
            np.testing.assert_allclose(model(x)["P5"][0], want, rtol=0, atol=2e-6 * np.abs(want).max())
