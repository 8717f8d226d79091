"""Files that are whole or not there, and weights that are finite or not written."""

import os

import keras
import numpy as np
import pytest

from keras_cacnet.training.checkpoints import Checkpoints, FiniteLoss, NonFiniteTraining
from keras_cacnet.training.files import write_atomically, write_json


def tiny():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def callback(kind, *arguments, **settings):
    made = kind(*arguments, **settings)
    made.set_model(tiny())
    return made


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


def test_best_follows_the_score_and_last_every_epoch(tmp_path):
    checkpoints = callback(Checkpoints, tmp_path)
    saved = {}
    for epoch, score in enumerate([0.3, None, 0.2, 0.5]):
        checkpoints.model.layers[0].bias.assign([float(epoch)])
        checkpoints.on_epoch_end(epoch, {} if score is None else {"val_mean_iou": score})
        for name in ("best", "last"):
            saved[name] = float(keras.models.load_model(tmp_path / f"{name}.keras").layers[0].bias[0])
        assert saved["last"] == epoch
        assert saved["best"] == [0, 0, 0, 3][epoch]
    assert checkpoints.best == 0.5
    assert sorted(os.listdir(tmp_path)) == ["best.keras", "last.keras"]


def test_an_epoch_is_written_once(tmp_path, monkeypatch):
    checkpoints = callback(Checkpoints, tmp_path)
    written, save = [], checkpoints.model.save
    monkeypatch.setattr(checkpoints.model, "save", lambda path: (written.append(path), save(path)))
    checkpoints.on_epoch_end(0, {"val_mean_iou": 0.3})
    assert len(written) == 1
    assert (tmp_path / "best.keras").samefile(tmp_path / "last.keras")
    checkpoints.model.layers[0].bias.assign([7.0])
    checkpoints.on_epoch_end(1, {"val_mean_iou": 0.2})
    assert [float(keras.models.load_model(tmp_path / f"{n}.keras").layers[0].bias[0]) for n in ("best", "last")] == [
        0,
        7,
    ]


@pytest.mark.parametrize("links", [True, False])
def test_a_kill_between_best_and_last_leaves_the_epoch_to_be_done_again(tmp_path, monkeypatch, links):
    checkpoints = callback(Checkpoints, tmp_path)
    checkpoints.on_epoch_end(0, {"val_mean_iou": 0.3})
    (tmp_path / ".best.part.keras").write_text("what a kill left behind")
    replace = os.replace

    def killed(source, target):
        if target.name == "last.keras":
            raise KeyboardInterrupt
        replace(source, target)

    def unlinkable(source, target):
        raise OSError("Operation not permitted")

    monkeypatch.setattr(os, "replace", killed)
    if not links:
        monkeypatch.setattr(os, "link", unlinkable)
    checkpoints.model.layers[0].bias.assign([7.0])
    with pytest.raises(KeyboardInterrupt):
        checkpoints.on_epoch_end(1, {"val_mean_iou": 0.4})
    assert [float(keras.models.load_model(tmp_path / f"{n}.keras").layers[0].bias[0]) for n in ("best", "last")] == [
        7,
        0,
    ]
    assert sorted(os.listdir(tmp_path)) == ["best.keras", "last.keras"]
    assert checkpoints.best == 0.3


def test_without_validation_the_last_is_the_best(tmp_path):
    checkpoints = callback(Checkpoints, tmp_path)
    for epoch in range(2):
        checkpoints.model.layers[0].bias.assign([float(epoch)])
        checkpoints.on_epoch_end(epoch, {"loss": 1.0})
    assert float(keras.models.load_model(tmp_path / "best.keras").layers[0].bias[0]) == 1


def test_a_resumed_run_keeps_its_best(tmp_path):
    checkpoints = callback(Checkpoints, tmp_path, best=0.4)
    checkpoints.on_epoch_end(0, {"val_mean_iou": 0.3})
    assert os.listdir(tmp_path) == ["last.keras"]


def test_weights_that_are_not_finite_are_never_written(tmp_path):
    checkpoints = callback(Checkpoints, tmp_path)
    checkpoints.on_epoch_end(0, {})
    before = (tmp_path / "last.keras").read_bytes()
    checkpoints.model.layers[0].bias.assign([np.inf])
    with pytest.raises(
        NonFiniteTraining, match=r"bias is not finite after epoch 2; the last good checkpoint is .*last"
    ):
        checkpoints.on_epoch_end(1, {})
    assert (tmp_path / "last.keras").read_bytes() == before


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_at_its_step(tmp_path, loss):
    watcher = callback(FiniteLoss, tmp_path)
    watcher.on_train_batch_end(0, {"loss": 1.0})
    watcher.model.optimizer.iterations.assign(17)
    with pytest.raises(NonFiniteTraining, match="step 17; there is no checkpoint yet"):
        watcher.on_train_batch_end(1, {"loss": loss})
