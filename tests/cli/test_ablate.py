"""`keras-cacnet ablate` from end to end, and broken off in the middle."""

import json
import re
import signal

import pytest

from keras_cacnet.cli import main
from keras_cacnet.paper import ablation
from keras_cacnet.paper.costs import Cost
from keras_cacnet.training import Run
from keras_cacnet.training.checkpoints import Checkpoints

pytestmark = pytest.mark.usefixtures("small_networks")

SETTINGS = (
    "--set backbone=resnet14_narrow head_channels=8 crop_size=32 batch_size=2 epochs=2 learning_rate=0.01 "
    "validate_every=2 --verbose 0 --scales 1.0"
).split()


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, write_coast):
    root = tmp_path_factory.mktemp("ablate")
    write_coast(root / "coast")
    return root


@pytest.fixture(autouse=True)
def no_counting():
    """Parameters and multiply-adds are tested in tests/paper; here their networks would be built for every row."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ablation, "network_cost", lambda recipe, classes: Cost(recipe.num_heads, classes))
        yield


def words(workplace, output, table, *more):
    return ["ablate", "--table", str(table), "--data", str(workplace / "coast"), "--output", str(output), *more]


def test_broken_off_and_gone_on_with_and_shared(workplace, capsys, monkeypatch):
    """Two rows of Table 1, stopped in the second epoch of the second; then Table 3, which has one of them too."""
    output = workplace / "tables"
    chosen = ["--rows", "FCN", "CaC + GP", "--seeds", "1"]
    saved = []

    def break_second(self, loop, logs):
        if "cac2" in self.folder.name and loop.epochs_done == 1:
            signal.raise_signal(signal.SIGTERM)
        after_epoch(self, loop, logs)

    after_epoch = Checkpoints.after_epoch
    monkeypatch.setattr(Checkpoints, "after_epoch", break_second)
    assert main(words(workplace, output, 1, *chosen, *SETTINGS)) == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert "not run yet" in (output / "table_1.md").read_text()
    (fcn,) = (output / "runs").glob("*fcn*")
    kept = (fcn / "last.keras").read_bytes()
    monkeypatch.undo()

    def note(self, loop, logs):
        saved.append((self.folder.name, loop.epochs_done))
        after_epoch(self, loop, logs)

    monkeypatch.setattr(Checkpoints, "after_epoch", note)
    assert main(words(workplace, output, 1, *chosen, *SETTINGS)) == 0
    (full,) = (output / "runs").glob("*cac2*")
    assert saved == [(full.name, 2)]  # the first epoch of the second row and the first row were there
    assert (fcn / "last.keras").read_bytes() == kept
    table = json.loads((output / "table_1.json").read_text())
    first, last = table["rows"]
    assert (first["row"], last["row"]) == ("FCN", "CaC + GP")
    assert (Run(fcn).recipe.num_heads, Run(full).recipe.seed) == (0, 1)
    for row, folder in ((first, fcn), (last, full)):
        assert row["runs"][0]["folder"] == folder.name
        log = (folder / "log.csv").read_text().splitlines()
        logged = dict(zip(log[0].split(","), log[-1].split(","), strict=True))
        # The same images, weights and counts as the trainer's own validation, by other code.
        assert row["runs"][0]["mean_iou"] == pytest.approx(float(logged["val_mean_iou"]), abs=1e-6)
    assert last["mean_iou"]["paper"] == 52.5
    markdown = (output / "table_1.md").read_text()
    assert re.search(r"\| FCN \| [\d.]+ \|  \| 45.8 \|", markdown)
    assert markdown in capsys.readouterr().out

    saved.clear()
    assert main(words(workplace, output, 3, "--rows", "H = 2", "--seeds", "1", *SETTINGS)) == 0
    assert not saved
    again = json.loads((output / "table_3.json").read_text())["rows"][0]["runs"]
    assert again == last["runs"]


def test_a_row_that_fails_gives_status_1(workplace, tmp_path, capsys):
    chosen = ["--rows", "{1}", "--seeds", "0", *SETTINGS, "--set", "learning_rate=1e30"]
    assert main(words(workplace, tmp_path / "out", 5, *chosen)) == 1
    assert "error: {1}, seed 0: NonFiniteTraining: the loss is" in capsys.readouterr().err
    assert "| {1} | failed |" in (tmp_path / "out" / "table_5.md").read_text()


def test_a_dry_run_touches_nothing(workplace, tmp_path, capsys):
    assert main(words(workplace, tmp_path / "out", 1, "--dry-run", "--rows", "FCN", *SETTINGS)) == 0
    out = capsys.readouterr().out
    assert "to train: 3 runs" in out  # one row, three seeds
    assert "left out: not chosen" in out
    assert "to score: 2 images of val a row and seed; scale 1.0 of the image" in out
    assert not (tmp_path / "out").exists()


def test_the_output_is_where_a_tilde_says_and_refused_before_anything_is_trained(
    workplace, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    scored = ["--rows", "FCN", "--seeds", "0", "--scored-only", *SETTINGS]
    assert main(words(workplace, "~/out", 1, *scored)) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "table_1.json").is_file()
    (tmp_path / "file").touch()
    capsys.readouterr()
    assert main(words(workplace, "~/file", 1, *scored)) == 2
    assert "file is no folder, and a folder is needed" in capsys.readouterr().err


def test_finetune_begins_with_a_run_of_laptop_for_every_row(workplace, tmp_path, capsys):
    words_ = ["--recipe", "finetune", "--dry-run", "--rows", "FCN", "--set", "epochs=2", "image_size=64"]
    assert main(words(workplace, tmp_path / "out", 1, *words_)) == 0
    out = capsys.readouterr().out
    assert "every run starts from one of its own of 100 epochs, which is not counted here" in out
    assert re.search(r"^FCN +3 +0 +4 ", out, re.M)  # 3 seeds; 2 epochs of 2 steps
    assert "random weights" not in out


@pytest.mark.slow
def test_laptop_is_fitted_and_scored_at_its_size(workplace, tmp_path, capfd, monkeypatch):
    """From the data to table and figure, in a file instead of a terminal; then the table from the runs only."""
    monkeypatch.setenv("KERAS_CACNET_DATA", str(tmp_path / "cache"))
    small = "--set backbone=resnet14_narrow weights=none head_channels=8 num_heads=2 image_size=48 epochs=1".split()
    chosen = ["--recipe", "laptop", "--rows", "none", "CaC", "--against", "none", "--seeds", "0", *small]
    assert main(words(workplace, tmp_path / "out", 1, *chosen, "--min-images", "2")) == 0
    out, err = capfd.readouterr()
    assert re.search(r"^fitted: images have long sides of up to \d+ pixels: image_size=48 crop_size=32$", out, re.M)
    assert "━" not in out
    assert re.search(r"^warning: freeze=backbone keeps what is random in the backbone as it is: [^\n]*$", err, re.M)
    assert "TrainingWarning" not in err
    table = json.loads((tmp_path / "out/table_1.json").read_text())
    assert (table["protocol"]["image_size"], table["protocol"]["crop_size"]) == (48, None)
    assert table["images_by_class"] == dict.fromkeys(table["classes_that_count"], 2)
    first, last = table["rows"]
    assert (first["ours"], last["ours"], table["reference"]) == (True, False, "none")
    assert (last["parameters"], last["multiply_adds"]) == (2, 2)
    assert all(row["processor_seconds"] > 0 for row in table["rows"])
    assert last["mean_iou"]["to_control"]["mean"] == last["mean_iou"]["to_reference"]["mean"]
    assert (tmp_path / "out/table_1.png").read_bytes().startswith(b"\x89PNG")

    monkeypatch.setattr("keras_cacnet.paper.ablation_runs.train", None)
    again = [*chosen[:7], "--seeds", "0,1", *small, "--scored-only", "--scales", "1.0"]
    assert main(words(workplace, tmp_path / "out", 1, *again)) == 0
    kept = json.loads((tmp_path / "out/table_1.json").read_text())
    assert [row["runs"][0]["mean_iou"] for row in kept["rows"]] == [row["runs"][0]["mean_iou"] for row in table["rows"]]
    assert kept["missing"] == 2


def test_without_a_protocol_it_is_the_papers(workplace, tmp_path, capsys):
    settings = [word for word in SETTINGS if word not in ("--scales", "1.0")]
    assert main(words(workplace, tmp_path / "out", 4, "--dry-run", "--rows", "3 + 3", *settings)) == 0
    assert (
        "scales 0.5, 0.75, 1.0, 1.25, 1.5, 1.75 of the image, mirrored as well, windows of 32 pixels"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--set", "seed=3"], "seed=3 is none of the settings of an ablation: give --seeds 3"),
        (["--set", "num_heads=3"], "num_heads is what the tables vary"),
        (["--rows", "H = 9"], "Table 3 has no row 'H = 9'"),
        (["--set", "validation_split=dev"], "no split 'dev'"),
        (["--data-dir", "x", "--data", "/nowhere"], "/nowhere"),
        (["--seeds", "1,1"], "at least one and each once"),
        (["--recipe", "pascal_context_fcn_resnet50"], "num_heads is what the tables vary"),
        (["--recipe", "voc2012_resnet101_finetune"], "starts from the network of voc2012_resnet101, which no row has"),
        (["--recipe", "finetune", "--deep-backbone", "resnet50"], "all rows of finetune start from efficientnet_lite0"),
        (["--scores-from", "none.json"], "none.json"),
        (["--recipe", "labtop"], "did you mean laptop?"),
        (["--against", "H = 9"], "Table 3 has no row 'H = 9'"),
        (["--min-images", "0"], "--min-images must be at least 1, got 0"),
        (["--min-images", "3"], "--min-images 3: no class is in so many of the 2 images"),
        (["--set", "split=val", "validation_split=none"], "has images of val, which is trained on"),
    ],
)
def test_bad_words_give_one_line_and_status_2(workplace, tmp_path, more, told, capsys):
    assert main(words(workplace, tmp_path / "out", 3, *more)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert told in error


def test_data_is_needed(capsys):
    assert main(["ablate", "--table", "1", "--output", "x"]) == 2
    assert "--data is missing" in capsys.readouterr().err
