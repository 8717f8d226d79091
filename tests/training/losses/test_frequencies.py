"""Weights of classes against the rules, from masks counted by hand."""

import io
import math

import numpy as np
import pytest
from PIL import Image

from keras_cacnet.datasets import ClassTable, Example, check_dataset, count_labels
from keras_cacnet.training.losses import class_weights

CLASSES = ClassTable(("road", "car", "pole", "moon"), tuple((i, i, i) for i in range(4)), (3, 1, 7, 8))


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(np.array(pixels, "uint8")).save(file, "PNG")
    return file.getvalue()


class Two:
    """20 pixels of road, 5 of car and 3 of pole; car is only in the first image, pole only in the second."""

    name, classes, splits = "two", CLASSES, ("train",)

    def source(self, split):
        first = [[3] * 5, [3] * 5, [1] * 5, [255] * 5]
        second = [[3] * 5, [3] * 5, [7, 7, 7, 255, 255]]
        return [
            Example("one", png(np.zeros((4, 5, 3))), png(first)),
            Example("two", png(np.ones((3, 5, 3))), png(second)),
        ]

    def layout(self, split):
        return ()


def test_rules_and_counts():
    facts = count_labels(Two(), "train")
    checked = check_dataset(Two(), progress=False).splits["train"]
    assert np.array_equal(facts.pixels, checked.pixels)
    assert np.array_equal(facts.pixels_beside, checked.pixels_beside)
    # By the index of the class, not by the id in the file; the moon is never there.
    assert class_weights("balanced", facts) == pytest.approx([28 / 60, 28 / 15, 28 / 9, 0], rel=1e-14)
    frequencies = np.array([20 / 28, 5 / 15, 3 / 13])
    expected = [*(5 / 15 / frequencies), 0]
    assert class_weights("median_frequency", checked) == pytest.approx(expected, rel=1e-14)
    expected = [*(1 / math.log(1.02 + n / 28) for n in (20, 5, 3)), 0]
    assert class_weights("enet", facts) == pytest.approx(expected, rel=1e-14)


def test_given_weights():
    for how in ([1, 2, 3, 0.5], "1,2,3,0.5", {"car": 2, "pole": 3, "moon": 0.5}, "car:2, pole:3, moon:0.5"):
        assert class_weights(how, CLASSES) == [1.0, 2.0, 3.0, 0.5]


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("enett", "'enett' is none of balanced, median_frequency, enet, .*; did you mean enet?"),
        ("car:2,1", "none of balanced"),
        ("carr:2", "no class is called 'carr'; did you mean car?"),
        ([1, 2], "2 numbers, and there are 4 classes: road, car, pole, moon"),
        ([1, 2, 3, float("nan")], "class_weights must be 0 or more and finite, got nan"),
        ("balanced", r"needs counts: check_dataset\(dataset\)"),
    ],
)
def test_wrong_words_are_answered(how, told):
    with pytest.raises(ValueError, match=told):
        class_weights(how, CLASSES)
