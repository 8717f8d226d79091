"""The class table: its numbering, and what it refuses."""

import json

import numpy as np
import pytest

from keras_cacnet.datasets import VOID, ClassTable

TWO = ClassTable(("sky", "sea"), ((90, 160, 220), (20, 60, 140)), ids=(0, 1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((), (), ()), "at least one class"),
        ((("a",), ((0, 0, 0),), (0, 1)), "1 names, 1 colours and 2 ids"),
        ((("a", "a"), ((0, 0, 0),) * 2, (0, 1)), "'a' does not"),
        ((("a", "b"), ((0, 0, 0),) * 2, (0, 0)), "0 does not"),
        ((("a",), ((0, 0, 0),), (1,), (1,)), "1 does not"),
        ((("a",), ((0, 0, 0),), (255,)), "not 255"),
        ((("a",), ((0, 0),), (0,)), "three whole numbers"),
        ((("a",), ((0, 0, 300),), (0,)), "three whole numbers"),
        ((("a",), ((0, 0, 0.5),), (0,)), "three whole numbers"),
        ((("a",), ((0, 0, 0),), (0.0,)), r"whole numbers in 0\.\.254 \(255 is void\); not 0.0"),
        ((("a",), ((0, 0, 0),), (0,), (-1,)), r"whole numbers in 0\.\.255; not -1"),
        ((("a",), ((0, 0, 0),), (0,), (300,)), "not 300"),
        ((tuple(map(str, range(300))), ((0, 0, 0),) * 300, tuple(range(300))), "at most 255 classes; merge some"),
    ],
)
def test_bad_tables(arguments, message):
    with pytest.raises(ValueError, match=message):
        ClassTable(*arguments)


def test_numbering_follows_the_ids_and_comes_back():
    ids = (3, 17, 40, 254)
    table = ClassTable(tuple(map(str, ids)), tuple((i, 0, 0) for i in ids), ids, void_ids=(5,))
    mask = np.array([[3, 17, 40], [254, 5, 255]], "uint8")
    trained = table.to_training(mask, "x.png")
    np.testing.assert_array_equal(trained, [[0, 1, 2], [3, VOID, VOID]])
    assert trained.dtype == np.uint8
    # Void ids are one after training: they come back as 255.
    np.testing.assert_array_equal(table.to_file(trained), [[3, 17, 40], [254, 255, 255]])


def test_unknown_ids_are_counted_and_named():
    mask = np.array([[0, 7, 7], [9, 1, 255]], "uint8")
    with pytest.raises(ValueError, match="classes.txt") as raised:
        TWO.to_training(mask, "labels/a.png")
    assert str(raised.value).startswith("labels/a.png: ids 7 (2 pixels), 9 (1 pixel) are not in the class table")


def test_many_unknown_ids_are_cut_short():
    with pytest.raises(ValueError, match="and 245 more are not in"):
        TWO.to_training(np.arange(255, dtype="uint8")[None], "a.png")


@pytest.mark.parametrize("index", [2, -1, 300])
def test_indices_that_are_no_class(index):
    with pytest.raises(ValueError, match=rf"0\.\.1 or 255 \(void\); received {index}"):
        TWO.to_file(np.array([[0, index]]))


def test_json_round_trip_through_text():
    table = ClassTable(TWO.names, TWO.palette, TWO.ids, void_ids=(4,))
    again = ClassTable.from_json(json.loads(json.dumps(table.to_json())))
    assert again == table
    with pytest.raises(ValueError, match="'classes' .* and 'void_ids'"):
        ClassTable.from_json({"classes": []})


def test_lists_make_a_table_too():
    table = ClassTable(["a", "b"], [[0, 0, 0], np.array([9, 9, 9])], np.array([0, 1]))
    assert table == ClassTable(("a", "b"), ((0, 0, 0), (9, 9, 9)), (0, 1))
    assert hash(table)


def test_equal_tables_are_equal_and_hash_alike():
    one, other = (ClassTable(("a",), ((0, 0, 0),), (0,)) for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)


def test_json_keeps_the_colours_that_are_void():
    table = ClassTable(("sky",), ((90, 160, 220),), ids=(1,), void_palette=((0, 0, 0), (1, 2, 3)))
    assert ClassTable.from_json(table.to_json()).void_palette == ((0, 0, 0), (1, 2, 3))
