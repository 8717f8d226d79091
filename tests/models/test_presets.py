"""A network taken along as a preset comes back as it was, by every way; what is missing or does not fit is named."""

import json

import keras
import numpy as np
import pytest

import keras_cacnet as kc
import small_networks
from keras_cacnet.models import SegmentationNetwork
from keras_cacnet.models.adapting import weighted_layers


@pytest.fixture(scope="module")
def network(module_classes):
    network = small_networks.small_network(5, dropout=0.25)
    network.classes, network.image_size = module_classes, 480
    return network


@pytest.fixture(scope="module")
def module_classes():
    palette = ((90, 160, 220), (20, 60, 140), (230, 210, 150), (20, 140, 40), (200, 30, 30))
    names = ("sky", "sea", "sand", "palm tree", "boat")
    return kc.datasets.ClassTable(names, palette, ids=(1, 2, 4, 7, 9), void_ids=(0,))


@pytest.fixture(scope="module")
def preset(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("preset") / "made" / "here"
    network.save_to_preset(folder)
    return folder


@pytest.fixture(scope="module")
def run(network, module_classes, tmp_path_factory):
    """The folder of a training run of a time when networks did not know their classes."""
    folder = tmp_path_factory.mktemp("run")
    plain = type(network).from_config({**network.get_config(), "task": {}})
    plain.set_weights(network.get_weights())
    plain.save(folder / "best.keras")
    (folder / "config.json").write_text(json.dumps({"recipe": {"image_size": 480}}))
    (folder / "classes.json").write_text(json.dumps(module_classes.to_json()))
    return folder


def copy(preset, folder, **files):
    """The files of a preset with other contents; None leaves one out."""
    for path in preset.iterdir():
        content = files.get(path.name.partition(".")[0], path.read_bytes())
        if content is not None:
            (folder / path.name).write_bytes(content)
    return folder


IMAGES = np.random.default_rng(0).uniform(0, 255, (1, 40, 56, 3)).astype("float32")


@pytest.mark.parametrize("way", ["preset", "run", "file", "kaggle", "hf"])
def test_a_network_comes_back_as_it_was(network, preset, run, way, monkeypatch):
    class Client:
        """What hubs' clients offer of themselves: the folder of a handle."""

        @staticmethod
        def model_download(handle):
            assert handle == "someone/coast/keras/small"
            return str(preset)

        @staticmethod
        def snapshot_download(repo_id):
            assert repo_id == "someone/coast"
            return str(preset)

    for package in ("kagglehub", "huggingface_hub"):
        monkeypatch.setitem(__import__("sys").modules, package, Client)
    source = {
        "preset": preset,
        "run": str(run),
        "file": run / "best.keras",
        "kaggle": "kaggle://someone/coast/keras/small",
        "hf": "hf://someone/coast",
    }[way]
    found = kc.CaCNet.from_preset(source)
    assert type(found) is kc.CaCNet
    np.testing.assert_array_equal(found(IMAGES), network(IMAGES))
    if way != "file":
        assert found.get_config() == network.get_config()
        assert (found.classes, found.image_size) == (network.classes, 480)


def test_the_files_are_those_of_kerashub_and_say_what_the_network_takes(network, preset):
    metadata, task = (json.loads((preset / f"{name}.json").read_text()) for name in ("metadata", "task"))
    assert metadata["parameter_count"] == network.count_params()
    assert metadata["tasks"] == ["ImageSegmenter"]
    assert metadata["keras_version"] == keras.version()
    assert [row["name"] for row in task["classes"]["classes"]] == list(network.classes.names)
    assert task["image_size"] == 480
    assert "0..255" in task["input"]
    card = (preset / "README.md").read_text()
    assert "palm tree" in card
    assert "480 pixels" in card
    assert not list(preset.glob(".*"))


def test_a_preset_is_replaced_whole_and_holds_no_optimizer(network, preset, tmp_path):
    folder = copy(preset, tmp_path)
    other = small_networks.small_network(3)
    other.compile("sgd", kc.losses.SegmentationCrossentropy(), jit_compile=False)
    other.save_to_preset(folder, card="# Mine\n")
    assert "compile_config" not in json.loads((folder / "config.json").read_text())
    assert (folder / "README.md").read_text() == "# Mine\n"
    assert kc.CaCNet.from_preset(folder).num_classes == 3


@pytest.mark.parametrize("source", ["preset", "run"])
def test_other_classes_keep_everything_but_the_classifiers(network, preset, run, source, capsys):
    found = kc.CaCNet.from_preset({"preset": preset, "run": run}[source], num_classes=12, dropout=0.5)
    there, here = weighted_layers(network), weighted_layers(found)
    assert there.keys() == here.keys()
    changed = [name for name in there if not _equal(there[name], here[name])]
    assert changed == ["decoder/classifier", "auxiliary/auxiliary_classifier"]
    assert found(IMAGES).shape == (1, 40, 56, 12)
    # The names were those of five classes; the working size is that of the features.
    assert (found.classes, found.image_size, found.dropout) == (None, 480, 0.5)
    told = capsys.readouterr().out
    assert f"kept the weights of {len(there) - 2} of {len(there)} layers" in told
    assert "decoder/classifier (5 -> 12 classes)" in told


def _equal(one, other):
    pairs = zip(one.get_weights(), other.get_weights(), strict=True)
    return all(a.shape == b.shape and np.array_equal(a, b) for a, b in pairs)


def test_the_same_number_of_classes_keeps_all_and_says_nothing(network, preset, capsys):
    found = kc.CaCNet.from_preset(preset, num_classes=5, dropout=0.25)
    np.testing.assert_array_equal(found(IMAGES), network(IMAGES))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("source", ["preset", "run"])
def test_settings_come_without_weights(network, preset, run, source):
    found = kc.CaCNet.from_preset({"preset": preset, "run": run}[source], load_weights=False)
    assert found.get_config() == network.get_config()
    assert not _equal(found.decoder, network.decoder)


def test_what_was_frozen_stays_frozen(network, tmp_path):
    frozen = type(network).from_config(network.get_config())
    frozen.backbone.trainable = False
    frozen.save_to_preset(tmp_path)
    assert not kc.CaCNet.from_preset(tmp_path).backbone.trainable_variables
    assert not kc.CaCNet.from_preset(tmp_path, num_classes=7).backbone.trainable_variables


WRONG = {
    "weights missing": ({"model": None}, FileNotFoundError, r"has no model\.weights\.h5: a preset holds config\.json"),
    "config missing": ({"config": None}, FileNotFoundError, r"has no config\.json"),
    "no json": ({"config": b"{"}, ValueError, r"config\.json cannot be read"),
    "a list": ({"config": b"[]"}, ValueError, r"config\.json is not the description"),
    "a backbone": (
        {"config": b'{"registered_name": "keras_hub>ResNetBackbone"}'},
        ValueError,
        r"describes keras_hub>ResNetBackbone, no network of keras_cacnet; the weights of a backbone",
    ),
    "broken settings": (
        {"config": b'{"registered_name": "keras_cacnet>CaCNet", "class_name": "CaCNet", "config": {}}'},
        ValueError,
        r"config\.json cannot be built",
    ),
    "truncated weights": ({"model": b"\x89HDF"}, ValueError, r"model\.weights\.h5 does not fit config\.json"),
    "a run without an epoch": ({"config": b'{"recipe": {}}'}, FileNotFoundError, r"has no best\.keras: the run"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_missing_or_does_not_fit_is_named(preset, tmp_path, wrong):
    files, error, told = WRONG[wrong]
    with pytest.raises(error, match=told):
        kc.CaCNet.from_preset(copy(preset, tmp_path, **files))


def test_weights_of_another_network_are_refused(preset, tmp_path):
    small_networks.small_network(5, head_channels=4).save_to_preset(tmp_path)
    weights = (tmp_path / "model.weights.h5").read_bytes()
    (other := tmp_path / "other").mkdir()
    with pytest.raises(ValueError, match=r"model\.weights\.h5 does not fit config\.json beside it"):
        kc.CaCNet.from_preset(copy(preset, other, model=weights))


def test_other_sources_and_kinds_are_refused(preset, tmp_path, small_backbone):
    with pytest.raises(FileNotFoundError, match="nowhere: there is no such preset, run or file"):
        kc.CaCNet.from_preset("nowhere")
    with pytest.raises(ValueError, match="dtype cannot be changed with the weights kept; what can be is num_classes"):
        kc.CaCNet.from_preset(preset, dtype="float64")
    SegmentationNetwork(3, "fcn", backbone=small_backbone).save_to_preset(tmp_path)
    with pytest.raises(ValueError, match=r"holds a SegmentationNetwork with the head FCNHead\(.*no CaCNet"):
        kc.CaCNet.from_preset(tmp_path)
    assert SegmentationNetwork.from_preset(tmp_path).num_classes == 3
    (tmp_path / "broken.keras").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"broken\.keras cannot be loaded"):
        kc.CaCNet.from_preset(tmp_path / "broken.keras")


def test_a_class_table_of_another_length_is_refused(classes):
    network = small_networks.small_network(4)
    with pytest.raises(ValueError, match="predicts 4 classes, and the class table has 5"):
        network.classes = classes
    with pytest.raises(ValueError, match="image_size must be a whole number from 1 on, got 0"):
        network.image_size = 0
