"""Designs that the data do not distinguish from the leader."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, sqrt
from statistics import fmean, variance
from typing import NamedTuple

from skipsearch.analysis.student import t_quantile
from skipsearch.metric import Scale

ERROR = 0.05  # probability that the best design is not among those tied with the leader
LEAST = 8  # degrees of freedom that suffice for the deviation between seeds
ENOUGH = 30  # degrees of freedom at which no further design is added


class _Noise(NamedTuple):
    """Variance of one training, and the degrees of freedom of its estimate."""

    variance: float
    df: float


def tied_with_leader(scores: Sequence[Sequence[float]], scale: Scale) -> list[bool]:
    """Return which designs may be as good as the first.

    The design with the highest mean leads, possibly by luck. All designs whose mean is below it by
    no more than the noise explains are tied with it: in 95 of 100 runs the truly best design is one
    of them (subset selection, Gupta 1965, doi:10.1080/00401706.1965.10490251; one-sided, with
    Bonferroni's correction for the number of designs that could have led).

    The noise is the deviation between seeds, pooled over the designs with several seeds from the
    best down, until it has 30 degrees of freedom: weak designs, which vary far more, do not affect
    it. It is at least that of rounding to whole images. A design whose own seeds vary more has its
    own variance, moderated by the pooled one with the weight of 8 degrees of freedom (after Smyth
    2004, doi:10.2202/1544-6115.1027). The folds of one division are correlated, see
    ``Scale.mean_variance``. With fewer than 8 degrees of freedom in total, the noise of
    an accuracy is that of a finite validation split, as if each design had separate images (Agresti
    & Caffo 2000, doi:10.1080/00031305.2000.10474560). In fact the designs share the images, so that
    this makes ties more likely. For other metrics the noise is then unknown, and all are tied.

    Args:
        scores: Scores of the seeds of each design, the highest mean first, all at one rung.
        scale: Metric and number of validation images.

    Returns:
        Flag of each design; that of the leader is True.
    """
    if not scores:
        return []
    error = ERROR / max(1, len(scores) - 1)
    pooled = _pooled(scores, scale.rounding)
    if pooled.df < LEAST:
        if not scale.metric.is_share_of_images:
            return [True] * len(scores)
        images = scale.images
        shares = [(images * fmean(seeds) + 1) / (images + 2) for seeds in scores]
        noises = [_Noise(share * (1 - share) / (images + 2), inf) for share in shares]
        return _tied(shares, noises, error)
    means = [fmean(seeds) for seeds in scores]
    return _tied(means, [_of_mean(seeds, pooled, scale) for seeds in scores], error)


def _pooled(scores: Sequence[Sequence[float]], least: float) -> _Noise:
    squares, df = 0.0, 0
    for seeds in scores:
        if df >= ENOUGH:
            break
        if len(seeds) > 1:
            squares += variance(seeds) * (len(seeds) - 1)
            df += len(seeds) - 1
    return _Noise(max(squares / df, least) if df else 0.0, df)


def _of_mean(seeds: Sequence[float], pooled: _Noise, scale: Scale) -> _Noise:
    noise = pooled
    own = len(seeds) - 1
    if own and variance(seeds) > pooled.variance:
        squares = variance(seeds) * own + pooled.variance * LEAST
        noise = _Noise(squares / (own + LEAST), own + LEAST)
    return _Noise(noise.variance * scale.mean_variance(len(seeds)), noise.df)


def _tied(means: Sequence[float], noises: Sequence[_Noise], error: float) -> list[bool]:
    first, *others = noises
    tied = [True]
    for mean, noise in zip(means[1:], others, strict=True):
        total = first.variance + noise.variance
        # Satterthwaite 1946, for a sum of variances with different degrees of freedom.
        spent = first.variance**2 / first.df + noise.variance**2 / noise.df
        df = total**2 / spent if spent else inf
        tied.append(means[0] - mean <= t_quantile(1 - error, df) * sqrt(total))
    return tied
