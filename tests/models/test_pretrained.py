"""Weights of both libraries, as Kaggle delivers them, and every kind of file that does not fit."""

import shutil
import sys

import h5py
import keras
import keras_hub
import numpy as np
import pytest
from keras_cv.src.utils.preset_utils import save_to_preset

from keras_cacnet.models import architectures
from keras_cacnet.models.architectures import KERAS_CV, KERAS_HUB, ResNet
from keras_cacnet.models.backbones import IMAGENET_MEAN, IMAGENET_STD, backbone
from keras_cacnet.models.cacnet import CaCNet

TINY = ResNet("block", (1, 1, 1, 1), (64, 8, 8, 8))
DEEPER = ResNet("block", (1, 2, 1, 1), (64, 8, 8, 8))
LIBRARIES = [KERAS_CV, KERAS_HUB]


@pytest.fixture(autouse=True)
def tiny_architectures(monkeypatch):
    monkeypatch.setitem(architectures.ARCHITECTURES, "tiny", TINY)
    monkeypatch.setitem(architectures.ARCHITECTURES, "deeper", DEEPER)


def random_network(library, architecture=TINY, seed=0):
    model = architectures.network(library, architecture)
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.weights])
        elif layer.weights:
            layer.set_weights([rng.normal(0, np.sqrt(2 / np.prod(w.shape[:-1])), w.shape) for w in layer.weights])
    return model


def save_preset(model, folder):
    """With each library's own means. keras-cv's presets contain the rescaling that their images need."""
    if model.__class__.__module__.startswith(KERAS_HUB):
        model.save_to_preset(str(folder))
        return folder
    rescaling = type(model).from_config({**model.get_config(), "include_rescaling": True})
    rescaling.set_weights(model.get_weights())
    save_to_preset(rescaling, str(folder))
    return folder


@pytest.fixture(scope="module", params=LIBRARIES)
def preset(request, tmp_path_factory):
    """(library, its network, its preset folder)"""
    model = random_network(request.param)
    return request.param, model, save_preset(model, tmp_path_factory.mktemp(request.param))


def strip_names(path):
    """What Keras wrote before it noted the layers' names: these, and nothing but "layers"."""
    with h5py.File(path, "r+") as file:
        for group in file["layers"].values():
            del group["vars"].attrs["name"]


def assert_same(model, original, library, size=(64, 96)):
    """`model` takes RGB 0..255; `original` is the library's own network, on the image that it expects."""
    x = np.random.default_rng(3).uniform(0, 255, (1, *size, 3))
    mean, std = {KERAS_CV: (0, 1), KERAS_HUB: (np.array(IMAGENET_MEAN), np.array(IMAGENET_STD))}[library]
    want = np.asarray(original(((x / 255 - mean) / std).astype("float32")))
    have = np.asarray(model(x.astype("float32"))["P5"])[:, ::4, ::4]
    # Float32 rounding of the normalised image, carried through fourteen layers; another normalisation or
    # graph is off by 1e-1.
    np.testing.assert_allclose(have, want, rtol=0, atol=5e-6 * np.abs(want).max())


def test_preset_folder(preset):
    library, original, folder = preset
    assert_same(backbone("tiny", folder), original, library)
    assert_same(backbone("tiny", str(folder / "model.weights.h5")), original, library)


def test_preset_of_an_older_keras(preset, tmp_path):
    library, original, folder = preset
    old = shutil.copytree(folder, tmp_path / "old")
    strip_names(old / "model.weights.h5")
    assert_same(backbone("tiny", old), original, library)


def test_own_files(preset, tmp_path):
    """A file of ours keeps graph and normalisation, whatever they were and whatever the output stride."""
    library, original, folder = preset
    model = backbone("tiny", folder, output_stride=16)
    model.save_weights(tmp_path / "own.weights.h5")
    model.save(tmp_path / "own.keras")
    assert_same(backbone("tiny", tmp_path / "own.weights.h5"), original, library)
    assert_same(backbone("tiny", tmp_path / "own.keras"), original, library)


def test_own_random_weights(tmp_path):
    model = backbone("tiny")
    model.save_weights(tmp_path / "own.weights.h5")
    again = backbone("tiny", tmp_path / "own.weights.h5")
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]
    for mine, theirs in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_librarys_whole_model(preset, tmp_path):
    library, original, _ = preset
    original.save(tmp_path / "model.keras")
    assert_same(backbone("tiny", tmp_path / "model.keras"), original, library)


