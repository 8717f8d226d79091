"""Fifty careless uses of Python and of the command line, each with the answer it gets, which names the mend."""

import re
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from PIL import Image

import keras_cacnet as kc
from keras_cacnet.cli import main

TWO = "0 sky 90 160 220\n1 sea 20 60 140\n"
MASKS = {
    "coast": (TWO, lambda mask: mask),
    "halves": (TWO, lambda mask: mask * 255),
    "divided": (f"{TWO}2 sand 230 210 150\n", lambda mask: mask),
    "renumbered": (TWO, lambda mask: mask + 5),
    "short": (TWO, lambda mask: mask[:20]),
}


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """What the uses are careless with: data sets, a network, images and masks."""
    root = tmp_path_factory.mktemp("careless")
    rng = np.random.default_rng(0)
    mask = np.repeat(np.array([0, 1], "uint8"), 20)[:, None].repeat(44, axis=1)
    for name, (classes, change) in MASKS.items():
        for split in ("train", "val"):
            for kind in ("images", "labels"):
                (root / name / kind / split).mkdir(parents=True)
            Image.fromarray(rng.integers(0, 256, (40, 44, 3)).astype("uint8")).save(
                root / name / "images" / split / "a.png"
            )
            Image.fromarray(change(mask)).save(root / name / "labels" / split / "a.png")
        (root / name / "classes.txt").write_text(classes)
    (root / "full").mkdir()
    (root / "full" / "x").touch()
    return SimpleNamespace(
        root=root,
        net=kc.CaCNet(2, backbone="resnet14_narrow", head_channels=8),
        masks=np.zeros((2, 32, 32), "int32"),
        logits=np.zeros((2, 32, 32, 2), "float32"),
        image=np.zeros((32, 32, 3), "uint8"),
        data=lambda name: kc.datasets.open_dataset(root / name),
        classes=kc.datasets.open_dataset(root / "coast").classes,
        loss=kc.losses.SegmentationCrossentropy(),
        recipe=lambda **settings: kc.training.Recipe(**settings),
    )


def network(**settings):
    return kc.CaCNet(2, **({"backbone": "resnet14_narrow"} | settings))


def ids(given, image):
    return kc.evaluation.ids(given.net, image)


