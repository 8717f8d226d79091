"""A whole training run: its folder, and everything that has to stop it."""

import csv
import json
import signal
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras.src.backend.common import global_state
from PIL import Image

from keras_cacnet.datasets import open_dataset
from keras_cacnet.pipeline.batches import evaluation_batches
from keras_cacnet.training import Job, NonFiniteTraining, Recipe, Run, Stopped, TrainingWarning, train, trainer
from keras_cacnet.training.trainer import _floats_of

pytestmark = pytest.mark.usefixtures("small_networks")

RECIPE = Recipe(
    backbone="resnet14_narrow",
    head_channels=8,
    num_heads=1,
    dilation_rates=(1,),
    crop_size=32,
    batch_size=2,
    epochs=3,
    learning_rate=0.01,
    seed=3,
)


def write_folder(root, train=5, val=2):
    rng = np.random.default_rng(0)
    root.mkdir()
    (root / "classes.txt").write_text("0 sky 90 160 220\n1 sea 20 60 140\n2 Void 0 0 0\n")
    for split, count in (("train", train), ("val", val)):
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True)
        for index in range(count):
            mask = np.zeros((40, 36 + index), "uint8")
            mask[20:] = 1
            mask[19] = 2
            image = np.where(mask[..., None] == 1, (20, 60, 140), (90, 160, 220)) + rng.integers(0, 9, (*mask.shape, 3))
            Image.fromarray(image.astype("uint8")).save(root / "images" / split / f"{index}.png")
            Image.fromarray(mask).save(root / "labels" / split / f"{index}.png")
    return root


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("data") / "coast")


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory):
    output = tmp_path_factory.mktemp("runs") / "whole"
    train(Job(RECIPE, open_dataset(data), output), verbose=0)
    return output


def weights(output, which="last"):
    return Run(output).load_model(which).get_weights()


