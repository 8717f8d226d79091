"""The text of classes.txt: what is read from it, and which lines are refused by name."""

import numpy as np
import pytest

from keras_cacnet.datasets import ClassTable

TWO = "0 sky 90 160 220\n1 sea 20 60 140\n"


def write(tmp_path, text):
    path = tmp_path / "classes.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_file_with_comments_spaces_and_void(tmp_path):
    text = "# index name R G B\n\n7 Traffic  light 1 2 3  # at night\n2\tÅker\t0 255 10\n11 Void 0 0 0\n9 void 9 9 9\n"
    table = ClassTable.from_file(write(tmp_path, text))
    assert table.names == ("Åker", "Traffic  light")
    assert table.ids == (2, 7)
    assert table.palette == ((0, 255, 10), (1, 2, 3))
    assert table.void_ids == (9, 11)
    assert len(table) == 2


def test_byte_order_mark_and_windows_line_ends(tmp_path):
    table = ClassTable.from_file(write(tmp_path, b"\xef\xbb\xbf" + TWO.replace("\n", "\r\n").encode()))
    assert table.names == ("sky", "sea")


def test_camvid(shared_data):
    table = ClassTable.from_file(shared_data / "camvid" / "classes.txt")
    assert len(table) == 11
    assert table.void_ids == (11,)
    assert table.names[8] == "Car"
    assert table.palette[8] == (64, 0, 128)


def test_void_255_may_be_listed(tmp_path):
    table = ClassTable.from_file(write(tmp_path, TWO + "255 void 224 224 192\n"))
    assert table.void_ids == ()


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (TWO + "1 lake 0 0 0\n", 3, "index 1 is in line 2 already; give each class an index"),
        (TWO + "2 sky 0 0 0\n", 3, "name 'sky' is in line 1 already"),
        (TWO + "2 void 0 0 0\n2 land 0 0 0", 4, "index 2 is in line 3 already"),
        ("0 sky 90 160 256\n", 1, "colour 90 160 256 of 'sky' is out of range"),
        ("0 sky 90 160\n", 1, "'0 sky 90 160' is not a class; expected `index name R G B`"),
        ("sky 90 160 220\n", 1, "is not a class"),
        ("0 sky -1 160 220\n", 1, "is not a class"),
        ("-1 sky 1 160 220\n", 1, "is not a class"),
        ("0 90 160 220\n", 1, "is not a class"),
        ("0,sky,90,160,220\n", 1, "is not a class"),
        ("255 sky 90 160 220\n", 1, "index 255 of 'sky' is out of range; masks are 8-bit"),
        ("256 void 90 160 220\n", 1, "index 256 of 'void' is out of range"),
    ],
)
def test_bad_lines_are_named(tmp_path, text, line, message):
    path = write(tmp_path, text)
    with pytest.raises(ValueError, match="classes.txt") as raised:
        ClassTable.from_file(path)
    assert str(raised.value).startswith(f"{path}, line {line}: ")
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no classes; write one a line"),
        ("# nothing\n3 void 0 0 0\n", "no classes"),
        (b"0 \xc5ker 1 2 3\n", "not UTF-8 text"),
    ],
)
def test_bad_files_are_named(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(ValueError, match=message) as raised:
        ClassTable.from_file(path)
    assert str(path) in str(raised.value)


def test_missing_file_and_folder(tmp_path):
    for path in (tmp_path / "classes.txt", tmp_path):
        with pytest.raises(ValueError, match="cannot be read") as raised:
            ClassTable.from_file(path)
        assert str(path) in str(raised.value)


def test_as_many_classes_as_masks_can_hold(tmp_path):
    path = write(tmp_path, "".join(f"{i} c{i} 0 0 0\n" for i in range(255)))
    table = ClassTable.from_file(path)
    np.testing.assert_array_equal(table.to_training(np.arange(256, dtype="uint8"), "m"), np.arange(256))
    path.write_text(path.read_text() + "255 c255 0 0 0\n")
    with pytest.raises(ValueError, match=r"line 256: index 255 of 'c255' is out of range; masks are 8-bit"):
        ClassTable.from_file(path)


def test_what_is_written_is_read_again(tmp_path):
    table = ClassTable(("open sea", "Åker"), ((1, 2, 3), (4, 5, 6)), ids=(3, 200), void_ids=(0, 9))
    assert table.to_text() == "3 open sea 1 2 3\n200 Åker 4 5 6\n0 void 0 0 0\n9 void 0 0 0\n"
    assert ClassTable.from_file(write(tmp_path, table.to_text())) == table
