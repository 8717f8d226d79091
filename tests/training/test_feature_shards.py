"""Shards of features on disk: what is written is read again row by row, and half a shard is none."""

import numpy as np
import pytest

from keras_cacnet.training import feature_shards
from keras_cacnet.training.feature_shards import FeatureShards

ARRAYS = {"P5": ((2, 3), "float16"), "masks": ((5,), "uint8")}
ROW = 2 * 3 * 2 + 5  # bytes
VALUES = {"P5": np.arange(42, dtype="float16").reshape(7, 2, 3), "masks": np.arange(35, dtype="uint8").reshape(7, 5)}


@pytest.fixture
def shards(tmp_path, monkeypatch):
    """Seven rows, three a shard."""
    monkeypatch.setattr(feature_shards, "_SHARD_BYTES", 4 * ROW - 1)
    return FeatureShards(tmp_path, 7, ARRAYS)


def write(shards, *numbers):
    for number in numbers:
        rows = shards.rows(number)
        shards.write(number, {name: values[rows.start : rows.stop] for name, values in VALUES.items()})


def test_rows_are_read_by_their_numbers(shards):
    assert (shards.row_bytes, shards.size) == (ROW, 3)
    assert [list(shards.rows(shard)) for shard in shards.missing()] == [[0, 1, 2], [3, 4, 5], [6]]
    write(shards, 2, 0, 1)
    assert not shards.missing()
    read, numbers = shards.reader(), np.array([6, 0, 3, 3])
    for found, expected in zip(read(numbers), VALUES.values(), strict=True):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected[numbers])
    assert sorted(path.name for path in shards.folder.iterdir()) == ["00000", "00001", "00002"]


def test_a_row_larger_than_a_shard_has_one_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(feature_shards, "_SHARD_BYTES", 1)
    assert FeatureShards(tmp_path, 7, ARRAYS).size == 1


@pytest.mark.parametrize("harm", ["cut short", "of another type", "of other rows", "one is gone"])
def test_half_a_shard_is_none_and_is_written_again(shards, harm):
    write(shards, 0, 1, 2)
    path = shards.folder / "00001" / "P5.npy"
    if harm == "cut short":
        path.write_bytes(path.read_bytes()[:-7])
    elif harm == "of another type":
        np.save(path, VALUES["P5"][3:6].astype("float32"))
    elif harm == "of other rows":
        np.save(path, VALUES["P5"][3:5])
    else:
        path.unlink()
    assert shards.missing() == [1]
    with pytest.raises(ValueError, match="is not complete: fill it first"):
        shards.reader()
    write(shards, 1)
    np.testing.assert_array_equal(shards.reader()(np.arange(7))[0], VALUES["P5"])


def test_what_another_process_has_written_stays(shards):
    write(shards, 0)
    times = {path: path.stat().st_mtime_ns for path in shards.folder.rglob("*.npy")}
    write(shards, 0)
    assert {path: path.stat().st_mtime_ns for path in shards.folder.rglob("*.npy")} == times


def test_a_folder_that_cannot_be_written_names_what_moves_it(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="cannot be written .*: name another folder .* KERAS_CACNET_DATA, or set cached_"):
        FeatureShards(tmp_path / "file", 7, ARRAYS).require_room(0)
