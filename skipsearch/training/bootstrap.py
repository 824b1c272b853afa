"""Intervals of scores by bootstrap over images, where no distribution is known."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

RESAMPLES = 2000
AT_ONCE = 50  # resamples that are computed at once, to save memory
ENDS = (0.025, 0.975)


def bootstrap(
    tallies: Tensor, scores: Callable[[Tensor], list[float]], resamples: int = RESAMPLES
) -> tuple[float, float]:
    """Return the 95 % percentile interval of a score (Efron 1979, doi:10.1214/aos/1176344552).

    Images are drawn with replacement, as many as there are, and the score is computed from the
    sum of their counts. The interval shows the uncertainty due to the finite number of images; that
    of another seed is not included.

    Args:
        tallies: Counts (images, ...) of one network.
        scores: Function from sums of counts (resamples, ...) to scores.
        resamples: Number of resamples.

    Returns:
        Both ends, always the same for the same counts; NaN for a single image. Resamples in which
        the score is NaN, such as that of a class in none of their images, are left out.
    """
    images, *shape = tallies.shape
    if images < 2:
        return math.nan, math.nan
    counts = tallies.flatten(1).double().cpu()
    generator = torch.Generator().manual_seed(0)
    found: list[float] = []
    while len(found) < resamples:
        drawn = torch.randint(images, (AT_ONCE, images), generator=generator)
        times = torch.zeros(AT_ONCE, images, dtype=torch.float64)
        times.scatter_add_(1, drawn, torch.ones_like(times))
        found += scores((times @ counts).view(AT_ONCE, *shape))
    low, high = torch.tensor(found, dtype=torch.float64).nanquantile(torch.tensor(ENDS).double())
    return low.item(), high.item()
