"""Images with a mask each, as people arrange and colour them: every form comes out as the masks it was drawn from."""

import numpy as np
import pytest
from PIL import Image

from keras_cacnet.datasets import import_folder

from .conftest import COLORS, NAMES, TABLE


def imported(source, output, **options):
    return import_folder(source, output, progress=False, **options)


@pytest.mark.parametrize(
    ("images", "masks", "suffix", "image_ending", "mask_ending"),
    [
        ("images", "masks", ".png", "", ""),
        ("images", "labels", ".bmp", "", ""),
        ("JPEG images", "annotations", ".tif", "", ""),
        ("img_dir", "ann_dir", ".png", "", ""),
        ("imgs", "ground_truth", ".png", "", "_gt"),
        ("photos", "photos", ".png", "", "_mask"),
        (".", ".", ".png", "_sat", "_mask"),
        (".", ".", ".png", "", ""),
        ("images", "images/masks", ".png", "", "-label"),
        ("701_StillsRaw_full", "LabeledApproved_full", ".png", "", "_L"),
        ("SET-2017_Data", "SET-2017_Part1_GroundTruth", ".png", "", "_segmentation"),
        ("original_images", "label_images_semantic", ".png", "", ""),
    ],
)
def test_arrangements(drawn, assert_imported, snapshot, tmp_path, images, masks, suffix, image_ending, mask_ending):
    source = tmp_path / "source"
    drawn.write_images(source / images, ending=image_ending)
    drawn.write_masks(source / masks, suffix=suffix, ending=mask_ending)
    (source / ".DS_Store").write_bytes(b"x")
    before = snapshot(source)
    report = imported(source, tmp_path / "out")
    assert report.format == "masks"
    assert report.splits == {"train": 8, "val": 1, "test": 1}
    assert report.findings == ()
    assert report.classes.names == ("class_0", "class_1", "class_2")
    assert_imported(tmp_path / "out", name_of=lambda name: name.removesuffix(image_ending))
    assert snapshot(source) == before


@pytest.mark.parametrize(
    ("image_folder", "mask_folder"),
    [
        ("images/{}", "labels/{}"),
        ("{}/images", "{}/masks"),
        ("{}", "{}_labels"),
        ("{}", "{}annot"),
        ("images", "masks/{}"),
        ("img/{}ing", "gt/{}ing"),
    ],
)
def test_splits_of_the_source_are_kept(drawn, assert_imported, tmp_path, image_folder, mask_folder):
    source = tmp_path / "source"
    for number, (name, mask) in enumerate(drawn.masks.items()):
        split = "test" if number > 7 else "train" if number % 3 else "val"
        split = {"val": "valid"}.get(split, split) if "ing" not in image_folder else "train" if number else "test"
        for folder, pixels, suffix in ((image_folder, drawn.images[name], "png"), (mask_folder, mask, "png")):
            path = source / folder.format(split) / f"{name}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    report = imported(source, tmp_path / "out")
    if "ing" in image_folder:
        assert report.splits == {"train": 9, "test": 1}
    else:
        assert report.splits == {"train": 5, "val": 3, "test": 2}
        assert_imported(tmp_path / "out")
    assert imported(source, tmp_path / "anew", split=(0.5, 0.5)).splits == {"train": 5, "val": 5}


def colored(mask, mode):
    """The mask in colours; as P with a palette of its own in every file, as adaptive palettes are."""
    if mode != "P":
        return Image.fromarray(COLORS[mask]).convert(mode)
    order = np.random.default_rng(int(mask.sum())).permutation(3)
    image = Image.fromarray(np.argsort(order).astype("uint8")[mask])
    image.putpalette(COLORS[order].tobytes())
    return image


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
@pytest.mark.parametrize("numbers", ["", "0 ", "4 "])
def test_colours_by_a_table(drawn, assert_imported, tmp_path, mode, numbers):
    """The table's order numbers the classes, or its ids do."""
    drawn.write_images(tmp_path / "source" / "images")
    drawn.write_masks(tmp_path / "source" / "masks", lambda mask: colored(mask, mode))
    table = tmp_path / "colors.txt"
    first = int(numbers or 0)
    lines = TABLE.splitlines()
    table.write_text("\n".join(f"{first + i} {line}" if numbers else line for i, line in enumerate(lines)))
    report = imported(tmp_path / "source", tmp_path / "out", classes=table)
    assert report.classes.names == NAMES
    assert report.classes.ids == (first, first + 1, first + 2)
    assert report.classes.palette == tuple(map(tuple, COLORS.tolist()))
    assert_imported(tmp_path / "out")


