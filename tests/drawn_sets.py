"""Tiny data sets of our own drawing, laid out as the published ones are: a VOC tree with SBD, a Context tree."""

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from keras_cacnet.datasets.unpacked import CONTEXT_NAMES

VOC_TRAIN, VOC_VAL, SBD, VOC_TEST = ("a1", "a2"), ("v1", "v2"), ("s1", "s2", "s3"), ("t1",)
CONTEXT_TRAIN, CONTEXT_VAL = ("2008_000001", "2008_000002", "2008_000005"), ("2008_000003", "2008_000004")
# A few of the 459 labels that are none of the 59, among the 59: as in the distribution, sorted by name.
CONTEXT_OTHERS = ("accordion", "airconditioner", "zebra", "unknown")


def write_pair(image_path: Path, mask: np.ndarray, mask_path: Path | None = None, seed: int = 0) -> None:
    """An image of noise, and a mask where it has a path."""
    for path in filter(None, (image_path, mask_path)):
        path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*mask.shape, 3), dtype="uint8")
    Image.fromarray(pixels).save(image_path)
    if mask_path:
        Image.fromarray(mask).save(mask_path)


def voc_mask(name: str) -> np.ndarray:
    """All of VOC's ids, and void above."""
    rng = np.random.default_rng(sum(map(ord, name)))
    mask = rng.integers(0, 21, (64 + len(name), 70), dtype="uint8")
    mask[0] = 255
    return mask


def write_voc(folder: Path) -> Path:
    """A tiny VOC with SBD beside it; SBD has masks of images of VOC's val too, as the real one."""
    root = folder / "VOCdevkit" / "VOC2012"
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    splits = (("train", VOC_TRAIN), ("val", VOC_VAL), ("trainval", sorted(VOC_TRAIN + VOC_VAL)), ("test", VOC_TEST))
    for split, names in splits:
        (lists / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
    for number, name in enumerate(VOC_TRAIN + VOC_VAL + SBD + VOC_TEST):
        masked = root / "SegmentationClass" / f"{name}.png" if name in VOC_TRAIN + VOC_VAL else None
        write_pair(root / "JPEGImages" / f"{name}.jpg", voc_mask(name), masked, number)
    sbd = folder / "benchmark_RELEASE" / "dataset"
    (sbd / "cls").mkdir(parents=True)
    for name in (*SBD, "v1", "a1"):
        inside = np.where(voc_mask(name) == 255, 0, voc_mask(name))
        value = {"Boundaries": np.zeros((2, 2)), "Segmentation": inside, "CategoriesPresent": np.arange(3)}
        savemat(sbd / "cls" / f"{name}.mat", {"GTcls": value}, do_compression=True)
    (sbd / "train.txt").write_text("s1\nv1\na1\n")
    (sbd / "val.txt").write_text("s2\ns3\n")
    return folder


def context_mask(name: str) -> np.ndarray:
    """Official ids, all sixty."""
    rng = np.random.default_rng(int(name[-2:]))
    mask = rng.integers(0, 60, (70, 80 + int(name[-1])), dtype="uint8")
    mask[0, :60] = np.arange(60)
    return mask


def write_context(folder: Path) -> Path:
    """The images and lists of a tiny PASCAL Context; masks come in three forms, each written by a function below."""
    root = folder / "VOCdevkit" / "VOC2010"
    (root / "ImageSets" / "SegmentationContext").mkdir(parents=True)
    for split, names in (("train", CONTEXT_TRAIN), ("val", CONTEXT_VAL)):
        (root / "ImageSets" / "SegmentationContext" / f"{split}.txt").write_text("\n".join(names) + "\n")
        for name in names:
            write_pair(root / "JPEGImages" / f"{name}.jpg", context_mask(name), seed=int(name[-2:]))
    return root


def write_context_png(folder: Path, convert=lambda mask: mask) -> None:
    folder.mkdir()
    for name in CONTEXT_TRAIN + CONTEXT_VAL:
        Image.fromarray(convert(context_mask(name))).save(folder / f"{name}.png")


def write_official(root: Path) -> None:
    write_context_png(root / "GroundTruth_trainval_png")


def write_alphabetical(root: Path) -> None:
    names = ("", *CONTEXT_NAMES)
    order = ["", *sorted(CONTEXT_NAMES)]
    number_of = np.array([order.index(name) for name in names], "uint8")
    write_context_png(root / "SegmentationClassContext", lambda mask: number_of[mask])


def write_label_maps(root: Path) -> Path:
    """The original distribution beside VOCdevkit; background becomes one of the other labels, or none (0)."""
    place = root.parents[1] / "context"
    (place / "trainval").mkdir(parents=True)
    labels = sorted(CONTEXT_NAMES + CONTEXT_OTHERS)
    # The real list has 459 entries: numbers go far beyond one byte.
    numbers = {name: 7 * i + 3 for i, name in enumerate(labels)}
    assert max(numbers.values()) > 255
    (place / "labels.txt").write_text("".join(f"{i}: {name}\n" for name, i in numbers.items()))
    (place / "59_labels.txt").write_text("".join(f"{i}: {name}\n" for i, name in enumerate(CONTEXT_NAMES, 1)))
    for name in CONTEXT_TRAIN + CONTEXT_VAL:
        mask = context_mask(name)
        label_map = np.array([0, *(numbers[n] for n in CONTEXT_NAMES)], "uint16")[mask]
        y, x = np.nonzero(mask == 0)
        label_map[y[::2], x[::2]] = numbers["zebra"]
        savemat(place / "trainval" / f"{name}.mat", {"LabelMap": label_map}, do_compression=True)
    return place
