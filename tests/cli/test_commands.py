"""The command line, from check to export, as a person types it."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_cacnet import evaluation, files
from keras_cacnet.cli import main, train
from keras_cacnet.datasets import read_image
from keras_cacnet.export import model_card
from keras_cacnet.training import Run
from small_networks import small_networks

TRAIN = (
    "--verbose 0 --set backbone=resnet14_narrow head_channels=8 num_heads=1 dilation_rates=1 crop_size=32 batch_size=2 "
    "epochs=1 learning_rate=0.01"
).split()


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, write_coast):
    root = tmp_path_factory.mktemp("cli")
    data = write_coast(root / "coast")
    with small_networks():
        assert main(["train", "--data", str(data), "--output", str(root / "run"), *TRAIN]) == 0
    return root


def test_train_leaves_a_page(workplace):
    page = (workplace / "run" / "report.html").read_text()
    assert "2 of val" in page or "all images of val" in page
    assert page.count("<img") == 3 * 2 + 2 * 6  # the better and the worse of two images, and six crops


@pytest.mark.parametrize("scored", [None, "val"])
def test_train_says_of_which_images_its_page_is(scored, monkeypatch, capsys):
    monkeypatch.setattr("keras_cacnet.report.write_report", lambda *_, **__: "run/report.html")
    train._report("run", None, scored)
    said = capsys.readouterr().out
    assert said.startswith("report: run/report.html, in 0 s")
    assert ("12 images of val at most; over all of them: keras-cacnet report run" in said) == (scored == "val")


def test_check_exits_by_what_it_finds(workplace, tmp_path, capsys):
    assert main(["check", "--data", str(workplace / "coast")]) == 0
    assert "sky" in capsys.readouterr().out
    bad = tmp_path / "bad"
    shutil.copytree(workplace / "coast", bad)
    Image.fromarray(np.full((40, 44), 77, "uint8")).save(bad / "labels" / "train" / "3.png")
    assert main(["check", "--data", str(bad)]) == 1
    out, told = capsys.readouterr()
    assert "3.png" in out
    assert "77" in out
    assert told == f"error: {bad}: 1 error, see the report\n"


def test_evaluate_writes_what_it_prints(workplace, capsys):
    words = ["evaluate", str(workplace / "run"), "--data", str(workplace / "coast"), "--split", "val"]
    assert main(words) == 0
    report = json.loads((workplace / "run" / "evaluation_val.json").read_text())
    assert report["split"] == "val"
    assert "sea" in capsys.readouterr().out
    assert main([*words, "--absent", "zero", "--json", str(workplace / "zero.json")]) == 0
    assert (workplace / "zero.json").exists()
    assert main([*words[:-1], "dev"]) == 2
    assert "dev" in capsys.readouterr().err


def test_evaluate_takes_the_data_of_the_run(workplace, tmp_path, capsys):
    words = ["evaluate", str(workplace / "run"), "--json", str(tmp_path / "scores.json")]
    assert main([*words, "--data", str(workplace / "coast")]) == 0
    named = json.loads((tmp_path / "scores.json").read_text())
    assert main(words) == 0
    assert json.loads((tmp_path / "scores.json").read_text()) == named
    moved = tmp_path / "moved"
    shutil.copytree(workplace / "run", moved)
    config = json.loads((moved / "config.json").read_text())
    (moved / "config.json").write_text(json.dumps(config | {"data": str(tmp_path / "gone")}))
    capsys.readouterr()
    assert main(["evaluate", str(moved)]) == 2
    error = capsys.readouterr().err
    assert f"{tmp_path / 'gone'}: does not exist" in error
    assert f"({moved} was trained on them; --data names others)" in error
    assert main(["evaluate", str(moved), "--data", str(workplace / "coast")]) == 0


def test_scores_of_other_data_or_protocols_replace_none(workplace, tmp_path):
    shutil.copytree(workplace / "run", run := tmp_path / "run")
    shutil.copytree(workplace / "coast", other := tmp_path / "other")
    (run / "evaluation_val.json").unlink(missing_ok=True)
    own = ["evaluate", str(run)]
    kinds = [own, [*own, "--data", str(other)], [*own, "--scales", "0.5"], [*own, "--checkpoint", "last"]]
    for words in (*kinds, *kinds):
        assert main(words) == 0
    files = [json.loads(path.read_text()) for path in run.glob("evaluation_*.json")]
    assert len(files) == len(kinds)
    assert json.loads((run / "evaluation_val.json").read_text())["data"] == str(workplace / "coast")
    scores = model_card(Run(run))["scores"]
    assert sorted((score["data"], score["protocol"]["scales"]) for score in scores) == [
        ("coast", [0.5]),
        ("coast", [1.0]),
        ("other", [1.0]),
    ]


def test_predictions_have_the_ids_of_the_data_that_is_scored(workplace, tmp_path):
    shutil.copytree(workplace / "coast", other := tmp_path / "other")
    ids = np.array([5, 7, 9], "uint8")
    for path in (other / "labels").glob("*/*.png"):
        with Image.open(path) as mask:
            renumbered = Image.fromarray(ids[np.asarray(mask)])
        renumbered.save(path)
    names = [line.split() for line in (other / "classes.txt").read_text().splitlines()]
    (other / "classes.txt").write_text("".join(f"{ids[int(i)]} {' '.join(rest)}\n" for i, *rest in names))
    found = []
    for number, data in enumerate((workplace / "coast", other)):
        words = ["evaluate", str(workplace / "run"), "--data", str(data), "--json", str(tmp_path / f"{number}.json")]
        assert main([*words, "--save-predictions", str(tmp_path / str(number))]) == 0
        with Image.open(tmp_path / str(number) / "0.png") as predicted:
            found.append((np.asarray(predicted), json.loads((tmp_path / f"{number}.json").read_text())["confusion"]))
    np.testing.assert_array_equal(ids[found[0][0]], found[1][0])
    assert found[0][1] == found[1][1]


def test_a_run_is_used_from_other_folders(workplace, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(workplace)
    with small_networks():
        assert main(["train", "--data", "coast", "--output", str(tmp_path / "run"), "--no-report", *TRAIN]) == 0
    monkeypatch.chdir(tmp_path)
    assert Run(tmp_path / "run").config["data"] == str(workplace / "coast")
    monkeypatch.chdir(workplace)
    assert main(["evaluate", str(tmp_path / "run"), "--data", "coast"]) == 0
    monkeypatch.chdir(tmp_path)
    assert [path.name for path in (tmp_path / "run").glob("evaluation_*")] == ["evaluation_val.json"]
    assert main(["train", "--output", "run", "--resume", "--verbose", "0", "--no-report"]) == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    (tmp_path / "run" / "config.json").write_text(json.dumps(config | {"data": str(tmp_path / "gone")}))
    assert main(["train", "--output", "run", "--resume", "--verbose", "0", "--no-report"]) == 2
    assert "does not exist" in (error := capsys.readouterr().err)
    assert "(run was trained on them; --data names others)" in error


def test_evaluate_by_scales_and_windows(workplace, capsys):
    output, table, pictures = (workplace / name for name in ("protocol.json", "protocol.md", "predicted"))
    words = ["evaluate", str(workplace / "run"), "--data", str(workplace / "coast"), "--json", str(output)]
    protocol = "--scales 0.5,1.0,1.25 --flip --crop-size 32 --stride 2/3 --fusion exp_sum".split()
    assert main([*words, *protocol, "--markdown", str(table), "--save-predictions", str(pictures)]) == 0
    printed = capsys.readouterr().out
    report = json.loads(output.read_text())
    assert report["checkpoint"] == "best"
    assert report["protocol"]["scales"] == [0.5, 1.0, 1.25]
    assert report["protocol"]["stride_pixels"] == 21
    for text in (printed, table.read_text()):
        assert "scales 0.5, 1.0, 1.25 of the image, mirrored as well, windows of 32 pixels every 21 (2/3), exp" in text
    assert "| sea |" in table.read_text()
    counted = np.zeros((2, 2), "int64")
    for name in ("0.png", "1.png"):
        with (
            Image.open(pictures / name) as ids,
            Image.open(workplace / "coast" / "labels" / "val" / name) as truth,
        ):
            np.add.at(counted, (np.asarray(truth), np.asarray(ids)), 1)
    assert counted.tolist() == report["confusion"]


def test_predictions_never_replace_the_masks(workplace, capsys):
    labels = workplace / "coast" / "labels" / "val"
    words = ["evaluate", str(workplace / "run"), "--data", str(workplace / "coast"), "--save-predictions", str(labels)]
    assert main(words) == 2
    assert "the prediction would overwrite" in capsys.readouterr().err


def test_predict_takes_a_network_without_its_run(workplace, tmp_path, capsys):
    photograph = str(workplace / "coast" / "images" / "val" / "0.png")
    network = Run(workplace / "run").load_model("best")
    network.image_size = 24
    network.save_to_preset(tmp_path / "preset")
    network.save(tmp_path / "alone.keras")
    for number, (name, *more) in enumerate([("preset",), ("alone.keras",), ("preset", "--image-size", "40")]):
        output = tmp_path / str(number)
        assert main(["predict", str(tmp_path / name), photograph, "--output", str(output), *more]) == 0
    expected = evaluation.ids(network, read_image(photograph), evaluation.Protocol(image_size=24))
    for number in (0, 1):
        with Image.open(tmp_path / str(number) / "0_ids.png") as found:
            np.testing.assert_array_equal(found, expected)
    at_its_size = ["predict", str(workplace / "run"), photograph, "--output", str(tmp_path / "run")]
    assert main([*at_its_size, "--image-size", "40"]) == 0
    with Image.open(tmp_path / "run" / "0_ids.png") as found, Image.open(tmp_path / "2" / "0_ids.png") as other:
        np.testing.assert_array_equal(found, other)
    words = ["predict", str(tmp_path / "preset"), photograph, "--output", str(tmp_path / "x"), "--checkpoint", "last"]
    assert main(words) == 2
    assert "--checkpoint last goes with the folder of a run" in capsys.readouterr().err


def test_predict_goes_on_past_what_is_no_image(workplace, capsys):
    broken = workplace / "broken.jpg"
    broken.write_text("no image")
    good = workplace / "coast" / "images" / "val" / "0.png"
    output = workplace / "pictures"
    words = ["predict", str(workplace / "run"), str(broken), str(good), "--output", str(output), "--weighting"]
    assert main(words) == 1
    printed = capsys.readouterr()
    assert "broken.jpg" in printed.err
    with Image.open(output / "0_ids.png") as ids:
        assert ids.mode == "P"
        assert ids.size == (44, 40)
    assert {path.name for path in output.iterdir()} == {"0_ids.png", "0_overlay.png", "0_weighting.png"}
    assert printed.out.endswith(f"written: {output}, 1 of 2 inputs\n")


def test_predict_says_nothing_of_files_where_none_was_written(workplace, capsys):
    broken = workplace / "broken.jpg"
    broken.write_text("no image")
    for image in (broken, workplace / "nowhere.jpg"):
        assert main(["predict", str(workplace / "run"), str(image), "--output", str(workplace / "none")]) == 1
        printed = capsys.readouterr()
        assert "written" not in printed.out
        assert printed.err.count("\n") == 1
        assert printed.err.startswith(f"error: {image}: ")


def test_predict_shows_images_by_the_flags_of_evaluate(workplace):
    image = workplace / "coast" / "images" / "val" / "0.png"
    flags = "--scales 0.5,1.0 --flip --crop-size 24 --stride 1/2 --base-size 60".split()
    output = workplace / "shown"
    assert main(["predict", str(workplace / "run"), str(image), "--output", str(output), *flags]) == 0
    protocol = evaluation.Protocol((0.5, 1.0), flip=True, crop_size=24, stride=0.5, base_size=60)
    expected = evaluation.ids(Run(workplace / "run").load_model(), np.asarray(Image.open(image)), protocol)
    np.testing.assert_array_equal(np.asarray(Image.open(output / "0_ids.png")), expected)


def test_a_run_that_cannot_be_written_is_scored_all_the_same(workplace, capsys, monkeypatch):
    def read_only(path, value):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(files, "write_json", read_only)
    words = ["evaluate", str(workplace / "run"), "--data", str(workplace / "coast")]
    assert main([*words, "--markdown", str(workplace / "made" / "scores.md")]) == 0
    printed = capsys.readouterr()
    assert "mean IoU" in printed.out
    assert f"note: {workplace / 'run' / 'evaluation_val.json'} could not be written (Read-only file sys" in printed.out
    assert "--json FILE names another place" in printed.out
    assert (workplace / "made" / "scores.md").is_file()


@pytest.mark.parametrize("flag", ["--json", "--markdown", "--save-predictions"])
def test_evaluate_refuses_places_that_cannot_be_written_before_it_scores(workplace, flag, capsys, monkeypatch):
    monkeypatch.setattr(evaluation, "evaluate", lambda *_, **__: pytest.fail("scored"))
    in_the_way = workplace / "coast" / "classes.txt"
    words = ["evaluate", str(workplace / "run"), "--data", str(workplace / "coast")]
    assert main([*words, flag, str(in_the_way / "place")]) == 2
    assert capsys.readouterr().err == f"error: {in_the_way} is no folder, and a folder is needed: name another one\n"


def test_a_tilde_is_the_home_folder(workplace, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    places = "--json ~/a/scores.json --markdown ~/b/scores.md --save-predictions ~/c".split()
    assert main(["evaluate", str(workplace / "run"), "--data", str(workplace / "coast"), *places]) == 0
    image = str(workplace / "coast" / "images" / "val" / "0.png")
    assert main(["predict", str(workplace / "run"), image, "--output", "~/d"]) == 0
    assert sorted(path.name for path in (tmp_path / "home").iterdir()) == ["a", "b", "c", "d"]
    assert not list((tmp_path / "here").iterdir())


def test_export_serves(workplace):
    import tensorflow as tf

    output = workplace / "cacnet" / "1"
    assert main(["export", str(workplace / "run"), "--output", str(output)]) == 0
    loaded = tf.saved_model.load(output)
    result = loaded.signatures["serving_default"](images=tf.zeros((2, 17, 23, 3), tf.uint8))
    assert result["class_ids"].shape == (2, 17, 23)
    assert main(["export", str(workplace / "run"), "--output", str(output)]) == 2
    assert main(["export", str(workplace / "run"), "--output", str(output), "--overwrite", "--max-pixels", "390"]) == 0
    limited = tf.saved_model.load(output).signatures["serve_encoded"]
    assert limited(image_bytes=tf.io.encode_png(tf.zeros((17, 22, 3), tf.uint8))[None])["sizes"].numpy().tolist() == [
        [17, 22]
    ]
    with pytest.raises(tf.errors.InvalidArgumentError, match="17x23 pixels are more than 390"):
        limited(image_bytes=tf.io.encode_png(tf.zeros((17, 23, 3), tf.uint8))[None])


def test_resume_takes_data_and_recipe_from_the_run(workplace, capsys):
    assert main(["train", "--output", str(workplace / "run"), "--resume", "--verbose", "0", "--no-report"]) == 0
    assert main(["train", "--output", str(workplace / "run"), "--resume", "--set", "seed=5", "--verbose", "0"]) == 2
    assert "seed 0 -> 5" in capsys.readouterr().err


def test_evaluate_refuses_other_classes(workplace, tmp_path, capsys):
    other = tmp_path / "other"
    shutil.copytree(workplace / "coast", other)
    (other / "classes.txt").write_text("0 hill 90 160 220\n1 lake 20 60 140\n2 Void 0 0 0\n")
    assert main(["evaluate", str(workplace / "run"), "--data", str(other)]) == 2
    assert "trained on the classes sky, sea" in capsys.readouterr().err


def test_training_on_a_bad_mask_says_which(workplace, tmp_path, capsys):
    bad = tmp_path / "bad"
    shutil.copytree(workplace / "coast", bad)
    Image.fromarray(np.full((40, 44), 77, "uint8")).save(bad / "labels" / "train" / "3.png")
    assert main(["train", "--data", str(bad), "--output", str(tmp_path / "run"), *TRAIN]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {bad}: 1 problem:\n")
    assert "3.png" in error
    assert "77" in error


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["train", "--output", "x"], "--data is missing"),
        (["train", "--data", "scenes"], "--output is missing"),
        (["train", "--recipe", "pascal_context_resnet5O"], "did you mean pascal_context_resnet50?"),
        (["train", "--recipe", "ade20k_resnet101"], "ade20k: data_dir (--data-dir) is missing"),
        (["train", "--recipe", "voc2012_resnet101", "--data-dir", "/nowhere"], "/nowhere: does not exist"),
        (["train", "--data", "scenes", "--output", "x", "--set", "epoch=1"], "did you mean epochs?"),
        (["train", "--data", "scenes", "--output", "x", "--set", "seed=1", "flip=1"], "such as flip=true; got '1'"),
        (["recipes", "ade20k"], "did you mean ade20k_resnet101?"),
        (["train", "--data", "/nowhere", "--output", "x"], "/nowhere"),
        (["evaluate", "/nowhere", "--data", "scenes"], "/nowhere"),
        (["evaluate", "x", "--data", "scenes", "--stride", "1/2"], "--crop-size"),
        (["evaluate", "x", "--data", "scenes", "--crop-size", "9", "--stride", "2"], "--stride must lie in (0, 1]"),
        (["predict", "x", "a.jpg", "--output", "y", "--crop-size", "0"], "--crop-size must be at least 1 pixel"),
        (["predict", "x", "a.jpg", "--output", "y", "--channels", "3"], "--channels goes with --weighting"),
        (
            ["predict", "x", "a.jpg", "--output", "y", "--stride", "1/2"],
            "their size as well, such as --crop-size=512",
        ),
        (["evaluate", "x", "--data", "scenes", "--scales", "0"], "scales must be positive"),
        (["evaluate", "x", "--data", "scenes", "--fusion", "max"], "fusion must be 'softmax_mean' or 'exp_sum'"),
        (["predict", "/nowhere", "a.jpg", "--output", "x"], "/nowhere"),
        (["export", "/nowhere", "--output", "x"], "/nowhere"),
        (["export", "x", "--output", "x", "--precision", "int8"], "--precision goes only with --format tflite"),
        (["export", "x", "--output", "x", "--size", "64"], "--size goes only with --format tflite or onnx"),
        (["export", "x", "--output", "x", "--calibration", "y"], "--calibration goes only with --format tflite"),
        (["summary", "--set", "backbone=resnet51"], "resnet51"),
        (["summary", "--set", "reweighting=senet"], "one of cac, fixed, fc, gap, se, enc, none, got 'senet'"),
        (["summary", "--heads", "fcn,pspent"], "no head 'pspent'; did you mean pspnet?"),
        (["summary", "--heads", ""], "name at least one head of cacnet"),
        (
            ["summary", "--set", "reweighting=enc", "se_loss_weight=-1"],
            "se_loss_weight must be 0 or more and finite, got -1.0",
        ),
        (
            "summary --set backbone=resnet14_narrow reweighting=fc crop_size=64 --size 64x80".split(),
            "64x64 pixels, for reweighting='fc' has a weight for every position; got 64x80",
        ),
        (["train", "--data", "scenes", "--output", "x", "--set", "epochs=0"], "epochs must be at least 1, got 0"),
    ],
)
def test_bad_words_give_one_line_and_status_2(words, told, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert told in error


def test_the_installed_command():
    command = Path(sys.executable).with_name("keras-cacnet")
    result = subprocess.run([command, "--help"], capture_output=True, text=True, check=True)
    for name in ("recipes", "check", "train", "evaluate", "predict", "export", "summary"):
        assert name in result.stdout


@pytest.mark.slow
def test_summary_prints_the_papers_costs(capsys):
    assert main(["summary", "--recipe", "pascal_context_resnet101"]) == 0
    out = capsys.readouterr().out
    baseline = next(line for line in out.splitlines() if line.startswith("FCN baseline"))
    own = next(line for line in out.splitlines() if line.startswith("CaC-Net's own"))
    # Table 7 as the design derives it: 56.4M / 225.4G and 5.58M / 21.92G.
    for line, parameters, multiply_adds in ((baseline, 56.4, 225.4), (own, 5.58, 21.92)):
        counted = [float(word[:-1]) for word in line.split() if word[-1] in "MG" and word[0].isdigit()]
        assert counted == [pytest.approx(parameters, rel=0.01), pytest.approx(multiply_adds, rel=0.01)]


def test_recipes_lists_and_shows(capsys):
    assert main(["recipes"]) == 0
    listed = capsys.readouterr().out
    assert "voc2012_resnet101_finetune" in listed
    assert main(["recipes", "ade20k_resnet101"]) == 0
    shown = capsys.readouterr().out
    assert "keras-cacnet train --recipe ade20k_resnet101 --data-dir DIR\n" in shown
    assert "--crop-size 576 --stride 2/3\n" in shown


def test_summary_of_a_recipe_takes_its_classes_and_crops(capsys):
    small = ["backbone=resnet14_narrow", "head_channels=16", "crop_size=64"]
    words = ["summary", "--recipe", "ade20k_resnet101", "--set", *small]
    assert main(words) == 0
    own = capsys.readouterr().out
    assert "(64x64)" in own
    assert main([*words, "--classes", "150", "--size", "64"]) == 0
    assert capsys.readouterr().out == own
    assert main([*words, "--classes", "60", "--size", "64"]) == 0
    assert capsys.readouterr().out != own


@pytest.mark.slow
def test_a_recipe_on_other_data_says_that_the_paper_does_not_compare(workplace, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["train", "--recipe", "pascal_context_resnet50", "--data", str(workplace / "coast"), *TRAIN, "weights=none"]
    with small_networks():
        assert main(words) == 0
    printed = capsys.readouterr().out
    assert "coast has 2 classes, and pascal_context_resnet50 is for pascal_context/60 with 60" in printed
    assert "not pascal_context_resnet50 as it stands, but with backbone=resnet14_narrow weights=none" in printed
    assert "next: keras-cacnet evaluate runs/pascal_context_resnet50 --data" in printed
    config = json.loads((tmp_path / "runs" / "pascal_context_resnet50" / "config.json").read_text())
    assert config["recipe_name"] == "pascal_context_resnet50"
    assert config["recipe"]["weights"] is None
    assert config["recipe"]["poly_power"] == 0.9
    assert main([*words, "--resume"]) == 0
    assert main([*words, "seed=3", "--resume"]) == 2
    assert "seed 0 -> 3" in capsys.readouterr().err


def test_weights_that_cannot_be_had_say_how_to_bring_them(workplace, tmp_path, capsys, monkeypatch):
    def offline(library, preset):
        raise OSError("no route to host")

    monkeypatch.setattr("keras_cacnet.models.pretrained.from_preset", offline)
    output = tmp_path / "run"
    words = [
        "train",
        "--recipe",
        "pascal_context_resnet50",
        "--data",
        str(workplace / "coast"),
        "--output",
        str(output),
    ]
    assert main([*words, "--set", "batch_size=2"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    for word in ("resnet50", "config.json", "model.weights.h5", 'weights="path/to/folder"', "no route to host"):
        assert word in error
    # What was claimed for the run is free for the next try.
    assert list(output.iterdir()) == [] if output.exists() else True


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["check", "--data", "nowhere"], "interrupted\n"),
        (
            ["train", "--data", "nowhere", "--output", "x"],
            "interrupted; what was saved is kept: go on with --resume\n",
        ),
    ],
)
def test_an_interrupt_ends_with_its_own_status(words, told, monkeypatch, capsys):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("keras_cacnet.datasets.open_dataset", interrupted)
    assert main(words) == 130
    assert capsys.readouterr().err == f"\n{told}"


def test_summary_compares_heads_by_table_7(capsys):
    words = "summary --size 64x96 --classes 7 --set backbone=resnet14_narrow head_channels=16 num_heads=1"
    assert main([*words.split(), "--heads", "dmnet,cacnet"]) == 0
    table, notes = capsys.readouterr().out.split("\n\n")
    rows = {line[:16].strip(): line[16:].split() for line in table.splitlines()[1:]}
    assert list(rows) == ["backbone", "dmnet", "dmnet, lean", "cacnet"]
    assert rows["backbone"][-2:] == ["56M,", "225G"]
    assert rows["dmnet, lean"][-2:] == ["+9M,", "+20G"]
    # One head: 3x3 and key 16->16, query to 9, its own and D's norm; pooled branch; 3x3 reduction of 1024; classifier.
    modules = 10 * 256 + 9 * 16 + 4 * 16 + 256 + 32
    full = modules + 9 * 1024 * 16 + 32 + 32 * 7 + 7
    assert rows["cacnet"][0] == f"{full / 1e6:.2f}M"
    assert rows["cacnet"][2] == f"{modules / 1e6:.2f}M"
    assert rows["cacnet"][4] == f"{(modules + 16 * 7) / 1e6:.2f}M"
    assert "but for\nDMNet's 20G" in notes
