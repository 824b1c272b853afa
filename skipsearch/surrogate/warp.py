"""Transformation of scores to values suitable for a normal model, and back.

Scores from 0 to 1, such as accuracies, are modelled as logits, since differences shrink towards
both ends of the range. Scores without a lower limit, such as R2, are modelled as minus the
logarithm of the error, as decibels are by themselves. Other scores are modelled without
transformation. Designs that did not learn at all, and failures, do not fit a normal model: they
show that a design is bad, but not how bad.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit, ndtri

from skipsearch.metric import Scale
from skipsearch.surrogate.encoding import Array


@dataclass(frozen=True, slots=True)
class Warp:
    """A monotone map of scores to values around 0, and its inverse.

    A value is the distance of the modelled score from the median, in spreads. Below
    ``-KNEE`` the distance grows only logarithmically, without a kink: a collapsed design counts as
    bad, but does not stretch the scale of the others. The map is strictly monotone, so intervals of
    values become intervals of scores, which stay within the possible range.

    Attributes:
        centre: Median of the modelled scores.
        spread: Spread of the upper half of the modelled scores. It equals the standard deviation if
            the upper half is that of a normal distribution.
        scale: Metric and number of images of the scores.
    """

    centre: float
    spread: float
    scale: Scale

    @classmethod
    def of(cls, scores: Sequence[float] | Array, scale: Scale) -> Warp:
        """Choose centre and spread from observed scores.

        Args:
            scores: Scores of finished trainings, at least one.
            scale: Metric and number of images of each.
        """
        seen = modelled(np.asarray(scores, dtype=float), scale)
        centre = float(np.median(seen))
        upper = seen[seen >= centre]
        spread = float(np.sqrt(np.mean((upper - centre) ** 2)))
        # If all are equal, the noise of the images is the only spread.
        least = float(np.sqrt(_image_noise(np.array([centre]), scale)[0]))
        return cls(centre, max(spread, least) or 1.0, scale)

    def values(self, scores: Sequence[float] | Array) -> Array:
        """Map scores to values."""
        seen = modelled(np.asarray(scores, dtype=float), self.scale)
        z = (seen - self.centre) / self.spread
        return np.where(z < -KNEE, -KNEE - np.log1p(np.maximum(-z - KNEE, 0.0)), z)

    def scores(self, values: Sequence[float] | Array) -> Array:
        """Map values to scores."""
        v = np.asarray(values, dtype=float)
        # Values below any score would overflow.
        below = -KNEE - np.expm1(np.clip(-v - KNEE, 0.0, 50.0))
        z = np.where(v < -KNEE, below, v)
        seen = z * self.spread + self.centre
        if _is_bounded(self.scale):
            return np.asarray(expit(seen), dtype=float)
        if _is_unlimited(self.scale):
            return np.asarray(self.scale.metric.best - np.exp(np.minimum(-seen, MOST)), dtype=float)
        return np.asarray(seen, dtype=float)

    def noise(self, scores: Sequence[float] | Array) -> Array:
        """Return the variance of values due to the finite number of images.

        It is the variance of a binomial share by the delta method, and the minimum noise of a
        training of the same design with another seed. It is 0 if the metric is not a share of
        images.
        """
        seen = modelled(np.asarray(scores, dtype=float), self.scale)
        z = (seen - self.centre) / self.spread
        slope = np.where(z < -KNEE, 1 / (1 + np.maximum(-z - KNEE, 0.0)), 1.0) / self.spread
        return np.asarray(_image_noise(seen, self.scale) * slope**2, dtype=float)


KNEE = 0.75
LEAST_ERROR = 1e-9  # of a score without a lower limit, as a share of ``Scale.size``
MOST = 300.0  # logarithm of the largest error


def half_ranks(scores: Sequence[float] | Array, scale: Scale) -> Array:
    """Return values that, below the median, depend only on the ranks of the scores.

    Values in the upper half are distances from the median, in spreads, as in ``Warp``. Those in the
    lower half are normal quantiles at their ranks. See Song et al. 2024, The Vizier Gaussian
    Process Bandit Algorithm, arXiv:2408.11527, section 3.3 (half-rank warping).

    Args:
        scores: Scores of finished trainings, at least one.
        scale: Metric and number of images of each.
    """
    seen = np.asarray(scores, dtype=float)
    warp = Warp.of(seen, scale)
    values = (modelled(seen, scale) - warp.centre) / warp.spread
    order = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    ranked = ndtri((order + 0.5) / len(values))
    return np.where(values >= 0, values, np.minimum(ranked, 0.0))


def modelled(scores: Array, scale: Scale) -> Array:
    """Return logits of scores from 0 to 1, logarithms of unlimited ones, and others unchanged."""
    if _is_unlimited(scale):
        least = LEAST_ERROR * scale.size  # the logarithm of 0 would be infinite
        return np.asarray(-np.log(np.maximum(scale.metric.best - scores, least)), dtype=float)
    if not _is_bounded(scale):
        return scores
    # Half an image on either side keeps 0 and 1 finite (Haldane 1956, Anscombe 1956).
    counts = np.clip(scores, 0.0, 1.0) * scale.images
    return np.asarray(logit((counts + 0.5) / (scale.images + 1)), dtype=float)


def _is_bounded(scale: Scale) -> bool:
    return (scale.metric.worst, scale.metric.best) == (0.0, 1.0)


def _is_unlimited(scale: Scale) -> bool:
    return scale.metric.worst == -np.inf


def _image_noise(seen: Array, scale: Scale) -> Array:
    """Return the variance of modelled scores due to the images: that of a binomial share."""
    if not scale.metric.is_share_of_images:
        return np.zeros_like(seen)
    p = expit(seen)
    return np.asarray(1 / (scale.images * p * (1 - p)), dtype=float)
