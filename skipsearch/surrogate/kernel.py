"""The similarity of designs: an additive kernel of main effects, pairs, and a residual.

The value of a design is modelled as the sum of a constant, an effect of the level of each axis, an
effect of each pair of levels of two axes, and a residual that is specific to the design. Each part
is normal with a learned variance, so the covariance of two designs is a sum over what they have in
common:

    k(x, y) = main mean_i r_i c_i + pair mean_{i<j} r_i r_j c_i c_j + own [x = y],

with the correlation c_i of two levels of axis i, and the relevance r_i of the axis. See Duvenaud et
al. 2011, arXiv:1112.4394, for additive kernels; Durrande et al. 2013, arXiv:1106.3571, for the
kernels c_i of mean zero, which separate the parts from one another.

Every axis has few levels (a range has its knots), so all parts except the residual are equivalent
to a linear model with few features, see ``Kernel.features``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar, cast

import numpy as np

from skipsearch.surrogate.encoding import Array, Axis

Result = TypeVar("Result")

CONSTANT = 10.0  # prior variance of the constant, for values in units of the spread
FEATURES_KEPT = 2_000  # maximum number of features of designs
POOL = 2_500  # minimum number of rows for which results are cached: more than a shortlist has
BLOCK = 30_000  # covariances computed at once: they fit in the cache of a core
LENGTH = 1.0  # length scale of the correlation of numbers, in ranges of their axis


@dataclass(frozen=True, slots=True)
class Scales:
    """The variances of a model, in units of the values' variance.

    Attributes:
        main: Variance of the sum of all main effects.
        pair: Variance of the sum of all effects of pairs.
        own: Variance of the residual that is specific to a design.
        noise: Variance between seeds of one design, beyond the noise of the images.
        relevance: Relevance of each axis, about 1: its share of ``main``, times the number of axes.
    """

    main: float
    pair: float
    own: float
    noise: float
    relevance: tuple[float, ...]


class Kernel:
    """The kernel of a space, for any scales.

    Args:
        axes: Axes of the space.
    """

    def __init__(self, axes: Sequence[Axis]) -> None:
        self.axes = tuple(axes)
        self._tables = [_table(axis) for axis in self.axes]
        self._roots = [_root(table) for table in self._tables]
        ends = np.cumsum([0, *(root.shape[1] for root in self._roots)]).tolist()
        self._places = [slice(*each) for each in pairwise(ends)]  # of the axes' features
        self._pairs = self._pairs_with_features()
        self._kept: dict[str, tuple[Array, Any]] = {}

    @property
    def features_count(self) -> int:
        """Number of features: the constant, those of each axis, and those of each pair of axes."""
        ranks = self._ranks
        return 1 + sum(ranks) + sum(ranks[i] * ranks[j] for i, j in _pairs(len(ranks)))

    @property
    def _ranks(self) -> list[int]:
        return [int(root.shape[1]) for root in self._roots]

    def _pairs_with_features(self) -> list[tuple[int, int]]:
        """Return the pairs of axes with features: all, or those with the fewest features."""
        ranks = self._ranks
        sizes = {(i, j): ranks[i] * ranks[j] for i, j in _pairs(len(ranks))}
        left, kept = FEATURES_KEPT - 1 - sum(ranks), set()
        for pair in sorted(sizes, key=lambda pair: sizes[pair]):
            left -= sizes[pair]
            if left >= 0:
                kept.add(pair)
        return [pair for pair in sizes if pair in kept]

    def correlations(self, x: Array, y: Array) -> Array:
        """Return the correlations of the levels of each axis: (axes, rows of x, rows of y)."""
        return np.stack(
            [
                _spread(x[:, i], axis) @ table @ _spread(y[:, i], axis).T
                for i, (axis, table) in enumerate(zip(self.axes, self._tables, strict=True))
            ]
        )

    def smooth(self, scales: Scales, x: Array, y: Array) -> Array:
        """Return the covariance of rows of x and rows of y, without the residual."""
        main, pair = self._shares(scales)
        spreads = [_spread(y[:, i], axis) for i, axis in enumerate(self.axes)]
        lefts = [
            scales.relevance[i] * _spread(x[:, i], axis) @ table
            for i, (axis, table) in enumerate(zip(self.axes, self._tables, strict=True))
        ]
        # At a level, the square of a sum over the levels is the sum of their squares.
        at_levels = (y == np.floor(y)).all(axis=0)
        left, right = np.concatenate(lefts, axis=1), np.concatenate(spreads, axis=1).T
        squared = np.concatenate(
            [each**2 * at for each, at in zip(lefts, at_levels, strict=True)], axis=1
        )
        between = [(lefts[i], spreads[i].T) for i in np.flatnonzero(~at_levels)]
        covariance = np.empty((len(x), len(y)))
        rows = max(BLOCK // max(len(y), 1), 1)
        for start in range(0, len(x), rows):
            block = slice(start, start + rows)
            weighted = left[block] @ right
            squares = squared[block] @ right
            for one, other in between:
                squares += (one[block] @ other) ** 2
            covariance[block] = main * weighted + pair / 2 * (weighted * weighted - squares)
        covariance += CONSTANT
        return covariance

    def smooth_diagonal(self, scales: Scales, x: Array) -> Array:
        """Return the variance of each row of x, without the residual."""
        columns = [
            scales.relevance[i] * np.einsum("nk,kl,nl->n", s := _spread(x[:, i], axis), table, s)
            for i, (axis, table) in enumerate(zip(self.axes, self._tables, strict=True))
        ]
        weighted = np.sum(columns, axis=0)
        main, pair = self._shares(scales)
        squares = np.sum(np.square(columns), axis=0)
        return np.asarray(CONSTANT + main * weighted + pair / 2 * (weighted**2 - squares))

    def features(self, x: Array) -> Array:
        """Return the features of rows, whose weighted inner product is ``smooth``.

        If there are more than ``FEATURES_KEPT``, the pairs of axes with the most combinations have
        none, see ``variance_without_features``.

        Args:
            x: Rows of an ``Encoding``.

        Returns:
            An array (rows, features), to be multiplied by ``weights``.
        """
        parts = self._parts(x)
        each = [parts[:, place] for place in self._places]
        pairs = [
            (each[i][:, :, None] * each[j][:, None, :]).reshape(len(x), -1) for i, j in self._pairs
        ]
        return np.concatenate([np.ones((len(x), 1)), parts, *pairs], axis=1)

    def feature_sums(self, x: Array, values: Array) -> Array:
        """Return ``features(x).T @ values``, without computing the features of pairs."""
        parts = self._parts(x)
        products = parts.T @ (parts * values[:, None])
        pairs = [products[self._places[i], self._places[j]].ravel() for i, j in self._pairs]
        return np.concatenate([[values.sum()], parts.T @ values, *pairs])

    def combined(self, x: Array, coefficients: Array) -> Array:
        """Return ``features(x) @ coefficients``, without computing the features of pairs."""
        parts = self.kept(self._parts, x)
        ranks, start = self._ranks, 1 + sum(self._ranks)
        table = np.zeros((parts.shape[1], parts.shape[1]))
        for i, j in self._pairs:
            end = start + ranks[i] * ranks[j]
            block = coefficients[start:end].reshape(ranks[i], ranks[j])
            table[self._places[i], self._places[j]] = block
            start = end
        single = coefficients[0] + parts @ coefficients[1 : 1 + parts.shape[1]]
        return np.asarray(single + np.einsum("nr,nr->n", parts @ table, parts))

    def _parts(self, x: Array) -> Array:
        """Return the features of the axes alone."""
        return np.concatenate(
            [
                _spread(x[:, i], axis) @ root
                for i, (axis, root) in enumerate(zip(self.axes, self._roots, strict=True))
            ],
            axis=1,
        )

    def variance_without_features(self, scales: Scales) -> float:
        """Return the mean variance of the effects of the pairs of axes without features."""
        pair, r = self._shares(scales)[1], scales.relevance
        others = set(_pairs(len(r))).difference(self._pairs)
        return float(pair * sum(r[i] * r[j] for i, j in others))

    def kept(self, work_out: Callable[[Array], Result], x: Array) -> Result:
        """Return the result of a function of rows, cached for the last large array.

        Successive posteriors use the rows of the same pool repeatedly.

        Args:
            work_out: Function of the rows.
            x: Rows.
        """
        name = work_out.__name__
        held = self._kept.get(name)
        if held is not None and held[0] is x:
            return cast("Result", held[1])
        result = work_out(x)
        if len(x) >= POOL:
            self._kept[name] = x, result
        return result

    def weights(self, scales: Scales) -> Array:
        """Return the prior standard deviation of each feature's coefficient."""
        main, pair = self._shares(scales)
        r, ranks = scales.relevance, self._ranks
        variances = [
            np.array([CONSTANT]),
            *(np.full(rank, main * r[i]) for i, rank in enumerate(ranks)),
            *(np.full(ranks[i] * ranks[j], pair * r[i] * r[j]) for i, j in self._pairs),
        ]
        return np.asarray(np.sqrt(np.concatenate(variances)))

    def _shares(self, scales: Scales) -> tuple[float, float]:
        """Return the variance of one axis with relevance 1, and of a pair of such axes."""
        count = len(self.axes)
        return scales.main / count, scales.pair / max(count * (count - 1) / 2, 1)