def test_the_backbone_of_a_cacnet(preset, tmp_path):
    library, original, folder = preset
    CaCNet(5, backbone="tiny", weights=folder, head_channels=8).save(tmp_path / "cacnet.keras")
    assert_same(backbone("tiny", tmp_path / "cacnet.keras"), original, library)


def test_imagenet_follows_the_preset_table(monkeypatch):
    """ResNet-50 is keras-cv's, the other depths are KerasHub's; what would be downloaded comes from here."""
    asked = []

    def from_preset(library, preset):
        asked.append((library, preset))
        return random_network(library)

    monkeypatch.setattr("keras_cacnet.models.pretrained.from_preset", from_preset)
    for name in ("resnet18", "resnet50", "resnet101", "resnet152"):
        monkeypatch.setitem(architectures.ARCHITECTURES, name, TINY)
        library = KERAS_CV if name == "resnet50" else KERAS_HUB
        assert_same(backbone(name, "imagenet"), random_network(library), library)
    assert asked == [
        (KERAS_HUB, "resnet_18_imagenet"),
        (KERAS_CV, "resnet50_imagenet"),
        (KERAS_HUB, "resnet_101_imagenet"),
        (KERAS_HUB, "resnet_152_imagenet"),
    ]


@pytest.mark.parametrize(
    ("name", "handle"),
    [
        ("resnet50", "keras/resnetv1/keras/resnet50_imagenet/2"),
        ("resnet101", "keras/resnetv1/keras/resnet_101_imagenet/3"),
    ],
)
def test_without_a_network(name, handle, monkeypatch, tmp_path):
    """The libraries' real download code, with all ways out shut, whatever machine this runs on."""

    def no_route(*args, **kwargs):
        raise OSError("Network is unreachable")

    monkeypatch.setattr("socket.getaddrinfo", no_route)
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail(f"waits for {seconds} seconds before it says so"))
    with pytest.raises(FileNotFoundError) as error:
        backbone(name, "imagenet")
    for part in (
        handle,
        "config.json",
        "model.weights.h5",
        "kagglehub.model_download",
        'weights="path/to/folder"',
    ):
        assert part in str(error.value)
    assert error.value.__cause__ is not None


@pytest.mark.parametrize("name", ["resnet34", "resnet14_narrow"])
def test_no_imagenet_weights_anywhere(name):
    with pytest.raises(ValueError, match=rf"no ImageNet weights of {name}.*resnet18, resnet50"):
        backbone(name, "imagenet")


def test_wrong_depth_in_a_preset(preset):
    with pytest.raises(ValueError, match=r"config\.json does not describe deeper .*that is tiny"):
        backbone("deeper", preset[2])


def test_wrong_depth_in_a_file(tmp_path):
    path = tmp_path / "own.weights.h5"
    backbone("tiny").save_weights(path)
    missing = r"own\.weights\.h5 does not fit deeper: layer v2_stack_1_block2_1_conv: "
    with pytest.raises(ValueError, match=missing + r"the network has \(1, 1, 32, 8\), the file no such layer"):
        backbone("deeper", path)
    backbone("deeper").save_weights(path)
    surplus = r"does not fit tiny: layer v2_stack_1_block2_1_bn: the network has no such layer, the file \(8,\)"
    with pytest.raises(ValueError, match=surplus):
        backbone("tiny", path)


def test_wrong_width_names_both_shapes(tmp_path):
    path = tmp_path / "own.weights.h5"
    backbone("tiny").save_weights(path)
    expected = (
        r"own\.weights\.h5 does not fit resnet14_narrow: layer v2_stack_0_block1_1_conv: "
        r"the network has \(1, 1, 64, 32\), the file \(1, 1, 64, 64\); .*and \d+ more"
    )
    with pytest.raises(ValueError, match=expected):
        backbone("resnet14_narrow", path)


def test_a_shallower_file_is_recognised(tmp_path):
    path = tmp_path / "own.weights.h5"
    backbone("resnet18").save_weights(path)
    with pytest.raises(ValueError, match=r"does not fit resnet34: .* The file looks like resnet18\."):
        backbone("resnet34", path)


