"""Least squares with errors of unequal variance."""

from __future__ import annotations

from math import inf, isnan, nan, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skipsearch.analysis.student import t_quantile

Array = NDArray[np.float64]

ERROR = 0.05  # probability of a false positive
LEAST_DF = 2  # with fewer degrees of freedom an interval is useless
TOLERANCE = 1e-8


class Estimate(NamedTuple):
    """A value, its standard error, and the degrees of freedom of the latter; NaN if unknown."""

    value: float
    error: float = nan
    df: float = nan

    @property
    def known(self) -> bool:
        """Whether the value has a standard error."""
        return not isnan(self.error)

    def interval(self, error: float = ERROR) -> tuple[float, float]:
        """Return the interval that misses the truth with the given probability (Student)."""
        half = t_quantile(1 - error / 2, self.df) * self.error
        return self.value - half, self.value + half


class LinearModel:
    """A linear model by least squares.

    The variance of an estimate is that of MacKinnon & White 1985 (HC2,
    doi:10.1016/0304-4076(85)90158-7), with a separate variance of every observation; its degrees of
    freedom are Satterthwaite's for such a sum (after Bell & McCaffrey 2002, Survey Methodology
    28(2)). With only a constant this is the t-test of one sample, with two groups it is Welch's
    test, and if the groups of a linear model are balanced it has the classical degrees of freedom.

    Attributes:
        size: Number of coefficients.
        residuals: Residuals (N,) of the observations.
        rank: Rank of the matrix of columns.
    """

    def __init__(self, columns: Array, values: Array, least: Array | float = 0.0) -> None:
        """Fit the model.

        Args:
            columns: Columns (N, P), which may be linearly dependent.
            values: Observations (N,).
            least: Lower bound of the variance of each observation (N,) or of all, even if the
                observations agree better.
        """
        gram = columns.T @ columns
        inverse = np.linalg.pinv(gram, rcond=TOLERANCE, hermitian=True)
        self._columns, self._inverse, self._values = columns, inverse, values
        self._least: Array = np.broadcast_to(least, len(values))
        self.size = columns.shape[1]
        self._known = inverse @ gram  # projects on the estimable part
        self.rank = round(float(np.trace(self._known)))
        self.residuals: Array = values - columns @ (inverse @ (columns.T @ values))
        self._free: Array = 1 - np.einsum("ij,jk,ik->i", columns, inverse, columns, optimize=True)

    def estimate(self, contrast: Array) -> Estimate:
        """Estimate a linear combination of the coefficients.

        Args:
            contrast: Weights (P,) of the coefficients.

        Returns:
            Estimate; its value is NaN if the data do not determine it.
        """
        if np.abs(contrast @ self._known - contrast).max() > sqrt(TOLERANCE):
            return Estimate(nan)
        weights = self._columns @ (self._inverse @ contrast)
        value = float(weights @ self._values)
        heard = weights**2 > TOLERANCE * (weights @ weights)
        free, shares = self._free[heard], weights[heard] ** 2
        if free.min(initial=inf) < TOLERANCE:
            return Estimate(value)  # An observation with its own coefficient has no residual.
        df = float(shares.sum() ** 2 / (shares**2 / free).sum())
        if df < LEAST_DF - TOLERANCE:
            return Estimate(value)
        seen = float((shares * self.residuals[heard] ** 2 / free).sum())
        return Estimate(value, sqrt(max(seen, float(shares @ self._least[heard]))), df)


def centred(columns: Array) -> Array:
    """Subtract from each column its mean."""
    means: Array = columns.mean(axis=0)
    return columns - means


def effect_coded(codes: NDArray[np.intp]) -> Array:
    """Encode a factor so that the coefficients of its levels sum to zero.

    Args:
        codes: Index (N,) of each observation's level; -1 if the factor has no effect, which
            counts as the mean of the levels.

    Returns:
        Columns (N, levels - 1); none for a factor of fewer than two levels.
    """
    levels = int(codes.max(initial=-1)) + 1
    coded = np.zeros((len(codes), max(levels, 1)))
    coded[np.flatnonzero(codes >= 0), codes[codes >= 0]] = 1
    columns: Array = coded[:, :-1] - coded[:, -1:]
    return columns
