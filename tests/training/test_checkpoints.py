"""Files that are whole or not there, and weights that are finite or not written."""

import math
import os
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_cacnet.files import write_atomically, write_json
from keras_cacnet.training.checkpoint_file import Progress, load_checkpoint, read_progress, write_checkpoint
from keras_cacnet.training.checkpoints import Checkpoints, FiniteLoss, NonFiniteTraining
from keras_cacnet.training.loop import Loop


@pytest.fixture
def loop():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=False)
    return Loop(model, epochs=9, steps_per_epoch=1)


def set_bias(loop, value):
    loop.model.layers[0].bias.assign([value])


def bias(path):
    return float(keras.models.load_model(path).layers[0].bias[0])


def test_a_failing_writer_leaves_the_former_file_and_no_rest(tmp_path):
    path = tmp_path / "value.json"
    write_json(path, {"a": 1})
    before = path.read_bytes()

    def half(temporary):
        temporary.write_text('{"a"')
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_atomically(path, half)
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, float("nan"))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["value.json"]


def test_best_follows_the_score_and_last_every_epoch(tmp_path, loop):
    checkpoints = Checkpoints(tmp_path)
    for epoch, score in enumerate([0.3, None, 0.2, 0.5]):
        set_bias(loop, float(epoch))
        checkpoints.after_epoch(loop, {} if score is None else {"val_mean_iou": score})
        assert bias(tmp_path / "last.keras") == epoch
        assert bias(tmp_path / "best.keras") == [0, 0, 0, 3][epoch]
        if epoch:
            assert bias(tmp_path / "previous.keras") == epoch - 1
    assert checkpoints.best == read_progress(tmp_path / "last.keras").best == 0.5
    assert sorted(os.listdir(tmp_path)) == ["best.keras", "last.keras", "previous.keras"]


def test_a_run_stops_once_its_score_has_not_risen_for_so_long(tmp_path, loop):
    checkpoints = Checkpoints(tmp_path, patience=2)
    loop.model.stop_training = False
    for epoch, (score, stops) in enumerate([(0.3, 0), (0.2, 0), (0.4, 0), (None, 0), (0.4, 0), (0.1, 1)]):
        set_bias(loop, float(epoch))
        checkpoints.after_epoch(loop, {} if score is None else {"val_mean_iou": score})
        assert (loop.model.stop_training, checkpoints.out_of_patience) == (bool(stops), bool(stops))
        # A run that goes on has waited as long.
        other = Checkpoints(tmp_path, patience=2)
        other.resume()
        assert (other.best, other.waited) == (checkpoints.best, checkpoints.waited)
    assert (bias(tmp_path / "best.keras"), bias(tmp_path / "last.keras")) == (2, 5)


