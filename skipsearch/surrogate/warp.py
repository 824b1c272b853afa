"""Accuracies as values that are fit for a normal model, and back.

An accuracy is a share: it has most room in the middle and none at the ends, and so the model is of
its logit. Two things spoil a normal model of logits, and both are at the bottom: designs that did
not learn at all, and failures. They say that a design is bad, and not by how much.
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

    A value is the logit of the accuracy, counted in spreads from the median. Values below
    ``-KNEE`` grow with the logarithm of their distance alone, with no kink: a design that has
    collapsed counts as bad, and does not stretch the scale of the others. The map is strictly
    monotone, so intervals of values are intervals of accuracies, and none leaves 0 to 1.

    Attributes:
        centre: The median, in logits.
        spread: Of the upper half, in logits: it would be the standard deviation if the upper half
            were that of a normal distribution.
        images: Number of images that an accuracy is a share of.
    """

    centre: float
    spread: float
    images: int

    @classmethod
    def of(cls, accuracies: Sequence[float] | Array, images: int) -> Warp:
        """Choose the scale by what was seen.

        Args:
            accuracies: Of finished trainings, at least one.
            images: Number of images that each is a share of.
        """
        seen = logits(np.asarray(accuracies, dtype=float), images)
        centre = float(np.median(seen))
        upper = seen[seen >= centre]
        spread = float(np.sqrt(np.mean((upper - centre) ** 2)))
        # Where all are equal, the noise of the images is the only scale there is.
        least = float(np.sqrt(_binomial(np.array([centre]), images)[0]))
        return cls(centre, max(spread, least), images)

    def values(self, accuracies: Sequence[float] | Array) -> Array:
        """Return the values of accuracies."""
        z = (logits(np.asarray(accuracies, dtype=float), self.images) - self.centre) / self.spread
        return np.where(z < -KNEE, -KNEE - np.log1p(np.maximum(-z - KNEE, 0.0)), z)

    def accuracies(self, values: Sequence[float] | Array) -> Array:
        """Return the accuracies of values, from 0 to 1."""
        v = np.asarray(values, dtype=float)
        # What lies further down than any accuracy would overflow.
        below = -KNEE - np.expm1(np.clip(-v - KNEE, 0.0, 50.0))
        z = np.where(v < -KNEE, below, v)
        return np.asarray(expit(z * self.spread + self.centre), dtype=float)

    def noise(self, accuracies: Sequence[float] | Array) -> Array:
        """Return the variance that values have because an accuracy is a share of few images.

        It is the variance of a binomial share by the delta method, and the least noise that a
        training of the same design with another seed can have.
        """
        seen = logits(np.asarray(accuracies, dtype=float), self.images)
        z = (seen - self.centre) / self.spread
        slope = np.where(z < -KNEE, 1 / (1 + np.maximum(-z - KNEE, 0.0)), 1.0) / self.spread
        return np.asarray(_binomial(seen, self.images) * slope**2, dtype=float)


KNEE = 0.75


def half_ranks(accuracies: Sequence[float] | Array, images: int) -> Array:
    """Return values for which only the order counts below the median.

    The upper half are logits in spreads from the median, as in ``Warp``; the lower half are the
    quantiles of a normal distribution at their ranks. See Song et al. 2024, The Vizier Gaussian
    Process Bandit Algorithm, arXiv:2408.11527, section 3.3 (half-rank warping).

    Args:
        accuracies: Of finished trainings, at least one.
        images: Number of images that each is a share of.
    """
    shares = np.asarray(accuracies, dtype=float)
    warp = Warp.of(shares, images)
    values = (logits(shares, images) - warp.centre) / warp.spread
    order = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    ranked = norm.ppf((order + 0.5) / len(values))
    return np.where(values >= 0, values, np.minimum(ranked, 0.0))


def logits(shares: Array, images: int) -> Array:
    """Return the logits of accuracies, each a share of so many images."""
    # Half an image on either side keeps 0 and 1 finite (Haldane 1956, Anscombe 1956).
    counts = np.clip(shares, 0.0, 1.0) * images
    return np.asarray(logit((counts + 0.5) / (images + 1)), dtype=float)


def _binomial(logits: Array, images: int) -> Array:
    p = expit(logits)
    return np.asarray(1 / (images * p * (1 - p)), dtype=float)
