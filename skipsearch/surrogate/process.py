"""A Gaussian process over the designs of a space, fitted to trainings.

The formulas are those of Rasmussen & Williams 2006, Gaussian Processes for Machine Learning:
section 2.1.2 for the linear model in features, 5.4.1 for the marginal likelihood, and 8.3.1, with
Snelson & Ghahramani 2005, for the model in the features of inducing designs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize

from skipsearch.surrogate.encoding import Array, Encoding
from skipsearch.surrogate.kernel import CONSTANT, Kernel, Scales

MOST_FEATURES = 1_000  # maximum number for a model in the features of its kernel
EXACT = 2_000  # maximum number of designs for which a model with more features is exact
CHOSEN = 800  # inducing designs of a model with more features and more designs
FITTED = 400  # maximum number of designs to which the scales are fitted
JITTER = 1e-8


@dataclass(frozen=True, slots=True)
class Observations:
    """Observed trainings, one entry per design: the mean and scatter over its seeds.

    Attributes:
        points: Row of the ``Encoding`` for each design.
        means: Mean value of its trainings.
        counts: Number of its trainings.
        floors: Minimum variance of a single training, due to its images.
        scatters: Sum of the squared deviations from the mean.
    """

    points: Array
    means: Array
    counts: Array
    floors: Array
    scatters: Array

    @classmethod
    def of(cls, points: Array, values: Array, floors: Array) -> Self:
        """Group trainings by design, in the order of the first training of each design.

        Args:
            points: Row for each training.
            values: Value of each training.
            floors: Variance of each value due to the images alone.
        """
        single = cls(points[:0], *(np.zeros(0) for _ in range(4)))
        ones, zeros = np.ones(len(points)), np.zeros(len(points))
        return single.joined(cls(points, np.asarray(values, dtype=float), ones, floors, zeros))

    def __len__(self) -> int:
        return len(self.points)

    def joined(self, other: Self) -> Self:
        """Return these observations joined with others; equal designs combine their trainings."""
        points = np.concatenate([self.points, other.points])
        index: dict[bytes, int] = {}
        group = np.array([index.setdefault(key, len(index)) for key in _keys(points)], dtype=int)

        def total(each: Array) -> Array:
            return np.bincount(group, each, len(index)).astype(float)

        weights = np.concatenate([self.counts, other.counts])
        each = np.concatenate([self.means, other.means])
        counts = total(weights)
        means = total(weights * each) / counts
        floors = total(weights * np.concatenate([self.floors, other.floors])) / counts
        scatters = total(np.concatenate([self.scatters, other.scatters]))
        scatters += total(weights * (each - means[group]) ** 2)
        first = np.unique(group, return_index=True)[1]
        return type(self)(points[first], means, counts, floors, scatters)

    def some(self, most: int) -> Self:
        """Return at most ``most`` designs, spread evenly from the oldest to the newest."""
        if len(self) <= most:
            return self
        kept = np.linspace(0, len(self) - 1, most).round().astype(int)
        return type(self)(
            self.points[kept],
            self.means[kept],
            self.counts[kept],
            self.floors[kept],
            self.scatters[kept],
        )


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
    return Posterior(kernel, scales or fit_scales(kernel, seen), seen)


class Posterior:
    """The posterior of the values of all designs.

    The value of a design is the expected value of a further training, without the noise of a single
    seed.

    Args:
        kernel: Kernel of the space.
        scales: Scales of the kernel.
        seen: Observed trainings.

    Attributes:
        scales: Scales of the kernel.
        seen: Observed trainings.
    """

    def __init__(self, kernel: Kernel, scales: Scales, seen: Observations) -> None:
        self.scales = scales
        self.seen = seen
        self._kernel = kernel
        self._index = {key: i for i, key in enumerate(_keys(seen.points))}
        self._cached: tuple[Array, Array, Array] | None = None
        self._at_seen: tuple[Array, Array] | None = None
        self._chosen: Array | None = None
        weights = np.ones(1)
        if kernel.features_count > MOST_FEATURES:
            self._chosen = seen.points[_chosen(seen)]
            covariance = kernel.smooth(scales, self._chosen, self._chosen)
            covariance[np.diag_indices_from(covariance)] += JITTER * CONSTANT
            self._factor = np.linalg.cholesky(covariance)
        else:
            weights = kernel.weights(scales)
        self._at_seen = self._located(seen.points)
        features = self._at_seen[0]
        noise = (seen.floors + scales.noise) / seen.counts
        own = scales.own + self._rest(seen.points, features)
        self._own_share = own / (own + noise)  # of a residual, specific to the design
        deviations = np.sqrt(own + noise)
        scaled = features / deviations[:, None]
        precision = scaled.T @ scaled * weights * weights[:, None]
        precision[np.diag_indices_from(precision)] += 1.0
        factor = np.linalg.cholesky(precision)
        # Root of the coefficients' covariance: multiplying is faster than solving for many rows.
        root = solve_triangular(factor, np.eye(len(factor)), lower=True).T
        self._root = weights[:, None] * root
        self._coefficients = self._root @ (self._root.T @ (scaled.T @ (seen.means / deviations)))
        self._residual = seen.means - features @ self._coefficients

    def mean(self, x: Array) -> Array:
        """Return the expected value of each row."""
        features, at = self._located(x)
        means = features @ self._coefficients
        known = at >= 0
        means[known] += (self._own_share * self._residual)[at[known]]
        return np.asarray(means)

    def variance(self, x: Array, rows: npt.NDArray[np.intp] | None = None) -> Array:
        """Return the variance of each row's value.

        Args:
            x: Rows.
            rows: Indices of the requested rows; None for all. This is faster than passing
                ``x[rows]`` if the mean of ``x`` was computed before.
        """
        features, at = self._located(x)
        if rows is not None:
            x, features, at = x[rows], features[rows], at[rows]
        left = self._left(at)
        half = (features @ self._root) * left[:, None]
        variances = np.einsum("nf,nf->n", half, half)
        return np.asarray(variances + left * (self.scales.own + self._rest(x, features)))

    def covariance(self, x: Array) -> Array:
        """Return the covariance of the values of all rows; equal rows are the same design."""
        features, at = self._located(x)
        left = self._left(at)
        half = (features @ self._root) * left[:, None]
        covariance = half @ half.T
        if self._chosen is not None:
            rest = self._kernel.smooth(self.scales, x, x) - features @ features.T
            covariance += np.where((at < 0)[:, None] & (at < 0), rest, 0.0)
        keys = np.unique(_keys(x), return_inverse=True)[1]
        own = left * self.scales.own
        if self._chosen is not None:
            own = own + np.where(at >= 0, left * self._rest(x, features), 0.0)
        covariance += np.where(keys[:, None] == keys, own[:, None], 0.0)
        return np.asarray(covariance)

    def covariance_of(self, weights: Array, x: Array) -> Array:
        """Return the covariance of weighted sums of the rows' values with the value of each row.

        Args:
            weights: Weights of the rows in each sum, (sums, rows).
            x: Rows, all different.
        """
        if self._chosen is not None:
            return np.asarray(weights @ self.covariance(x))
        features, at = self._located(x)
        left = self._left(at)
        half = (features @ self._root) * left[:, None]
        return np.asarray((weights @ half) @ half.T + weights * (left * self.scales.own))

    def sample(self, x: Array, n: int, rng: np.random.Generator) -> Array:
        """Draw the values of all rows jointly, n times: an array (n, rows)."""
        if self._chosen is not None:
            covariance = self.covariance(x)
            covariance[np.diag_indices_from(covariance)] += JITTER * CONSTANT
            root = np.linalg.cholesky(covariance)
            return np.asarray(self.mean(x) + rng.standard_normal((n, len(x))) @ root.T)
        features, at = self._located(x)
        left = self._left(at)
        coefficients = self._root @ rng.standard_normal((features.shape[1], n))
        _, first, which = np.unique(_keys(x), return_index=True, return_inverse=True)
        own = rng.standard_normal((n, len(first)))[:, which] * np.sqrt(left * self.scales.own)
        return np.asarray(self.mean(x) + ((features * left[:, None]) @ coefficients).T + own)

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
        at = np.array([self._index.get(key, -1) for key in _keys(x)], dtype=int)
        floors = np.where(at >= 0, self.seen.floors[at], np.median(self.seen.floors))
        seen = self.seen.joined(Observations.of(x, values, floors))
        return Posterior(self._kernel, self.scales, seen)

    def _located(self, x: Array) -> tuple[Array, Array]:
        """Return the features of rows, and the index of each among the observed designs, or -1."""
        # The rows of a pool and the observed ones are used several times.
        if x is self.seen.points and self._at_seen is not None:
            return self._at_seen
        if self._cached is None or self._cached[0] is not x:
            at = np.array(
                [self._index.get(key, -1) for key in self._kernel.kept(_keys, x)], dtype=int
            )
            self._cached = x, self._features(x), at
        return self._cached[1:]

    def _features(self, x: Array) -> Array:
        if self._chosen is None:
            return self._kernel.kept(self._kernel.features, x)
        across = self._kernel.smooth(self.scales, self._chosen, x)
        return np.asarray(solve_triangular(self._factor, across, lower=True).T)

    def _rest(self, x: Array, features: Array) -> Array:
        """Return the part of each row's variance that the features do not represent."""
        if self._chosen is None:
            return np.zeros(len(x))
        whole = self._kernel.smooth_diagonal(self.scales, x)
        return np.asarray(np.maximum(whole - np.einsum("nf,nf->n", features, features), 0.0))

    def _left(self, at: Array) -> Array:
        """Return the share of each design's residual that its trainings leave unknown."""
        shares = np.append(self._own_share, 0.0)
        return np.asarray(1.0 - shares[at])


