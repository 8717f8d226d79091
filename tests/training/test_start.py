"""How runs begin: broken off and gone on with, bit for bit; from another's network; or refused before they do."""

import csv
import json
import shutil
from dataclasses import replace

import keras
import numpy as np
import pytest
from PIL import Image

from keras_cacnet.cli import main
from keras_cacnet.datasets import label_checking, open_dataset
from keras_cacnet.datasets.voc2012 import CLASSES
from keras_cacnet.training import Job, Recipe, Run, TrainingWarning, train
from keras_cacnet.training.checkpoint_file import read_progress
from keras_cacnet.training.checkpoints import CheckpointError, Checkpoints
from keras_cacnet.training.loop import Loop
from keras_cacnet.training.recipe_settings import setting_text

pytestmark = pytest.mark.usefixtures("small_networks")

TINY = {"backbone": "resnet14_narrow", "head_channels": 8, "num_heads": 1, "dilation_rates": (1,)}
TINY |= {"crop_size": 32, "batch_size": 2, "seed": 3}
# Two steps an epoch. The dropout's masks are part of what has to go on; the rate makes scores differ by epoch.
RECIPE = Recipe(**TINY, epochs=3, learning_rate=0.05)
SHORT = Recipe(**TINY, epochs=1, learning_rate=0.02)


class Killed(BaseException):
    """Stands for the end of the process: nothing handles it."""


@pytest.fixture(scope="module")
def data(tmp_path_factory, write_coast):
    return write_coast(tmp_path_factory.mktemp("data") / "coast")


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory):
    output = tmp_path_factory.mktemp("runs") / "whole"
    resume(data, output)  # begins where there is no run
    return output


@pytest.fixture(scope="module")
def broken_off(data, tmp_path_factory):
    """After the third step, in the second epoch."""
    output = tmp_path_factory.mktemp("runs") / "broken"
    with pytest.MonkeyPatch.context() as patch:
        broken(patch, data, output, "after_step", 4)
    return output


@pytest.fixture
def output(broken_off, tmp_path):
    """A copy of the run that was broken off."""
    return shutil.copytree(broken_off, tmp_path / "broken")


def state(output, which="last"):
    """All that a run is made of: weights, optimizer, dropout seeds, progress with the metrics' states, and its log."""
    model = Run(output).load_model(which, compile=True)
    progress = read_progress(output / f"{which}.keras")
    dropouts = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.Dropout)]
    assert len(dropouts) == 2
    return {
        **{f"weight {index}": np.array(weight) for index, weight in enumerate(model.get_weights())},
        **{f"optimizer {state.path}": keras.ops.convert_to_numpy(state) for state in model.optimizer.variables},
        **{
            f"dropout {index}": keras.ops.convert_to_numpy(layer.seed_generator.state)
            for index, layer in enumerate(dropouts)
        },
        **{f"metric {index}": state for index, state in enumerate(progress.metrics)},
        "progress": np.array([progress.step, progress.epochs, progress.best]),
        "log": np.array([",".join(row.values()) for row in rows(output)]),
    }


def rows(output):
    with (output / "log.csv").open() as file:
        return list(csv.DictReader(file))


def assert_same_end(output, undisturbed):
    for which in ("last", "best"):
        ours, theirs = state(output, which), state(undisturbed, which)
        assert ours.keys() == theirs.keys()
        assert [name for name in ours if not np.array_equal(ours[name], theirs[name])] == []


def break_off(monkeypatch, method, at, owner=Checkpoints):
    """Ends the run in the call number `at` of a method, counted from 1."""
    calls, former = [], getattr(owner, method)

    def breaking(self, *arguments):
        calls.append(method)
        if len(calls) == at:
            raise Killed
        return former(self, *arguments)

    monkeypatch.setattr(owner, method, breaking)


def broken(monkeypatch, data, output, method, at, owner=Checkpoints, save_every=1):
    with monkeypatch.context() as patch:
        break_off(patch, method, at, owner)
        with pytest.raises(Killed):
            train(Job(RECIPE, open_dataset(data), output, save_every=save_every), verbose=0)


