"""Least squares whose errors need not be alike."""

from __future__ import annotations

from math import inf, isnan, nan, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

Array = NDArray[np.float64]

ERROR = 0.05  # the chance to find one that is not
LEAST_DF = 2  # with fewer degrees of freedom an interval says nothing
TOLERANCE = 1e-8


class Estimate(NamedTuple):
    """A figure, its standard error, and the degrees of freedom that this has; NaN if unknown."""

    value: float
    error: float = nan
    df: float = nan

    @property
    def known(self) -> bool:
        """Whether the figure has a standard error."""
        return not isnan(self.error)

    def interval(self, error: float = ERROR) -> tuple[float, float]:
        """Return the interval that misses the truth with the chance given (Student)."""
        half = float(t.ppf(1 - error / 2, self.df)) * self.error
        return self.value - half, self.value + half


class LinearModel:
    """A linear model by least squares.

    The variance of an estimate is that of MacKinnon & White 1985 (HC2,
    doi:10.1016/0304-4076(85)90158-7), which lets every observation have its own; its degrees of
    freedom are Satterthwaite's for such a sum (after Bell & McCaffrey 2002, Survey Methodology
    28(2)). With a constant alone this is the t-test of one sample, with two groups it is Welch's,
    and where the groups of a linear model are balanced it has the classical degrees of freedom.

    Attributes:
        size: How many coefficients there are.
        residuals: (N,) what the model leaves of the observations.
        rank: Of the matrix of its columns.
    """

    def __init__(self, columns: Array, values: Array, least: Array | float = 0.0) -> None:
        """Fit.

        Args:
            columns: (N, P) one row an observation; columns may depend on each other.
            values: (N,)
            least: (N,) or one for all: the variance that an observation is known to have at the
                least, however well these few agree.
        """
        gram = columns.T @ columns
        inverse = np.linalg.pinv(gram, rcond=TOLERANCE, hermitian=True)
        self._columns, self._inverse, self._values = columns, inverse, values
        self._least: Array = np.broadcast_to(least, len(values))
        self.size = columns.shape[1]
        self._known = inverse @ gram  # projects on what the data can tell
        self.rank = round(float(np.trace(self._known)))
        self.residuals: Array = values - columns @ (inverse @ (columns.T @ values))
        self._free: Array = 1 - np.einsum("ij,jk,ik->i", columns, inverse, columns, optimize=True)

    def estimate(self, contrast: Array) -> Estimate:
        """Estimate a combination of the coefficients.

        Args:
            contrast: (P,) the weight of each.

        Returns:
            The estimate; of it only what the data can tell.
        """
        if np.abs(contrast @ self._known - contrast).max() > sqrt(TOLERANCE):
            return Estimate(nan)
        weights = self._columns @ (self._inverse @ contrast)
        value = float(weights @ self._values)
        heard = weights**2 > TOLERANCE * (weights @ weights)
        free, shares = self._free[heard], weights[heard] ** 2
        if free.min(initial=inf) < TOLERANCE:
            return Estimate(value)  # An observation with a coefficient to itself shows no error.
        df = float(shares.sum() ** 2 / (shares**2 / free).sum())
        if df < LEAST_DF - TOLERANCE:
            return Estimate(value)
        seen = float((shares * self.residuals[heard] ** 2 / free).sum())
        return Estimate(value, sqrt(max(seen, float(shares @ self._least[heard]))), df)


def centred(columns: Array) -> Array:
    """Take from each column its mean."""
    means: Array = columns.mean(axis=0)
    return columns - means


def effect_coded(codes: NDArray[np.intp]) -> Array:
    """Code a factor so that its levels' coefficients sum to zero.

    Args:
        codes: (N,) the level of each observation, from 0; -1 where the factor has no effect, which
            counts as the mean of the levels.

    Returns:
        (N, levels - 1) columns; none for a factor of fewer than two levels.
    """
    levels = int(codes.max(initial=-1)) + 1
    coded = np.zeros((len(codes), max(levels, 1)))
    coded[np.flatnonzero(codes >= 0), codes[codes >= 0]] = 1
    columns: Array = coded[:, :-1] - coded[:, -1:]
    return columns
