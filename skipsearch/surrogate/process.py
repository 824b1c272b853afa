"""A Gaussian process over the designs of a space, fitted to trainings.

The posterior has two forms with equal results. One is a linear model in the features of the kernel
(Rasmussen & Williams 2006, Gaussian Processes for Machine Learning, section 2.1.2), the other is in
the covariances with the observed designs (section 2.2). The cheaper one is used.

With more than ``EXACT`` designs, the variance of the noise is rounded by up to 2.5 %: then few of
the terms in the sums over the trainings change when another one is added, see ``Gram``.
"""

from __future__ import annotations

import abc

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve, solve_triangular

from skipsearch.surrogate.encoding import Array, Encoding
from skipsearch.surrogate.gram import Gram
from skipsearch.surrogate.kernel import CONSTANT, Kernel, Scales
from skipsearch.surrogate.observations import Observations, keys_of
from skipsearch.surrogate.scales import fit_scales

MOST_FEATURES = 1_000  # maximum number for a model in the features of few designs
EXACT = 2_000  # maximum number of designs for a model in their covariances, and for exact noise
STEP = 0.05  # difference between the logarithms of successive rounded variances
JITTER = 1e-8

Index = npt.NDArray[np.intp]


def fit(
    encoding: Encoding,
    points: Array,
    values: Array,
    floors: Array,
    scales: Scales | None = None,
) -> Posterior:
    """Fit a Gaussian process to trainings.

    Args:
        encoding: Encoding of the space.
        points: Row of the encoding for each training; the same row for the seeds of a design.
        values: Value of each training, around 0 and in units of their spread, see ``warp``.
        floors: Known variance of each value, due to the images of a score.
        scales: Scales of the kernel; None for those with the highest posterior density.

    Returns:
        The posterior.
    """
    seen = Observations.of(points, values, floors)
    kernel = Kernel(encoding.axes)
    return Posterior.of(kernel, scales or fit_scales(kernel, seen), seen)


class Posterior(abc.ABC):
    """The posterior of the values of all designs.

    The value of a design is the expected value of a further training, without the noise of a single
    seed.

    Args:
        kernel: Kernel of the space.
        scales: Scales of the kernel.
        seen: Observed trainings.
        gram: Sums over trainings of an earlier posterior with the same kernel.

    Attributes:
        scales: Scales of the kernel.
        seen: Observed trainings.
    """

    def __init__(self, kernel: Kernel, scales: Scales, seen: Observations, gram: Gram) -> None:
        self.scales = scales
        self.seen = seen
        self._kernel = kernel
        self._gram = gram
        self._index = {key: i for i, key in enumerate(keys_of(seen.points))}
        self._noise = (seen.floors + scales.noise) / seen.counts

    @staticmethod
    def of(
        kernel: Kernel, scales: Scales, seen: Observations, gram: Gram | None = None
    ) -> Posterior:
        """Return the posterior in its cheaper form; the arguments are those of the class."""
        few = kernel.features_count > MOST_FEATURES and len(seen) <= EXACT
        form = DesignPosterior if few else FeaturePosterior
        return form(kernel, scales, seen, gram or Gram(kernel))

    @abc.abstractmethod
    def mean(self, x: Array) -> Array:
        """Return the expected value of each row."""

    @abc.abstractmethod
    def variance(self, x: Array, rows: Index | None = None) -> Array:
        """Return the variance of each row's value.

        Args:
            x: Rows.
            rows: Indices of the requested rows; None for all. This is faster than passing
                ``x[rows]`` if the mean of ``x`` was computed before.
        """

    @abc.abstractmethod
    def covariance(self, x: Array) -> Array:
        """Return the covariance of the values of all rows; equal rows are the same design."""

    def covariance_of(self, weights: Array, x: Array) -> Array:
        """Return the covariance of weighted sums of the rows' values with the value of each row.

        Args:
            weights: Weights of the rows in each sum, (sums, rows).
            x: Rows, all different.
        """
        return np.asarray(weights @ self.covariance(x))

    def sample(self, x: Array, n: int, rng: np.random.Generator) -> Array:
        """Draw the values of all rows jointly, n times: an array (n, rows)."""
        covariance = self.covariance(x)
        covariance[np.diag_indices_from(covariance)] += JITTER * CONSTANT
        root = np.linalg.cholesky(covariance)
        return np.asarray(self.mean(x) + rng.standard_normal((n, len(x))) @ root.T)

    def with_pending(self, x: Array) -> Posterior:
        """Return the posterior as if running trainings had ended with their expected values.

        The expected value of every design stays the same, but the running trainings are no longer
        uncertain. So simultaneous proposals differ (Ginsbourger et al. 2010, "kriging believer").

        Args:
            x: Row for each running training.
        """
        if not len(x):
            return self
        return self.with_trainings(x, self.mean(x))

    def with_trainings(self, x: Array, values: Array) -> Posterior:
        """Return the posterior after further trainings, with the same scales.

        Args:
            x: Row for each training.
            values: Value of each training.
        """
        at = self._at(x)
        floors = np.where(at >= 0, self.seen.floors[at], np.median(self.seen.floors))
        seen = self.seen.joined(Observations.of(x, values, floors))
        return Posterior.of(self._kernel, self.scales, seen, self._gram)

    def _at(self, x: Array) -> Index:
        """Return the index of each row among the observed designs, or -1."""
        keys = self._kernel.kept(keys_of, x)
        return np.array([self._index.get(key, -1) for key in keys], dtype=np.intp)