def resume(data, output, recipe=RECIPE):
    train(Job(recipe, open_dataset(data), output, resume=True, save_every=1), verbose=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "at", "owner", "save_every", "goes_on_from"),
    [
        # Before the first checkpoint.
        ("after_step", 1, Checkpoints, 1, None),
        # The epoch's steps are done, its scores are not.
        ("_scores", 2, Loop, 1, (4, 1)),
        # Its row is in the log, its checkpoint is not written.
        ("after_epoch", 2, Checkpoints, 1, (4, 1)),
        # One checkpoint an epoch.
        ("after_step", 6, Checkpoints, None, (4, 2)),
    ],
)
def test_going_on_is_never_having_stopped(
    undisturbed, data, tmp_path, monkeypatch, method, at, owner, save_every, goes_on_from
):
    output = tmp_path / "broken"
    broken(monkeypatch, data, output, method, at, owner, save_every)
    if goes_on_from:
        progress = read_progress(output / "last.keras")
        assert (progress.step, progress.epochs) == goes_on_from
    else:
        assert not (output / "last.keras").exists()
    resume(data, output)
    assert_same_end(output, undisturbed)
    assert len({row["loss"] for row in rows(output)}) == 3


def test_it_goes_on_within_an_epoch(undisturbed, data, output):
    progress = read_progress(output / "last.keras")
    assert (progress.step, progress.epochs) == (3, 1)
    resume(data, output)
    assert_same_end(output, undisturbed)


def test_a_finished_run_stays_as_it_is_and_says_so(undisturbed, data):
    before = (undisturbed / "last.keras").read_bytes()
    with pytest.warns(TrainingWarning, match="whole is finished: all 3 epochs are done, and nothing was trained"):
        resume(data, undisturbed)
    assert (undisturbed / "last.keras").read_bytes() == before


