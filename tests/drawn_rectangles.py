"""The rectangles of the masks that the tests of importing draw, and what is read back."""

from keras_cacnet.datasets import Folder, import_folder, read_example

SPLITS = ("train",) * 6 + ("val",) * 2 + ("test",) * 2
NAMES = ("background", "sea", "land")


def imported(source, output, **options):
    return import_folder(source, output, progress=False, **options)


def boxes(number, height):
    """Left, top, right and bottom of the two classes of a drawn mask; the second lies over the first.

    Their corners are corners of pixels, so that polygons draw them exactly.
    """
    return (10, 20, 40, height), (30, 30 + number, 60, height)


def corners(box):
    left, top, right, bottom = box
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def masks_of(folder):
    data = Folder(folder)
    return {e.name: read_example(e, data.classes)[1] for split in data.splits for e in data.source(split)}
