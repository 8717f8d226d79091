import numpy as np
import pytest

from keras_cacnet.visualization import channel_changes, channel_maps, choose_channels


def test_channels_are_drawn_by_the_seed(make_maps):
    maps = make_maps(channels=64)
    first = choose_channels(maps, 4, seed=1)
    assert first == choose_channels(maps, 4, seed=1)
    assert first != choose_channels(maps, 4, seed=2)
    assert first["head_1"] != first["head_2"]
    for channels in first.values():
        assert list(channels) == sorted(set(channels))
        assert len(channels) == 4
        assert max(channels) < 64


def test_every_channel_can_be_drawn(make_maps):
    maps = make_maps(channels=6, heads=1)
    seen = {channel for seed in range(50) for channel in choose_channels(maps, 1, seed)["head_1"]}
    assert seen == set(range(6))


def test_channels_that_show_nothing_come_last(make_maps):
    maps = make_maps(channels=6, heads=1)
    maps["head_1"]["X"][..., [0, 2, 3, 5]] = 0
    for seed in range(10):
        assert choose_channels(maps, 2, seed)["head_1"] == (1, 4)
        assert {1, 4} < set(choose_channels(maps, 3, seed)["head_1"])
    assert choose_channels(maps, 9)["head_1"] == (0, 1, 2, 3, 4, 5)


def test_the_change_is_what_no_single_weight_gives(make_maps):
    """Position by position, with the single weight from a least-squares fit of W, weighted by |X|."""
    maps = make_maps(channels=5, size=(6, 7))
    changes = channel_changes(maps)
    for head, parts in maps.items():
        for channel in range(5):
            x, w, product = (parts[part][0, ..., channel].ravel() for part in ("X", "W", "X*"))
            root = np.sqrt(np.abs(x))
            single = np.linalg.lstsq(root[:, None], root * w, rcond=None)[0][0]
            expected = sum(abs(p - single * q) for p, q in zip(product, x, strict=True)) / x.size
            # Maps are float32.
            assert changes[head][channel] == pytest.approx(expected, rel=1e-6)
        order = sorted(range(5), key=lambda channel, head=head: -changes[head][channel])
        assert choose_channels(maps, 3, by="largest-change")[head] == tuple(order[:3])


def test_a_weight_for_the_whole_channel_changes_nothing(make_maps):
    maps = make_maps(channels=3, heads=1)["head_1"]
    maps["W"][..., 1] = 1.7
    maps["X"][..., 2] = 0
    maps["X*"] = maps["X"] * maps["W"]
    assert (channel_changes({"head_1": maps})["head_1"] > 1e-7).tolist() == [True, False, False]
    assert choose_channels({"head_1": maps}, 1, by="largest-change") == {"head_1": (0,)}
    maps["W"][:] = [0.5, 1.0, 2.0]
    with pytest.raises(ValueError, match="head_1 are the same at every position, as with reweighting='se'"):
        choose_channels({"head_1": maps}, 1, by="largest-change")
    assert len(choose_channels({"head_1": maps}, 2)["head_1"]) == 2


def test_listed_channels_keep_their_order(make_maps):
    assert choose_channels(make_maps(), by=(7, 0, 3)) == {"head_1": (7, 0, 3), "head_2": (7, 0, 3)}


def test_maps_of_single_channels(make_maps):
    maps = make_maps()
    taken = channel_maps(maps, {"head_2": (6,), "head_1": (0, 3)})
    assert [(one.head, one.channel) for one in taken] == [("head_2", 6), ("head_1", 0), ("head_1", 3)]
    for one in taken:
        for part in ("X", "X*", "W"):
            np.testing.assert_allclose(one.maps[part], maps[one.head][part][0, ..., one.channel], rtol=1e-6)


def test_half_precision_and_tensors_are_taken(make_maps):
    import tensorflow as tf

    maps = {head: {part: tf.cast(x, tf.bfloat16) for part, x in parts.items()} for head, parts in make_maps().items()}
    for by in ("random", "largest-change", (1, 2, 3)):
        assert len(channel_maps(maps, choose_channels(maps, by=by))) == 6


def test_what_does_not_fit_is_refused(make_maps):
    maps = make_maps()
    for channels, told in (
        ({"head_3": (0,)}, "no weighting maps of 'head_3'; there are head_1, head_2"),
        ({"head_1": (8,)}, "head_1 has the channels 0 to 7, not 8"),
        ({"head_1": (-1,)}, "head_1 has the channels 0 to 7, not -1"),
        ({"head_1": (2, 2)}, "channel 2 is listed twice"),
        ({}, "no channels to show"),
    ):
        with pytest.raises(ValueError, match=told):
            channel_maps(maps, channels)
    with pytest.raises(ValueError, match="chosen by 'random', 'largest-change' or a list such as 3,17,40; got 'best'"):
        choose_channels(maps, by="best")
    with pytest.raises(ValueError, match="head_1 has the channels 0 to 7, not 9"):
        choose_channels(maps, by=(1, 9))
    with pytest.raises(ValueError, match="at least 1, got 0"):
        choose_channels(maps, 0)
    with pytest.raises(ValueError, match="no CaC head"):
        choose_channels({})
    with pytest.raises(ValueError, match=r"head_1 lack W"):
        choose_channels({"head_1": {part: maps["head_1"][part] for part in ("X", "X*")}})
    with pytest.raises(ValueError, match=r"one shape \(1, h, w, c\)"):
        choose_channels({"head_1": {**maps["head_1"], "W": np.zeros((1, 4, 5, 7))}})
