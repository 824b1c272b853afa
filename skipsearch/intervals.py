"""95 % intervals of accuracies, in plain numbers."""

from __future__ import annotations

from math import sqrt

Z_95 = 1.959964  # the 97.5 % quantile of the normal distribution


def wilson(share: float, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share that was observed in n draws.

    Wilson 1927 (doi:10.2307/2276774); recommended for all n by Brown, Cai & DasGupta 2001
    (doi:10.1214/ss/1009213286).

    Args:
        share: Observed share, from 0 to 1.
        n: Number of draws, at least 1.
    """
    centre = (share + Z_95**2 / (2 * n)) / (1 + Z_95**2 / n)
    half = Z_95 * sqrt(share * (1 - share) / n + Z_95**2 / (4 * n * n)) / (1 + Z_95**2 / n)
    # Rounding must not put a bound on the wrong side of the share itself.
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def rounding(n: int) -> float:
    """Return the variance of a share of n items due to rounding to whole items.

    Sheppard 1898 (doi:10.1112/plms/s1-29.1.353). Seeds whose accuracies agree to the last image
    may still vary by this much.

    Args:
        n: Number of items, at least 1.
    """
    return 1 / (12 * n**2)
