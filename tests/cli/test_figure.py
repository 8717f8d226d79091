"""`keras-cacnet figure` with runs that were not trained."""

import json
import unicodedata
from functools import cache
from shutil import copyfile

import keras
import numpy as np
import pytest
from PIL import Image

import keras_cacnet as kc
from keras_cacnet.cli import main
from keras_cacnet.datasets import Example
from keras_cacnet.paper.figures import named_examples
from keras_cacnet.training.run import Run
from small_networks import small_backbone

NAMES = {"coast": ("sky", "sea"), "farm": ("barn", "field")}
NETWORKS = {"run": {}, "fcn": {"num_heads": 0, "global_pooling": False}, "se": {"reweighting": "se"}}


def network(**settings):
    """A CaCNet on three convolutions instead of a ResNet."""
    return kc.CaCNet(2, backbone=small_backbone(), head_channels=16, **settings)


@pytest.fixture(scope="module", autouse=True)
def loaded_once():
    """Loading and compiling a network takes longer than the rest of a command."""
    with pytest.MonkeyPatch.context() as patch:
        load = cache(lambda path, which: keras.models.load_model(path / f"{which}.keras", compile=False))
        patch.setattr(Run, "load_model", lambda run, which: load(run.path, which))
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder of images, and runs of three networks; that of farm has other classes."""
    root = tmp_path_factory.mktemp("figure")
    for split in ("val", "test"):
        for part in ("images", "labels"):
            (root / "coast" / part / split).mkdir(parents=True)
        for index, size in enumerate(((40, 44), (52, 33))):
            pixels = np.random.default_rng(index).integers(0, 256, (*size, 3)).astype("uint8")
            Image.fromarray(pixels).save(root / "coast" / "images" / split / f"{split}{index}.png")
            if split == "val":
                mask = np.random.default_rng(index).choice([0, 1, 255], size).astype("uint8")
                Image.fromarray(mask).save(root / "coast" / "labels" / split / f"{split}{index}.png")
    (root / "coast" / "classes.txt").write_text("0 sky 90 160 220\n1 sea 20 60 140\n")
    for name, settings in {**NETWORKS, "farm": NETWORKS["fcn"]}.items():
        run = root / name
        run.mkdir()
        (run / "config.json").write_text("{}")
        table = kc.datasets.ClassTable(NAMES.get(name, NAMES["coast"]), ((90, 160, 220), (20, 60, 140)), (0, 1))
        (run / "classes.json").write_text(json.dumps(table.to_json()))
        network(**settings).save(run / "best.keras")
    return root


def opened(path):
    with Image.open(path) as picture:
        return picture.size, picture.mode, picture.format


def test_figure_3_of_files_and_of_examples(place, capsys):
    images = [str(place / "coast" / "images" / "val" / f"val{index}.png") for index in (0, 1)]
    runs = ["--run", str(place / "run"), "--baseline", str(place / "fcn")]
    by_file, by_name = place / "new" / "3.png", place / "3_named.png"
    assert main(["figure", "3", *runs, "--output", str(by_file), *images]) == 0
    printed = capsys.readouterr().out
    assert f"written: {by_file}, " in printed
    assert "note" not in printed
    data = ["--data", str(place / "coast")]
    assert main(["figure", "3", *runs, *data, "--output", str(by_name), "val0", "val1"]) == 0
    # Four columns of 1.6 inches; and the same ground truth was found both ways.
    assert opened(by_file)[0][0] == 4 * 480
    assert opened(by_file)[2] == "PNG"
    assert by_file.read_bytes() == by_name.read_bytes()
    assert not [path for path in place.iterdir() if path.name.startswith(".")]


def test_figure_4_prints_the_channels(place, capsys):
    image = str(place / "coast" / "images" / "val" / "val0.png")
    words = ["figure", "4", "--run", str(place / "run"), "--output", str(place / "4.png")]
    printed = []
    for more in ("", "--seed 0", "--seed 5", "--channels 3,11", "--channels largest-change --head 2 --count 3"):
        assert main([*words, *more.split(), image]) == 0
        printed.append(capsys.readouterr().out.splitlines()[0])
    assert printed[0].startswith("val0: head_1 channels ")
    assert printed[0].endswith("(drawn with seed 0)")
    assert printed[0] == printed[1] != printed[2]
    assert printed[3] == "val0: head_1 channels 3, 11 (as listed)"
    assert printed[4].startswith("val0: head_2 channels ")
    assert printed[4].endswith("(largest-change)")
    assert printed[4].count(",") == 2
    assert opened(place / "4.png")[0][0] == 2007


def test_without_ground_truth_there_is_a_note(place, capsys):
    image = str(place / "coast" / "images" / "test" / "test0.png")
    assert main(["figure", "3", "--run", str(place / "run"), "--output", str(place / "bare.png"), image]) == 0
    assert "note: no ground truth was found, so its column is left out" in capsys.readouterr().out
    assert opened(place / "bare.png")[0][0] == 2 * 480


def test_a_network_with_one_weight_for_all_positions(place, capsys):
    image = str(place / "coast" / "images" / "val" / "val0.png")
    words = ["figure", "4", "--run", str(place / "se"), image, "--output", str(place / "se.png")]
    assert main(words) == 0
    capsys.readouterr()
    assert main([*words, "--channels", "largest-change"]) == 2
    assert "are the same at every position" in capsys.readouterr().err


def test_names_that_look_the_same_are_the_same(place, tmp_path, capsys):
    """Images and masks whose names one program has written with composed characters, and another without."""
    composed, decomposed = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))
    for part, name in (("images", composed), ("labels", decomposed)):
        (tmp_path / part / "val").mkdir(parents=True)
        copyfile(place / "coast" / part / "val" / "val0.png", tmp_path / part / "val" / f"{name}.png")
    words = ["figure", "3", "--run", str(place / "run"), "--output", str(tmp_path / "3.png")]
    image = str(tmp_path / "images" / "val" / f"{composed}.png")
    for more in ([], ["--labels", str(tmp_path / "labels" / "val")]):
        assert main([*words, *more, image]) == 0
        assert "note" not in capsys.readouterr().out
    split = [Example(decomposed, tmp_path / "a.png", None)]
    assert named_examples(split, [composed], "here") == split


def test_a_tilde_is_the_home_folder(place, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(place))
    monkeypatch.chdir(tmp_path)
    words = "figure 3 --output ~/home/3.png --labels ~/coast/labels/val ~/coast/images/val/val0.png".split()
    assert main([*words, "--run", str(place / "run")]) == 0
    assert (place / "home" / "3.png").is_file()
    assert not list(tmp_path.iterdir())


def test_bad_input_gives_one_line_and_status_2(place, capsys):
    image = str(place / "coast" / "images" / "val" / "val0.png")
    ours, output = ["--run", str(place / "run")], ["--output", str(place / "bad.png")]
    data = ["--data", str(place / "coast")]
    for words, told in (
        (["3", *ours, "--baseline", str(place / "farm"), *output, image], "run was trained on the classes sky, sea; "),
        (["3", "--run", str(place / "farm"), *data, *output, "val0"], "trained on the classes barn, field"),
        (["3", *ours, *data, *output, "val7"], "val has no example 'val7'; did you mean val"),
        (["3", *ours, *data, "--split", "dev", *output, "val0"], "no split 'dev'"),
        (["3", *ours, *data, "--labels", image, *output, "val0"], "--labels goes with image files"),
        (["3", *ours, *output, image, str(place / "nowhere.png")], "nowhere.png: no such file"),
        (["3", *ours, "--channels", "3", *output, image], "--channels goes with Figure 4"),
        (["4", *ours, "--baseline", "x", *output, image], "--baseline goes with Figure 3"),
        (["4", "--run", str(place / "fcn"), *output, image], "num_heads=0"),
        (["4", *ours, "--channels", "3", "--seed", "1", *output, image], "--seed draws channels at random"),
        (["3", *ours, "--output", image + "/bad.png", image], "is no folder, and a folder is needed"),
        (["4", *ours, "--channels", "3,16", *output, image], "head_1 has the channels 0 to 15, not 16"),
        (["4", *ours, "--head", "0", *output, image], "no head 0; it has head_1, head_2"),
        (["4", *ours, "--count", "0", *output, image], "at least 1, got 0"),
        (["3", *ours, "--output", str(place / "bad.jpg"), image], "the figure is a PNG"),
        (["3", *ours, "--output", image, image], "would overwrite"),
        (["3", "--run", str(place / "nowhere"), *output, image], "nowhere"),
    ):
        assert main(["figure", *words]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert error.count("\n") == 1
        assert told in error
    assert not list(place.glob("*bad*"))