USES = {
    # The network
    "one class": (lambda g: kc.CaCNet(1), "a binary task has num_classes=2, background and object"),
    "a typo in the backbone": (lambda g: network(backbone="resnet5O"), "did you mean resnet50?"),
    "a backbone that is none of ours": (lambda g: network(backbone="vgg16"), "The names are resnet18, "),
    "an output stride": (lambda g: network(output_stride=4), "one of 8, 16 and 32"),
    "a typo in the weights": (lambda g: network(weights="imagnet"), "Pass None, 'imagenet', a preset folder"),
    "weights that there are not": (lambda g: network(weights="imagenet"), "start from weights=None, or pass a path"),
    "an even kernel": (lambda g: network(kernel_sizes=4), r"one of \(1, 3, 5, 7\), got 4"),
    "a typo in the re-weighting": (lambda g: network(reweighting="sel"), "did you mean se?"),
    "fc of any size": (lambda g: network(reweighting="fc"), "needs input_size, the size of all images"),
    "everything dropped": (lambda g: network(dropout=1.0), r"dropout must be in \[0, 1\)"),
    "a backbone without levels": (
        lambda g: network(backbone=keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(3, 3)])),
        "Give it a dict of outputs: keras.Model",
    ),
    "parts to freeze": (
        lambda g: kc.models.freeze(g.net, "heads"),
        "one of none, backbone_norms, backbone, all_but",
    ),
    "HDF5": (lambda g: g.net.save("x.h5"), "save it as NAME.keras"),
    "cloning": (lambda g: keras.models.clone_model(g.net), r"take copy.deepcopy\(model\)"),
    # Loss, metrics, rates
    "one-hot masks": (lambda g: g.loss(np.stack([g.masks] * 2, -1), g.logits), r"np.argmax\(masks, axis=-1\)"),
    "ids that are no class": (lambda g: g.loss(g.masks + 7, g.logits), "label 7 is no class .* map ids to 0, 1, ..."),
    "interpolated masks": (lambda g: g.loss(g.masks + 0.5, g.logits), "resize them with nearest neighbour"),
    "masks of another size": (lambda g: g.loss(g.masks[:, :16], g.logits), "resize the masks with nearest neighbour"),
    "a mask without a batch": (lambda g: g.loss(g.masks[0], g.logits), r"give mask\[None\], or batch the data set"),
    "weights of another form": (
        lambda g: g.loss(g.masks, g.logits, sample_weight=np.ones((2, 2))),
        r"give np.array\(weights\)\[masks\] as sample_weight",
    ),
    "a metric of one class": (lambda g: kc.metrics.MeanIoU(1), "background .* and the object .*, so num_classes=2"),
    "a rate for no steps": (lambda g: kc.optimizers.poly(0.02, total_steps=0), "needs .* total_steps >= 1"),
    # Data
    "a folder that is not there": (lambda g: kc.datasets.open_dataset("nowhere"), "expected images/train/NAME.jpg"),
    "a typo in the data set": (lambda g: kc.datasets.open_dataset("voc2021"), "did you mean voc2012?"),
    "half a name": (lambda g: kc.datasets.open_dataset("pascal_context"), "pascal_context/59 has it void: choose one"),
    "a typo in the split": (lambda g: g.data("coast").source("vall"), "did you mean val?"),
    "masks of 0 and 255": (
        lambda g: kc.datasets.require_labels(g.data("halves"), "train"),
        "only 0 and 255, and 255 is void .* `keras-cacnet import ",
    ),
    "other ids": (
        lambda g: kc.datasets.require_labels(g.data("renumbered"), "train"),
        "ids 5 .* add the class to classes.txt, or write 255",
    ),
    "masks of another size on disk": (
        lambda g: kc.datasets.require_layout(g.data("short")),
        r"make them the same size \(resize masks with nearest neighbour\)",
    ),
    # Training
    "a typo in a setting": (lambda g: kc.training.with_settings(g.recipe(), ["epoch=3"]), "did you mean epochs?"),
    "words for a number": (lambda g: kc.training.with_settings(g.recipe(), ["epochs=ten"]), "such as epochs=120"),
    "no crop": (lambda g: g.recipe(crop_size=0), "crop_size must be at least 1"),
    "batches of one": (lambda g: g.recipe(batch_size=1), "take a batch_size of at least 2"),
    "a path for a data set": (lambda g: kc.training.Job(g.recipe(), "coast", "r"), "what .*open_dataset gives"),
    "a recipe for a job": (lambda g: kc.training.train(g.recipe()), r"such as Job\(recipe, dataset, 'runs/mine'\)"),
    "a run that is not there": (lambda g: kc.training.Run("runs/none"), "give the --output folder of"),
    # Evaluation and pictures
    "a batch for an image": (lambda g: ids(g, g.image[None]), r"give one image of it, such as images\[0\]"),
    "channels first": (lambda g: ids(g, np.moveaxis(g.image, -1, 0)), r"np.moveaxis\(image, 0, -1\)"),
    "a grey image": (lambda g: ids(g, g.image[..., 0]), r"np.repeat\(image\[..., None\], 3, axis=-1\)"),
    "a scale of 0": (lambda g: kc.evaluation.Protocol(scales=(0, 1)), "must be positive numbers"),
    "a fusion": (lambda g: kc.evaluation.Protocol(fusion="mean"), "'softmax_mean' or 'exp_sum'"),
    "classes of another network": (
        lambda g: kc.evaluation.evaluate(g.net, [], g.data("divided").classes, progress=False),
        "take the table the model was trained with",
    ),
    "an address": (lambda g: kc.Segmenter(g.net)("https://example.org/a.jpg"), "is an address, .* download it"),
    "percents of opacity": (
        lambda g: kc.visualization.overlay(g.image, g.masks[0], g.classes, alpha=50),
        r"0 \(photograph only\) to 1",
    ),
    "a curve of nothing": (lambda g: kc.visualization.curve("log.csv"), "give log.csv of a run's folder, or what fit"),
    # Exports
    "a folder that holds something": (lambda g: kc.export.saved_model(g.net, g.root / "full"), "overwrite=True"),
    "a name for a file": (lambda g: kc.export.tflite(g.net, "cacnet"), "name it cacnet.tflite"),
    "int8 without images": (lambda g: kc.export.tflite(g.net, "c.tflite", precision="int8"), "'dynamic' needs none"),
}

COMMANDS = {
    "train": "--output is missing: the folder of the run, such as --output runs/mine",
    "train --output r": "--data is missing: a folder, or the name of a data set",
    "train --data coast --output r --recipe labtop": "did you mean laptop?",
    "train --data coast --output r --recipe scratch --set lr=0.1": "The settings are .*learning_rate",
    "train --data coast --output r --recipe scratch --set epochs": "write KEY=VALUE, such as epochs=30",
    "train --data coast --output r --recipe scratch --devices 4": "--devices cpu:4.* tries it out on the CPU",
    "trian": "choose from .*train",
    "evaluate nowhere --data coast": "give the --output folder of `keras-cacnet train`",
    "evaluate nowhere --data coast --stride 1/2": "give their size as well, such as --crop-size=512",
    "predict nowhere a.jpg --output o --alpha 50": "give a number from 0 .* to 1",
    "import nowhere --output new": "name the folder that has the images and their masks",
    "recipes paskal": "There are laptop, finetune, scratch, pascal_context",
}


def test_there_are_fifty():
    assert len(USES) + len(COMMANDS) >= 50


@pytest.mark.parametrize("use", USES)
def test_python_answers_with_the_mend(use, given, monkeypatch):
    monkeypatch.chdir(given.root)
    call, mend = USES[use]
    with pytest.raises((ValueError, FileNotFoundError), match=re.compile(mend, re.DOTALL)):
        call(given)


@pytest.mark.parametrize("words", COMMANDS)
def test_the_command_answers_with_the_mend(words, given, monkeypatch, capsys):
    monkeypatch.chdir(given.root)
    try:
        status = main(words.split())
    except SystemExit as ended:  # argparse's own
        status = ended.code
    assert status == 2
    assert re.search(COMMANDS[words], capsys.readouterr().err, re.DOTALL)
