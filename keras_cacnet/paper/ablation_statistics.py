"""Means over seeds, differences between rows with the same seeds, and how far chance moves them."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Spread(NamedTuple):
    """Scores of one row over its seeds: their number, mean and sample standard deviation (None for one)."""

    number: int
    mean: float
    deviation: float | None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the mean, by Student's t; None for one seed."""
        if self.deviation is None:
            return None
        return _around(self.mean, critical_errors(self.number) * self.deviation / math.sqrt(self.number))


class Difference(NamedTuple):
    """A row less another over the seeds they share: their number, mean and standard error (None for one)."""

    number: int
    mean: float
    error: float | None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the mean, by Student's t; None for one seed.

        Example:
            >>> [round(end, 3) for end in Difference(3, 0.02, 0.005).interval]
            [-0.002, 0.042]
        """
        return None if self.error is None else _around(self.mean, critical_errors(self.number) * self.error)

    @property
    def beyond_chance(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.interval is not None and not self.interval[0] <= 0 <= self.interval[1]


def spread(values: Sequence[float]) -> Spread | None:
    """Sum up the scores of one row.

    Args:
        values: one a seed.

    Returns:
        Number, mean and sample standard deviation, with n - 1; None for no values.

    Example:
        >>> spread([0.25, 0.75, 0.5])
        Spread(number=3, mean=0.5, deviation=0.25)
        >>> spread([0.5])
        Spread(number=1, mean=0.5, deviation=None)
    """
    if not values:
        return None
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Spread(len(values), statistics.fmean(values), deviation)


def paired_difference(ours: Mapping[int, float], reference: Mapping[int, float]) -> Difference | None:
    """Compare two rows by the seeds that both have.

    A seed fixes the order of the images and the augmentation, so what it moves in both rows drops out.

    Args:
        ours: scores by seed.
        reference: scores by seed of the row to compare with.

    Returns:
        Number of common seeds, mean difference and its standard error; None without a common seed.

    Example:
        >>> paired_difference({0: 0.5, 1: 0.75, 2: 0.5}, {0: 0.25, 1: 0.25})
        Difference(number=2, mean=0.375, error=0.125)
    """
    found = spread([ours[seed] - reference[seed] for seed in ours if seed in reference])
    if found is None:
        return None
    error = None if found.deviation is None else found.deviation / math.sqrt(found.number)
    return Difference(found.number, found.mean, error)


def critical_errors(count: int, level: float = 0.05) -> float:
    """How many standard errors a mean difference has to be away from 0 to be told from chance.

    Args:
        count: number of pairs, at least 2.
        level: how often pure chance may get so far, on either side.

    Returns:
        The two-sided quantile of Student's t with `count` - 1 degrees of freedom.

    Example:
        >>> [round(critical_errors(count), 2) for count in (2, 3, 10)]
        [12.71, 4.3, 2.26]
    """
    from scipy import stats

    return float(stats.t.ppf(1 - level / 2, count - 1))


def _around(mean: float, reach: float) -> tuple[float, float]:
    return mean - reach, mean + reach