def test_a_table_beside_the_images_is_found(drawn, assert_imported, tmp_path):
    source = tmp_path / "source"
    drawn.write_images(source / "train")
    drawn.write_masks(source / "train_labels", lambda mask: COLORS[mask])
    rows = [f"{name},{r},{g},{b}" for name, (r, g, b) in zip(NAMES, COLORS.tolist(), strict=True)]
    (source / "class_dict.csv").write_text("\n".join(["name,r,g,b", *rows]))
    report = imported(source, tmp_path / "out", split=(0.8, 0.2))
    assert report.classes.names == NAMES
    assert "class_dict.csv" in report.what
    assert_imported(tmp_path / "out")


def test_equal_names_in_several_folders(drawn, tmp_path):
    """Every city and split has a scene_0; what the folders are called beside that does not matter."""
    from keras_cacnet.datasets import Folder, read_example

    names = iter(drawn.masks)
    for split in ("train", "val"):
        for city in ("ulm", "bonn"):
            name = next(names)
            for part, pixels in (("photographs", drawn.images[name]), ("label_ids_semantic", drawn.masks[name])):
                path = tmp_path / "source" / part / split / city / "scene.png"
                path.parent.mkdir(parents=True)
                Image.fromarray(pixels).save(path)
    report = imported(tmp_path / "source", tmp_path / "out")
    assert (report.splits, report.findings) == ({"train": 2, "val": 2}, ())
    data = Folder(tmp_path / "out")
    found = [read_example(example, data.classes) for split in data.splits for example in data.source(split)]
    # By the names of the files written: bonn comes before ulm.
    for (image, mask), number in zip(found, (1, 0, 3, 2), strict=True):
        np.testing.assert_array_equal(image, drawn.images[f"scene_{number}"])
        np.testing.assert_array_equal(mask, drawn.masks[f"scene_{number}"])


def test_pictures_of_masks_and_of_instances_are_no_masks(drawn, assert_imported, tmp_path):
    drawn.write_images(tmp_path / "source" / "images" / "10k")
    drawn.write_masks(tmp_path / "source" / "labels" / "sem_seg" / "masks")
    drawn.write_masks(tmp_path / "source" / "labels" / "sem_seg" / "colormaps", lambda mask: COLORS[mask])
    drawn.write_masks(tmp_path / "source" / "labels" / "instances", lambda mask: mask + 9)
    assert imported(tmp_path / "source", tmp_path / "out").findings == ()
    assert_imported(tmp_path / "out")


def test_names_by_the_value_of_the_pixels(drawn, assert_imported, tmp_path):
    """A list beside the images, in each split's folder, as Roboflow writes it."""
    for split in ("train", "valid"):
        place = tmp_path / "source" / split
        drawn.write_images(place) if split == "train" else None
        drawn.write_masks(place, ending="_mask") if split == "train" else None
        place.mkdir(exist_ok=True)
        (place / "_classes.csv").write_text("Pixel Value, Class\n0, sky\n1, sea\n2, land\n")
    report = imported(tmp_path / "source", tmp_path / "out", split=(0.8, 0.2))
    assert report.classes.names == NAMES
    assert_imported(tmp_path / "out")


@pytest.mark.parametrize("mode", ["RGB", "P"])
def test_colours_without_a_table_are_numbered(drawn, assert_imported, tmp_path, mode):
    drawn.write_images(tmp_path / "source" / "images")
    drawn.write_masks(tmp_path / "source" / "masks", lambda mask: colored(mask, mode))
    report = imported(tmp_path / "source", tmp_path / "out")
    # In the order of red, green, blue: sea, land, sky.
    assert report.classes.names == ("color_143c8c", "color_5a8c3c", "color_5aa0dc")
    assert_imported(tmp_path / "out", index_of=(2, 0, 1))


