"""What a training that was stopped would have reached: learned from those that were not.

The accuracy after fewer epochs is a noisy view of the final one. How a view of an epoch is scaled,
and how noisy it is, is a linear regression of the final logits on the logits at that epoch, over
the trainings that went to the end. Which of them did so may depend on what was seen at that epoch,
as with early stopping: a regression on it is right nevertheless.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import expit

from skipsearch.surrogate.warp import logits

LEAST = 3  # trainings that must have gone to the end before a view of an epoch means anything
PRIOR = 2.0  # trainings for which a slope of 1 and no knowledge at all count


class Final(NamedTuple):
    """What a training is expected to reach.

    Attributes:
        accuracy: At the last epoch.
        variance: Of its logit, beside the noise of a training that went to the end.
    """

    accuracy: float
    variance: float


class Curves:
    """The trainings that went to the end.

    Args:
        curves: Their accuracies, by epoch; the last epoch is that of the full budget.
        images: Number of images that an accuracy is a share of.
    """

    def __init__(self, curves: Sequence[Mapping[int, float]], images: int) -> None:
        self._curves = curves
        self._images = images
        self._views: dict[int, tuple[float, ...] | None] = {}

    def final(self, epoch: int, accuracy: float) -> Final | None:
        """Return what a training is expected to reach; None where too few have gone to the end.

        Args:
            epoch: The last that it was trained for.
            accuracy: After it.
        """
        if epoch not in self._views:
            self._views[epoch] = self._view(epoch)
        view = self._views[epoch]
        if view is None:
            return None
        slope, middle, final, weight, scatter, noise = view
        off = float(logits(np.array(accuracy), self._images)) - middle
        variance = noise * (1 + 1 / weight + (off * off / scatter if scatter > 0 else 0.0))
        return Final(float(expit(final + slope * off)), variance)

    def _view(self, epoch: int) -> tuple[float, ...] | None:
        """Return slope, means, number, scatter and residual variance of the regression."""
        pairs = [(curve[epoch], curve[max(curve)]) for curve in self._curves if epoch in curve]
        if len(pairs) < LEAST:
            return None
        early, late = logits(np.array(pairs), self._images).T
        x, y = early - early.mean(), late - late.mean()
        prior = PRIOR * x.var()
        scatter = x @ x + prior
        slope = (x @ y + prior) / scatter if scatter > 0 else 1.0
        residual = y - slope * x
        # Few trainings lie close to a line by chance.
        noise = (residual @ residual + PRIOR * y.var()) / len(pairs)
        return slope, early.mean(), late.mean(), float(len(pairs)), scatter, noise
