"""Means, spreads, differences and intervals against NumPy and SciPy."""

import numpy as np
import pytest
from scipy import stats

from keras_cacnet.paper import paired_difference, spread
from keras_cacnet.paper.ablation_statistics import critical_errors


@pytest.mark.parametrize("count", [2, 3, 7])
def test_mean_and_sample_deviation_are_numpys(count):
    values = np.random.default_rng(count).normal(0.5, 0.1, count)
    found = spread(values.tolist())
    # Exact fractions there, float64 sums here.
    assert found == pytest.approx((count, values.mean(), values.std(ddof=1)), rel=1e-14)
    assert found.interval == pytest.approx(stats.ttest_1samp(values, 0).confidence_interval(0.95), rel=1e-11)


def test_one_value_has_no_deviation_and_none_has_nothing():
    assert spread([0.25]) == (1, 0.25, None)
    assert spread([0.25]).interval is None
    assert spread([]) is None
    assert paired_difference({0: 0.5}, {0: 0.25}) == (1, 0.25, None)
    assert not paired_difference({0: 0.5}, {0: 0.25}).beyond_chance
    assert paired_difference({0: 0.5}, {1: 0.25}) is None


@pytest.mark.parametrize("seed", range(3))
def test_differences_are_those_of_a_paired_t_test(seed):
    rng = np.random.default_rng(seed)
    common = rng.normal(0.5, 0.2, 6)
    ours, theirs = common + rng.normal(0.05, 0.02, 6), common
    # Seeds that only one row has do not count, and their order does not matter.
    left = {**dict(enumerate(ours)), 90: 0.9}
    right = {91: 0.1, **dict(reversed(list(enumerate(theirs))))}
    found = paired_difference(left, right)
    test = stats.ttest_rel(ours, theirs)
    assert found.number == 6
    assert found.mean / found.error == pytest.approx(test.statistic, rel=1e-12)
    beyond = abs(found.mean) > critical_errors(6) * found.error
    assert beyond == (test.pvalue < 0.05)
    assert found.beyond_chance == (test.pvalue < 0.05)
    assert found.interval == pytest.approx(test.confidence_interval(0.95), rel=1e-11)


def test_pairing_takes_out_what_seeds_have_in_common():
    common = np.random.default_rng(0).normal(0.5, 0.2, 5)
    found = paired_difference(dict(enumerate(common + 0.01)), dict(enumerate(common)))
    # The differences are all 0.01 but for the rounding of the sums.
    assert found.mean == pytest.approx(0.01, rel=1e-12)
    assert found.error < 1e-15
