"""Accuracies as values suitable for a normal model, and back.

An accuracy is a share, with most room for differences in the middle and none at the ends, so its
logit is modelled. Two things at the lower end spoil a normal model of logits: designs that did not
learn at all, and failures. They show that a design is bad, but not how bad.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit
from scipy.stats import norm

from skipsearch.surrogate.encoding import Array

HALF_SPREAD = float(norm.ppf(0.75))  # of a normal distribution: from its median to its quartile


@dataclass(frozen=True, slots=True)
class Warp:
    """A monotone map of accuracies to values around 0, and its inverse.

    A value is the distance of the accuracy's logit from the median, in spreads. Below ``-KNEE`` the
    distance grows only logarithmically, without a kink: a collapsed design counts as bad, but does
    not stretch the scale of the others. The map is strictly monotone, so intervals of values are
    intervals of accuracies, and none leaves 0 to 1.

    Attributes:
        centre: Median, in logits.
        spread: Spread of the upper half, in logits: the standard deviation if the upper half is
            that of a normal distribution.
        images: Number of images on which accuracies are measured.
    """

    centre: float
    spread: float
    images: int

    @classmethod
    def of(cls, accuracies: Sequence[float] | Array, images: int) -> Warp:
        """Choose the scale from observed accuracies.

        Args:
            accuracies: Accuracies of finished trainings, at least one.
            images: Number of images on which each is measured.
        """
        seen = logits(np.asarray(accuracies, dtype=float), images)
        centre = float(np.median(seen))
        upper = seen[seen >= centre]
        spread = float(np.sqrt(np.mean((upper - centre) ** 2)))
        # If all are equal, the noise of the images is the only scale.
        least = float(np.sqrt(_binomial(np.array([centre]), images)[0]))
        return cls(centre, max(spread, least), images)

    def values(self, accuracies: Sequence[float] | Array) -> Array:
        """Return the values of accuracies."""
        z = (logits(np.asarray(accuracies, dtype=float), self.images) - self.centre) / self.spread
        return np.where(z < -KNEE, -KNEE - np.log1p(np.maximum(-z - KNEE, 0.0)), z)

    def accuracies(self, values: Sequence[float] | Array) -> Array:
        """Return the accuracies of values, from 0 to 1."""
        v = np.asarray(values, dtype=float)
        # Values below any accuracy would overflow.
        below = -KNEE - np.expm1(np.clip(-v - KNEE, 0.0, 50.0))
        z = np.where(v < -KNEE, below, v)
        return np.asarray(expit(z * self.spread + self.centre), dtype=float)

    def noise(self, accuracies: Sequence[float] | Array) -> Array:
        """Return the variance of values due to the finite number of images.

        It is the variance of a binomial share by the delta method, and the minimum noise of a
        training of the same design with another seed.
        """
        seen = logits(np.asarray(accuracies, dtype=float), self.images)
        z = (seen - self.centre) / self.spread
        slope = np.where(z < -KNEE, 1 / (1 + np.maximum(-z - KNEE, 0.0)), 1.0) / self.spread
        return np.asarray(_binomial(seen, self.images) * slope**2, dtype=float)


KNEE = 0.75


def half_ranks(accuracies: Sequence[float] | Array, images: int) -> Array:
    """Return values that depend only on the order below the median.

    Values in the upper half are distances of logits from the median, in spreads, as in ``Warp``;
    those in the lower half are normal quantiles at their ranks. See Song et al. 2024, The Vizier
    Gaussian Process Bandit Algorithm, arXiv:2408.11527, section 3.3 (half-rank warping).

    Args:
        accuracies: Accuracies of finished trainings, at least one.
        images: Number of images on which each is measured.
    """
    shares = np.asarray(accuracies, dtype=float)
    warp = Warp.of(shares, images)
    values = (logits(shares, images) - warp.centre) / warp.spread
    order = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    ranked = norm.ppf((order + 0.5) / len(values))
    return np.where(values >= 0, values, np.minimum(ranked, 0.0))


def logits(shares: Array, images: int) -> Array:
    """Return the logits of accuracies, each measured on a number of images."""
    # Half an image on either side keeps 0 and 1 finite (Haldane 1956, Anscombe 1956).
    counts = np.clip(shares, 0.0, 1.0) * images
    return np.asarray(logit((counts + 0.5) / (images + 1)), dtype=float)


def _binomial(logits: Array, images: int) -> Array:
    p = expit(logits)
    return np.asarray(1 / (images * p * (1 - p)), dtype=float)