class FeaturePosterior(Posterior):
    """A posterior in the features of the kernel."""

    def __init__(self, kernel: Kernel, scales: Scales, seen: Observations, gram: Gram) -> None:
        super().__init__(kernel, scales, seen, gram)
        noise = self._noise
        if len(seen) > EXACT:
            noise = np.exp(STEP * np.round(np.log(noise) / STEP))
        self._own = scales.own + kernel.variance_without_features(scales)
        self._own_share = self._own / (self._own + noise)  # of a residual, specific to the design
        precisions = 1 / (self._own + noise)
        weights = kernel.weights(scales)
        information = gram.of(seen.points, precisions) * weights
        information *= weights[:, None]
        information[np.diag_indices_from(information)] += 1.0
        self._weights = weights
        self._factor = cho_factor(information, lower=True, overwrite_a=True, check_finite=False)
        sums = kernel.feature_sums(seen.points, precisions * seen.means) * weights
        self._coefficients = weights * cho_solve(self._factor, sums, check_finite=False)
        self._residual = seen.means - kernel.combined(seen.points, self._coefficients)
        self._half: tuple[Array, Array] | None = None

    def mean(self, x: Array) -> Array:
        """Return the expected value of each row."""
        at = self._at(x)
        means = self._kernel.combined(x, self._coefficients)
        known = at >= 0
        means[known] += (self._own_share * self._residual)[at[known]]
        return means

    def variance(self, x: Array, rows: Index | None = None) -> Array:
        """Return the variance of each row's value; see ``Posterior``."""
        at, half = self._at(x), self._halves(x, rows)
        left = self._left(at if rows is None else at[rows])
        return np.asarray(left**2 * np.einsum("nf,nf->n", half, half) + left * self._own)

    def covariance(self, x: Array) -> Array:
        """Return the covariance of the values of all rows; equal rows are the same design."""
        left = self._left(self._at(x))
        half = self._halves(x) * left[:, None]
        keys = np.unique(keys_of(x), return_inverse=True)[1]
        own = np.where(keys[:, None] == keys, (left * self._own)[:, None], 0.0)
        return np.asarray(half @ half.T + own)

    def covariance_of(self, weights: Array, x: Array) -> Array:
        """Return the covariance of weighted sums with the value of each row; see ``Posterior``."""
        left = self._left(self._at(x))
        half = self._halves(x) * left[:, None]
        return np.asarray((weights @ half) @ half.T + weights * (left * self._own))

    def sample(self, x: Array, n: int, rng: np.random.Generator) -> Array:
        """Draw the values of all rows jointly, n times: an array (n, rows)."""
        left = self._left(self._at(x))
        normal = rng.standard_normal((len(self._weights), n))
        solved = solve_triangular(self._factor[0], normal, lower=True, trans="T")
        features = self._kernel.kept(self._kernel.features, x)
        smooth = (features * left[:, None]) @ (self._weights[:, None] * solved)
        _, first, which = np.unique(keys_of(x), return_index=True, return_inverse=True)
        own = rng.standard_normal((n, len(first)))[:, which] * np.sqrt(left * self._own)
        return np.asarray(self.mean(x) + smooth.T + own)

    def _halves(self, x: Array, rows: Index | None = None) -> Array:
        """Return a row for each row of x, whose inner products are the features' covariances."""
        if rows is None and self._half is not None and self._half[0] is x:
            return self._half[1]
        features = self._kernel.kept(self._kernel.features, x)
        weighted = (features if rows is None else features[rows]) * self._weights
        half = np.asarray(
            solve_triangular(self._factor[0], weighted.T, lower=True, check_finite=False).T
        )
        if rows is None:
            self._half = x, half  # used several times
        return half

    def _left(self, at: Index) -> Array:
        """Return the share of each design's residual that its trainings leave unknown."""
        return np.asarray(1.0 - np.append(self._own_share, 0.0)[at])


