"""Draws of the scores of all designs of a space, given its trainings.

The posterior of ``process`` assumes that the scales of its kernel are known. After a few trainings
they are uncertain, especially how much of a difference is specific to a design and how much is
noise. Intervals that ignore this are too narrow. Therefore the scales are drawn as well: from the
normal approximation of their posterior at its maximum, weighted by the ratio of the two densities
(Tierney & Kadane 1986, doi:10.1080/01621459.1986.10478240, for the approximation; Ionides 2008,
doi:10.1198/106186008X320456, for the truncated weights).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from skipsearch.surrogate.encoding import Array, Encoding
from skipsearch.surrogate.kernel import Kernel
from skipsearch.surrogate.observations import Observations
from skipsearch.surrogate.process import Posterior
from skipsearch.surrogate.scales import ScaleDensity
from skipsearch.surrogate.warp import Warp

SCALES = 24  # number of drawn sets of scales
SHAPED = 200  # maximum number of designs that determine the shape of the scales' density
STEP = 1e-3  # step of a logarithm in the finite differences of the second derivative


@dataclass(frozen=True, slots=True)
class Belief:
    """A posterior over spaces, with the scales of the kernel integrated out.

    Attributes:
        warp: Map from scores to the values of the model.
        posteriors: Posterior for each set of scales.
        weights: Probability of each set of scales.
        least: Minimum expected score of a design, that of guessing.
    """

    warp: Warp
    posteriors: Sequence[Posterior]
    weights: Array
    least: float

    @classmethod
    def of(
        cls,
        encoding: Encoding,
        warp: Warp,
        points: Array,
        values: Array,
        noise: Array,
        rng: np.random.Generator,
        least: float = 0.0,
    ) -> Self:
        """Fit the model to trainings.

        Args:
            encoding: Encoding of the space.
            warp: Map from scores to values.
            points: Row of the encoding for each training.
            values: Observed final value of each training.
            noise: Known variance of each value, see ``fit``.
            rng: Generator for the scales.
            least: Score of guessing.
        """
        seen, kernel = Observations.of(points, values, noise), Kernel(encoding.axes)
        density = ScaleDensity(kernel, seen.some(SHAPED))
        logs, weights = _drawn(density, rng)
        posteriors = [Posterior.of(kernel, density.scales(each), seen) for each in logs]
        return cls(warp, posteriors, weights, least)

    @property
    def noise(self) -> float:
        """Typical variance of the value of one further training."""
        seen = self.posteriors[0].seen
        scale = float(self.weights @ [posterior.scales.noise for posterior in self.posteriors])
        return float(np.median(seen.floors)) + scale

    def values(self, x: Array, count: int, rng: np.random.Generator) -> Array:
        """Draw the values of all rows jointly: an array (count, rows).

        Args:
            x: Rows of the encoding.
            count: Number of draws.
            rng: Generator for the draws.
        """
        shares = rng.multinomial(count, self.weights)
        drawn = [p.sample(x, n, rng) for p, n in zip(self.posteriors, shares, strict=True) if n]
        return np.concatenate(drawn)

    def scores(self, values: Array) -> Array:
        """Return the scores of values."""
        return np.maximum(self.warp.scores(values), self.least)


def _drawn(density: ScaleDensity, rng: np.random.Generator) -> tuple[Array, Array]:
    """Draw logarithms of scales, and return them with their weights."""
    middle = density.maximum()
    count = len(middle)
    curvature = np.empty((count, count))
    for i, step in enumerate(np.eye(count) * STEP):
        above, below = density.loss(middle + step)[1], density.loss(middle - step)[1]
        curvature[i] = (above - below) / (2 * STEP)
    strengths, directions = np.linalg.eigh((curvature + curvature.T) / 2)
    # The prior alone has a curvature of 1 / width^2; a flatter density has no peak there.
    deviations = 1 / np.sqrt(np.maximum(strengths, 0.2))
    # The symmetric root: the signs of the directions depend on the BLAS, and cancel in it.
    root = (directions * deviations) @ directions.T
    normal = rng.standard_normal((SCALES, count))
    normal[0] = 0.0
    logs = np.clip(middle + normal @ root, *density.ends())
    ratios = np.array([-density.loss(each)[0] for each in logs]) + (normal**2).sum(axis=1) / 2
    weights = np.exp(ratios - ratios.max())
    weights = np.minimum(weights / weights.sum(), SCALES**-0.5)
    return logs, weights / weights.sum()
