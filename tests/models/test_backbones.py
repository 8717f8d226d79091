"""Backbones by name: their sizes and strides, what is normalised inside, and files that need neither library."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_cacnet.models.architectures import ARCHITECTURES, KERAS_CV, network
from keras_cacnet.models.backbones import IMAGENET_MEAN, IMAGENET_STD, backbone
from keras_cacnet.models.dilation import dilate

built = cache(backbone)


def image(height=64, width=96, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (1, height, width, 3)).astype("float32")


@pytest.mark.parametrize(
    ("name", "parameters", "channels"),
    [
        # keras-cv's and KerasHub's own tables of presets have these counts.
        ("resnet18", 11_186_112, 512),
        pytest.param("resnet34", 21_301_696, 512, marks=pytest.mark.slow),
        ("resnet50", 23_561_152, 2048),
        pytest.param("resnet101", 42_605_504, 2048, marks=pytest.mark.slow),
        pytest.param("resnet152", 58_295_232, 2048, marks=pytest.mark.slow),
        ("resnet14_narrow", 2_030_784, 1024),
        # What Google's file holds, without the classifier and the 1x1 convolution before it.
        ("efficientnet_lite0", 2_998_304, 320),
    ],
)
def test_names(name, parameters, channels):
    model = built(name)
    assert model.name == "backbone"
    assert model.count_params() == parameters
    assert model.input.shape == (None, None, None, 3)
    assert model.input.dtype == "float32"
    assert model.output["P5"].shape[-1] == channels
    assert list(model.output) == ["P2", "P3", "P4", "P5"]


@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_any_size_and_stride(output_stride):
    model = backbone("resnet14_narrow", output_stride=output_stride)
    for height, width in [(64, 96), (33, 47), (1, 1)]:
        for level, x in model(image(height, width)).items():
            stride = min(output_stride, 2 ** int(level[1]))
            assert tuple(x.shape[1:3]) == (-(-height // stride), -(-width // stride))


def test_dilation_of_the_last_two_stages():
    """The paper's: dilation 2 and 4; the first block of a stage keeps the one before."""
    model = built("resnet50")
    rates = {
        (stack, block): model.get_layer(f"v2_stack_{stack}_block{block}_2_conv").dilation_rate[0]
        for stack in (1, 2, 3)
        for block in (1, 2, 3)
    }
    # keras-cv strides on the 1x1 convolution before, so that its 3x3 already works on the finer grid.
    assert rates == {(s, b): {1: 1, 2: 2, 3: 4}[s] for s in (1, 2, 3) for b in (1, 2, 3)}


def test_the_image_is_normalised_inside():
    x = image()
    model = backbone("resnet14_narrow", output_stride=32)
    bare = dilate(network(KERAS_CV, ARCHITECTURES["resnet14_narrow"]), 32)
    bare.set_weights(model.get_weights())
    normalized = (x.astype("float64") / 255 - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD)
    want, have = np.asarray(bare(normalized.astype("float32"))["P5"]), np.asarray(model(x)["P5"])
    # The two inputs differ by float32 rounding, which sixteen convolutions carry on.
    np.testing.assert_allclose(have, want, rtol=0, atol=5e-6 * np.abs(want).max())


def test_half_precision_normalises_in_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = backbone("resnet14_narrow")
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.get_layer("imagenet_normalization").compute_dtype == "float32"
    assert model(image())["P5"].dtype == "bfloat16"


def test_float64_stays_float64():
    keras.config.set_dtype_policy("float64")
    try:
        model = backbone("resnet14_narrow")
    finally:
        keras.config.set_dtype_policy("float32")
    assert {model.input.dtype, *(str(variable.dtype) for variable in model.variables)} == {"float64"}


def test_a_saved_backbone_loads_without_either_library(tmp_path):
    """Importing the models loads neither keras-cv nor KerasHub; a saved backbone does not need them."""
    model = backbone("resnet14_narrow")
    model.save(tmp_path / "backbone.keras")
    np.save(tmp_path / "image.npy", image())
    np.save(tmp_path / "expected.npy", model(image())["P5"])
    program = """
import sys
sys.modules["keras_cv"] = sys.modules["keras_hub"] = sys.modules["tensorflow_datasets"] = None
import keras, numpy as np
import keras_cacnet.models.backbones
got = np.asarray(keras.models.load_model("backbone.keras")(np.load("image.npy"))["P5"])
# The same kernels on the same numbers, in another process: rounding at most.
np.testing.assert_allclose(got, np.load("expected.npy"), rtol=1e-5, atol=1e-6)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path, env=environment)


def test_channels_last_whatever_the_image_data_format():
    """Keras' setting reaches every layer of the libraries' networks, which are built for channels last here."""
    last = backbone("resnet14_narrow")
    keras.config.set_image_data_format("channels_first")
    try:
        first = backbone("resnet14_narrow")
        assert keras.config.image_data_format() == "channels_first"
        dilated = dilate(last, 8)
    finally:
        keras.config.set_image_data_format("channels_last")
    configs = [[layer.get_config() for layer in model.layers] for model in (last, first, dilated)]
    assert configs[0] == configs[1] == configs[2]
    first.set_weights(last.get_weights())
    np.testing.assert_array_equal(first(image())["P5"], last(image())["P5"])


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"no backbone 'ResNet-50'; did you mean resnet50\?.*resnet14_narrow"):
        backbone("ResNet-50")
    with pytest.raises(ValueError, match=r"no backbone 'vit'\. The names are"):
        backbone("vit")
    with pytest.raises(ValueError, match="is 12"):
        backbone("resnet50", output_stride=12)
