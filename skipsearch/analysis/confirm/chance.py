"""The probability that each leader is the best."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skipsearch.metric import Scale

DRAWS = 10_000
STEPS = 400  # grid points for the spread between designs
DIGITS = 12  # of means, relative to the largest score; later ones depend on the order of addition


def chance_of_best(scores: ArrayLike, scale: Scale) -> NDArray[np.float64]:
    """Return the probability that the expected score of each design is the highest.

    This is a parametric bootstrap, paired over seeds. A score is the sum of the design's
    expectation, an effect of the seed that is the same for all designs, and normal noise of equal
    variance. Expectations have a normal distribution, whose deviation in units of the noise has a
    half-Cauchy prior (Gelman 2006, doi:10.1214/06-BA117A). The leaders of a search are very
    similar, and this prior keeps ties undecided.

    The method was chosen by measurement (``scripts/benchmark_confirm.py``). With few seeds, the
    nonparametric and the Bayesian bootstrap underestimate the noise, since their draws lie between
    the observed values: for 5 leaders that differ by 0.3 deviations of the noise, and 3 seeds, they
    gave one leader a probability of 0.95 or more in 14 % of the simulations, and were right in 6 of
    10 of these. Student's t distribution, or the model without the half-Cauchy prior, corrects this
    for different designs but is still overconfident for similar ones. This method stayed within 0.1
    of the truth on average in all cases. It is too cautious if designs differ much, especially if
    there are only two. If one design is much noisier than the others, its probability is too high.

    Args:
        scores: Scores (designs, seeds) of at least 2 seeds, the same for all designs.
        scale: Metric and number of validation images. The noise is at least that of rounding to
            whole images. Folds are correlated, so that they count as fewer seeds, see
            ``Scale.mean_variance``.

    Returns:
        Probabilities (designs,) with sum 1; equal for equal designs.
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
    count = 1 / scale.mean_variance(seeds)  # of independent seeds
    between = count * float((means**2).sum())
    if not within + between:
        return np.full(designs, 1 / designs)  # all scores are equal, and no rounding explains it
    ratios = np.tan(np.pi / 2 * (np.arange(STEPS) + 0.5) / STEPS)  # equally likely in the prior
    shares = count * ratios**2 / (1 + count * ratios**2)  # of the means' variance that is not noise
    total = within + between * (1 - shares)
    log_weights = (designs - 1) / 2 * (np.log1p(-shares) - seeds * np.log(total))
    weights = np.exp(log_weights - log_weights.max())
    rng = np.random.default_rng(0)  # the same records give the same probabilities
    drawn = rng.choice(STEPS, DRAWS, p=weights / weights.sum())
    share, variance = shares[drawn], total[drawn] / rng.chisquare((designs - 1) * seeds, DRAWS)
    spread = np.sqrt(share * variance / count)
    draws = means[:, np.newaxis] * share + spread * rng.standard_normal((designs, DRAWS))
    chances: NDArray[np.float64] = np.bincount(draws.argmax(axis=0), minlength=designs) / DRAWS
    rounded = (means / (np.abs(seen).max() or 1.0)).round(DIGITS)
    for value in np.unique(rounded):  # equal designs get equal probabilities, despite the draws
        equals = rounded == value
        chances[equals] = chances[equals].mean()
    return chances