def test_an_epoch_is_written_once(tmp_path, loop, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    written, save = [], loop.model.save
    monkeypatch.setattr(loop.model, "save", lambda path: (written.append(path), save(path)))
    checkpoints.after_epoch(loop, {"val_mean_iou": 0.3})
    assert len(written) == 1
    assert (tmp_path / "best.keras").samefile(tmp_path / "last.keras")
    set_bias(loop, 7.0)
    checkpoints.after_epoch(loop, {"val_mean_iou": 0.2})
    assert [bias(tmp_path / f"{name}.keras") for name in ("best", "last")] == [0, 7]


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("killed_at", ["best", "previous", "last"])
def test_a_kill_between_the_files_leaves_a_last_one(tmp_path, loop, monkeypatch, killed_at, links):
    checkpoints = Checkpoints(tmp_path)
    for value in (1.0, 2.0):
        set_bias(loop, value)
        checkpoints.after_epoch(loop, {"val_mean_iou": value / 10})
    (tmp_path / ".best.part.keras").write_text("what a kill left behind")
    replace = os.replace

    def killed(source, target):
        if target.name == f"{killed_at}.keras":
            raise KeyboardInterrupt
        replace(source, target)

    def unlinkable(source, target):
        raise OSError("Operation not permitted")

    monkeypatch.setattr(os, "replace", killed)
    if not links:
        monkeypatch.setattr(os, "link", unlinkable)
    set_bias(loop, 3.0)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.after_epoch(loop, {"val_mean_iou": 0.4})
    expected = {"best": (2, 1, 2), "previous": (3, 1, 2), "last": (3, 2, 2)}
    assert tuple(bias(tmp_path / f"{n}.keras") for n in ("best", "previous", "last")) == expected[killed_at]
    assert sorted(os.listdir(tmp_path)) == ["best.keras", "last.keras", "previous.keras"]


def test_without_validation_the_last_is_the_best(tmp_path, loop):
    checkpoints = Checkpoints(tmp_path)
    for epoch in range(2):
        set_bias(loop, float(epoch))
        checkpoints.after_epoch(loop, {"loss": 1.0})
    assert bias(tmp_path / "best.keras") == 1


def test_a_score_that_is_no_number_counts_as_none(tmp_path, loop):
    """As where every label is void; without a best checkpoint there would be nothing to evaluate or export."""
    checkpoints = Checkpoints(tmp_path)
    for epoch, score in enumerate([np.nan, np.nan, 0.1, np.nan]):
        set_bias(loop, float(epoch))
        checkpoints.after_epoch(loop, {"val_mean_iou": score})
        assert bias(tmp_path / "best.keras") == [0, 1, 2, 2][epoch]


def test_a_checkpoint_is_verified_once_when_it_is_read(tmp_path, loop, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.after_epoch(loop, {})
    verified, testzip = [], zipfile.ZipFile.testzip
    monkeypatch.setattr(zipfile.ZipFile, "testzip", lambda self: (verified.append(self.filename), testzip(self))[1])
    checkpoints.resume()
    load_checkpoint(tmp_path / "best.keras")
    assert [Path(name).name for name in verified] == ["last.keras", "best.keras"]


def test_the_home_folder(tmp_path, loop, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    Checkpoints("~").after_epoch(loop, {})
    assert read_progress("~/last.keras").step == 0
    assert load_checkpoint("~/best.keras")


def test_a_resumed_run_keeps_its_best(tmp_path, loop):
    Checkpoints(tmp_path).after_epoch(loop, {"val_mean_iou": 0.4})
    (tmp_path / "best.keras").unlink()
    checkpoints = Checkpoints(tmp_path)
    checkpoints.resume()
    checkpoints.after_epoch(loop, {"val_mean_iou": 0.3})
    assert not (tmp_path / "best.keras").exists()


def test_steps_between(tmp_path, loop):
    checkpoints = Checkpoints(tmp_path, every=3)
    for loop.step in range(1, 8):
        checkpoints.after_step(loop)
        if loop.step >= 3:
            assert read_progress(tmp_path / "last.keras").step == loop.step // 3 * 3
    assert sorted(os.listdir(tmp_path)) == ["last.keras", "previous.keras"]
    with pytest.raises(ValueError, match="--save-every.* must be at least 1 step, got 0"):
        Checkpoints(tmp_path, every=0)


def test_one_process_of_a_run_writes(tmp_path, loop):
    Checkpoints(tmp_path, chief=False).after_epoch(loop, {"val_mean_iou": 0.3})
    assert os.listdir(tmp_path) == []


def test_progress_comes_back_as_it_was(tmp_path, loop):
    states = (np.float32(1) / 3, np.array([[2**53 + 1, 0], [1, 2]], "int64"))
    write_checkpoint(tmp_path / "one.keras", loop.model, Progress(7, 2, states))
    progress = read_progress(tmp_path / "one.keras")
    assert (progress.step, progress.epochs, progress.best) == (7, 2, -math.inf)
    for ours, theirs in zip(progress.metrics, states, strict=True):
        assert ours.dtype == theirs.dtype
        assert np.array_equal(ours, theirs)
    loop.model.save(tmp_path / "bare.keras")
    with pytest.raises(ValueError, match="does not say how far its run had come"):
        read_progress(tmp_path / "bare.keras")


def test_weights_that_are_not_finite_are_never_written(tmp_path, loop):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.after_epoch(loop, {})
    before = (tmp_path / "last.keras").read_bytes()
    set_bias(loop, np.inf)
    loop.step = 2
    with pytest.raises(NonFiniteTraining, match=r"bias is not finite after step 2; the last good checkpoint is .*last"):
        checkpoints.after_epoch(loop, {})
    assert (tmp_path / "last.keras").read_bytes() == before


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_at_its_step(tmp_path, loss):
    watcher = FiniteLoss(tmp_path, step=15)
    watcher.on_train_batch_end(0, {"loss": 1.0})
    with pytest.raises(NonFiniteTraining, match="step 17; there is no checkpoint yet"):
        watcher.on_train_batch_end(1, {"loss": loss})


@pytest.mark.parametrize("cut", [0, 1, 100, 5000, "half", "flipped", "empty"])
def test_damage_is_seen(tmp_path, loop, cut):
    path = tmp_path / "one.keras"
    write_checkpoint(path, loop.model, Progress(7, 2, (np.zeros(1000),), 0.5))
    content = bytearray(path.read_bytes())
    assert len(content) > 10_000
    if cut == "flipped":
        content[len(content) // 2] ^= 1
    else:
        kept = {"half": len(content) // 2, "empty": 0}
        del content[kept[cut] if cut in kept else len(content) - cut :]
    path.write_bytes(content)
    if cut == 0:
        assert load_checkpoint(path)
        return
    with pytest.raises(ValueError, match=r"one\.keras is damaged"):
        load_checkpoint(path)
