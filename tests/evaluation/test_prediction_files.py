import errno
import os
import tempfile
import unicodedata

import numpy as np
import pytest
from PIL import Image

from keras_cacnet.datasets import Example, read_image, read_mask
from keras_cacnet.evaluation import Protocol, ids, predict_files, prediction_files, prediction_writer
from keras_cacnet.evaluation.prediction_files import image_files
from small_networks import small_network


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
            mode, _, found = opened(out / f"{file.stem}_ids.png")
            assert mode == "P"
            np.testing.assert_array_equal(found, classes.to_file(ids(model, read_image(file))))
    # A quarter turn in EXIF: 28x20 as stored is 20x28 as shown.
    assert opened(out / "turned_ids.png")[1] == (20, 28)
    assert opened(out / "plain_ids.png")[1] == (28, 20)


def test_the_ids_can_be_read_as_a_mask_of_the_data_set(model, classes, photos, tmp_path):
    predict_files(model, [photos / "plain.png"], tmp_path / "out", classes, progress=False)
    mask = classes.to_training(read_mask(tmp_path / "out" / "plain_ids.png"), origin="plain")
    np.testing.assert_array_equal(mask, ids(model, read_image(photos / "plain.png")))


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
    expected = classes.to_file(ids(model, read_image(photos / "plain.png")))
    np.testing.assert_array_equal(opened(tmp_path / "out" / "plain_ids.png")[2], expected)


def test_the_output_must_not_be_a_file(model, classes, photos):
    with pytest.raises(ValueError, match=r"notes\.txt is no folder, and a folder is needed"):
        predict_files(model, [photos], photos / "notes.txt", classes)