def test_colours_that_are_no_class_become_void_and_are_told(drawn, tmp_path):
    from keras_cacnet.datasets import Folder, read_example

    drawn.write_images(tmp_path / "source" / "images")
    drawn.write_masks(tmp_path / "source" / "masks", lambda mask: COLORS[mask])
    rgb = COLORS[drawn.masks["scene_3"]].copy()
    rgb[:2, :3] = (1, 2, 3)
    path = tmp_path / "source" / "masks" / "scene_3.png"
    Image.fromarray(rgb).save(path)
    (tmp_path / "table.txt").write_text(TABLE)
    report = imported(tmp_path / "source", tmp_path / "out", classes=tmp_path / "table.txt")
    (finding,) = report.findings
    assert (finding.where, finding.level) == (str(path), "warning")
    assert "1 2 3 (6 pixels)" in finding.message
    data = Folder(tmp_path / "out")
    masks = {e.name: read_example(e, data.classes)[1] for split in data.splits for e in data.source(split)}
    assert (masks["scene_3"] == 255).sum() == 6
    assert (masks["scene_3"][:2, :3] == 255).all()
    (tmp_path / "other.txt").write_text("sky 90 160 220\nroad 9 9 9\n")
    with pytest.raises(ValueError, match="% of the pixels have colours that are not in the list of classes: 20 60 140"):
        imported(tmp_path / "source", tmp_path / "wrong", classes=tmp_path / "other.txt")


def halves(mask):
    return (mask == 2).astype("uint8") * 255


def one_bit(mask):
    return Image.fromarray(mask == 2)


def gray_rgb(mask):
    return np.repeat(halves(mask)[..., None], 3, -1)


@pytest.mark.parametrize(
    ("convert", "suffix"),
    [(halves, ".png"), (one_bit, ".png"), (one_bit, ".tif"), (gray_rgb, ".png"), (halves, ".jpg"), (halves, ".gif")],
)
def test_black_and_white(drawn, assert_imported, tmp_path, convert, suffix):
    drawn.write_images(tmp_path / "source" / "images", suffix=".png")
    drawn.write_masks(tmp_path / "source" / "masks", convert, suffix)
    report = imported(tmp_path / "source", tmp_path / "out")
    assert report.classes.names == ("background", "foreground")
    assert_imported(tmp_path / "out", index_of=(0, 0, 1))
    named = imported(tmp_path / "source", tmp_path / "named", classes=["crack"])
    assert named.classes.names == ("background", "crack")
    with pytest.raises(ValueError, match="the masks are black and white, and the list has 3 classes"):
        imported(tmp_path / "source", tmp_path / "three", classes=NAMES)


def test_stretched_gray_is_numbered(drawn, assert_imported, tmp_path):
    drawn.write_images(tmp_path / "source" / "images")
    drawn.write_masks(tmp_path / "source" / "masks", lambda mask: mask * 127)
    report = imported(tmp_path / "source", tmp_path / "out")
    assert report.classes.names == ("gray_0", "gray_127", "gray_254")
    assert_imported(tmp_path / "out")


def test_ids_from_one_on(drawn, assert_imported, tmp_path):
    """Names without ids: they count from where the masks do."""
    drawn.write_images(tmp_path / "source" / "images")
    drawn.write_masks(tmp_path / "source" / "masks", lambda mask: mask + 1)
    report = imported(tmp_path / "source", tmp_path / "out", classes=NAMES)
    assert report.classes.ids == (1, 2, 3)
    assert assert_imported(tmp_path / "out").classes.names == NAMES
    with pytest.raises(ValueError, match=r"masks have ids 1\.\.3, and the list has 2 names without ids"):
        imported(tmp_path / "source", tmp_path / "two", classes=NAMES[:2])


def test_void_in_the_masks(drawn, tmp_path):
    from keras_cacnet.datasets import check_dataset, open_dataset

    drawn.write_images(tmp_path / "source" / "images")
    drawn.write_masks(tmp_path / "source" / "masks", lambda mask: np.where(mask == 2, 255, mask).astype("uint8"))
    report = imported(tmp_path / "source", tmp_path / "out")
    assert report.classes.ids == (0, 1)
    found = check_dataset(open_dataset(tmp_path / "out"), progress=False)
    assert found.findings == ()
    assert sum(facts.void for facts in found.splits.values()) == sum((m == 2).sum() for m in drawn.masks.values())


