"""A VOC 2012 tree whose val is images of trainaug that are set aside, for a set whose own val is too small to score on.

python benchmarks/voc_aside.py VOC_DIR OUTPUT

Set aside are the images that `benchmarks/voc2012_half_aside.txt` lists: 400 of the 3,142 of `voc2012_half`, drawn with
seed 0 (`random.Random(0).shuffle` of the numbers of trainaug). The tree links to the files of VOC_DIR.
"""

import sys
from pathlib import Path

_LIST = Path(__file__).with_name("voc2012_half_aside.txt")
_LISTS = "ImageSets/Segmentation"


def set_aside(voc_dir: Path, output: Path) -> None:
    """Link a tree of VOC's layout in which the listed images are val and no training split has them."""
    root, tree = voc_dir.resolve() / "VOCdevkit/VOC2012", output / "VOCdevkit/VOC2012"
    aside = _LIST.read_text().split()
    for folder in ("JPEGImages", "SegmentationClassAug"):
        (tree / folder).parent.mkdir(parents=True, exist_ok=True)
        (tree / folder).symlink_to(root / folder)
    (tree / "SegmentationClass").mkdir()
    for mask in (root / "SegmentationClass").iterdir():
        (tree / "SegmentationClass" / mask.name).symlink_to(mask)
    for name in aside:
        if not (link := tree / "SegmentationClass" / f"{name}.png").exists():
            link.symlink_to(root / "SegmentationClassAug" / link.name)
    (tree / _LISTS).mkdir(parents=True)
    left = set(aside)
    for split in ("train", "trainaug"):
        names = [name for name in (root / _LISTS / f"{split}.txt").read_text().split() if name not in left]
        (tree / _LISTS / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
    (tree / _LISTS / "val.txt").write_text("".join(f"{name}\n" for name in aside))


if __name__ == "__main__":
    set_aside(Path(sys.argv[1]), Path(sys.argv[2]))
