"""Masks with the colours of classes.txt, read in place: the same set as with ids, wherever masks are read."""

import io

import numpy as np
import pytest
from PIL import Image

from keras_cacnet.datasets import (
    ClassTable,
    check_dataset,
    open_dataset,
    read_example,
    read_mask,
    require_labels,
    require_layout,
)

COLORS = np.array([[90, 160, 220], [20, 60, 140], [90, 140, 60], [0, 0, 0]], "uint8")


def colour(folder, mode="RGB"):
    for path in (folder.root / "labels").rglob("*.png"):
        Image.fromarray(COLORS[np.asarray(Image.open(path))]).convert(mode).save(path)
    return open_dataset(folder.root)


def encoded(rgb):
    stream = io.BytesIO()
    Image.fromarray(np.asarray(rgb, "uint8")).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_the_same_set_as_with_ids(folder, mode):
    data = open_dataset(folder.root)
    by_ids = {split: [read_example(e, data.classes)[1] for e in data.source(split)] for split in ("train", "val")}
    counts = {split: facts.pixels[:3] for split, facts in check_dataset(data, progress=False).splits.items()}
    data = colour(folder, mode)
    require_layout(data)
    assert require_labels(data, "train", "val") == ()
    for split, masks in by_ids.items():
        for example, expected in zip(data.source(split), masks, strict=True):
            np.testing.assert_array_equal(read_example(example, data.classes)[1], expected)
    report = check_dataset(data, progress=False)
    assert report.findings == ()
    for split, facts in report.splits.items():
        np.testing.assert_array_equal(facts.pixels[:3], counts[split])


def test_colours_that_are_no_class(folder):
    data = colour(folder)
    path = folder.root / "labels" / "train" / "1.png"
    rgb = np.array(Image.open(path))
    rgb[0, :5], rgb[1, 0] = (1, 2, 3), (250, 0, 0)
    Image.fromarray(rgb).save(path)
    said = "the mask has colours, and 1 2 3 (5 pixels), 250 0 0 (1 pixel) are not in classes.txt; add them there"
    (error,) = check_dataset(data, progress=False).errors
    assert (error.where, error.message[: len(said)]) == (str(path), said)
    with pytest.raises(ValueError, match=r"1\.png: the mask has colours, and 1 2 3"):
        require_labels(data, "train")
    with pytest.raises(ValueError, match="the mask is RGB; masks are single-channel"):
        read_mask(path)


def test_classes_of_one_colour_cannot_be_told_apart():
    table = ClassTable(("a", "b"), ((1, 2, 3), (1, 2, 3)), (0, 1))
    with pytest.raises(ValueError, match="m.png: .* in classes.txt 'b' and 'a' have one colour, 1 2 3; give each"):
        read_mask(encoded([[[1, 2, 3]]]), "m.png", table)
    table = ClassTable(("a", "b"), ((1, 2, 3), (4, 5, 6)), (0, 1), void_palette=((4, 5, 6),))
    with pytest.raises(ValueError, match="'b' and 'void' have one colour"):
        read_mask(encoded([[[1, 2, 3]]]), "m.png", table)


def test_turned_by_exif(tmp_path):
    table = ClassTable(("a", "b"), ((1, 2, 3), (4, 5, 6)), (3, 7))
    ids = np.array([[3, 7, 7], [3, 3, 7]])
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.where(ids[..., None] == 3, (1, 2, 3), (4, 5, 6)).astype("uint8")).save(
        tmp_path / "m.png", exif=exif
    )
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png", classes=table), np.rot90(ids, -1))
