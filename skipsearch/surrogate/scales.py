"""The scales of a kernel: their prior, and their density given observed trainings.

The marginal likelihood is that of Rasmussen & Williams 2006, Gaussian Processes for Machine
Learning, section 5.4.1.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.linalg.lapack import dpotri
from scipy.optimize import minimize

from skipsearch.surrogate.encoding import Array
from skipsearch.surrogate.kernel import CONSTANT, Kernel, Scales
from skipsearch.surrogate.observations import Observations

FITTED = 400  # maximum number of designs to which the scales are fitted

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
        # Of the symmetric matrices over the designs, only the lower triangles are computed.
        self._lower = np.tril_indices(len(seen))
        self._correlations = kernel.correlations(seen.points, seen.points)[:, *self._lower]
        self._squares = self._correlations**2
        self._times = np.where(self._lower[0] == self._lower[1], 1.0, 2.0)  # in the whole matrix
        axes = len(self._correlations)
        self._middle = np.array([MAIN, PAIR, OWN, NOISE, *[0.0] * axes])
        self._width = np.array([*WIDTHS, *[relevance_width] * axes])

    def loss(self, logs: Array) -> tuple[float, Array]:
        """Return the negative logarithm of the density, up to a constant, and its gradient."""
        value, slope = self.likelihood(np.exp(logs))
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

    def likelihood(self, scales: Array) -> tuple[float, Array]:
        """Return the logarithm of the marginal likelihood, and its gradient in the scales."""
        seen = self._seen
        main, pair, own, noise = scales[:4]
        r = scales[4:]
        count = len(r)
        pairs = max(count * (count - 1) / 2, 1)
        weighted = r @ self._correlations
        mains, twos = weighted / count, (weighted**2 - r**2 @ self._squares) / 2 / pairs
        covariance = np.zeros((len(seen), len(seen)))
        covariance[self._lower] = CONSTANT + main * mains + pair * twos
        single = seen.floors + noise
        covariance[np.diag_indices_from(covariance)] += own + single / seen.counts
        factor = cho_factor(covariance, lower=True, overwrite_a=True)
        solved = cho_solve(factor, seen.means)
        value = -0.5 * seen.means @ solved - np.log(np.diag(factor[0])).sum()
        value -= 0.5 * np.sum((seen.counts - 1) * np.log(single) + seen.scatters / single)
        inverse, _ = dpotri(factor[0], lower=True)
        outer = (np.outer(solved, solved) - inverse) / 2  # gradient in the covariances
        diagonal = np.diag(outer)
        replicates = (seen.scatters / single - (seen.counts - 1)) / single / 2
        summed = outer[self._lower] * self._times
        slope = np.empty_like(scales)
        slope[:4] = (
            summed @ mains,
            summed @ twos,
            np.sum(diagonal),
            np.sum(diagonal / seen.counts + replicates),
        )
        # Derivative with respect to the relevance of an axis: its main effect, and its pairs with
        # all others.
        slope[4:] = self._correlations @ (summed * (main / count + pair / pairs * weighted))
        slope[4:] -= r * pair / pairs * (self._squares @ summed)
        return float(value), slope
