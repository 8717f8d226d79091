import struct
import zlib

import numpy as np
import pytest

from keras_cacnet.datasets import VOID, ClassTable, read_mask
from keras_cacnet.visualization import save_ids

CLASSES = ClassTable(("sky", "sea"), ((90, 160, 220), (20, 60, 140)), ids=(3, 7), void_ids=(0,))


def raw_png(path):
    """Header, palette and pixel rows by the PNG standard alone, past every image library."""
    data, chunks, at = path.read_bytes(), {}, 8
    while at < len(data):
        (size,), kind = struct.unpack(">I", data[at : at + 4]), data[at + 4 : at + 8]
        chunks[kind] = chunks.get(kind, b"") + data[at + 8 : at + 8 + size]
        at += size + 12
    width, height, depth, color_type = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), "uint8").reshape(height, width + 1)
    return depth, color_type, np.frombuffer(chunks[b"PLTE"], "uint8").reshape(-1, 3), rows


def test_the_file_holds_ids_at_8_bits_and_the_colours_at_their_ids(tmp_path):
    save_ids(np.array([[0, 1, VOID], [1, 1, 0]], "uint8"), tmp_path / "ids.png", CLASSES)
    depth, color_type, palette, rows = raw_png(tmp_path / "ids.png")
    assert (depth, color_type) == (8, 3)
    # The first byte of a row is its filter; palette images are written unfiltered.
    assert rows.tolist() == [[0, 3, 7, 255], [0, 7, 7, 3]]
    assert palette.shape == (256, 3)
    assert palette[3].tolist() == [90, 160, 220]
    assert palette[7].tolist() == [20, 60, 140]


def test_the_reader_of_masks_gives_the_ids_back(tmp_path):
    ids = np.random.default_rng(0).choice([0, 1, VOID], (9, 13)).astype("uint8")
    save_ids(ids, tmp_path / "ids.png", CLASSES)
    np.testing.assert_array_equal(CLASSES.to_training(read_mask(tmp_path / "ids.png"), "ids.png"), ids)


@pytest.mark.parametrize("ids", [np.zeros((2, 2)), np.zeros((2, 2, 1), "uint8"), np.zeros((0, 2), "uint8")])
def test_other_ids_are_refused(tmp_path, ids):
    with pytest.raises(ValueError, match=r"class indices must be integers \(H, W\), got"):
        save_ids(ids, tmp_path / "ids.png", CLASSES)


def test_an_index_outside_the_classes_is_refused(tmp_path):
    with pytest.raises(ValueError, match="received 2"):
        save_ids(np.array([[2]]), tmp_path / "ids.png", CLASSES)
    assert not (tmp_path / "ids.png").exists()


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    save_ids(np.zeros((2, 2), "uint8"), "~/ids.png", CLASSES)
    assert (tmp_path / "ids.png").is_file()
