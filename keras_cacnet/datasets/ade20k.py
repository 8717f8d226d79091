"""ADE20K in the form of the scene parsing challenge, as a tensorflow-datasets builder.

Loading this module loads tensorflow-datasets; `open_dataset("ade20k", data_dir=...)` does it on first use.
"""

from pathlib import Path

import tensorflow_datasets as tfds

from keras_cacnet.datasets.builder import PublishedBuilder
from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.datasets.source import Example
from keras_cacnet.datasets.unpacked import (
    Layout,
    find_root,
    read_list,
    require_no_overlap,
    subset_notes,
    visible_names,
)
from keras_cacnet.files import user_path

OFFICIAL_COUNTS = {"train": 20210, "val": 2000, "test": 3352}
"""Examples of the published splits."""

_EXPECTED = (
    "expected ADEChallengeData2016 with images/{training,validation}/NAME.jpg and "
    "annotations/{training,validation}/NAME.png"
)
_PLACES = {"train": "training", "val": "validation"}
_NAMES = (
    "wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk, person, earth, door, "
    "table, mountain, plant, curtain, chair, car, water, painting, sofa, shelf, house, sea, mirror, rug, field, "
    "armchair, seat, fence, desk, rock, wardrobe, lamp, bathtub, railing, cushion, base, box, column, signboard, "
    "chest of drawers, counter, sand, sink, skyscraper, fireplace, refrigerator, grandstand, path, stairs, runway, "
    "case, pool table, pillow, screen door, stairway, river, bridge, bookcase, blind, coffee table, toilet, flower, "
    "book, hill, bench, countertop, stove, palm, kitchen island, computer, swivel chair, boat, bar, arcade machine, "
    "hovel, bus, towel, light, truck, tower, chandelier, awning, streetlight, booth, television receiver, airplane, "
    "dirt track, apparel, pole, land, bannister, escalator, ottoman, bottle, buffet, poster, stage, van, ship, "
    "fountain, conveyer belt, canopy, washer, plaything, swimming pool, stool, barrel, basket, waterfall, tent, bag, "
    "minibike, cradle, oven, ball, food, step, tank, trade name, microwave, pot, animal, bicycle, lake, dishwasher, "
    "screen, blanket, sculpture, hood, sconce, vase, traffic light, tray, ashcan, fan, pier, crt screen, plate, "
    "monitor, bulletin board, shower, radiator, glass, clock, flag"
)
_COLORS = (
    "787878 b47878 06e6e6 503232 04c803 787850 8c8c8c cc05ff e6e6e6 04fa07 e005ff ebff07 96053d 787846 08ff33 ff0652 "
    "8fff8c ccff04 ff3307 cc4603 0066c8 3de6fa ff0633 0b66ff ff0747 ff09e0 0907e6 dcdcdc ff095c 7009ff 08ffd6 07ffe0 "
    "ffb806 0aff47 ff290a 07ffff e0ff08 6608ff ff3d06 ffc207 ff7a08 00ff14 ff0829 ff0599 0633ff eb0cff a09614 00a3ff "
    "8c8c8c fa0a0f 14ff00 1fff00 ff1f00 ffe000 99ff00 0000ff ff4700 00ebff 00adff 1f00ff 0bc8c8 ff5200 00fff5 003dff "
    "00ff70 00ff85 ff0000 ffa300 ff6600 c2ff00 008fff 33ff00 0052ff 00ff29 00ffad 0a00ff adff00 00ff99 ff5c00 ff00ff "
    "ff00f5 ff0066 ffad00 ff0014 ffb8b8 001fff 00ff3d 0047ff ff00cc 00ffc2 00ff52 000aff 0070ff 3300ff 00c2ff 007aff "
    "00ffa3 ff9900 00ff0a ff7000 8fff00 5200ff a3ff00 ffeb00 08b8aa 8500ff 00ff5c b800ff ff001f 00b8ff 00d6ff ff0070 "
    "5cff00 00e0ff 70e0ff 46b8a0 a300ff 9900ff 47ff00 ff00a3 ffcc00 ff008f 00ffeb 85ff00 ff00eb f500ff ff007a fff500 "
    "0abed4 d6ff00 00ccff 1400ff ffff00 0099ff 0029ff 00ffcc 2900ff 29ff00 ad00ff 00f5ff 4700ff 7a00ff 00ffb8 005cff "
    "b8ff00 0085ff ffd600 19c2c2 66ff00 5c00ff"
)