def test_weights_of_the_other_library(tmp_path):
    """Bare, it is refused: the shapes are the same, and loaded in order it would be silently wrong."""
    hub = save_preset(random_network(KERAS_HUB), tmp_path / "hub")
    cv = save_preset(random_network(KERAS_CV), tmp_path / "cv")
    for folder in (hub, cv):
        bare = shutil.copy(folder / "model.weights.h5", tmp_path / "bare.weights.h5")
        with pytest.raises(ValueError, match=r"does not say whose graph.*config\.json"):
            backbone("tiny", bare)
    shutil.copy(hub / "model.weights.h5", cv / "model.weights.h5")
    with pytest.raises(ValueError, match=r"layer v2_stack_0_block1_1_conv: .*the file no such layer"):
        backbone("tiny", cv)


def test_truncated_and_corrupted_files(preset, tmp_path):
    folder = shutil.copytree(preset[2], tmp_path / "preset")
    path = folder / "model.weights.h5"
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"not HDF5 at all" * 100, bytes(512) + whole[512:]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"model\.weights\.h5 is not a readable Keras weights file"):
            backbone("tiny", folder)
    path.write_bytes(whole)
    with h5py.File(path, "r+") as file:
        file["layers/conv2d/vars/0"][0, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="layer conv1_conv holds values that are not finite"):
        backbone("tiny", folder)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"has no model\.weights\.h5"):
        backbone("tiny", folder)


def test_older_file_that_does_not_fit(preset, tmp_path):
    folder = shutil.copytree(preset[2], tmp_path / "preset")
    path = folder / "model.weights.h5"
    random_network(preset[0], DEEPER).save_weights(path)
    strip_names(path)
    expected = r"h5 does not fit tiny: layer v?2?_?stack_?2_block\d_\d_\w+: the network has .*, the file .* more\."
    with pytest.raises(ValueError, match=expected):
        backbone("tiny", folder)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "not the configuration of a Keras preset"),
        ("[]", "not the configuration of a Keras preset"),
        ('{"classes": 11}', "no plain ResNet"),
        (
            '{"registered_name": "keras_cv>ResNetV2Backbone", "config": {}}',
            "keras_cv>ResNetV2Backbone.*no plain",
        ),
    ],
)
def test_config_of_something_else(config, message, tmp_path):
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(ValueError, match=rf"config\.json .*{message}"):
        backbone("tiny", tmp_path)


def test_pre_activation_is_another_network(tmp_path):
    model = keras_hub.models.ResNetBackbone(
        [64], [7], [64, 8, 8, 8], [1, 1, 1, 1], [1, 2, 2, 2], "bottleneck_block", use_pre_activation=True
    )
    with pytest.raises(ValueError, match="no plain ResNet"):
        backbone("tiny", save_preset(model, tmp_path / "v2"))


def test_paths_and_models_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"weights='imagenette'.*Pass None, 'imagenet', a preset folder"):
        backbone("tiny", "imagenette")
    with pytest.raises(FileNotFoundError, match=r"has no config\.json"):
        backbone("tiny", tmp_path)
    (tmp_path / "broken.keras").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"broken\.keras is not a Keras model that can be loaded"):
        backbone("tiny", tmp_path / "broken.keras")
    x = keras.Input((4,))
    keras.Model(x, keras.layers.Dense(2)(x), name="other").save(tmp_path / "other.keras")
    with pytest.raises(ValueError, match=r"other\.keras holds the model 'other', no backbone"):
        backbone("tiny", tmp_path / "other.keras")


def test_a_path_in_the_home_folder(preset, monkeypatch):
    library, original, folder = preset
    monkeypatch.setenv("HOME", str(folder.parent))
    assert_same(backbone("tiny", f"~/{folder.name}"), original, library)


def test_weights_of_another_kind_of_network(preset, tmp_path):
    with pytest.raises(ValueError, match=r"config\.json does not describe efficientnet_lite0 .*that is tiny"):
        backbone("efficientnet_lite0", preset[2])
    backbone("tiny").save_weights(tmp_path / "own.weights.h5")
    with pytest.raises(ValueError, match=r"own\.weights\.h5 does not fit efficientnet_lite0: layer stem_conv"):
        backbone("efficientnet_lite0", tmp_path / "own.weights.h5")


def test_keras_hub_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(ImportError, match=r"keras-cacnet\[hub\]"):
        backbone("resnet101", "imagenet")