def damage(path):
    """One wrong bit in the middle; tests/training/test_checkpoints.py has other damages."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(undisturbed, data, output):
    assert read_progress(output / "previous.keras").step == 2
    damage(output / "last.keras")
    told = r"last\.keras is damaged: .*; going on from the checkpoint before .* step 2"
    with pytest.warns(TrainingWarning, match=told):
        resume(data, output)
    assert (output / "damaged.keras").exists()
    assert_same_end(output, undisturbed)


@pytest.mark.slow
def test_a_kill_after_the_fall_back_loses_nothing(undisturbed, data, output, monkeypatch):
    damage(output / "last.keras")
    with monkeypatch.context() as patch:
        break_off(patch, "save", 1)
        with pytest.warns(UserWarning, match="damaged"), pytest.raises(Killed):
            resume(data, output)
    assert not (output / "last.keras").exists()
    resume(data, output)
    assert_same_end(output, undisturbed)


def test_two_damaged_checkpoints_are_an_error(data, output):
    for which in ("last", "previous"):
        damage(output / f"{which}.keras")
    before = (output / "last.keras").read_bytes()
    with pytest.raises(ValueError, match=r"last\.keras is damaged.*previous\.keras is damaged.*no checkpoint is left"):
        resume(data, output)
    assert (output / "last.keras").read_bytes() == before


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_good_one(data, output, monkeypatch):
    """From which the run goes on, as above."""
    before = (output / "last.keras").read_bytes()
    former = Checkpoints.after_step

    def blocked(self, loop):
        (output / ".last.part.keras").mkdir()  # where even root cannot write a file
        former(self, loop)

    monkeypatch.setattr(Checkpoints, "after_step", blocked)
    told = r"last\.keras cannot be written: .*the last good checkpoint is .*last\.keras"
    with pytest.raises(CheckpointError, match=told):
        resume(data, output)
    assert (output / "last.keras").read_bytes() == before
    assert read_progress(output / "previous.keras").step == 2


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"seed": 4}, "another recipe: seed 3 -> 4; resume it with its own"),
        ({"epochs": 9}, "epochs 3 -> 9"),
        ({"backbone": "resnet18"}, "backbone 'resnet14_narrow' -> 'resnet18'"),
    ],
)
def test_another_recipe_is_refused(undisturbed, data, change, told):
    with pytest.raises(ValueError, match=f"{told}.*--start-from {undisturbed} --output NEW"):
        resume(data, undisturbed, Recipe.from_json({**RECIPE.to_json(), **change}))


def test_other_data_is_refused(undisturbed, tmp_path, write_coast):
    root = write_coast(tmp_path / "coast")
    with pytest.warns(TrainingWarning, match="is finished"):
        resume(root, undisturbed)  # the same files elsewhere
    mask = root / "labels" / "train" / "2.png"
    pixels = np.array(Image.open(mask))
    pixels[0, 0] = 1
    Image.fromarray(pixels).save(mask)
    with pytest.raises(ValueError, match=r"other files in train: 4 images there, 4 now.*--start-from"):
        resume(root, undisturbed)
    (root / "images" / "val" / "0.png").unlink()
    (root / "labels" / "val" / "0.png").unlink()
    mask.write_bytes((root / "labels" / "train" / "0.png").read_bytes())
    with pytest.raises(ValueError, match="other files in val: 2 images there, 1 now"):
        resume(root, undisturbed)
    (root / "classes.txt").write_text("0 hill 90 160 220\n1 lake 20 60 140\n2 Void 0 0 0\n")
    with pytest.raises(ValueError, match="trained on the classes sky, sea.*class 0 is 'sky' there and 'hill' here"):
        resume(root, undisturbed)


def test_the_record_holds_what_the_data_was(undisturbed):
    config = json.loads((undisturbed / "config.json").read_text())
    assert config["digests"].keys() == {"train", "val"}


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("file", "file cannot be written .*: name another folder"),
        ("file/run", "file/run cannot be written .*: name another folder"),
        ("full", "full holds something already, such as notes.txt: name a new folder .*--resume"),
    ],
)
def test_a_folder_that_cannot_take_the_run_is_told_before_the_data_is_read(data, tmp_path, monkeypatch, place, told):
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    monkeypatch.setattr("keras_cacnet.training.start.require_layout", None)
    monkeypatch.setattr("keras_cacnet.training.compiling.CaCNet", None)
    with pytest.raises((ValueError, OSError), match=told):
        train(Job(SHORT, open_dataset(data), tmp_path / place), verbose=0)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "full", "notes.txt"]


def test_what_is_no_job_is_told(data):
    with pytest.raises(ValueError, match="train takes a keras_cacnet.training.Job, such as"):
        train(SHORT)
    with pytest.raises(ValueError, match="recipe must be a keras_cacnet.training.Recipe, got <"):
        Job(open_dataset(data), SHORT, "run")
    with pytest.raises(ValueError, match="dataset must be what .*open_dataset gives, got 'coast'"):
        Job(SHORT, "coast", "run")


class Begun(BaseException):
    """Ends a test where the first step would be."""


@pytest.fixture
def first_step(monkeypatch):
    def end(self, *arguments):
        raise Begun

    class Small(keras.Sequential):
        def compile(self, *arguments, accumulate, **settings):
            super().compile(*arguments, **settings)

    def small(num_classes, **arguments):
        return Small([keras.Input((None, None, 3)), keras.layers.Conv2D(num_classes, 1)])

    monkeypatch.setattr(Loop, "run", end)
    monkeypatch.setattr("keras_cacnet.training.compiling.CaCNet", small)


def begins(job):
    with pytest.raises(Begun):
        train(job, verbose=0)


@pytest.mark.usefixtures("first_step")
def test_hidden_files_do_not_fill_a_folder_and_home_is_home(data, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    for name in (".DS_Store", "._notes.txt", "classes.json"):  # the last of a run killed before its first record
        (tmp_path / "run" / name).touch()
    begins(Job(SHORT, open_dataset(data), "~/run"))
    assert Run("run").classes.names == ("sky", "sea")
    (tmp_path / "run" / "best.keras").touch()
    with pytest.raises(ValueError, match=r"best\.keras is damaged"):
        train(Job(SHORT, open_dataset(data), "~/new", start_from="~/run"))
    # What could not begin leaves no folder.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


@pytest.mark.usefixtures("first_step")
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"learning_rate": 0.001}, "learning_rate=0.001 is for a pretrained backbone.*set learning_rate=0.02 head_f"),
        ({"learning_rate": 0.009, "head_factor": 1.0}, "learning_rate=0.009 is for a pretrained backbone"),
        ({"learning_rate": 0.02, "weights": "folder"}, "would undo those of weights=folder: set learning_rate=0.001"),
    ],
)
def test_a_rate_for_the_other_kind_of_start_is_a_warning(data, tmp_path, changes, told):
    with pytest.warns(TrainingWarning, match=told):
        begins(Job(replace(SHORT, **changes), open_dataset(data), tmp_path / "run"))


@pytest.mark.usefixtures("first_step")
def test_a_rate_for_a_pretrained_backbone_suits_another_runs_network(data, tmp_path, write_run):
    dataset = open_dataset(data)
    write_run(tmp_path / "first", SHORT, dataset.classes, "other/train")
    recipe = replace(SHORT, learning_rate=0.001)
    begins(Job(recipe, dataset, tmp_path / "run", start_from=tmp_path / "first"))


def paint(root, ids):
    """Give all masks of train the same ids, one after another over their pixels."""
    for mask in (root / "labels" / "train").glob("*.png"):
        Image.fromarray(np.resize(np.array(ids, "uint8"), (40, 44))).save(mask)


@pytest.mark.parametrize(
    ("ids", "told"),
    [
        ((0, 255), "masks hold only 0 and 255, and 255 is void .*'sea' never occurs"),
        ((0, 2, 2), "67% of the pixels are void .*'sea' never occurs"),
        ((0, 1, 9), "labels: 4 masks have ids that classes.txt lacks: the masks have 0, 1, 9"),
    ],
)
def test_labels_that_cannot_be_learnt_stop_a_run_before_it_begins(write_coast, tmp_path, ids, told):
    root = write_coast(tmp_path / "coast")
    paint(root, ids)
    with pytest.raises(ValueError, match=told):
        train(Job(SHORT, open_dataset(root), tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("first_step")
def test_a_class_that_never_occurs_is_a_warning(write_coast, tmp_path):
    root = write_coast(tmp_path / "coast")
    paint(root, (0, 0, 2))
    with pytest.warns(TrainingWarning, match="coast: train: .*'sea' never occurs"):
        begins(Job(SHORT, open_dataset(root), tmp_path / "run"))


@pytest.mark.usefixtures("first_step")
def test_one_image_trains_without_the_pooled_branch(write_coast, tmp_path):
    root = write_coast(tmp_path / "coast")
    for path in root.glob("*/train/[123].png"):
        path.unlink()
    with pytest.raises(ValueError, match="coast/train: 1 training image is too few for the pooled branch"):
        train(Job(SHORT, open_dataset(root), tmp_path / "run"))
    begins(Job(replace(SHORT, batch_size=1, global_pooling=False), open_dataset(root), tmp_path / "run"))


@pytest.mark.usefixtures("first_step")
def test_what_is_left_out_and_what_two_splits_share_are_warnings(write_coast, tmp_path):
    root = write_coast(tmp_path / "coast")
    for number in range(2):
        shutil.copy(root / "images" / "train" / "2.png", root / "images" / "val" / f"{number}.png")
    for part in ("images", "labels"):
        (root / part / "train" / "more").mkdir()
        (root / part / "train" / "3.png").rename(root / part / "train" / "more" / "3.png")
    with pytest.warns(TrainingWarning) as told:
        begins(Job(SHORT, open_dataset(root), tmp_path / "run"))
    texts = [str(one.message) for one in told]
    for start in (
        f"{root}: {root}/images/train: left out, not .jpg, ",
        f"{root}: {root}/labels/train: left out, not .png: more/ (1 mask)",
        f"{root}: {root}/images/train/2.png: in val too, the same file: ",
    ):
        assert sum(text.startswith(start) for text in texts) == 1


@pytest.mark.usefixtures("first_step")
def test_masks_are_read_once_for_their_faults_and_their_counts(data, tmp_path, monkeypatch):
    read, examine = [], label_checking.examine_mask

    def noting(example, classes):
        read.append(example.mask)
        return examine(example, classes)

    monkeypatch.setattr(label_checking, "examine_mask", noting)
    begins(Job(replace(SHORT, class_weights="balanced"), open_dataset(data), tmp_path / "run"))
    assert sorted(read) == sorted((data / "labels").rglob("*.png"))
    # Half of every mask is sea.
    assert Run(tmp_path / "run").config["class_weights"] == {"sky": 1.0, "sea": 1.0}


def test_labels_are_judged_before_they_are_counted(write_coast, tmp_path):
    root = write_coast(tmp_path / "coast")
    paint(root, (2,))
    with pytest.raises(ValueError, match="100% of the pixels are void .*'sky', 'sea' never occur"):
        train(Job(replace(SHORT, class_weights="balanced"), open_dataset(root), tmp_path / "run"))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"warmup_steps": 2}, "warmup_steps=2 leaves none of the 2 steps of the run"),
        ({"class_weights": "see:2"}, "no class is called 'see'; did you mean sea"),
    ],
)
def test_settings_that_do_not_go_with_the_data_are_told_before_it_is_read(data, tmp_path, monkeypatch, changes, told):
    monkeypatch.setattr("keras_cacnet.training.start.require_layout", None)
    monkeypatch.setattr("keras_cacnet.training.compiling.CaCNet", None)
    with pytest.raises(ValueError, match=told):
        train(Job(replace(SHORT, **changes), open_dataset(data), tmp_path / "run"))


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


def test_voc_from_trainaug_to_trainval(voc, tmp_path, monkeypatch, capsys, write_run):
    monkeypatch.setenv("KERAS_CACNET_DATA", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    first, second = "voc2012_resnet101", "voc2012_resnet101_finetune"
    words = [f"{name}={setting_text(value)}" for name, value in TINY.items()]
    common = ["--data-dir", str(voc), "--verbose", "0", "--no-report", "--set", *words, "epochs=1"]
    assert main(["train", "--recipe", second, *common]) == 2
    assert f"starts from a run of {first}: give it, such as --start-from runs/{first}" in capsys.readouterr().err
    write_run(tmp_path / "runs" / first, SHORT, CLASSES, "voc2012/trainaug", first)

    # A rate this small changes no float32 weight, so what is trained is still what it started from.
    tuned = ["train", "--recipe", second, "--start-from", f"runs/{first}", *common, "learning_rate=1e-30"]
    capsys.readouterr()
    assert main(tuned) == 0
    printed = capsys.readouterr()
    assert "random weights" not in printed.out + printed.err
    run, best = Run(f"runs/{second}"), Run(f"runs/{first}").load_model()
    for ours, theirs in zip(run.load_model("last").trainable_weights, best.trainable_weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    config = run.config
    origin = {"run": str(tmp_path / "runs" / first), "checkpoint": "best", "recipe_name": first}
    assert config["start_from"] == origin
    assert config["trained_on"] == ["voc2012/trainaug", "voc2012/trainval"]
    assert config["steps_per_epoch"] == 2  # 4 images of train and val
    assert int(run.load_model("last", compile=True).optimizer.iterations) == 2  # a new optimizer counts from 0

    # Going on needs the other run no more, and another cannot be slipped in.
    assert main([*tuned, "--resume"]) == 0
    assert f"warning: runs/{second} is finished: all 1 epochs are done" in capsys.readouterr().err
    other = tuned.copy()
    other[4] = f"runs/{second}"
    assert main([*other, "--resume"]) == 2
    assert f"started from {tmp_path / 'runs' / first}, not from runs/{second}" in capsys.readouterr().err
    shutil.move(f"runs/{first}", "elsewhere")
    # The folder of the data set comes from config.json.
    assert main(["train", "--output", f"runs/{second}", "--resume", "--no-report"]) == 0

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
    assert json.loads((tmp_path / "runs" / second / "classes.json").read_text()) == CLASSES.to_json()


@pytest.mark.parametrize(
    ("split", "scored"), [("trainval", "val"), ("trainaug", "train"), ("train", "trainval"), ("val", "val")]
)
def test_scores_on_training_images_are_refused(voc, tmp_path, monkeypatch, split, scored):
    monkeypatch.setenv("KERAS_CACNET_DATA", str(voc / "cache"))
    dataset = open_dataset("voc2012", voc)
    recipe = Recipe(**{**vars(SHORT), "split": split, "validation_split": scored})
    with pytest.raises(ValueError, match=f"validation_split='{scored}' has images of voc2012/{split}, .*=none"):
        train(Job(recipe, dataset, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_batch_larger_than_the_split_is_refused(voc, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_CACNET_DATA", str(voc / "cache"))
    recipe = Recipe(**{**vars(SHORT), "batch_size": 4})
    with pytest.raises(ValueError, match="batch_size=4 is more than voc2012 has images in train, 2: set a smaller"):
        train(Job(recipe, open_dataset("voc2012", voc), tmp_path / "run"))