def _pairs(count: int) -> list[tuple[int, int]]:
    return [(i, j) for i in range(count) for j in range(i + 1, count)]


def _spread(positions: Array, axis: Axis) -> Array:
    """Return the weight of each level at each position, with the inactive level last."""
    last = len(axis.levels) - 1
    inactive = positions > last
    low = np.minimum(np.floor(positions).astype(int), max(last - 1, 0))
    share = positions - low
    spread = np.zeros((len(positions), last + 2))
    rows = np.arange(len(positions))
    spread[rows, low] = 1 - share
    if last > 0:
        spread[rows, low + 1] = share
    spread[inactive] = 0
    spread[inactive, -1] = 1
    return spread


def _table(axis: Axis) -> Array:
    """Return the correlations of an axis' levels, with the inactive level last.

    Their mean over all pairs of levels is 0, and the mean variance of a level is 1.
    """
    count = len(axis.levels)
    table = np.eye(count + 1)
    if axis.numeric and count > 1:
        places = np.arange(count) / (count - 1)
        table[:count, :count] = np.exp(-np.abs(places[:, None] - places) / LENGTH)
    if not axis.conditional:
        table[count, count] = 0  # no design has it
    size = count + axis.conditional
    share = np.ones(count + 1) / size
    share[size:] = 0
    means = table @ share
    overall = share @ means
    if overall > 0:
        table = table - np.outer(means, means) / overall  # Durrande et al. 2013, eq. 15
    mean_variance = share @ np.diag(table)
    return table / mean_variance if mean_variance > 1e-12 else np.zeros_like(table)


def _root(table: Array) -> Array:
    """Return the fewest columns whose product with their transpose is a table of correlations.

    They are the columns of its Cholesky factor, without those of pivots that are 0. Draws depend on
    them, and the factor is unique: eigenvectors have arbitrary signs and, of equal eigenvalues,
    arbitrary directions, which depend on the BLAS.
    """
    left, columns = table.copy(), []
    for i in range(len(table)):
        if left[i, i] > 1e-10:
            columns.append(left[:, i] / np.sqrt(left[i, i]))
            left -= np.outer(columns[-1], columns[-1])
    return np.array(columns).reshape(-1, len(table)).T
