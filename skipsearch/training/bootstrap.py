"""Intervals of scores by bootstrap over images, where no distribution is known."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from skipsearch.training.criteria.criterion import weighted_sums

RESAMPLES = 2000
AT_ONCE = 50  # resamples that are computed at once, to save memory
ENDS = (0.025, 0.975)


def bootstrap(
    tallies: Tensor, scores: Callable[[Tensor], list[float]], resamples: int = RESAMPLES
) -> tuple[float, float]:
    """Return the 95 % interval of a score that is computed from sums of counts.

    Args:
        tallies: Counts (images, ...) of one network.
        scores: Function from sums of counts (resamples, ...) to scores.
        resamples: Number of resamples.

    Returns:
        Both ends; see ``interval_of``.
    """
    tallies = tallies.double().cpu()
    return interval_of(
        lambda weights: scores(weighted_sums(tallies, weights)), len(tallies), resamples
    )


def interval_of(
    scores: Callable[[Tensor], list[float]], images: int, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """Return the 95 % percentile interval of a score (Efron 1979, doi:10.1214/aos/1176344552).

    Images are drawn with replacement, as many as there are. The interval shows the uncertainty due
    to the finite number of images; that of another seed is not included.

    Args:
        scores: Function from how often each resample has each image (resamples, images), float64,
            to the scores of the resamples; see ``Criterion.resampled``.
        images: Number of images.
        resamples: Number of resamples.

    Returns:
        Both ends, always the same for the same images; NaN for a single image. Resamples in which
        the score is NaN, such as that of a class in none of their images, are left out.
    """
    if images < 2:
        return math.nan, math.nan
    generator = torch.Generator().manual_seed(0)
    found: list[float] = []
    while len(found) < resamples:
        drawn = torch.randint(images, (AT_ONCE, images), generator=generator)
        times = torch.zeros(AT_ONCE, images, dtype=torch.float64)
        times.scatter_add_(1, drawn, torch.ones_like(times))
        found += scores(times)
    low, high = torch.tensor(found, dtype=torch.float64).nanquantile(torch.tensor(ENDS).double())
    return low.item(), high.item()
