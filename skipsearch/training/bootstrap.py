"""Intervals of scores by bootstrap over images, or over groups of images."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from skipsearch.data.source import Array
from skipsearch.training.criteria.criterion import weighted_sums

RESAMPLES = 2000
AT_ONCE = 50  # resamples that are computed at once, to save memory
ENDS = (0.025, 0.975)


def bootstrap(
    tallies: Tensor,
    scores: Callable[[Tensor], list[float]],
    resamples: int = RESAMPLES,
    groups: Array | None = None,
) -> tuple[float, float]:
    """Return the 95 % interval of a score that is computed from sums of counts.

    Args:
        tallies: Counts (images, ...) of one network.
        scores: Function from sums of counts (resamples, ...) to scores.
        resamples: Number of resamples.
        groups: Group (images,) of each image; None if every image is its own group.

    Returns:
        Both ends; see ``interval_of``.
    """
    tallies = tallies.double().cpu()
    return interval_of(
        lambda weights: scores(weighted_sums(tallies, weights)),
        len(tallies),
        resamples,
        groups=groups,
    )


def interval_of(
    scores: Callable[[Tensor], list[float]],
    images: int,
    resamples: int = RESAMPLES,
    centre: float | None = None,
    groups: Array | None = None,
) -> tuple[float, float]:
    """Return the 95 % percentile interval of a score (Efron 1979, doi:10.1214/aos/1176344552).

    Images are drawn with replacement, as many as there are. The interval shows the uncertainty due
    to the finite number of images; that of another seed is not included.

    Images of a group, such as a patient, are alike. Of grouped images, whole groups are drawn with
    replacement, as many as there are (Field & Welsh 2007, doi:10.1111/j.1467-9868.2007.00593.x).
    Such an interval is too narrow for few groups (Cameron, Gelbach & Miller 2008,
    doi:10.1162/rest.90.3.414), and nothing corrects it: for an accuracy of 85 %, groups of 25
    images and an intra-class correlation of 0.3, it holds the accuracy of endless groups in 93 of
    100 cases with 40 groups, 91 with 20, 87 with 10, 75 with 5 and 46 with 2.

    An average precision is higher on resamples than on the images, since a repeated image ranks
    beside itself, and higher on few images than on many. With ``centre`` the interval is therefore
    bias-corrected (Efron 1981, doi:10.2307/3314608): for 10 labels that 19 % of 120 images have, it
    holds the score of endless images in 84 of 100 cases instead of 62, and with more positive
    images in 91 to 96.

    Args:
        scores: Function from how often each resample has each image (resamples, images), float64,
            to the scores of the resamples; see ``Criterion.resampled``.
        images: Number of images.
        resamples: Number of resamples.
        centre: Score of the images themselves, to correct the bias; None for no correction.
        groups: Group (images,) of each image; None if every image is its own group.

    Returns:
        Both ends, always the same for the same images; NaN for a single image or group, and if all
        resamples have the same score. Resamples in which the score is NaN, such as that of a class
        in none of their images, are left out.
    """
    units = np.arange(images) if groups is None else np.unique(groups, return_inverse=True)[1]
    count, unit = int(units.max()) + 1, torch.from_numpy(units)
    if count < 2:
        return math.nan, math.nan
    generator = torch.Generator().manual_seed(0)
    found: list[float] = []
    while len(found) < resamples:
        drawn = torch.randint(count, (AT_ONCE, count), generator=generator)
        times = torch.zeros(AT_ONCE, count, dtype=torch.float64)
        times.scatter_add_(1, drawn, torch.ones_like(times))
        found += scores(times[:, unit])
    if all(map(math.isnan, found)):
        return math.nan, math.nan
    drawn_scores, ends = torch.tensor(found, dtype=torch.float64), torch.tensor(ENDS).double()
    if centre is not None:
        ends = _corrected(ends, drawn_scores[~drawn_scores.isnan()], centre)
    low, high = drawn_scores.nanquantile(ends).tolist()
    # Resamples that all have the same score, such as that of a perfect network, tell nothing.
    return (low, high) if low < high else (math.nan, math.nan)


def _corrected(ends: Tensor, found: Tensor, centre: float) -> Tensor:
    """Return the quantiles that correct for the share of resamples below the centre."""
    below = (found < centre).double().mean() + (found == centre).double().mean() / 2
    least = 1 / (2 * len(found))
    shift = torch.special.ndtri(below.clamp(least, 1 - least))
    corrected: Tensor = torch.special.ndtr(2 * shift + torch.special.ndtri(ends))
    return corrected
