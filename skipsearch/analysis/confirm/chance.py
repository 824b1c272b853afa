"""The chance of each leader that it is the best."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skipsearch.task import Scale

DRAWS = 10_000
STEPS = 400  # of the grid for the spread between designs
DIGITS = 12  # of means; further ones depend on the order of addition


def chance_of_best(scores: ArrayLike, scale: Scale) -> NDArray[np.float64]:
    """Return the chance of each design that its expected score is the highest of all.

    A parametric bootstrap, paired over seeds. A score is taken as the design's expectation,
    plus what the seed does to all designs alike, plus normal noise, as large for all designs. The
    expectations come from a normal distribution, whose deviation, in units of that of the noise, is
    half-Cauchy beforehand (Gelman 2006, doi:10.1214/06-BA117A). The leaders of a search are much
    alike, and this is what keeps a tie a tie.

    Chosen by measurement (``scripts/benchmark_confirm.py``). With few seeds the nonparametric
    bootstrap and the Bayesian one see too little noise, since their draws lie between the values
    seen: of 5 leaders that differ by 0.3 deviations of the noise, and 3 seeds, they gave one a
    chance of 0.95 or more in 14 % of the simulations, and 6 in 10 of these were right. Student's
    tails, or the model without the half-Cauchy, mend this where designs differ, and are still too
    sure where they are alike. This one stayed within 0.1 of the truth on average in all cases. It
    is too careful where the designs differ much, the more so if there are only two.
    Where one design is much noisier than the others, its chance is too high.

    Args:
        scores: (designs, seeds) with at least 2 seeds, the same for all designs.
        scale: Metric and number of validation images. The noise is taken to be no smaller than that
            of rounding to whole images.

    Returns:
        (designs,) with sum 1; equal for designs that are equal.
    """
    seen = np.asarray(scores, dtype=float)
    designs, seeds = seen.shape
    assert seeds >= 2, "one seed shows no noise"
    if designs == 1:
        return np.ones(1)
    means = seen.mean(axis=1) - seen.mean()
    noise = seen - seen.mean(axis=0) - means[:, np.newaxis]
    freedom = (designs - 1) * (seeds - 1)
    within = max(float((noise**2).sum()), freedom * scale.rounding)
    between = seeds * float((means**2).sum())
    ratios = np.tan(np.pi / 2 * (np.arange(STEPS) + 0.5) / STEPS)  # equally likely beforehand
    shares = seeds * ratios**2 / (1 + seeds * ratios**2)  # of the means' variance, not noise
    total = within + between * (1 - shares)
    log_weights = (designs - 1) / 2 * (np.log1p(-shares) - seeds * np.log(total))
    weights = np.exp(log_weights - log_weights.max())
    rng = np.random.default_rng(0)  # the same chances whenever the same records are read
    drawn = rng.choice(STEPS, DRAWS, p=weights / weights.sum())
    share, variance = shares[drawn], total[drawn] / rng.chisquare((designs - 1) * seeds, DRAWS)
    spread = np.sqrt(share * variance / seeds)
    draws = means[:, np.newaxis] * share + spread * rng.standard_normal((designs, DRAWS))
    chances: NDArray[np.float64] = np.bincount(draws.argmax(axis=0), minlength=designs) / DRAWS
    rounded = means.round(DIGITS)
    for value in np.unique(rounded):  # what is equal has one chance, whatever the draws were
        equals = rounded == value
        chances[equals] = chances[equals].mean()
    return chances
