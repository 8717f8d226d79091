"""`keras-cacnet check --show`: the crops that training would see first."""

import numpy as np
import pytest
from PIL import Image

from keras_cacnet.cli import main
from keras_cacnet.datasets import open_dataset
from keras_cacnet.pipeline import Jitter, Views, training_batches
from keras_cacnet.training import Recipe, first_crops

SET = ["--set", "backbone=resnet14_narrow", "crop_size=32", "seed=4", "rotation=20", "hue=0.2"]


@pytest.fixture(scope="module")
def coast(tmp_path_factory, write_coast):
    return write_coast(tmp_path_factory.mktemp("data") / "coast")


def test_the_picture_and_what_is_refused(coast, tmp_path, capsys):
    output = tmp_path / "new" / "crops.png"
    assert main(["check", "--data", str(coast), "--show", "5", "--output", str(output), *SET]) == 0
    assert f"written: {output}, 5 crops of 32x32 pixels from train" in capsys.readouterr().out
    with Image.open(output) as picture:
        assert picture.width > 1000
    for words, told in (
        (["--set", "hue=0.2"], "--set goes with --show N"),
        (["--output", "x.png"], "--output goes with --show N"),
        (["--show", "0"], "--show must be a whole number from 1 on, got 0"),
        (["--show", "1", "--split", "val"], "--show takes --set split=val"),
        (["--show", "1", "--output", "x.jpg"], "the picture is a PNG"),
        (["--show", "1", "--set", "hue=0.7"], "hue must be at most 0.5, got 0.7"),
    ):
        assert main(["check", "--data", str(coast), *words]) == 2
        assert told in capsys.readouterr().err


def test_crops_are_those_of_the_first_steps(coast):
    dataset = open_dataset(coast)
    recipe = Recipe(crop_size=32, seed=4, rotation=20.0, brightness=0.5, batch_size=2)
    images, masks = first_crops(recipe, dataset, 6)
    jitter = Jitter(rotation=20, brightness=0.5)
    batches = training_batches(
        dataset.source("train"), dataset.classes, batch_size=2, crop_size=32, steps=3, seed=4, jitter=jitter
    )
    for step, (crops, ids) in enumerate(batches):
        np.testing.assert_allclose(images[2 * step : 2 * step + 2], crops, atol=0.5)
        np.testing.assert_array_equal(masks[2 * step : 2 * step + 2], ids)


def test_cached_views_are_shown_as_they_are_cached(coast):
    dataset = open_dataset(coast)
    recipe = Recipe(crop_size=32, freeze="backbone", cached_views=2, contrast=0.5)
    images, masks = first_crops(recipe, dataset, 5)
    views = Views(2, 32, (0.5, 2.0), jitter=Jitter(contrast=0.5))
    stream = list(views.stream(dataset.source("train"), dataset.classes, 0, 8))
    for number, (image, ids) in enumerate(zip(images, masks, strict=True)):
        assert sum(np.array_equal(ids, view[1]) and np.allclose(image, view[0], atol=0.5) for view in stream) == 1
        assert any(np.array_equal(ids, view[1]) for view in stream[4 * (number // 4) :])
