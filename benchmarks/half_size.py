"""Writes a folder data set at half its size: images averaged, masks by the nearest pixel.

python benchmarks/half_size.py FOLDER HALF
"""

import argparse
import shutil
from pathlib import Path

from PIL import Image


def halve(folder: Path, half: Path) -> int:
    files = sorted(path for kind in ("images", "labels") for path in (folder / kind).rglob("*.*"))
    for path in files:
        target = (half / path.relative_to(folder)).with_suffix(".png")
        target.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            size = (image.width // 2, image.height // 2)
            mask = path.is_relative_to(folder / "labels")
            image.resize(size, Image.Resampling.NEAREST if mask else Image.Resampling.BOX).save(target)
    shutil.copy(folder / "classes.txt", half / "classes.txt")
    return len(files)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("half", type=Path)
    options = parser.parse_args()
    print(f"{halve(options.folder, options.half)} files written to {options.half}")
