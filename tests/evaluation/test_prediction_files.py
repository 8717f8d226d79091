import os

import keras
import numpy as np
import pytest
from PIL import Image

import keras_cacnet as kc
from keras_cacnet.datasets import read_image, read_mask
from keras_cacnet.evaluation import predict_files, predict_ids


@pytest.fixture
def photos(tmp_path):
    """Photographs of every kind that comes up, and files that are none."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (20, 28, 3)).astype("uint8"))
    picture.save(folder / "plain.png")
    picture.convert("L").save(folder / "gray.png")
    picture.convert("RGBA").save(folder / "alpha.png")
    picture.convert("CMYK").save(folder / "cmyk.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(folder / "turned.JPG", format="JPEG", exif=exif)
    (folder / "notes.txt").write_text("no image")
    return folder


def opened(path):
    """Mode, size and values of a picture."""
    with Image.open(path) as picture:
        return picture.mode, picture.size, np.array(picture)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_each_image_gets_its_ids_and_an_overlay(model, classes, photos, tmp_path):
    out = tmp_path / "a" / "out"
    assert predict_files(model, [photos], out, classes, progress=False) == []
    stems = ["alpha", "cmyk", "gray", "plain", "turned"]
    assert names(out) == sorted(f"{stem}_{kind}.png" for stem in stems for kind in ("ids", "overlay"))
    for file in photos.iterdir():
        if file.suffix != ".txt":
            mode, _, ids = opened(out / f"{file.stem}_ids.png")
            assert mode == "P"
            np.testing.assert_array_equal(ids, classes.to_file(predict_ids(model, read_image(file))))
    # A quarter turn in EXIF: 28x20 as stored is 20x28 as shown.
    assert opened(out / "turned_ids.png")[1] == (20, 28)
    assert opened(out / "plain_ids.png")[1] == (28, 20)


def test_the_ids_can_be_read_as_a_mask_of_the_data_set(model, classes, photos, tmp_path):
    predict_files(model, [photos / "plain.png"], tmp_path / "out", classes, progress=False)
    mask = classes.to_training(read_mask(tmp_path / "out" / "plain_ids.png"), origin="plain")
    np.testing.assert_array_equal(mask, predict_ids(model, read_image(photos / "plain.png")))


def test_what_is_no_image_is_reported_and_the_others_go_on(model, classes, photos, tmp_path):
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    (photos / "empty.png").touch()
    inputs = [photos / "notes.txt", photos, tmp_path / "nowhere.jpg", str(photos / "*.webp"), tmp_path]
    failures = predict_files(model, inputs, tmp_path / "out", classes, progress=False)
    for line, start in zip(
        failures,
        [
            f"{tmp_path / 'nowhere.jpg'}: no such file",
            f"{photos}/*.webp: no file matches",
            f"{tmp_path}: no images (",
            f"{photos / 'notes.txt'}: ",
            f"{photos / 'broken.jpg'}: ",
            f"{photos / 'empty.png'}: ",
        ],
        strict=True,
    ):
        assert line.startswith(start)
        assert "\n" not in line
    assert len(names(tmp_path / "out")) == 10


def test_an_image_the_network_fails_on_is_reported_by_name(model, classes, photos, tmp_path):
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    failures = predict_files(model, [photos / "gray.png"], tmp_path / "out", classes, progress=False)
    assert len(failures) == 1
    assert failures[0].startswith(f"{photos / 'gray.png'}: model 'small' gives logits that are not finite")
    assert names(tmp_path / "out") == []


def test_globs_and_repeated_inputs(model, classes, photos, tmp_path):
    inputs = [str(photos / "*.png"), photos / "gray.png", os.path.relpath(photos / "gray.png")]
    assert predict_files(model, inputs, tmp_path / "out", classes, progress=False) == []
    assert len(names(tmp_path / "out")) == 6


@pytest.mark.parametrize("name", ["plain.jpg", "PLAIN.jpg"])
def test_two_inputs_of_one_name_are_refused_before_anything_is_written(model, classes, photos, tmp_path, name):
    Image.new("RGB", (8, 8)).save(tmp_path / name)
    with pytest.raises(ValueError, match=r"plain\.png and .*(plain|PLAIN)\.jpg would both write") as caught:
        predict_files(model, [photos / "plain.png", tmp_path / name], tmp_path / "out", classes, progress=False)
    assert "different folders" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_an_input_is_never_overwritten(model, classes, photos):
    assert predict_files(model, [photos / "plain.png"], photos, classes, progress=False) == []
    before = {path: path.read_bytes() for path in photos.iterdir()}
    with pytest.raises(ValueError, match=r"result of .*plain\.png would overwrite the input .*plain_ids\.png"):
        predict_files(model, [photos], photos, classes, progress=False)
    assert {path: path.read_bytes() for path in photos.iterdir()} == before


def test_pictures_of_an_earlier_prediction_are_replaced(build_model, classes, photos, tmp_path):
    for seed in (0, 1):
        model = build_model(seed=seed)
        predict_files(model, [photos / "plain.png"], tmp_path / "out", classes, progress=False)
    expected = classes.to_file(predict_ids(model, read_image(photos / "plain.png")))
    np.testing.assert_array_equal(opened(tmp_path / "out" / "plain_ids.png")[2], expected)


def test_the_output_must_not_be_a_file(model, classes, photos):
    with pytest.raises(ValueError, match=r"notes\.txt is a file; the pictures need a folder"):
        predict_files(model, [photos], photos / "notes.txt", classes)


def test_another_number_of_classes_is_refused(build_model, classes, photos, tmp_path):
    with pytest.raises(ValueError, match="predicts 4 classes, the class table has 5"):
        predict_files(build_model(num_classes=4), [photos], tmp_path / "out", classes)
    assert not (tmp_path / "out").exists()


def test_progress_is_counted_in_images(model, classes, photos, tmp_path, capsys):
    predict_files(model, [photos], tmp_path / "out", classes)
    assert "5/5" in capsys.readouterr().out


def test_weighting_draws_figure_4_with_the_channels_it_prints(classes, photos, tmp_path, capsys):
    cacnet = kc.CaCNet(5, backbone="resnet14_narrow", head_channels=8)
    files = [photos / "plain.png", photos / "turned.JPG"]
    printed = []
    for seed in (0, 0, 1):
        out = tmp_path / f"out{seed}"
        assert predict_files(cacnet, files, out, classes, weighting=True, count=2, seed=seed, progress=False) == []
        printed.append(capsys.readouterr().out)
    assert {"plain_weighting.png", "turned_weighting.png"} < set(names(tmp_path / "out0"))
    assert printed[0].startswith("weighting: head_1 channels ")
    assert "head_2 channels" in printed[0]
    assert printed[0].count("\n") == 1
    assert printed[0] == printed[1] != printed[2]


def test_weighting_takes_the_channels_that_are_asked_for(classes, photos, tmp_path, capsys):
    images = x = keras.Input((None, None, 3))
    levels = {}
    for level, stride in (("P4", 8), ("P5", 2)):
        x = levels[level] = keras.layers.Conv2D(8, 3, strides=stride, padding="same", activation="relu")(x)
    cacnet = kc.CaCNet(5, backbone=keras.Model(images, levels), output_stride=16, head_channels=8)
    files, settings = [photos / "plain.png"], {"weighting": True, "progress": False}
    assert predict_files(cacnet, files, tmp_path / "listed", classes, channels=(7, 2), **settings) == []
    assert capsys.readouterr().out == "weighting: head_1 channels 7, 2; head_2 channels 7, 2 (as listed)\n"
    assert predict_files(cacnet, files, tmp_path / "largest", classes, channels="largest-change", **settings) == []
    assert "plain_weighting.png" in names(tmp_path / "largest")
    with pytest.raises(ValueError, match="head_1 has the channels 0 to 7, not 8"):
        predict_files(cacnet, files, tmp_path / "out", classes, channels=(8,), **settings)
    assert not (tmp_path / "out").exists()


def test_weighting_needs_a_cacnet_with_heads(model, classes, photos, tmp_path):
    with pytest.raises(ValueError, match="'small' has no weighting_maps: only a CaCNet"):
        predict_files(model, [photos], tmp_path / "out", classes, weighting=True)
    fcn = kc.CaCNet(5, backbone="resnet14_narrow", head_channels=8, num_heads=0, global_pooling=False)
    with pytest.raises(ValueError, match="num_heads=0"):
        predict_files(fcn, [photos], tmp_path / "out", classes, weighting=True)
    assert not (tmp_path / "out").exists()


def test_photographs(model, classes, shared_data, tmp_path):
    files = sorted((shared_data / "camvid" / "images" / "val").glob("*.jpg"))[:2]
    assert predict_files(model, files, tmp_path, classes, progress=False) == []
    assert opened(tmp_path / f"{files[0].stem}_ids.png")[1] == opened(files[0])[1]
