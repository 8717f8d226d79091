import numpy as np
import pytest

from keras_cacnet.datasets import VOID, ClassTable, read_image, read_mask
from keras_cacnet.visualization import overlay

CLASSES = ClassTable(
    ("sky", "sea", "a class with a name that no legend of any size has room for"),
    ((90, 160, 220), (20, 60, 140), (230, 210, 150)),
    ids=(0, 1, 2),
)


def scene(height, width):
    """Sky above sea, and some void in a corner."""
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype("uint8")
    ids = np.zeros((height, width), "uint8")
    ids[height // 2 :] = 1
    ids[: height // 4, : width // 4] = VOID
    return image, ids


def test_the_photograph_is_tinted_outlined_and_left_alone_where_void():
    image, ids = scene(480, 640)
    shown = overlay(image, ids, CLASSES, alpha=0.25, legend=False)
    assert shown.shape == image.shape
    # Half a unit for rounding.
    inside = image[300].astype("float64") * 0.75 + np.array(CLASSES.palette[1]) * 0.25
    assert np.abs(shown[300] - inside).max() <= 0.5 + 1e-3
    np.testing.assert_array_equal(shown[:120, :160], image[:120, :160])
    np.testing.assert_array_equal(shown[239], np.broadcast_to(CLASSES.palette[0], (640, 3)))
    np.testing.assert_array_equal(shown[240], np.broadcast_to(CLASSES.palette[1], (640, 3)))


def test_the_legend_stands_below_and_never_on_the_photograph():
    image, ids = scene(480, 640)
    bare, whole = (overlay(image, ids, CLASSES, legend=legend) for legend in (False, True))
    np.testing.assert_array_equal(whole[:480, :640], bare)
    assert len(whole) > 480 + 14


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((64, 64), (512, 512)),
        ((1, 1), (480, 480)),
        ((479, 10), (958, 20)),
        ((480, 360), (480, 360)),
        ((1440, 1920), (1440, 1920)),
        ((3000, 4000), (1440, 1920)),
        ((2, 4000), (1, 1920)),
    ],
)
def test_every_size_becomes_one_that_can_be_looked_at(size, shown):
    image, ids = scene(*size)
    assert overlay(image, ids, CLASSES, legend=False).shape == (*shown, 3)
    whole = overlay(image, ids, CLASSES)
    assert whole.shape[0] > shown[0]
    assert whole.shape[1] >= shown[1]


def test_swatches_have_the_colours_of_the_classes():
    image, ids = scene(480, 640)
    legend = overlay(image, ids, CLASSES)[480:].reshape(-1, 3)
    for color in CLASSES.palette[:2]:
        assert (legend == color).all(axis=-1).sum() > 100
    assert not (legend == CLASSES.palette[2]).all(axis=-1).any()


@pytest.mark.parametrize("alpha", [-0.1, 1.1])
def test_an_opacity_out_of_range_is_refused(alpha):
    image, ids = scene(8, 8)
    with pytest.raises(ValueError, match=f"got {alpha}"):
        overlay(image, ids, CLASSES, alpha=alpha)


def test_what_does_not_fit_is_refused():
    image, ids = scene(8, 6)
    with pytest.raises(ValueError, match=r"the image is \(8, 6\) and its class indices \(6, 8\)"):
        overlay(image, ids.T, CLASSES)
    with pytest.raises(ValueError, match="an image must be uint8"):
        overlay(image.astype("float32"), ids, CLASSES)
    with pytest.raises(ValueError, match="received 3"):
        overlay(image, np.full_like(ids, 3), CLASSES)


def test_inputs_are_not_changed():
    image, ids = scene(64, 64)
    before = image.copy(), ids.copy()
    overlay(image, ids, CLASSES)
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(ids, before[1])


def test_a_photograph_with_its_mask(shared_data):
    folder = shared_data / "camvid"
    classes = ClassTable.from_file(folder / "classes.txt")
    file = min((folder / "images" / "val").iterdir())
    mask = classes.to_training(read_mask(folder / "labels" / "val" / f"{file.stem}.png"), file.stem)
    assert overlay(read_image(file), mask, classes).shape[0] > 360


def test_background_is_left_as_the_photograph_is_unless_asked_for():
    classes = ClassTable(("Background", "sea"), ((90, 160, 220), (20, 60, 140)), ids=(0, 1))
    image, ids = scene(480, 640)
    shown = overlay(image, ids, classes, legend=False)
    np.testing.assert_array_equal(shown[:239], image[:239])
    # The sea keeps its outline.
    np.testing.assert_array_equal(shown[240], np.broadcast_to(classes.palette[1], (640, 3)))
    assert (overlay(image, ids, classes, legend=False, untinted=())[130:239] != image[130:239]).any()
