"""Dealing images to splits: shares, seeds, whole groups."""

import re
from pathlib import Path

import numpy as np
import pytest

from keras_cacnet.datasets.importing.forms import Item
from keras_cacnet.datasets.importing.splitting import deal, group_of, require_pattern, require_shares, split_by_chance


def items(count, name="video{0}_{1}.png"):
    return [Item(name.format(number % 7, number), Path(), lambda size: None) for number in range(count)]


@pytest.mark.parametrize("shares", [(0.8, 0.1, 0.1), (0.7, 0.3), (0.5, 0.25, 0.25), (1.0, 0.0)])
def test_shares_are_kept(shares):
    found = list(split_by_chance(items(200), shares, seed=3).values())
    for split, share in zip(("train", "val", "test"), shares, strict=False):
        assert found.count(split) == 200 * share


def test_the_seed_decides_and_an_image_more_changes_little():
    first = split_by_chance(items(100), (0.8, 0.2), seed=0)
    assert first == split_by_chance(items(100)[::-1], (0.8, 0.2), seed=0)
    other = split_by_chance(items(100), (0.8, 0.2), seed=1)
    assert first != other
    more = split_by_chance(items(101), (0.8, 0.2), seed=0)
    assert sum(more[path] != split for path, split in first.items()) <= 1


def test_groups_stay_together():
    pattern = re.compile(r"(video\d+)_")
    found = split_by_chance(items(210), (0.6, 0.2, 0.2), 0, pattern)
    splits_of = {}
    for path, split in found.items():
        splits_of.setdefault(group_of(path, pattern), set()).add(split)
    assert len(splits_of) == 7
    assert all(len(splits) == 1 for splits in splits_of.values())
    # Groups of 30: of 210, 20% is 42, and one group is nearer to it than two.
    assert sorted(list(found.values()).count(split) for split in ("train", "val", "test")) == [30, 30, 150]


def test_large_groups_go_to_train():
    """Four videos of very different lengths: val and test take the short ones whatever the seed is."""
    lengths = {"a": 305, "b": 101, "c": 40, "d": 22}
    videos = [Item(f"{name}_{i}.png", Path(), None) for name, count in lengths.items() for i in range(count)]
    for seed in range(10):
        dealt = list(split_by_chance(videos, (0.8, 0.1, 0.1), seed, re.compile("(.)_")).values())
        assert sorted(dealt.count(split) for split in ("val", "test")) == [22, 40]
        assert dealt.count("train") == 406


def test_every_split_gets_a_group_whatever_their_sizes():
    rng = np.random.default_rng(0)
    for seed in range(200):
        lengths = rng.choice([1, 2, 5, 40, 300], rng.integers(3, 9))
        videos = [Item(f"{name}_{i}", Path(), None) for name, count in enumerate(lengths) for i in range(count)]
        dealt = split_by_chance(videos, (0.8, 0.1, 0.1), seed, re.compile(r"(\d+)_"))
        assert set(dealt.values()) == {"train", "val", "test"}
        assert len(dealt) == len(videos)


def test_groups_of_patterns():
    assert group_of("a/b_1.png", re.compile(r"(\w)/(\w)_")) == "a/b"
    assert group_of("a/b_1.png", re.compile(r"b_")) == "b_"
    assert group_of("a/c.png", re.compile(r"b_")) == "a/c.png"
    with pytest.raises(ValueError, match=r"group_by '\(' is no regular expression: missing \)"):
        require_pattern("(")


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ((0.8, 0.1), r"must add up to 1; \(0.8, 0.1\) add up to 0.9"),
        ((1.0,), "two or three shares"),
        ((0.0, 1.0), "two or three shares"),
        ((1.5, -0.5), "two or three shares"),
        ((float("nan"), 1.0), "two or three shares"),
    ],
)
def test_wrong_shares(shares, said):
    with pytest.raises(ValueError, match=said):
        require_shares(shares)


def test_too_few():
    with pytest.raises(ValueError, match="2 images cannot be split into train, val, test: each needs one"):
        split_by_chance(items(2), (0.8, 0.1, 0.1), 0)
    with pytest.raises(ValueError, match="1 group of images cannot be split into train, val"):
        split_by_chance(items(2), (0.8, 0.2), 0, re.compile("video"))


def test_images_without_masks_are_test_where_no_other_is():
    bare = Item("bare.png", Path(), None)
    dealt, findings = deal([*items(10), bare], (0.8, 0.2), 0, None)
    assert ("bare.png", "test") in [(item.path, split) for item, split in dealt]
    assert findings == []
    dealt, (finding,) = deal([*items(10), bare], (0.8, 0.1, 0.1), 0, None)
    assert len(dealt) == 10
    assert finding.message == "left out: no mask, and test has images with masks."


def test_own_splits_and_groups_exclude_each_other():
    own = [Item("a", Path(), None, "train"), Item("b", Path(), None)]
    dealt, findings = deal(own, None, 0, None)
    assert [(item.path, split) for item, split in dealt] == [("a", "train")]
    assert [finding.level for finding in findings] == ["warning", "note"]
    with pytest.raises(ValueError, match="which are kept, so group_by does nothing; give split too"):
        deal(own, None, 0, re.compile("a"))