def test_an_output_that_cannot_be_written_is_refused_before_any_work(model, classes, photos, tmp_path, monkeypatch):
    def refuse(**_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", refuse)
    for use in (
        lambda out: predict_files(model, [photos], out, classes, progress=False),
        lambda out: prediction_writer([], out, classes),
    ):
        with pytest.raises(PermissionError, match=rf"out cannot be written: Permission denied in {tmp_path}; name a p"):
            use(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert model.get_layer("traced").traces == 0


def test_hidden_files_of_file_managers_are_passed_over(model, classes, photos, tmp_path):
    (photos / "._plain.png").write_bytes(b"\x00\x05\x16\x07Mac OS X")
    assert predict_files(model, [photos], tmp_path / "out", classes, progress=False) == []
    assert len(names(tmp_path / "out")) == 10


def test_a_tilde_is_the_home_folder(model, classes, photos, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for given in ("~/photos/plain.png", "~/photos/pl*.png"):
        assert predict_files(model, [given], "~/out", classes, progress=False) == []
    assert names(tmp_path / "out") == ["plain_ids.png", "plain_overlay.png"]
    prediction_writer([Example("a", b"", None)], "~/out", classes)(0, np.zeros((2, 2), "uint8"))
    assert "a.png" in names(tmp_path / "out")
    assert not (tmp_path / "~").exists()


def test_a_name_that_looks_the_same_is_found_and_written_once(model, classes, tmp_path):
    """An accent is a character of its own (NFD) where macOS has written a name, and none (NFC) where one is typed."""
    composed, decomposed = (unicodedata.normalize(form, "caf\u00e9.png") for form in ("NFC", "NFD"))
    folders = tmp_path / "a", tmp_path / "b"
    for folder, name in zip(folders, (decomposed, composed), strict=True):
        folder.mkdir()
        Image.new("RGB", (8, 8)).save(folder / name)
    assert image_files([folders[0] / composed]) == ([folders[0] / decomposed], [])
    with pytest.raises(ValueError, match="would both write"):
        predict_files(model, folders, tmp_path / "out", classes, progress=False)


def test_images_are_shown_by_the_protocol(model, classes, photos, tmp_path):
    protocol = Protocol((0.5, 1.0), flip=True, crop_size=16, base_size=40)
    file = photos / "plain.png"
    assert predict_files(model, [file], tmp_path / "out", classes, protocol=protocol, progress=False) == []
    expected = ids(model, read_image(file), protocol)
    assert (expected != ids(model, read_image(file))).any()
    np.testing.assert_array_equal(opened(tmp_path / "out" / "plain_ids.png")[2], classes.to_file(expected))


def test_an_image_that_memory_does_not_hold_is_reported_and_the_others_go_on(
    model, classes, photos, tmp_path, monkeypatch
):
    predict = prediction_files.ids

    def fail(model, image, protocol):
        if image.shape[0] > image.shape[1]:
            raise MemoryError
        return predict(model, image, protocol)

    monkeypatch.setattr(prediction_files, "ids", fail)
    failures = predict_files(model, [photos], tmp_path / "out", classes, progress=False)
    assert failures == [f"{photos / 'turned.JPG'}: MemoryError"]
    assert len(names(tmp_path / "out")) == 8


@pytest.mark.parametrize("option", [{"count": 1}, {"channels": (3,)}, {"seed": 1}])
def test_channels_without_weighting_are_refused(model, classes, photos, tmp_path, option):
    with pytest.raises(ValueError, match="count, channels and seed choose what weighting draws"):
        predict_files(model, [photos], tmp_path / "out", classes, **option)


def test_another_number_of_classes_is_refused(build_model, classes, photos, tmp_path):
    with pytest.raises(ValueError, match="predicts 4 classes, the class table has 5"):
        predict_files(build_model(num_classes=4), [photos], tmp_path / "out", classes)
    assert not (tmp_path / "out").exists()


def test_progress_is_counted_in_images(model, classes, photos, tmp_path, capsys):
    predict_files(model, [photos], tmp_path / "out", classes)
    assert capsys.readouterr().out.endswith("predicting: 5 of 5 images\n")


def test_weighting_draws_figure_4_with_the_channels_it_prints(classes, photos, tmp_path, capsys):
    cacnet = small_network(5)
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
    cacnet = small_network(5)
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
    fcn = small_network(5, num_heads=0, global_pooling=False)
    with pytest.raises(ValueError, match="num_heads=0"):
        predict_files(fcn, [photos], tmp_path / "out", classes, weighting=True)
    assert not (tmp_path / "out").exists()


def test_saved_predictions_hold_the_ids_of_the_data_set(classes, tmp_path):
    predicted = np.array([[0, 1, 4], [3, 2, 255]], "uint8")
    write = prediction_writer([Example("a", b"", b""), Example("scenes/val/7", b"", None)], tmp_path / "out", classes)
    write(0, predicted)
    write(1, predicted[::-1])
    for name, expected in (("a", predicted), ("scenes/val/7", predicted[::-1])):
        with Image.open(tmp_path / "out" / f"{name}.png") as file:
            assert file.mode == "P"
            np.testing.assert_array_equal(np.asarray(file), classes.to_file(expected))


def test_the_data_set_is_never_overwritten(classes, tmp_path):
    mask = tmp_path / "labels" / "a.png"
    mask.parent.mkdir()
    mask.write_bytes(b"truth")
    write = prediction_writer([Example("a", tmp_path / "a.jpg", mask)], tmp_path / "labels" / ".." / "labels", classes)
    with pytest.raises(ValueError, match=r"the prediction would overwrite .*a.png: choose another folder"):
        write(0, np.zeros((2, 2), "uint8"))
    assert mask.read_bytes() == b"truth"


def test_a_file_is_no_folder(classes, tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(ValueError, match="out is no folder, and a folder is needed"):
        prediction_writer([], tmp_path / "out", classes)


def test_photographs(model, classes, shared_data, tmp_path):
    files = sorted((shared_data / "camvid" / "images" / "val").glob("*.jpg"))[:2]
    assert predict_files(model, files, tmp_path, classes, progress=False) == []
    assert opened(tmp_path / f"{files[0].stem}_ids.png")[1] == opened(files[0])[1]


def test_alpha_is_the_opacity_of_the_classes(model, classes, photos, tmp_path):
    predict_files(model, [photos / "plain.png"], tmp_path / "out", classes, alpha=1.0, progress=False)
    shown = opened(tmp_path / "out" / "plain_overlay.png")[2][:360, :504].reshape(-1, 3)
    assert {tuple(map(int, colour)) for colour in np.unique(shown, axis=0)} <= set(classes.palette)
    with pytest.raises(ValueError, match="alpha must be 0 .* to 1 .*, got 2"):
        predict_files(model, [photos / "plain.png"], tmp_path / "none", classes, alpha=2, progress=False)
    assert not (tmp_path / "none").exists()
