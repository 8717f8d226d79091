"""Which image goes with which mask, by the names of folders and files."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple

from keras_cacnet.datasets.importing.source_tree import SPLIT_WORDS, SourceTree, split_of, words
from keras_cacnet.datasets.source import Finding
from keras_cacnet.datasets.split_lists import plain_stem
from keras_cacnet.wording import listed

_MASK_WORDS = frozenset(
    "mask masks label labels labelled labeled annotation annotations annot ann anns gt gts ground truth groundtruth "
    "segmentation segmentations seg segs segmentationclass segmentationclassaug labelids target targets".split()
)
_MASK_ENDINGS = _MASK_WORDS | {"l", "matte"}
_IMAGE_WORDS = frozenset(
    "image images img imgs jpegimages photo photos picture pictures rgb input inputs sat original originals".split()
)
# Pictures of masks, and masks of instances: neither images nor masks where there are others.
_OTHER_WORDS = frozenset(
    "color colors colour colours colored vis viz visualization overlay overlays preview colormap colormaps".split()
)
_INSTANCE_WORDS = frozenset("segmentationobject instance instances".split())
# Of two files of one name in one folder the mask is the one whose format keeps ids.
_PHOTO_SUFFIXES = (".jpg", ".jpeg", ".webp")


class Key(NamedTuple):
    """By what images and masks are paired."""

    split: str | None
    folders: tuple[str, ...]
    stem: str


@dataclass(frozen=True)
class Pairs:
    """Images with their masks, by their paths in the tree.

    Args:
        pairs: image and mask; the mask is None in a split without masks.
        splits: the split of each image by its folder, that of its mask, or a list; None where nothing says it.
        findings: what is left out.
        arrangement: words that say where the masks are.
    """

    pairs: tuple[tuple[str, str | None], ...]
    splits: dict[str, str | None]
    findings: tuple[Finding, ...]
    arrangement: str


def pair_files(tree: SourceTree, names: Sequence[str] | None = None) -> Pairs:
    """Pair images and masks by the names of their folders and their own.

    Args:
        tree: the source.
        names: the files to pair; all images of the tree where None.

    Returns:
        The pairs, and what has no partner.
    """
    names = [name for name in (tree.images if names is None else names) if not _is_marked(name, _INSTANCE_WORDS)]
    masks, images, partner = _partners([name for name in names if not _is_marked(name, _OTHER_WORDS)])
    if not partner:
        masks, images, partner = _partners(names)
    splits = {
        image: split_of(PurePosixPath(image).parts[:-1])
        or split_of(PurePosixPath(partner.get(image, "")).parts[:-1])
        or tree.split_in_lists(image)
        for image in images
    }
    with_masks = {splits[image] for image in partner}
    pairs: list[tuple[str, str | None]] = []
    findings = []
    for image in images:
        if image in partner:
            pairs.append((image, partner[image]))
        elif splits[image] == "test" and "test" not in with_masks:
            pairs.append((image, None))
        else:
            findings.append(Finding("warning", str(tree.files[image]), "left out: no mask goes with its name."))
    taken = set(partner.values())
    findings += [
        Finding("warning", str(tree.files[mask]), "left out: no image goes with its name.")
        for mask in masks
        if mask not in taken
    ]
    folders = sorted({str(PurePosixPath(mask).parent) for mask in taken})
    example = PurePosixPath(next(iter(partner.values()))).name if partner else "nothing"
    return Pairs(tuple(pairs), splits, tuple(findings), f"in {listed(folders, 4)} (such as {example})")


def _partners(names: Sequence[str]) -> tuple[list[str], list[str], dict[str, str]]:
    """Masks, images, and the mask of each image that has one."""
    for separate in (_by_folder, _by_ending, _by_suffix):
        masks, images = separate(names)
        if masks:
            break
    partner: dict[str, str] = {}
    for image_key, mask_key in (
        (_exact, _exact),
        (_exact, _stripped),
        (_stripped, _stripped),
        (_below_top, _below_top),
        (_split_and_stem, _split_and_stem),
        (_without_split, _without_split),
        (_stem_only, _stem_only),
    ):
        _match(images, masks, partner, image_key, mask_key)
    return masks, images, partner


def _by_folder(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Masks and images by their folders' names."""
    masks: list[str] = []
    images: list[str] = []
    for name in names:
        said = [words(folder) for folder in reversed(PurePosixPath(name).parts[:-1])]
        deepest = next((some for some in said if not (_MASK_WORDS | _IMAGE_WORDS).isdisjoint(some)), [])
        (images if _MASK_WORDS.isdisjoint(deepest) else masks).append(name)
    return masks, images


