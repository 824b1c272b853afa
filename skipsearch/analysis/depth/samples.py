"""Numbers that seeds have, and Welch's test of their means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, variance
from typing import NamedTuple, Self

from scipy.stats import t, ttest_ind_from_stats

FALSE_VERDICTS = 0.05  # of the groups in which nothing depends on depth, at most


class Sample(NamedTuple):
    """Numbers that seeds have: how many, their mean, and the variance of this mean."""

    n: int
    mean: float
    error: float

    @classmethod
    def of(cls, values: Sequence[float], least: float) -> Self:
        """Summarise two or more numbers, whose variance is known to be ``least`` or more."""
        return cls(len(values), fmean(values), max(variance(values), least) / len(values))

    @property
    def statistics(self) -> tuple[float, float, int]:
        """Mean, deviation and number, as scipy's tests take them."""
        return self.mean, math.sqrt(self.error * self.n), self.n


def holm(claims: Sequence[tuple[Sample, Sample]]) -> list[bool]:
    """Test several claims, each that its first mean is below its second; say which hold.

    Holm 1979 (jstor:4615733): the smallest of m p-values is held against 5 % / m, the next against
    5 % / (m - 1), and so on to the first that fails.
    """
    p = [p_below(low, high) for low, high in claims]
    holds = [False] * len(p)
    for left, i in zip(range(len(p), 0, -1), sorted(range(len(p)), key=p.__getitem__), strict=True):
        if p[i] > FALSE_VERDICTS / left:
            break
        holds[i] = True
    return holds


def p_below(low: Sample, high: Sample) -> float:
    """Return the p-value of Welch's test that one mean is below another, against that it is not."""
    statistics = (*low.statistics, *high.statistics)
    p = float(ttest_ind_from_stats(*statistics, equal_var=False, alternative="less").pvalue)
    return 1.0 if math.isnan(p) else p  # NaN for equal means without any spread


def difference(low: Sample, high: Sample) -> tuple[float, float, float]:
    """Return by how much one mean is above another, and Welch's 95 % interval."""
    rise = high.mean - low.mean
    half = float(t.ppf(0.975, _freedom(low, high))) * math.sqrt(low.error + high.error)
    return rise, rise - half, rise + half


def _freedom(low: Sample, high: Sample) -> float:
    """Return the degrees of freedom of a difference of means (Welch 1947)."""
    spent = sum(sample.error**2 / (sample.n - 1) for sample in (low, high))
    return (low.error + high.error) ** 2 / spent if spent else 1.0  # any: there is no spread
