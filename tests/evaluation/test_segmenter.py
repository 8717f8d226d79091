"""A network on photographs of every form and size, and its results, against the one way of prediction."""

import io
import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import keras_cacnet as kc
import small_networks
from keras_cacnet.datasets import read_image, read_mask
from keras_cacnet.evaluation import Protocol, ids, scores
from keras_cacnet.layers.resize import ResizeLike


@pytest.fixture
def segmenter(model, classes):
    return kc.Segmenter(model, classes=classes)


@pytest.fixture
def photograph(photograph):
    return photograph(40, 52)


def turned_files(file_of, image):
    """The same photograph as JPEG and PNG, stored lying and turned upright by EXIF."""
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = Image.fromarray(image).transpose(Image.Transpose.ROTATE_90)
    return [file_of(lying, kind, exif=exif) for kind in ("JPEG", "PNG")]


def test_a_photograph_in_any_form_is_predicted_as_its_file(segmenter, model, photograph, file_of, tmp_path):
    (tmp_path / "a.png").write_bytes(data := file_of(photograph))
    expected = ids(model, photograph)
    assert len(np.unique(expected)) > 2
    alpha = np.dstack([photograph, np.full(photograph.shape[:2], 9, "uint8")])
    forms = [tmp_path / "a.png", str(tmp_path / "a.png"), data, bytearray(data), Image.open(tmp_path / "a.png")]
    forms += [photograph, photograph.astype("float32"), photograph.astype("int64"), alpha, Image.fromarray(photograph)]
    for form in forms:
        np.testing.assert_array_equal(segmenter(form).ids, expected)
    assert [np.array_equal(one.ids, expected) for one in segmenter(forms)] == [True] * len(forms)
    assert [np.array_equal(one.ids, expected) for one in segmenter(np.stack([photograph] * 2))] == [True] * 2
    gray = photograph[..., 0]
    expected = ids(model, np.repeat(gray[..., None], 3, axis=-1))
    for form in (gray, gray[..., None], Image.fromarray(gray)):
        np.testing.assert_array_equal(segmenter(form).ids, expected)


def test_photographs_are_turned_by_exif_as_predict_turns_them(segmenter, model, photograph, file_of, tmp_path):
    for number, data in enumerate(turned_files(file_of, photograph)):
        (path := tmp_path / str(number)).write_bytes(data)
        image = read_image(path)
        assert image.shape == photograph.shape
        decoded = Image.open(path)
        decoded.load()
        for form in (path, data, Image.open(io.BytesIO(data)), decoded):
            found = segmenter(form)
            np.testing.assert_array_equal(found.image, image)
            np.testing.assert_array_equal(found.ids, ids(model, image))


def test_a_result_says_where_and_how_much_each_class_is(segmenter, model, photograph, classes):
    result = segmenter(photograph)
    np.testing.assert_array_equal(result.probabilities, scores(model, photograph))
    assert result.probabilities is result.probabilities
    areas = result.areas()
    assert list(areas) == list(classes.names)
    for index, name in enumerate(classes.names):
        np.testing.assert_array_equal(result.mask(name), result.ids == index)
        np.testing.assert_array_equal(result.mask(index), result.ids == index)
        assert areas[name] == ((result.ids == index).sum(), (result.ids == index).mean())
    assert "palm tree" in repr(result) or "sand" in repr(result)
    with pytest.raises(ValueError, match="no class 'palmtree'; did you mean palm tree.; there is sky, sea"):
        result.mask("palmtree")
    for wrong in (5, -1, True):
        with pytest.raises(ValueError, match=f"no class {wrong}; classes are 0 to 4"):
            result.mask(wrong)


def test_probabilities_of_another_fusion_are_normalised(model, classes, photograph):
    result = kc.Segmenter(model, classes=classes, protocol=Protocol(flip=True, fusion="exp_sum"))(photograph)
    np.testing.assert_allclose(result.probabilities.sum(axis=-1), 1, rtol=1e-6)
    np.testing.assert_array_equal(result.probabilities.argmax(axis=-1), result.ids)