def test_voc_tree_with_other_classes(drawn, assert_imported, tmp_path):
    """Palette PNGs, lists of splits, a list of classes as CVAT writes it, instances beside; an image in no list."""
    root = tmp_path / "source" / "VOCdevkit" / "VOC2012"
    drawn.write_images(root / "JPEGImages")

    def indexed(mask):
        image = Image.fromarray(mask)
        image.putpalette(COLORS.tobytes())
        return image

    drawn.write_masks(root / "SegmentationClass", indexed)
    drawn.write_masks(root / "SegmentationObject", lambda mask: mask + 40)
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    names = list(drawn.masks)
    (lists / "train.txt").write_text("\n".join(names[:6]))
    (lists / "val.txt").write_text("\n".join(names[6:9]))
    (lists / "trainval.txt").write_text("\n".join(names[:9]))
    rows = [f"{name}:{r},{g},{b}::" for name, (r, g, b) in zip(NAMES, COLORS.tolist(), strict=True)]
    (root / "labelmap.txt").write_text("\n".join(["# label:color_rgb:parts:actions", *rows]))
    report = imported(tmp_path / "source", tmp_path / "out")
    assert (report.format, report.splits) == ("voc", {"train": 6, "val": 3})
    assert report.classes.names == NAMES
    (finding,) = report.findings
    assert finding.message.endswith("scene_9.jpg.")
    assert_imported(tmp_path / "out", count=9)


def test_what_is_left_out_and_why(drawn, assert_imported, tmp_path):
    source = tmp_path / "source"
    drawn.write_images(source / "images", suffix=".png")
    drawn.write_masks(source / "masks")
    (source / "masks" / "scene_0.png").unlink()
    Image.fromarray(np.zeros((64, 70), "uint8")).save(source / "masks" / "stranger.png")
    (source / "images" / "scene_1.png").write_bytes(b"")
    (source / "masks" / "scene_2.png").write_bytes(b"no image")
    Image.fromarray(np.zeros((9, 9), "uint8")).save(source / "masks" / "scene_3.png")
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (70, 64, 3), dtype="uint8")).save(source / "masks" / "scene_4.png")
    report = imported(source, tmp_path / "out", split=(0.5, 0.5))
    found = {finding.where.rsplit("/", 1)[-1]: finding.message for finding in report.findings}
    assert {finding.level for finding in report.findings} == {"warning"}
    assert found == {
        "scene_0.png": "left out: no mask goes with its name.",
        "stranger.png": "left out: no image goes with its name.",
        "scene_1.png": "left out: the file is empty.",
        "scene_2.png": "left out: not an image that can be read (JPEG, PNG, WEBP, BMP, TIFF, GIF, PPM).",
        "scene_3.png": "left out: its mask has 9x9 pixels, the image 70x65; bring them to one size.",
        "scene_4.png": found["scene_4.png"],
    }
    assert found["scene_4.png"].startswith("left out: 44")
    assert "colours: a photograph" in found["scene_4.png"]
    assert_imported(tmp_path / "out", count=5)


def test_masks_turn_with_their_image(drawn, tmp_path):
    """EXIF turns the image; a mask of the size as it is stored turns with it, one of the size as shown stays."""
    from keras_cacnet.datasets import Folder, read_example

    mask = drawn.masks["scene_0"]
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "source" / "images").mkdir(parents=True)
    (tmp_path / "source" / "masks").mkdir()
    for name, stored in (("stored", mask), ("shown", np.rot90(mask, -1))):
        path = tmp_path / "source" / "images" / f"{name}.jpg"
        Image.fromarray(drawn.images["scene_0"]).save(path, exif=exif)
        Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "source" / "masks" / f"{name}.png")
    report = imported(tmp_path / "source", tmp_path / "out", split=(0.5, 0.5))
    (finding,) = report.findings
    assert (finding.level, finding.where) == ("note", "images/stored.jpg")
    data = Folder(tmp_path / "out")
    for split in data.splits:
        (example,) = data.source(split)
        np.testing.assert_array_equal(read_example(example, data.classes)[1], np.rot90(mask, -1))


def test_nothing_that_is_known(tmp_path):
    (tmp_path / "source").mkdir()
    with pytest.raises(ValueError, match="source: no files in it"):
        imported(tmp_path / "source", tmp_path / "out")
    Image.new("RGB", (9, 9)).save(tmp_path / "source" / "a.jpg")
    with pytest.raises(ValueError, match=r"no known form of data set \(1 files, 1 of them images\)"):
        imported(tmp_path / "source", tmp_path / "out")
    with pytest.raises(ValueError, match="no image has a mask"):
        imported(tmp_path / "source", tmp_path / "out", format="masks")
    with pytest.raises(ValueError, match="format 'tiles' is none of"):
        imported(tmp_path / "source", tmp_path / "out", format="tiles")
    assert not (tmp_path / "out").exists()
