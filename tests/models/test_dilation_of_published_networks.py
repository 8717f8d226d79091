"""The graphs of keras.applications and KerasHub, dilated: exact in float64, or refused by name."""

import keras
import keras_hub
import numpy as np
import pytest
from keras import applications
from keras.src.applications import convnext, densenet, efficientnet, efficientnet_v2, resnet

from keras_cacnet.models.dilation import dilate


def levels_of(model):
    """P4: the last tensor of stride 16; P5: the output."""
    tensors = [operation.output for operation in model.operations]
    shapes = keras.Model(model.input, tensors).compute_output_spec(keras.KerasTensor((None, 512, 512, 3)))
    p4 = [x for x, spec in zip(tensors, shapes, strict=True) if len(spec.shape) == 4 and spec.shape[1] == 32]
    return keras.Model(model.input, {"P4": p4[-1], "P5": model.output}, name=model.name)


def leaves(model):
    for layer in model.layers:
        yield from leaves(layer) if isinstance(layer, keras.Model) else [layer]


def as_trained(model):
    """Statistics that fit the weights, as after training, many of the variances as small as MobileNets' (1e-4).

    Drawn at random, they would saturate the activations, or let the features grow by a factor a layer.
    """
    rng = np.random.default_rng(0)
    variances = []
    for layer in leaves(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
        elif isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
            layer.set_weights([w * 10 ** rng.uniform(-2, 0) for w in layer.get_weights()])
        elif type(layer).__name__ == "LayerScale":  # ConvNeXt's blocks begin at 1e-6, and would not be seen
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
        elif isinstance(layer, keras.layers.Normalization) and layer.weights:
            layer.set_weights([rng.uniform(0, 1, 3), rng.uniform(0.5, 1, 3), np.zeros(())])
            layer.finalize_state()
    model(pixels(64, 64, seed=2), training=True)
    for layer in leaves(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            *scale_and_shift, mean, variance = layer.get_weights()
            scale_and_shift = [w + rng.uniform(-0.5, 0.5, w.shape) for w in scale_and_shift]
            layer.set_weights([*scale_and_shift, mean * rng.uniform(0.5, 1.5, mean.shape), variance])
            variances.append(variance)
    assert not variances or np.mean(np.concatenate(variances) < 1e-3) > 0.05
    return model


def pixels(height, width, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (1, height, width, 3))


@pytest.fixture
def float64():
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy("float32")


def stacks(x, stack):
    for name, stride in (("conv2", 2), ("conv3", 2), ("conv4", 2), ("conv5", 1)):
        x = stack(x, 8, 2, stride1=stride, name=name)
    return x


def hub_resnet(stem_filters, stem_kernels, block):
    return keras_hub.models.ResNetBackbone(
        stem_filters, stem_kernels, [64, 8, 8, 8], [1, 2, 2, 2], [1, 2, 2, 2], block, name="hub"
    )


ANY = {"include_top": False, "weights": None, "input_shape": (None, None, 3)}
NARROW = {"width_coefficient": 0.25, "depth_coefficient": 0.5, "default_size": 224}
PUBLISHED = [
    # A narrow one of every kind, from the function that builds the published ones.
    pytest.param(lambda: applications.MobileNetV2(alpha=0.35, **ANY), id="MobileNetV2", marks=pytest.mark.slow),
    pytest.param(lambda: applications.MobileNetV3Small(alpha=0.25, **ANY), id="MobileNetV3Small"),
    pytest.param(lambda: efficientnet.EfficientNet(**NARROW, **ANY), id="EfficientNet", marks=pytest.mark.slow),
    pytest.param(
        lambda: efficientnet_v2.EfficientNetV2(**NARROW, name="efficientnetv2-b0", **ANY),
        id="EfficientNetV2",
        marks=pytest.mark.slow,
    ),
    pytest.param(
        lambda: convnext.ConvNeXt((1, 1, 2, 1), (8, 8, 16, 16), name="convnext", **ANY),
        id="ConvNeXt",
        marks=pytest.mark.slow,
    ),
    pytest.param(
        lambda: resnet.ResNet(lambda x: stacks(x, resnet.stack_residual_blocks_v2), True, True, **ANY),
        id="ResNetV2",
        marks=pytest.mark.slow,
    ),
    pytest.param(
        lambda: resnet.ResNet(lambda x: stacks(x, resnet.stack_residual_blocks_v1), False, True, **ANY),
        id="ResNet",
        marks=pytest.mark.slow,
    ),
    pytest.param(lambda: hub_resnet([64], [7], "bottleneck_block"), id="KerasHub-ResNet"),
    *(
        pytest.param(lambda name=name: getattr(applications, name)(**ANY), id=name, marks=pytest.mark.slow)
        for name in (
            *("MobileNet", "MobileNetV2", "MobileNetV3Small", "MobileNetV3Large", "EfficientNetB0"),
            *("EfficientNetV2B0", "ResNet50", "ResNet50V2"),
        )
    ),
]


@pytest.mark.parametrize("build", PUBLISHED)
@pytest.mark.usefixtures("float64")
def test_published_networks(build):
    model = as_trained(levels_of(build()))
    x = pixels(64, 96)
    want = {level: np.asarray(features) for level, features in model(x).items()}
    for output_stride in (32, 16, 8):
        have = dilate(model, output_stride)(x)
        for level, stride in {"P4": 16, "P5": 32}.items():
            step = max(1, stride // output_stride)
            assert have[level].shape[1:3] == (64 * step // stride, 96 * step // stride)
            difference = np.abs(np.asarray(have[level])[:, ::step, ::step] - want[level]).max()
            # Float64 keeps 1e-16 of a value; in some hundred layers a few digits of that are lost.
            assert difference <= 1e-12 * np.abs(want[level]).max(), (output_stride, level)
            assert want[level].std() > 1e-3 * np.abs(want[level]).max()  # else equality would prove nothing


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(lambda: densenet.DenseNet([2, 2, 2, 2], name="densenet", **ANY), id="DenseNet"),
        pytest.param(lambda: applications.DenseNet121(**ANY), id="DenseNet121", marks=pytest.mark.slow),
        pytest.param(lambda: applications.Xception(**ANY), id="Xception", marks=pytest.mark.slow),
        pytest.param(lambda: hub_resnet([32, 32, 64], [3, 3, 3], "bottleneck_block_vd"), id="KerasHub-ResNet-vd"),
    ],
)
def test_published_networks_that_pool_windows_are_taken_at_their_own_stride_alone(build):
    model = levels_of(build())
    x = pixels(64, 64).astype("float32") / 255
    for level, features in dilate(model, 32)(x).items():
        np.testing.assert_array_equal(features, model(x)[level])
    with pytest.raises(ValueError, match="Pooling2D. has no exact counterpart"):
        dilate(model, 16)


def test_published_networks_without_padding_are_refused():
    inception = applications.InceptionV3(**ANY)
    levels = {"P4": inception.get_layer("mixed7").output, "P5": inception.output}
    with pytest.raises(ValueError, match=r"Level P4 of the backbone 'inception' .*lose rows"):
        dilate(keras.Model(inception.input, levels, name="inception"), 32)
