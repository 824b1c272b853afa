"""Acquisition functions: the expected improvement of one objective or of a front."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from skipsearch.surrogate.encoding import Array


def expected_improvement(mean: Array, deviation: Array, best: float | Array) -> Array:
    """Return the expected improvement of normal values over the best.

    Jones, Schonlau & Welch 1998 (doi:10.1023/A:1008306431147), for values to be maximised.

    Args:
        mean: Mean of each value.
        deviation: Standard deviation of each value.
        best: Value to exceed.
    """
    over = mean - best
    with np.errstate(divide="ignore", invalid="ignore"):
        z = over / deviation
        gain = over * ndtr(z) + deviation * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    return np.asarray(np.where(deviation > 0, gain, np.maximum(over, 0.0)))


def front_gain(
    mean: Array, deviation: Array, cost: Array, front: Array, front_cost: Array, worst: float
) -> Array:
    """Return the expected increase of the area under a front due to each design.

    The front has a value to be maximised and a known cost to be minimised. A design with cost c and
    value y dominates all values below y at every cost of at least c. At each of these costs it adds
    the difference between y and the value of the front, if positive. So the expectation is a sum of
    expected improvements over the steps of the front, and it is exact (the one-dimensional case of
    Emmerich, Deutz & Klinkenberg 2011).

    Args:
        mean: Mean of the value of each design.
        deviation: Standard deviation of each value.
        cost: Cost of each design.
        front: Values of the observed designs, in any order, including dominated ones.
        front_cost: Costs of the observed designs.
        worst: Value from which the area is measured; lower values add nothing.

    Returns:
        The expected gain of each design: value times cost, with costs relative to the range of
        ``cost`` and ``front_cost``.
    """
    low = min(cost.min(), front_cost.min(initial=np.inf))
    high = max(cost.max(), front_cost.max(initial=-np.inf))
    range_ = high - low if high > low else 1.0
    at, seen_at = (cost - low) / range_, (front_cost - low) / range_
    # The right end lies beyond the most expensive design, so that this design adds area too.
    end = 1.0 + 1.0 / max(len(front), 10)
    order = np.lexsort((-front, seen_at))
    heights = np.maximum.accumulate(np.append(worst, front[order]))  # of the steps, left to right
    edges = np.concatenate([[-np.inf], seen_at[order], [end]])
    gain = np.zeros(len(mean))
    for height, left, right in zip(heights, edges, edges[1:], strict=False):
        width = np.maximum(right - np.maximum(at, left), 0.0)
        inside = width > 0
        if inside.any():
            gain[inside] += width[inside] * expected_improvement(
                mean[inside], deviation[inside], float(height)
            )
    return gain
