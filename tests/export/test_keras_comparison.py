import shutil

import keras
import numpy as np
import pytest

from keras_cacnet.export import saved_model, tflite, verify


def test_a_cacnet_is_served_as_keras_predicts_it_where_keras_cannot_be_imported(cacnet, cacnet_export, photographs):
    images = photographs((1, 33, 47), (2, 64, 48), (1, 17, 96), (2, 33, 47))
    probabilities = keras.ops.softmax(cacnet(images[0].astype("float32"), training=False), axis=-1)
    # Else equal probabilities would prove nothing.
    assert float(keras.ops.std(probabilities)) > 0.05
    result = verify(cacnet_export, cacnet, images)
    assert result.largest_difference <= 1e-5
    # Two classes may be equally likely to the last digit of float32: at most 1 pixel of 10,000.
    assert result.equal_ids >= 0.9999
    assert result.shapes == ((1, 33, 47, 3), (2, 64, 48, 3), (1, 17, 96, 3), (2, 33, 47, 3))


def test_other_weights_show(model, tmp_path, photographs):
    path = tflite(model, tmp_path / "small.tflite")
    model.set_weights([-weight for weight in model.get_weights()])
    result = verify(path, model, photographs((1, 8, 8)))
    assert result.largest_difference > 0.1
    assert result.equal_ids < 0.9


def test_other_class_ids_of_either_signature_show(model, tmp_path, monkeypatch, photographs):
    (tmp_path / "saved_model.pb").touch()
    probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(model(photographs((1, 8, 8))[0].astype("float32"))))
    right = probabilities.argmax(axis=-1)
    wrong = right.copy()
    wrong[0, :2] = (wrong[0, :2] + 1) % 3
    for ids, equal in (((right, right), 1), ((wrong, right), 0.75), ((right, wrong), 0.75)):
        served = dict(zip(("arr_0/class_ids", "arr_0/serve_class_ids/class_ids"), ids, strict=True))
        monkeypatch.setattr("keras_cacnet.export.keras_comparison._serve", lambda path, batches, served=served: served)
        found = verify(tmp_path, model, photographs((1, 8, 8)))
        assert (found.largest_difference, found.equal_ids) == (None, equal)
        assert found.within("float32") == (equal == 1)


def test_nan_is_no_agreement(model, tmp_path, monkeypatch, photographs):
    (tmp_path / "saved_model.pb").touch()
    served = {
        "arr_0/probabilities": np.full((1, 8, 8, 3), np.nan, "float32"),
        "arr_0/class_ids": np.zeros((1, 8, 8), "int32"),
    }
    monkeypatch.setattr("keras_cacnet.export.keras_comparison._serve", lambda path, batches: served)
    assert verify(tmp_path, model, photographs((1, 8, 8))).largest_difference == float("inf")
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    with pytest.raises(ValueError, match="'small' gives logits that are not finite"):
        verify(tmp_path, model, photographs((1, 8, 8)))


def test_a_damaged_export_is_told_with_its_reason(model, tmp_path, photographs):
    path = saved_model(model, tmp_path / "1")
    shutil.rmtree(path / "variables")
    with pytest.raises(RuntimeError, match=r"1 could not be run without Keras: FileNotFoundError: .*variables") as told:
        verify(path, model, photographs((1, 8, 8)))
    assert "\n" not in str(told.value)
    assert "Traceback" in told.value.__notes__[0]


def test_a_path_without_an_export_is_refused(model, tmp_path, photographs):
    with pytest.raises(FileNotFoundError, match="is no SavedModel"):
        verify(tmp_path, model, photographs((1, 8, 8)))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "no images"),
        ([np.zeros((8, 8, 3), "uint8")], r"got uint8 \(8, 8, 3\)"),
        ([np.zeros((1, 8, 8, 3), "float32")], "got float32"),
        ([np.zeros((1, 8, 0, 3), "uint8")], "not empty"),
    ],
)
def test_other_images_are_refused(model, tmp_path, images, message):
    (tmp_path / "saved_model.pb").touch()
    with pytest.raises(ValueError, match=message):
        verify(tmp_path, model, images)