CLASSES = ClassTable(
    tuple(_NAMES.split(", ")),
    tuple((int(c[:2], 16), int(c[2:4], 16), int(c[4:], 16)) for c in _COLORS.split()),
    ids=tuple(range(1, 151)),
    void_ids=(0,),
)
"""The 150 classes, ids 1-150 in the files; 0 is void. `ClassTable.to_file` shifts predictions back."""


class ADE20K(PublishedBuilder):
    """ADE20K: splits train, val and, where its images are there, test without masks.

    The whole set is expected: 20,210 images for training and 2,000 for validation, by their official names. Whoever
    means a part of it says so by lists of its ids, ImageSets/training.txt and ImageSets/validation.txt in
    ADEChallengeData2016; then all that they name has to be there.

    Args:
        data_dir: where tensorflow-datasets keeps records; its own default where None.
        kwargs: for `tfds.core.ShardBasedBuilder`.
    """

    name = "ade20k"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}  # noqa: RUF012
    EXPECTED = "ADEChallengeData2016"
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"Unpack ADEChallengeData2016.zip: {_EXPECTED}."
    DESCRIPTION = "ADE20K scene parsing: 150 classes, 0 is void."
    # tensorflow-datasets cannot find it out without the package importlib_resources.
    code_path = tfds.core.Path(__file__)

    def class_table(self) -> ClassTable:
        """Give the 150 classes."""
        return CLASSES

    @staticmethod
    def layout(folder: Path) -> Layout:
        """Find ADE20K in a folder.

        Args:
            folder: the folder with ADEChallengeData2016, or that itself.

        Returns:
            Its files.

        Raises:
            ValueError: it is not there or not all of it, or an image or a mask has no partner.
        """
        folder = user_path(folder)
        root = find_root(folder, ("ADEChallengeData2016", "."), "images", _EXPECTED)
        lists = {split: root / "ImageSets" / f"{place}.txt" for split, place in _PLACES.items()}
        ids = {split: read_list(path) for split, path in lists.items() if path.exists()}
        for split, place in _PLACES.items():
            if split not in ids:
                ids[split] = _official_ids(split)
                _check_complete(root, place, ids[split], lists[split])
        require_no_overlap("ade20k", "train", ids["train"], "val", ids["val"])
        splits = {
            split: tuple(
                Example(n, root / "images" / place / f"{n}.jpg", root / "annotations" / place / f"{n}.png")
                for n in ids[split]
            )
            for split, place in _PLACES.items()
        }
        tests = (root / "images" / "testing", root / "release_test" / "testing", folder / "release_test" / "testing")
        test = next((place for place in tests if visible_names(place, ".jpg")), None)
        if test is not None:
            splits["test"] = tuple(Example(n, test / f"{n}.jpg", None) for n in visible_names(test, ".jpg"))
        return Layout(
            name="ade20k",
            root=root,
            classes=CLASSES,
            splits=splits,
            form=f"{root}" + (f", test from {test}" if test else ""),
            notes=subset_notes(splits, OFFICIAL_COUNTS),
        )


def _official_ids(split: str) -> tuple[str, ...]:
    return tuple(f"ADE_{split}_{number:08d}" for number in range(1, OFFICIAL_COUNTS[split] + 1))


def _check_complete(root: Path, place: str, ids: tuple[str, ...], ids_list: Path) -> None:
    """Raise a ValueError where a split is not the official one, file by file."""
    expected = set(ids)
    images = set(visible_names(root / "images" / place, ".jpg"))
    masks = set(visible_names(root / "annotations" / place, ".png"))
    if images == masks == expected:
        return
    problems = []
    for what, part, ending, found in (("images", "images", "jpg", images), ("masks", "annotations", "png", masks)):
        if missing := sorted(expected - found):
            first = root / part / place / f"{missing[0]}.{ending}"
            problems.append(f"{what} missing: {len(missing)}, {first} the first")
        if strange := sorted(found - expected):
            first = root / part / place / f"{strange[0]}.{ending}"
            problems.append(f"{what} that are not of the official set: {len(strange)}, {first} the first")
    for what, other, lonely in (("images", "a mask", images - masks), ("masks", "an image", masks - images)):
        if lonely:
            problems.append(f"{what} without {other}: {len(lonely)}, {min(lonely)} the first")
    raise ValueError(
        f"{root}: {place} has {len(images)} images and {len(masks)} masks, expected {len(ids)} of each: "
        f"{'; '.join(problems)}. If a part of the set is meant, list its ids in {ids_list}. {_EXPECTED}."
    )
