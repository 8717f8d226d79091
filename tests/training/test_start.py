"""Fine-tuning: a run that starts from another's network, and validation images that were never trained on."""

import shutil

import numpy as np
import pytest
from PIL import Image

from keras_cacnet.cli import main
from keras_cacnet.datasets import open_dataset
from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.datasets.voc2012 import CLASSES
from keras_cacnet.files import write_json
from keras_cacnet.models import CaCNet
from keras_cacnet.training.recipes import Recipe
from keras_cacnet.training.run import Run
from keras_cacnet.training.start import network_of, trained_on
from keras_cacnet.training.trainer import train

TINY = "backbone=resnet14_narrow head_channels=8 crop_size=32 batch_size=2 epochs=1".split()
RECIPE = Recipe(backbone="resnet14_narrow", head_channels=8, crop_size=32, batch_size=2, epochs=1)
COAST = ClassTable(("sky", "sea"), ((90, 160, 220), (20, 60, 140)), ids=(0, 1))


def random_network(recipe, classes):
    network = CaCNet(len(classes), **recipe.network_arguments())
    rng = np.random.default_rng(1)
    # Batch-norm statistics too, so that a forward pass shows whether they came along.
    network.set_weights([weight + rng.uniform(0, 0.01, weight.shape) for weight in network.get_weights()])
    return network


def write_run(folder, classes, seen, experiment=None):
    """A run's folder as train leaves it, but for the training."""
    folder.mkdir(parents=True)
    write_json(folder / "classes.json", classes.to_json())
    config = {"experiment": experiment, "recipe": RECIPE.to_json(), "start_from": None, "trained_on": [seen]}
    write_json(folder / "config.json", config)
    random_network(RECIPE, classes).save(folder / "best.keras")
    return Run(folder)


@pytest.fixture(scope="module")
def former(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("former") / "run", COAST, "coast/train")


def test_the_first_forward_pass_is_that_of_the_other_runs_best(former):
    images = np.random.default_rng(0).uniform(0, 255, (2, 40, 56, 3)).astype("float32")
    # Settings that are none of the network's are free.
    taken = network_of(former, Recipe.from_json({**RECIPE.to_json(), "epochs": 2, "seed": 9}), COAST)
    logits = taken.predict(images, verbose=0)
    assert np.isfinite(logits).all()
    np.testing.assert_array_equal(logits, former.load_model().predict(images, verbose=0))
    assert not taken.compiled


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"head_channels": 16}, "its network is another: head_channels is 8 there and 16 here"),
        ({"precision": "bfloat16"}, "its network is another: precision is 'float32' there and 'bfloat16' here$"),
        ({"kernel_sizes": (3, 5)}, r"kernel_sizes is 3 there and \(3, 5\) here"),
        (
            {"backbone": "resnet18", "dropout": 0.3},
            "backbone is 'resnet14_narrow' there .*dropout is 0.1 there and 0.3",
        ),
        ({"weights": "imagenet"}, "weights='imagenet' and the network of .* cannot both be the start"),
    ],
)
def test_another_network_is_named(former, changes, told):
    with pytest.raises(ValueError, match=told):
        network_of(former, Recipe(**{**vars(RECIPE), **changes}), COAST)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("sky", "sea", "land"), "it has 2 classes, the data has 3"),
        (("sky", "lake"), "its class 1 is 'sea', the data's is 'lake'"),
        (("sea", "sky"), "its class 0 is 'sky', the data's is 'sea' .and 1 more differ"),
    ],
)
def test_other_classes_are_named(former, names, told):
    classes = ClassTable(names, tuple((i, i, i) for i in range(len(names))), ids=tuple(range(len(names))))
    with pytest.raises(ValueError, match=told):
        network_of(former, RECIPE, classes)


def test_what_a_network_has_seen_adds_up(former):
    assert trained_on(None, "voc2012", "train") == ["voc2012/train"]
    assert trained_on(former, "voc2012", "train") == ["coast/train", "voc2012/train"]
    assert trained_on(former, "coast", "train") == ["coast/train"]


