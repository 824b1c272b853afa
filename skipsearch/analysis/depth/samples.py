"""Samples of values of seeds or folds, and Welch's test of their means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, variance
from typing import NamedTuple, Self

from skipsearch.analysis.student import t_quantile
from skipsearch.metric import Scale

FALSE_VERDICTS = 0.05  # maximum share among groups without an effect of depth


class Sample(NamedTuple):
    """Values of seeds or folds: their number, their mean, and the variance of this mean."""

    n: int
    mean: float
    error: float

    @classmethod
    def of(cls, values: Sequence[float], least: float, scale: Scale) -> Self:
        """Summarise two or more values.

        Args:
            values: Value of each training.
            least: Minimum of their variance.
            scale: Scale of the scores; its folds are not independent, see ``mean_variance``.
        """
        error = max(variance(values), least) * scale.mean_variance(len(values))
        return cls(len(values), fmean(values), error)

    @property
    def statistics(self) -> tuple[float, float, int]:
        """Mean, deviation and number, as arguments of scipy's tests."""
        return self.mean, math.sqrt(self.error * self.n), self.n


def holm(claims: Sequence[tuple[Sample, Sample]]) -> list[bool]:
    """Return whether each claim holds that its first mean is below its second.

    Holm 1979 (jstor:4615733): the smallest of m p-values is compared with 5 % / m, the next with
    5 % / (m - 1), and so on up to the first that fails.
    """
    p = [p_below(low, high) for low, high in claims]
    holds = [False] * len(p)
    for left, i in zip(range(len(p), 0, -1), sorted(range(len(p)), key=p.__getitem__), strict=True):
        if p[i] > FALSE_VERDICTS / left:
            break
        holds[i] = True
    return holds


def p_below(low: Sample, high: Sample) -> float:
    """Return the p-value of the one-sided Welch test that one mean is below another."""
    from scipy.stats import ttest_ind_from_stats  # slow to import

    statistics = (*low.statistics, *high.statistics)
    p = float(ttest_ind_from_stats(*statistics, equal_var=False, alternative="less").pvalue)
    return 1.0 if math.isnan(p) else p  # NaN for equal means without any spread


def difference(low: Sample, high: Sample) -> tuple[float, float, float]:
    """Return the difference of two means and its 95 % interval (Welch)."""
    return contrast([high], [low])


def contrast(plus: Sequence[Sample], minus: Sequence[Sample]) -> tuple[float, float, float]:
    """Return a sum of means minus another, and its 95 % interval (Welch)."""
    samples = (*plus, *minus)
    value = sum(sample.mean for sample in plus) - sum(sample.mean for sample in minus)
    error = sum(sample.error for sample in samples)
    half = t_quantile(0.975, _freedom(samples)) * math.sqrt(error)
    return value, value - half, value + half


def _freedom(samples: Sequence[Sample]) -> float:
    """Return the degrees of freedom of a contrast of means (Welch 1947)."""
    spent = sum(sample.error**2 / (sample.n - 1) for sample in samples)
    error = sum(sample.error for sample in samples)
    return error**2 / spent if spent else 1.0  # any value: there is no spread