def rows(output):
    with (output / "log.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_folder_of_a_run(undisturbed, data):
    run = Run(undisturbed)
    assert run.recipe == RECIPE
    assert run.classes.names == ("sky", "sea")
    config = json.loads((undisturbed / "config.json").read_text())
    assert config["versions"]["keras"] == keras.__version__
    assert config["images"] == {"train": 5, "val": 2}
    assert config["steps_per_epoch"] == 2
    with Image.open(undisturbed / "curve.png") as curve:
        assert curve.size[0] > 300
    assert list((undisturbed / "tensorboard").rglob("events*"))
    log = rows(undisturbed)
    assert [row["epoch"] for row in log] == ["0", "1", "2"]
    scores = [float(row["val_mean_iou"]) for row in log]
    model = run.load_model("best", compile=True)
    dataset = open_dataset(data)
    again = model.evaluate(evaluation_batches(dataset.source("val"), dataset.classes), verbose=0, return_dict=True)
    # The log prints what the epoch computed with the same weights.
    assert again["mean_iou"] == pytest.approx(max(scores), abs=1e-6)
    assert int(run.load_model("last", compile=True).optimizer.iterations) == 6


def test_another_split_and_no_scores(data, tmp_path):
    recipe = Recipe.from_json({**RECIPE.to_json(), "split": "val", "validation_split": None, "epochs": 1})
    train(Job(recipe, open_dataset(data), tmp_path / "run"), verbose=0)
    assert Run(tmp_path / "run").config["steps_per_epoch"] == 1  # of 2 images, where train has 5
    assert rows(tmp_path / "run")[0].keys() == {"epoch", "loss", "mean_iou", "pixel_accuracy"}
    assert Run(tmp_path / "run").load_model("best")
    for field in ("split", "validation_split"):
        wrong = Recipe.from_json({**recipe.to_json(), field: "trainval"})
        with pytest.raises(ValueError, match="no split 'trainval'.*train, val"):
            train(Job(wrong, open_dataset(data), tmp_path / "other"), verbose=0)
    assert not (tmp_path / "other").exists()


def test_fc_trains_on_images_of_any_size(data, tmp_path):
    recipe = Recipe.from_json({**RECIPE.to_json(), "reweighting": "fc", "epochs": 1})
    dataset = open_dataset(data)
    train(Job(recipe, dataset, tmp_path / "run"), verbose=0)
    model = Run(tmp_path / "run").load_model()
    assert model.input_size == (32, 32)
    # Images of 40x36 and 40x37, cut here by hand: four windows each, padded to 64x64.
    confusion = np.zeros((2, 2), "int64")
    for images, masks in evaluation_batches(dataset.source("val"), dataset.classes):
        image, mask = np.zeros((64, 64, 3), "float32"), np.full((64, 64), 255, "uint8")
        height, width = masks.shape[1:]
        image[:height, :width], mask[:height, :width] = images[0], masks[0]
        for top in (0, 32):
            for left in (0, 32):
                window = np.s_[top : top + 32, left : left + 32]
                ids = model.predict(image[window][None], verbose=0)[0].argmax(-1)
                valid = mask[window] != 255
                np.add.at(confusion, (mask[window][valid], ids[valid]), 1)
    hits = np.diag(confusion)
    union = confusion.sum(0) + confusion.sum(1) - hits
    (row,) = rows(tmp_path / "run")
    # The log prints float32.
    assert float(row["val_mean_iou"]) == pytest.approx((hits[union > 0] / union[union > 0]).mean(), abs=1e-6)
    assert float(row["val_pixel_accuracy"]) == pytest.approx(hits.sum() / confusion.sum(), abs=1e-6)


def test_a_loss_that_is_not_finite_stops_the_run(data, tmp_path):
    recipe = Recipe(**{**RECIPE.to_json(), "learning_rate": 1e30})
    with pytest.raises(NonFiniteTraining, match="the loss is .* at step [2-6]"):
        train(Job(recipe, open_dataset(data), tmp_path / "run"), verbose=0)
    assert not (tmp_path / "run" / "last.keras").exists()


def test_no_step_between_checkpoints_is_refused_before_anything_is_written(data, tmp_path):
    with pytest.raises(ValueError, match="--save-every.* must be at least 1 step, got 0"):
        train(Job(RECIPE, open_dataset(data), tmp_path / "run", save_every=0), verbose=0)
    assert not (tmp_path / "run").exists()


def test_a_run_with_everything(data, tmp_path):
    settings = {
        **{"loss": "crossentropy+dice", "class_weights": "median_frequency", "label_smoothing": 0.1},
        **{"optimizer": "adamw", "schedule": "cosine", "warmup_steps": 2, "ema": 0.5, "accumulate": 2},
        **{"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.1, "rotation": 10, "blur": 1, "cutout": 0.2},
        # At this rate no score rises above the first.
        **{"learning_rate": 1e-12, "early_stopping": 1, "epochs": 5, "global_pooling": False},
    }
    recipe = replace(RECIPE, **settings)
    job = Job(recipe, open_dataset(data), tmp_path / "run")
    with pytest.warns(TrainingWarning, match="it would learn little"):
        trained = train(job, verbose=0)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["class_weights"] == pytest.approx({"sky": 1.0, "sea": 1.0}, abs=0.2)
    assert [row["epoch"] for row in rows(tmp_path / "run")] == ["0", "1"]
    assert [loss.class_weights for loss in trained.loss.losses] == [tuple(config["class_weights"].values())] * 2
    assert trained.accumulate == 2
    for found, expected in zip(trained.get_weights(), weights(tmp_path / "run", "best"), strict=True):
        np.testing.assert_array_equal(found, expected)
    with pytest.warns(TrainingWarning, match="is finished: it was stopped early, and nothing was trained"):
        train(replace(job, resume=True), verbose=0)


def test_early_stopping_needs_a_score(tmp_path):
    alone = write_folder(tmp_path / "coast", val=0)
    for kind in ("images", "labels"):
        (alone / kind / "val").rmdir()
    with pytest.raises(ValueError, match="early_stopping=1 needs a score, and .*coast has no val split: leave it out"):
        train(Job(replace(RECIPE, early_stopping=1), open_dataset(alone), tmp_path / "run"), verbose=0)


def test_what_comes_after_a_run_in_float64_is_in_float32():
    """Keras makes its default policy where it is first asked for, and it stays."""
    global_state.set_global_attribute("dtype_policy", None)
    with _floats_of(Recipe(precision="float64")):
        assert keras.layers.Dense(1).compute_dtype == "float32"  # a run gives its layers their policy by name
        assert keras.config.floatx() == "float64"
    assert keras.config.dtype_policy().name == keras.config.floatx() == "float32"


def test_a_signal_after_the_last_step_stops_whoever_called(data, tmp_path, monkeypatch):
    """As an ablation, whose next row would begin; the run itself is whole."""
    job = Job(replace(RECIPE, epochs=1, validation_split=None), open_dataset(data), tmp_path / "run", resume=True)
    monkeypatch.setattr(trainer, "swap_averages", lambda model: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(Stopped, match="stopped by SIGTERM after the last step"):
        train(job, verbose=0)
    monkeypatch.undo()
    with pytest.warns(TrainingWarning, match="is finished: all 1 epochs are done"):
        train(job, verbose=0)