def _by_ending(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Masks by the ends (or beginnings) of their names, where an image has the rest of the name."""
    names = list(names)
    stems = {(PurePosixPath(name).parent, plain_stem(name)) for name in names}
    stems |= {(folder, _without(stem, _IMAGE_WORDS)) for folder, stem in stems}
    masks: list[str] = []
    images: list[str] = []
    for name in names:
        folder, stem = PurePosixPath(name).parent, plain_stem(name)
        rest = _without(stem, _MASK_ENDINGS)
        (masks if rest != stem and (folder, rest) in stems else images).append(name)
    return masks, images


def _by_suffix(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Masks by their suffix: of two files of one name, the one that is no JPEG or WebP."""
    names = list(names)
    photos = {_bare(name) for name in names if PurePosixPath(name).suffix.lower() in _PHOTO_SUFFIXES}
    masks = [n for n in names if PurePosixPath(n).suffix.lower() not in _PHOTO_SUFFIXES and _bare(n) in photos]
    chosen = set(masks)
    return masks, [name for name in names if name not in chosen]


def _match(
    images: Sequence[str],
    masks: Sequence[str],
    partner: dict[str, str],
    image_key: Callable[[str], Key],
    mask_key: Callable[[str], Key],
) -> None:
    """Give the images that have none yet the one free mask of the same key, where no other image has that key."""
    keyed, taken = defaultdict(list), set(partner.values())
    for mask in masks:
        if mask not in taken:
            keyed[mask_key(mask)].append(mask)
    asking = defaultdict(list)
    for image in images:
        if image not in partner:
            asking[image_key(image)].append(image)
    for key, found in asking.items():
        if len(found) == 1 and len(candidates := keyed[key]) == 1:
            partner[found[0]] = candidates[0]


def _exact(name: str) -> Key:
    folders = PurePosixPath(name).parts[:-1]
    return Key(split_of(folders), tuple(filter(None, map(_without_role, folders))), plain_stem(name))


def _stripped(name: str) -> Key:
    key = _exact(name)
    without_mask = _without(key.stem, _MASK_ENDINGS)
    return key._replace(stem=without_mask if without_mask != key.stem else _without(key.stem, _IMAGE_WORDS))


def _below_top(name: str) -> Key:
    key = _stripped(name)
    return key._replace(folders=key.folders[1:])


def _split_and_stem(name: str) -> Key:
    return _stripped(name)._replace(folders=())


def _without_split(name: str) -> Key:
    return _stripped(name)._replace(split=None)


def _stem_only(name: str) -> Key:
    return Key(None, (), _stripped(name).stem)


def _bare(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))


def _without_role(folder: str) -> str:
    """What a folder's name says beside images, masks and splits; `train_labels` says nothing more."""
    said = words(folder)
    others = [word for word in said if word not in _MASK_WORDS | _IMAGE_WORDS and word not in SPLIT_WORDS]
    return folder if len(others) == len(said) else " ".join(others)


def _is_marked(name: str, known: frozenset[str]) -> bool:
    """Whether a folder's name has one of the words, or the file's name ends in one."""
    path = PurePosixPath(name)
    stem = plain_stem(name)
    said = {word for part in path.parts[:-1] for word in (*words(part), "".join(words(part)))}
    return not known.isdisjoint(said) or _without(stem, known) != stem


def without_mask_ending(stem: str) -> str:
    """Give the name of the image to which a mask's name belongs.

    Example:
        >>> without_mask_ending("beach_mask"), without_mask_ending("beach")
        ('beach', 'beach')
    """
    return _without(stem, _MASK_ENDINGS)


def _without(stem: str, endings: frozenset[str]) -> str:
    """The stem without a word such as `_mask` at its end or `mask_` at its start."""
    for separator in ("_", "-", ".", " "):
        head, found, tail = stem.rpartition(separator)
        if found and head and tail.lower() in endings:
            return head
        head, found, tail = stem.partition(separator)
        if found and tail and head.lower() in endings:
            return tail
    return stem
