import numpy as np
import pytest
from PIL import Image

from keras_cacnet.datasets import Example
from keras_cacnet.evaluation import prediction_writer


def test_files_hold_the_ids_of_the_data_set(classes, tmp_path):
    ids = np.array([[0, 1, 4], [3, 2, 255]], "uint8")
    write = prediction_writer([Example("a", b"", b""), Example("scenes/val/7", b"", None)], tmp_path / "out", classes)
    write(0, ids)
    write(1, ids[::-1])
    for name, expected in (("a", ids), ("scenes/val/7", ids[::-1])):
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
    with pytest.raises(ValueError, match="out is a file; the predictions need a folder"):
        prediction_writer([], tmp_path / "out", classes)
