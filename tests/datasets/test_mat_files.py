"""Masks in `.mat` files: what is read, and what is told of files that are none."""

import numpy as np
import pytest
from scipy.io import savemat

from keras_cacnet.datasets.mat_files import read_mat

IDS = np.arange(12, dtype="uint8").reshape(3, 4)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_variable_and_a_field_within_one(tmp_path, compressed):
    path = tmp_path / "a.mat"
    savemat(path, {"LabelMap": IDS, "GTcls": {"Segmentation": IDS.T, "Boundaries": []}}, do_compression=compressed)
    np.testing.assert_array_equal(read_mat(path, "LabelMap"), IDS)
    np.testing.assert_array_equal(read_mat(path, "GTcls", "Segmentation"), IDS.T)


@pytest.mark.parametrize(
    ("held", "fields", "message"),
    [
        ({"something": IDS}, ("LabelMap",), r"no LabelMap in it; found .*\.$"),
        ({"GTcls": {"Boundaries": IDS}}, ("GTcls", "Segmentation"), r"no GTcls.Segmentation in it; found .*Boundaries"),
        ({"LabelMap": IDS / 2}, ("LabelMap",), r"LabelMap is no matrix of ids: float64, shape \(3, 4\)\."),
        ({"LabelMap": np.stack([IDS] * 3)}, ("LabelMap",), r"no matrix of ids: uint8, shape \(3, 3, 4\)\."),
    ],
)
def test_what_it_holds_instead_is_told(tmp_path, held, fields, message):
    savemat(tmp_path / "a.mat", held)
    with pytest.raises(ValueError, match=message) as raised:
        read_mat(tmp_path / "a.mat", *fields)
    assert str(raised.value).startswith(f"{tmp_path / 'a.mat'}: ")


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"MATLAB 5.0 MAT-file" + bytes(50)])
def test_other_files_are_named(tmp_path, content):
    path = tmp_path / "a.mat"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.mat: not a MATLAB file that can be read \("):
        read_mat(path, "LabelMap")
    path.unlink()
    with pytest.raises(ValueError, match=r"a\.mat: no such file\."):
        read_mat(path, "LabelMap")
