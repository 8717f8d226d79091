"""Which split an image goes into: by chance with a seed, whole groups together."""

import hashlib
import math
import re
from collections import defaultdict
from collections.abc import Sequence

from keras_cacnet.datasets.importing.forms import Item
from keras_cacnet.datasets.source import Finding
from keras_cacnet.wording import listed

SPLITS = ("train", "val", "test")
SHARES = (0.8, 0.1, 0.1)


def require_shares(shares: Sequence[float]) -> tuple[float, ...]:
    """Check the shares of train, val and test, and give them so that they add up to 1.

    Raises:
        ValueError: there are not two or three, one is negative or train's is 0, or they do not add up to 1.

    Example:
        >>> require_shares((0.8, 0.2))
        (0.8, 0.2)
    """
    if len(shares) not in (2, 3) or not all(math.isfinite(share) and share >= 0 for share in shares) or not shares[0]:
        raise ValueError(f"split must be two or three shares, of train, val and test, as 0.8,0.1,0.1; got {shares!r}")
    if abs(sum(shares) - 1) > 1e-6:
        raise ValueError(f"the shares of split must add up to 1; {shares!r} add up to {sum(shares):g}")
    return tuple(shares)


def require_pattern(pattern: str) -> re.Pattern[str]:
    r"""Compile the pattern of groups.

    Raises:
        ValueError: it is no regular expression.

    Example:
        >>> require_pattern(r"(\d+)_frame").groups
        1
    """
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f"group_by {pattern!r} is no regular expression: {error}") from None


def group_of(path: str, pattern: re.Pattern[str] | None) -> str:
    """Give the group of an image: what the pattern's groups match in its path, all of the match without any.

    Args:
        path: the image's path in the source.
        pattern: of the groups; None where each image is its own.

    Returns:
        The group; the path itself where the pattern does not match.

    Example:
        >>> group_of("frames/0016E5_07959.png", re.compile(r"(\\w+)_\\d+"))
        '0016E5'
    """
    match = pattern.search(path) if pattern else None
    if match is None:
        return path
    return "/".join(part or "" for part in match.groups()) if match.groups() else match[0]


def split_by_chance(
    items: Sequence[Item], shares: Sequence[float], seed: int, pattern: re.Pattern[str] | None = None
) -> dict[str, str]:
    """Deal images to splits, whole groups together.

    The order of the groups is that of a hash of the seed and their names: an image more or less changes little, and the
    same source is dealt the same on any machine. Groups that are larger than a share go where most is missing; of the
    others val and test take as many, in that order, as bring them nearest to their shares. Each gets at least one.

    Args:
        items: the images with masks.
        shares: of train, val and test.
        seed: another one deals anew.
        pattern: of the groups.

    Returns:
        The split by the item's path.

    Raises:
        ValueError: there are fewer groups than splits.

    Example:
        >>> from pathlib import Path
        >>> items = [Item(f"{number}.png", Path(), None) for number in range(10)]
        >>> list(split_by_chance(items, (0.8, 0.1, 0.1), seed=0).values()).count("train")
        8
    """
    groups = defaultdict(list)
    for item in items:
        groups[group_of(item.path, pattern)].append(item.path)
    wanted = [(split, share) for split, share in zip(SPLITS, shares, strict=False) if share]
    if len(groups) < len(wanted):
        what = f"group{'s' if len(groups) > 1 else ''} of images" if pattern else "images"
        raise ValueError(
            f"{len(groups)} {what} cannot be split into {', '.join(split for split, _ in wanted)}: each needs one"
        )
    order = sorted(groups, key=lambda group: hashlib.sha256(f"{seed}:{group}".encode("utf-8", "replace")).digest())
    dealt: dict[str, str] = {}
    # Groups that are larger than val or test shall be go where most is missing, mostly to train.
    missing = {split: share * len(items) for split, share in wanted}
    smallest, filled = min(missing.values()), set()
    for group in sorted(order, key=lambda group: -len(groups[group])):
        if len(groups[group]) <= smallest or len(order) < len(wanted):
            break
        split = max(missing, key=lambda name: missing[name])
        missing[split] -= len(groups[group])
        filled.add(split)
        dealt.update((path, split) for path in groups[group])
        order.remove(group)
    # Then val and test take what they lack, and train the rest.
    for place, (split, _) in enumerate(wanted[1:], 1):
        while order and missing[split] > 0:
            more = len(groups[order[0]])
            others = {name for name, _ in wanted[place + 1 :] + wanted[:1]} - filled
            if len(order) <= len(others) or (split in filled and abs(missing[split] - more) >= missing[split]):
                break
            missing[split] -= more
            filled.add(split)
            dealt.update((path, split) for path in groups[order.pop(0)])
    dealt.update((path, "train") for group in order for path in groups[group])
    return dealt


def deal(
    items: Sequence[Item], shares: tuple[float, ...] | None, seed: int, pattern: re.Pattern[str] | None
) -> tuple[list[tuple[Item, str]], list[Finding]]:
    """Give every image its split.

    Args:
        items: all images.
        shares: of train, val and test; None for the source's own splits, and 0.8, 0.1, 0.1 where it has none.
        seed: of the dealing.
        pattern: of the groups.

    Returns:
        The images with their splits, and findings on those that are in none. Images without masks go to test, where
        no other image does.

    Raises:
        ValueError: groups are wanted and the source's own splits are kept, or there are too few images.
    """
    own = {item.split for item in items if item.split is not None}
    if shares is None and own:
        if pattern is not None:
            raise ValueError(
                f"the source has splits of its own ({listed(sorted(own))}), which are kept, so group_by does nothing; "
                "give split too (--split 0.8,0.1,0.1) to split anew"
            )
        findings = [
            Finding("warning", item.path, f"left out: in no split, and the source has {listed(sorted(own))}.")
            for item in items
            if item.split is None
        ]
        if "val" not in own:
            text = "no val split, so no epoch can be scored: split=(0.8, 0.1, 0.1) (--split 0.8,0.1,0.1) splits anew."
            findings.append(Finding("note", "splits", text))
        return [(item, item.split) for item in items if item.split is not None], findings
    labelled = [item for item in items if item.draw is not None]
    split_of = split_by_chance(labelled, shares or SHARES, seed, pattern)
    findings = []
    dealt = [(item, split_of[item.path]) for item in labelled]
    for item in items:
        if item.draw is None and "test" in split_of.values():
            findings.append(Finding("warning", item.path, "left out: no mask, and test has images with masks."))
        elif item.draw is None:
            dealt.append((item, "test"))
    return dealt, findings