def _chosen(seen: Observations) -> npt.NDArray[np.intp]:
    """Return the inducing designs of a model: all, or the best and newest."""
    if len(seen) <= EXACT:
        return np.arange(len(seen))
    newest = np.arange(len(seen) - CHOSEN // 2, len(seen))
    best = np.argsort(-seen.means, kind="stable")
    others = best[~np.isin(best, newest)][: CHOSEN // 2]
    return np.concatenate([np.sort(others), newest])


def _keys(x: Array) -> list[bytes]:
    return [row.tobytes() for row in np.ascontiguousarray(x)]


# --- scales ---------------------------------------------------------------------------------------

# Prior of the logarithm of each scale: its mean and its standard deviation.
MAIN, PAIR, OWN, NOISE = (np.log(v) for v in (0.5, 0.5, 0.1, 0.1))
WIDTHS = (1.0, 1.0, 1.0, 1.5)
NARROW, WIDE = 0.2, 1.0  # widths for the relevance of an axis: for one fitted value, or many draws


def fit_scales(kernel: Kernel, seen: Observations) -> Scales:
    """Return the scales with the highest posterior density, given observations."""
    density = ScaleDensity(kernel, seen.some(FITTED), NARROW)
    return density.scales(density.maximum())


class ScaleDensity:
    """The posterior density of the scales' logarithms, given observations.

    The priors of the logarithms are normal and wide. They prevent a few trainings from implying
    that there is no noise, or nothing but noise.

    Args:
        kernel: Kernel of the space.
        seen: Observed trainings.
        relevance_width: Standard deviation of the prior of the logarithm of an axis' relevance. If
            it is not small, a single value fitted to few trainings follows their noise.
    """

    def __init__(self, kernel: Kernel, seen: Observations, relevance_width: float = WIDE) -> None:
        self._seen = seen
        self._correlations = kernel.correlations(seen.points, seen.points)
        axes = len(self._correlations)
        self._middle = np.array([MAIN, PAIR, OWN, NOISE, *[0.0] * axes])
        self._width = np.array([*WIDTHS, *[relevance_width] * axes])

    def loss(self, logs: Array) -> tuple[float, Array]:
        """Return the negative logarithm of the density, up to a constant, and its gradient."""
        value, slope = _likelihood(self._correlations, self._seen, np.exp(logs))
        off = (logs - self._middle) / self._width
        return -value + float(off @ off) / 2, -slope * np.exp(logs) + off / self._width

    def maximum(self) -> Array:
        """Return the logarithms with the highest density."""
        found = minimize(
            self.loss,
            self._middle,
            jac=True,
            method="L-BFGS-B",
            bounds=list(zip(*self.ends(), strict=True)),
        )
        return np.asarray(found.x)

    def ends(self) -> tuple[Array, Array]:
        """Return the lower and upper bounds of the logarithms."""
        return self._middle - 4 * self._width, self._middle + 4 * self._width

    def scales(self, logs: Array) -> Scales:
        """Return the scales with these logarithms."""
        main, pair, own, noise, *relevance = np.exp(logs).tolist()
        return Scales(main, pair, own, noise, tuple(relevance))


def _likelihood(correlations: Array, seen: Observations, scales: Array) -> tuple[float, Array]:
    """Return the logarithm of the marginal likelihood, and its gradient in the scales."""
    main, pair, own, noise = scales[:4]
    r = scales[4:]
    count = len(r)
    pairs = max(count * (count - 1) / 2, 1)
    weighted = np.tensordot(r, correlations, 1)
    squares = np.tensordot(r**2, correlations**2, 1)
    mains, twos = weighted / count, (weighted**2 - squares) / 2 / pairs
    covariance = CONSTANT + main * mains + pair * twos
    single = seen.floors + noise
    covariance[np.diag_indices_from(covariance)] += own + single / seen.counts
    factor = cho_factor(covariance, lower=True)
    solved = cho_solve(factor, seen.means)
    value = -0.5 * seen.means @ solved - np.log(np.diag(factor[0])).sum()
    value -= 0.5 * np.sum((seen.counts - 1) * np.log(single) + seen.scatters / single)
    inverse = cho_solve(factor, np.eye(len(seen)))
    outer = (np.outer(solved, solved) - inverse) / 2  # gradient in the entries of the covariance
    diagonal = np.diag(outer)
    replicates = (seen.scatters / single - (seen.counts - 1)) / single / 2
    slope = np.empty_like(scales)
    slope[:4] = (
        np.sum(outer * mains),
        np.sum(outer * twos),
        np.sum(diagonal),
        np.sum(diagonal / seen.counts + replicates),
    )
    # Derivative with respect to the relevance of an axis: its main effect, and its pairs with all
    # others.
    flat = correlations.reshape(count, -1)
    slope[4:] = flat @ (outer * (main / count + pair / pairs * weighted)).ravel()
    slope[4:] -= r * pair / pairs * (flat**2 @ outer.ravel())
    return float(value), np.asarray(slope)