@pytest.fixture(scope="module")
def voc(tmp_path_factory):
    """Two images of VOC's train, two of its val, one more of the augmented set."""
    root = tmp_path_factory.mktemp("voc") / "VOCdevkit" / "VOC2012"
    lists = {"train": ("a1", "a2"), "val": ("v1", "v2"), "trainaug": ("a1", "a2", "s1")}
    for folder in ("JPEGImages", "SegmentationClass", "SegmentationClassAug", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    for split, names in lists.items():
        (root / "ImageSets" / "Segmentation" / f"{split}.txt").write_text("\n".join(names))
    rng = np.random.default_rng(0)
    for name in ("a1", "a2", "v1", "v2", "s1"):
        Image.fromarray(rng.integers(0, 256, (40, 48, 3), "uint8")).save(root / "JPEGImages" / f"{name}.jpg")
        mask = Image.fromarray(rng.integers(0, 21, (40, 48), "uint8"))
        mask.save(root / ("SegmentationClassAug" if name == "s1" else "SegmentationClass") / f"{name}.png")
    return root.parents[1]


def test_voc_from_trainaug_to_trainval(voc, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("KERAS_CACNET_DATA", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    first, second = "voc2012_resnet101", "voc2012_resnet101_finetune"
    common = ["--data-dir", str(voc), "--verbose", "0", "--set", *TINY]
    assert main(["train", "--recipe", second, *common]) == 2
    assert f"starts from a run of {first}: give it, such as --start-from runs/{first}" in capsys.readouterr().err
    write_run(tmp_path / "runs" / first, CLASSES, "voc2012/trainaug", first)

    # A rate this small changes no float32 weight, so what is trained is still what it started from.
    tuned = ["train", "--recipe", second, "--start-from", f"runs/{first}", *common, "learning_rate=1e-30"]
    capsys.readouterr()
    assert main(tuned) == 0
    assert "random weights" not in capsys.readouterr().out
    run, best = Run(f"runs/{second}"), Run(f"runs/{first}").load_model()
    for ours, theirs in zip(run.load_model("last").trainable_weights, best.trainable_weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    config = run.config
    assert config["start_from"] == {"run": str(tmp_path / "runs" / first), "checkpoint": "best", "experiment": first}
    assert config["trained_on"] == ["voc2012/trainaug", "voc2012/trainval"]
    assert config["steps_per_epoch"] == 2  # 4 images of train and val
    assert int(run.load_model("last", compile=True).optimizer.iterations) == 2  # a new optimizer counts from 0

    # Going on needs the other run no more, and another cannot be slipped in.
    assert main([*tuned, "--resume"]) == 0
    other = tuned.copy()
    other[4] = f"runs/{second}"
    assert main([*other, "--resume"]) == 2
    assert f"started from {tmp_path / 'runs' / first}, not from runs/{second}" in capsys.readouterr().err
    shutil.move(f"runs/{first}", "elsewhere")
    # The folder of the data set comes from config.json.
    assert main(["train", "--output", f"runs/{second}", "--resume"]) == 0

    # Scores on what it was trained on are refused in training, directly or by way of the former run, ...
    for words in (
        [*tuned, "validation_split=val"],
        ["train", "--data", "voc2012", "--start-from", f"runs/{second}", *common, "split=train"],
    ):
        words[words.index("--start-from") + 1] = f"runs/{second}"
        assert main([*words, "--output", "leak"]) == 2
        error = capsys.readouterr().err
        assert "validation_split='val' has images of voc2012/trainval, which the network is trained on" in error
    assert not (tmp_path / "leak").exists()
    # ... and told of in evaluation.
    assert main(["evaluate", f"runs/{second}", "--data", "voc2012", "--data-dir", str(voc), "--split", "val"]) == 0
    assert "was trained on voc2012/trainval, which has images of val: no score to report" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("split", "scored"), [("trainval", "val"), ("trainaug", "train"), ("train", "trainval"), ("val", "val")]
)
def test_scores_on_training_images_are_refused(voc, tmp_path, monkeypatch, split, scored):
    monkeypatch.setenv("KERAS_CACNET_DATA", str(voc / "cache"))
    dataset = open_dataset("voc2012", voc)
    recipe = Recipe(**{**vars(RECIPE), "split": split, "validation_split": scored})
    with pytest.raises(ValueError, match=f"validation_split='{scored}' has images of voc2012/{split}, .*=none"):
        train(recipe, dataset, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_batch_larger_than_the_split_is_refused(voc, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_CACNET_DATA", str(voc / "cache"))
    recipe = Recipe(**{**vars(RECIPE), "batch_size": 4})
    with pytest.raises(ValueError, match="batch_size=4 is more than voc2012 has images in train, 2: set a smaller"):
        train(recipe, open_dataset("voc2012", voc), tmp_path / "run")
