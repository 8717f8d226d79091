"""Lists of classes in the forms in which other tools write them."""

import pytest

from keras_cacnet.datasets.importing.class_lists import class_table, classes_of_labels, read_class_list

SKY, SEA = ("open sky", (90, 160, 220)), ("sea", (20, 60, 140))


@pytest.mark.parametrize(
    ("text", "suffix", "ids"),
    [
        ("0 open sky 90 160 220\n4 sea 20 60 140\n", ".txt", (0, 4)),
        ("open sky 90 160 220\n\n# no class\nsea\t20 60 140\n", ".txt", None),
        ("90 160 220\topen sky\n20 60 140\tsea", ".txt", None),
        ("# label:color_rgb:parts:actions\nopen sky:90,160,220::\nsea:20,60,140::\n", ".txt", None),
        ("name,r,g,b\nopen sky,90,160,220\nsea, 20, 60, 140\n", ".csv", None),
        ("Index,Class,Red,Green,Blue\n0,open sky,90,160,220\n4,sea,20,60,140\n", ".csv", (0, 4)),
    ],
)
def test_names_and_colours(tmp_path, text, suffix, ids):
    path = tmp_path / f"list{suffix}"
    path.write_text("\ufeff" + text)
    found = read_class_list(path)
    assert [(one.name, one.color) for one in found] == [SKY, SEA]
    assert [one.id for one in found] == list(ids or (None, None))


@pytest.mark.parametrize(
    ("text", "ids"), [("open sky\nsea\n", (None, None)), ("1: open sky\n2: sea", (1, 2)), ("1 open sky\n2 sea", (1, 2))]
)
def test_names_only(tmp_path, text, ids):
    path = tmp_path / "list.txt"
    path.write_text(text)
    assert [(one.name, one.id, one.color) for one in read_class_list(path)] == [
        ("open sky", ids[0], None),
        ("sea", ids[1], None),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no list of classes; expected `id name R G B`"),
        ("void 0 0 0\n", "no class that is not void"),
        ("sky 1 2 3\nsky 4 5 6\n", "name 'sky' is there twice"),
        ("sky 1 2 3\nsea 1 2 3\n", r"colour \(1, 2, 3\) is there twice"),
        ("3 sky\n3 sea\n", "id 3 is there twice"),
        ("sky 1 2 300\n", r"colour \(1, 2, 300\) of 'sky' is out of range"),
        ("300 sky\n", "id 300 of 'sky' is above 255"),
    ],
)
def test_wrong_lists_name_the_file(tmp_path, text, said):
    path = tmp_path / "list.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=said) as raised:
        read_class_list(path)
    assert str(raised.value).startswith(f"{path}: ")


def test_labels_become_classes_above_the_background():
    table = classes_of_labels(["cat", "__ignore__", "c#"], None)
    assert (table.names, table.ids) == (("background", "cat", "c"), (0, 1, 2))
    assert classes_of_labels(["dog", "_background_", "cat"], None).names == ("_background_", "dog", "cat")
    assert len(set(class_table(read_many()).palette)) == 200


def read_many():
    from keras_cacnet.datasets.importing.class_lists import NamedClass

    return [NamedClass(f"c{i}", (128, 0, 0) if i == 7 else None, i) for i in range(200)]
