"""The folder of a run: what is none, and what another run may start from."""

import numpy as np
import pytest

from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.models.adapting import weighted_layers
from keras_cacnet.training import Recipe, Run

RECIPE = Recipe(
    backbone="resnet14_narrow",
    head_channels=8,
    num_heads=1,
    crop_size=32,
    batch_size=2,
    epochs=1,
    learning_rate=0.02,
)
COAST = ClassTable(("sky", "sea"), ((90, 160, 220), (20, 60, 140)), ids=(0, 1))


@pytest.fixture(scope="module")
def former(tmp_path_factory, write_run):
    return write_run(tmp_path_factory.mktemp("former") / "run", RECIPE, COAST, "coast/train")


def test_what_is_no_run_is_named(tmp_path, former):
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
        Run(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"has no config\.json"):
        Run(tmp_path)
    with pytest.raises(ValueError, match="'best', 'last' or 'previous', got 'first'"):
        former.load_model("first")
    with pytest.raises(FileNotFoundError, match=r"last\.keras is not there: the run has not finished its first epoch"):
        former.load_model("last")
    # Presets of weights have such a file too.
    for content, told in (('{"module": "keras_hub"}', "is not the record of a run"), ("{", "cannot be read")):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(ValueError, match=rf"config\.json.*{told}"):
            _ = Run(tmp_path).recipe
    (tmp_path / "config.json").write_bytes((former.path / "config.json").read_bytes())
    (tmp_path / "best.keras").write_bytes((former.path / "best.keras").read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"best\.keras is damaged"):
        Run(tmp_path).load_model()


def test_the_home_folder(former, monkeypatch):
    monkeypatch.setenv("HOME", str(former.path.parent))
    assert Run("~/run").classes == COAST


def test_the_first_forward_pass_is_that_of_the_other_runs_best(former):
    images = np.random.default_rng(0).uniform(0, 255, (2, 40, 56, 3)).astype("float32")
    # Settings that are none of the network's are free.
    taken = former.network_for(Recipe.from_json({**RECIPE.to_json(), "epochs": 2, "seed": 9}), COAST).network
    logits = taken.predict(images, verbose=0)
    assert np.isfinite(logits).all()
    np.testing.assert_array_equal(logits, former.load_model().predict(images, verbose=0))
    assert not taken.compiled


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"head_channels": 16}, "its network is another: head_channels is 8 there and 16 here"),
        ({"precision": "bfloat16"}, "its network is another: precision is 'float32' there and 'bfloat16' here$"),
        ({"kernel_sizes": (5,)}, r"kernel_sizes is \(3,\) there and \(5,\) here"),
        (
            {"backbone": "resnet18", "dropout": 0.3},
            "backbone is 'resnet14_narrow' there .*dropout is 0.1 there and 0.3",
        ),
        ({"weights": "imagenet"}, "weights='imagenet' and the network of .* cannot both be the start"),
    ],
)
def test_another_network_is_named(former, changes, told):
    with pytest.raises(ValueError, match=told):
        former.network_for(Recipe(**{**vars(RECIPE), **changes}), COAST)


@pytest.mark.parametrize(
    ("names", "told"),
    [(("sky", "sea", "land"), "2 -> 3 classes"), (("sky", "lake"), "other classes"), (("sea", "sky"), "other classes")],
)
def test_of_other_classes_only_the_classifiers_are_new(former, names, told):
    classes = ClassTable(names, tuple((i, i, i) for i in range(len(names))), ids=tuple(range(len(names))))
    found = former.network_for(RECIPE, classes)
    assert found.new == {"decoder/classifier": told, "auxiliary/auxiliary_classifier": told}
    assert f"new: decoder/classifier ({told})" in found.to_text()
    before, after = weighted_layers(former.load_model()), weighted_layers(found.network)
    assert set(found.kept) == set(before) - set(found.new)
    for name in found.kept:
        for old, new in zip(before[name].get_weights(), after[name].get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)
    for name in found.new:
        kernel = after[name].get_weights()[0]
        assert kernel.shape[-1] == len(names)
        assert not np.array_equal(kernel[..., :2], before[name].get_weights()[0])
    assert not found.network.compiled
    with pytest.raises(ValueError, match=r"trained on the classes sky, sea; the data has .*"):
        former.require_classes(classes, "the data")
