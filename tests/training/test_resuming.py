"""A run that was broken off and goes on is the run that was never broken off, bit for bit; else it is refused."""

import csv
import json

import keras
import numpy as np
import pytest
from PIL import Image

from keras_cacnet.datasets import open_dataset
from keras_cacnet.training import trainer
from keras_cacnet.training.checkpoints import CheckpointError, Checkpoints
from keras_cacnet.training.loop import Loop
from keras_cacnet.training.progress import read_progress
from keras_cacnet.training.recipes import Recipe
from keras_cacnet.training.run import Run

# Two steps an epoch. The dropout's masks are part of what has to go on; the rate makes scores differ by epoch.
RECIPE = Recipe(
    backbone="resnet14_narrow", head_channels=8, crop_size=32, batch_size=2, epochs=3, learning_rate=0.05, seed=3
)


class Killed(BaseException):
    """Stands for the end of the process: nothing handles it."""


@pytest.fixture(scope="module")
def data(tmp_path_factory, write_coast):
    return write_coast(tmp_path_factory.mktemp("data") / "coast")


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory):
    output = tmp_path_factory.mktemp("runs") / "whole"
    trainer.train(RECIPE, open_dataset(data), output, verbose=0, save_every=1)
    return output


def state(output, which="last"):
    """All that a run is made of: weights, optimizer, dropout seeds, progress with the metrics' states, and its log."""
    model = Run(output).load_model(which, compile=True)
    progress, best = read_progress(output / f"{which}.keras")
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
        "progress": np.array([progress.step, progress.epochs, best]),
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
            trainer.train(RECIPE, open_dataset(data), output, verbose=0, save_every=save_every)


def resume(data, output, recipe=RECIPE, **options):
    trainer.train(recipe, open_dataset(data), output, resume=True, verbose=0, save_every=1, **options)


@pytest.mark.parametrize(
    ("method", "at", "owner", "save_every", "goes_on_from"),
    [
        # Before the first checkpoint.
        pytest.param("after_step", 1, Checkpoints, 1, None, marks=pytest.mark.slow),
        ("after_step", 4, Checkpoints, 1, (3, 1)),  # within the second epoch
        ("_scores", 2, Loop, 1, (4, 1)),  # the epoch's steps are done, its scores are not
        # Its row is in the log, its checkpoint is not written.
        pytest.param("after_epoch", 2, Checkpoints, 1, (4, 1), marks=pytest.mark.slow),
        # One checkpoint an epoch.
        pytest.param("after_step", 6, Checkpoints, None, (4, 2), marks=pytest.mark.slow),
    ],
)
def test_going_on_is_never_having_stopped(
    undisturbed, data, tmp_path, monkeypatch, method, at, owner, save_every, goes_on_from
):
    output = tmp_path / "broken"
    broken(monkeypatch, data, output, method, at, owner, save_every)
    if goes_on_from:
        progress, _ = read_progress(output / "last.keras")
        assert (progress.step, progress.epochs) == goes_on_from
    else:
        assert not (output / "last.keras").exists()
    resume(data, output)
    assert_same_end(output, undisturbed)
    assert len({row["loss"] for row in rows(output)}) == 3


def test_a_finished_run_stays_as_it_is(undisturbed, data):
    before = (undisturbed / "last.keras").read_bytes()
    resume(data, undisturbed)
    assert (undisturbed / "last.keras").read_bytes() == before


def test_resuming_begins_where_there_is_no_run(data, tmp_path):
    recipe = Recipe.from_json({**RECIPE.to_json(), "epochs": 1})
    resume(data, tmp_path / "new", recipe)
    assert len(rows(tmp_path / "new")) == 1


def damage(path):
    """One wrong bit in the middle; tests/training/test_checkpoints.py has other damages."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(undisturbed, data, tmp_path, monkeypatch):
    output = tmp_path / "broken"
    broken(monkeypatch, data, output, "after_step", 4)
    assert read_progress(output / "previous.keras")[0].step == 2
    damage(output / "last.keras")
    with pytest.warns(UserWarning, match=r"last\.keras is damaged: .*; going on from the checkpoint before .* step 2"):
        resume(data, output)
    assert (output / "damaged.keras").exists()
    assert_same_end(output, undisturbed)


@pytest.mark.slow
def test_a_kill_after_the_fall_back_loses_nothing(undisturbed, data, tmp_path, monkeypatch):
    output = tmp_path / "broken"
    broken(monkeypatch, data, output, "after_step", 4)
    damage(output / "last.keras")
    with monkeypatch.context() as patch:
        break_off(patch, "save", 1)
        with pytest.warns(UserWarning, match="damaged"), pytest.raises(Killed):
            resume(data, output)
    assert not (output / "last.keras").exists()
    resume(data, output)
    assert_same_end(output, undisturbed)


def test_two_damaged_checkpoints_are_an_error(data, tmp_path, monkeypatch):
    output = tmp_path / "broken"
    broken(monkeypatch, data, output, "after_step", 4)
    for which in ("last", "previous"):
        damage(output / f"{which}.keras")
    before = (output / "last.keras").read_bytes()
    with pytest.raises(ValueError, match=r"last\.keras is damaged.*previous\.keras is damaged.*no checkpoint is left"):
        resume(data, output)
    assert (output / "last.keras").read_bytes() == before


def test_a_folder_that_cannot_be_written_keeps_the_last_good_checkpoint(undisturbed, data, tmp_path, monkeypatch):
    output = tmp_path / "broken"
    former = Checkpoints.after_step

    def blocked(self, loop):
        if loop.step == 4:
            (output / ".last.part.keras").mkdir()  # where even root cannot write a file
        former(self, loop)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "after_step", blocked)
        told = r"last\.keras cannot be written: .*the last good checkpoint is .*last\.keras"
        with pytest.raises(CheckpointError, match=told):
            trainer.train(RECIPE, open_dataset(data), output, verbose=0, save_every=1)
    (output / ".last.part.keras").rmdir()
    assert read_progress(output / "last.keras")[0].step == 3
    resume(data, output)
    assert_same_end(output, undisturbed)


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
