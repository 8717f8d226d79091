"""A batch as a picture: which image and mask is where, and what is refused."""

import numpy as np
import pytest
import tensorflow as tf

from keras_cacnet.datasets import VOID, ClassTable
from keras_cacnet.visualization import batch_figure

CLASSES = ClassTable(("sky", "sea"), ((90, 160, 220), (20, 60, 140)), ids=(0, 1))


def batch(count):
    images = np.arange(count, dtype="uint8")[:, None, None, None] + np.zeros((count, 8, 8, 3), "uint8")
    masks = np.zeros((count, 8, 8), "uint8")
    for index in range(count):
        masks[index, :index] = 1
    masks[-1, -1] = VOID
    return images, masks


def test_images_stand_beside_their_masks():
    images, masks = batch(4)
    figure = batch_figure(images, masks, CLASSES)
    shown = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    assert len(shown) == 8
    colors = np.array([*CLASSES.palette, *[(0, 0, 0)] * (VOID - 1)])
    for index in range(4):
        np.testing.assert_array_equal(shown[2 * index], images[index])
        np.testing.assert_array_equal(shown[2 * index + 1][..., :3], colors[masks[index]])
        np.testing.assert_array_equal(shown[2 * index + 1][..., 3] == 0, masks[index] == VOID)
    assert [axes.get_title() for axes in figure.axes[:6]] == ["Image", "Mask"] * 3
    assert figure.get_size_inches()[0] <= 6.7
    assert len(batch_figure(images[:1], masks[:1], CLASSES).axes) == 2


def test_batches_of_fit_are_rounded():
    images, masks = batch(3)
    tensors = tf.constant(images, "float32") + 0.4, tf.constant(masks, "int32")
    shown = [axes.images[0].get_array() for axes in batch_figure(*tensors, CLASSES).axes if axes.images]
    for index in range(3):
        np.testing.assert_array_equal(shown[2 * index], images[index])
    with pytest.raises(ValueError, match=r"images are in 0\.\.255; got -1 to -1"):
        batch_figure(images.astype("float32") - 1, masks, CLASSES)


def test_what_does_not_fit_is_told():
    images, masks = batch(3)
    with pytest.raises(ValueError, match="a mask for every image, got 3 images and 2 masks"):
        batch_figure(images, masks[:2], CLASSES)
    with pytest.raises(ValueError, match="got 0 images"):
        batch_figure([], [], CLASSES)
    with pytest.raises(ValueError, match="5"):
        batch_figure(images, masks + 5, CLASSES)