def test_a_result_goes_into_files_and_notebooks(segmenter, photograph, classes, tmp_path):
    coco = pytest.importorskip("pycocotools.mask")
    result = segmenter(photograph)
    result.save_ids(tmp_path / "ids.png")
    np.testing.assert_array_equal(classes.to_training(read_mask(tmp_path / "ids.png"), "ids.png"), result.ids)
    with Image.open(io.BytesIO(result._repr_png_())) as shown:
        np.testing.assert_array_equal(np.asarray(shown), np.asarray(result.overlay()))
    result.save_coco(tmp_path / "coco.json")
    found = json.loads((tmp_path / "coco.json").read_text())
    assert found == result.to_coco()
    assert found["categories"] == [{"id": i, "name": n} for i, n in zip(classes.ids, classes.names, strict=True)]
    there = np.unique(result.ids)
    assert [one["category_id"] for one in found["annotations"]] == [classes.ids[index] for index in there]
    for one, index in zip(found["annotations"], there, strict=True):
        np.testing.assert_array_equal(coco.decode(one["segmentation"]), result.ids == index)
        rows, columns = np.nonzero(result.ids == index)
        assert one["area"] == len(rows)
        x, y = columns.min(), rows.min()
        assert one["bbox"] == [x, y, columns.max() + 1 - x, rows.max() + 1 - y]
    several = kc.evaluation.to_coco([result, result], first_id=7)
    assert [one["id"] for one in several["images"]] == [7, 8]
    assert len({one["id"] for one in several["annotations"]}) == 2 * len(there)


def test_coco_names_the_package_that_it_needs(segmenter, photograph, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(ImportError, match=r"needs pycocotools .*keras-cacnet\[coco\]"):
        segmenter(photograph).to_coco()


def test_large_photographs_are_seen_through_windows(model, classes, photograph):
    small = kc.Segmenter(model, classes=classes, window=24)
    result = small(photograph)
    np.testing.assert_array_equal(result.ids, ids(model, photograph, Protocol(crop_size=24)))
    np.testing.assert_array_equal(result.probabilities, scores(model, photograph, Protocol(crop_size=24)))
    assert not np.array_equal(result.ids, ids(model, photograph))
    # 40 * 52 pixels are no more than 46 squared.
    whole = kc.Segmenter(model, classes=classes, window=46)(photograph)
    np.testing.assert_array_equal(whole.ids, ids(model, photograph))
    given = kc.Segmenter(model, classes=classes, window=8, protocol=Protocol(crop_size=30))(photograph)
    np.testing.assert_array_equal(given.ids, ids(model, photograph, Protocol(crop_size=30)))


def test_a_network_for_one_size_takes_all(classes, photograph):
    images = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(5, 3, strides=4, padding="same")(images)
    model = keras.Model(images, ResizeLike(4)([x, images]))
    assert kc.Segmenter(model, classes=classes)(photograph).ids.shape == photograph.shape[:2]


def test_networks_bring_their_classes_and_their_working_size(classes, photograph, tmp_path):
    network = small_networks.small_network(5)
    network.save(tmp_path / "plain.keras")
    plain = kc.Segmenter(str(tmp_path / "plain.keras"))
    assert plain.classes.names == ("class 0", "class 1", "class 2", "class 3", "class 4")
    assert len(set(plain.classes.palette)) == 5
    network.classes, network.image_size = classes, 24
    network.save_to_preset(tmp_path / "preset")
    for source in (network, tmp_path / "preset"):
        segmenter = kc.Segmenter(source)
        assert segmenter.classes == classes
        np.testing.assert_array_equal(segmenter(photograph).ids, ids(network, photograph, Protocol(image_size=24)))
    assert not np.array_equal(plain(photograph).ids, segmenter(photograph).ids)


@pytest.mark.parametrize(
    ("photograph", "told"),
    [
        ("https://somewhere/a.jpg", r"https://somewhere/a\.jpg is an address, .*: download it"),
        ("nowhere.jpg", r"nowhere\.jpg: no such file"),
        (b"no image", r"photograph: not an image"),
        ([b"no image"], r"photograph 0: not an image"),
        (np.zeros((4, 5, 2), "uint8"), r"an array \(H, W, 3\) of RGB in 0\.\.255, got uint8 \(4, 5, 2\)"),
        (np.full((4, 5, 3), 256), r"RGB is in 0\.\.255, got values from 256 to 256"),
        (np.full((4, 5, 3), np.nan), r"got values from nan to nan"),
        (np.full((4, 5, 3), 0.5), r"got values from 0\.5 to 0\.5: multiply them by 255"),
        (None, r"a photograph is a path, bytes, .* got NoneType"),
        (np.zeros((0, 5, 3), "uint8"), r"got uint8 \(0, 5, 3\)"),
    ],
)
def test_what_is_no_photograph_is_named(segmenter, photograph, told):
    with pytest.raises(ValueError, match=told):
        segmenter(photograph)


def test_models_that_do_not_fit_are_refused(model, classes, build_model):
    with pytest.raises(ValueError, match="predicts 3 classes, the class table has 5"):
        kc.Segmenter(build_model(3), classes=classes)
    with pytest.raises(FileNotFoundError, match="nowhere: there is no such preset"):
        kc.Segmenter(Path("nowhere"))
    with pytest.raises(ValueError, match="model must be a path, a handle or a Keras model, got 3"):
        kc.Segmenter(3)
    with pytest.raises(ValueError, match="window must be a whole number from 1 on, got 0"):
        kc.Segmenter(model, classes=classes, window=0)