class DesignPosterior(Posterior):
    """A posterior in the covariances with the observed designs."""

    def __init__(self, kernel: Kernel, scales: Scales, seen: Observations, gram: Gram) -> None:
        super().__init__(kernel, scales, seen, gram)
        covariance = kernel.smooth(scales, seen.points, seen.points)
        covariance[np.diag_indices_from(covariance)] += scales.own + self._noise
        self._factor = cho_factor(covariance, lower=True, overwrite_a=True, check_finite=False)
        self._solved = cho_solve(self._factor, seen.means, check_finite=False)
        self._known: tuple[Array, Array] | None = None

    def mean(self, x: Array) -> Array:
        """Return the expected value of each row."""
        if x is self.seen.points:
            return np.asarray(self.seen.means - self._noise * self._solved)
        return np.asarray(self._across(x) @ self._solved)

    def variance(self, x: Array, rows: Index | None = None) -> Array:
        """Return the variance of each row's value; see ``Posterior``."""
        across = self._across(x)
        if rows is not None:
            x, across = x[rows], across[rows]
        half = self._halves(across)
        whole = self._kernel.smooth_diagonal(self.scales, x) + self.scales.own
        return np.asarray(np.maximum(whole - np.einsum("dn,dn->n", half, half), 0.0))

    def covariance(self, x: Array) -> Array:
        """Return the covariance of the values of all rows; equal rows are the same design."""
        half = self._halves(self._across(x))
        keys = np.unique(keys_of(x), return_inverse=True)[1]
        own = np.where(keys[:, None] == keys, self.scales.own, 0.0)
        return np.asarray(self._kernel.smooth(self.scales, x, x) + own - half.T @ half)

    def _across(self, x: Array) -> Array:
        """Return the covariance of each row with each observed design."""
        if self._known is None or self._known[0] is not x:
            covariance = self._kernel.smooth(self.scales, x, self.seen.points)
            at = self._at(x)
            known = np.flatnonzero(at >= 0)
            covariance[known, at[known]] += self.scales.own
            self._known = x, covariance  # used several times
        return self._known[1]

    def _halves(self, across: Array) -> Array:
        return np.asarray(
            solve_triangular(self._factor[0], across.T, lower=True, check_finite=False)
        )
