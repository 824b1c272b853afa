"""Predictions of the final score of a training from its first epochs.

The final value of a training is latent until it ends. Its value after each epoch is a noisy
observation of the final value, called a view. The level, slope and noise of a view are learned from
the finished trainings of the same search. So a stopped training is an observation of its final
value like any other, with more noise.

Trainings are stopped because of their curves, so the finished ones are a selected sample. That does
not bias the regression of the final value on the value after an epoch. The spread of the values
after an epoch is known from all trainings. The regression and this spread determine the view (the
factored likelihood of Anderson 1957, doi:10.1080/01621459.1957.10501379).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from skipsearch.metric import Scale
from skipsearch.surrogate.encoding import Array
from skipsearch.surrogate.warp import Warp

LEAST = 5  # finished trainings needed to learn from an epoch
PRIOR = 4.0  # weight, in finished trainings, of the prior that an epoch predicts nothing
MOST_VARIANCE = 25.0  # maximum variance of a used view, in squared spreads of the final values


class Finals(NamedTuple):
    """The final scores that the epochs of some trainings indicate.

    Attributes:
        scores: Indicated final scores. They may be far from all observed ones, with
            correspondingly large variances.
        variances: Variance of each one's value by ``Warp``, in squared logits, in addition to the
            noise of a finished training; infinite if nothing is indicated. Divide it by a warp's
            squared spread for that warp's values.
    """

    scores: Array
    variances: Array


class Curves:
    """Views of final scores, learned from the curves of a search.

    Args:
        finished: Scores by epoch of the finished trainings; the last epoch is that of the full
            budget.
        scale: Metric and number of images of the scores.
        others: Scores by epoch of trainings that are not finished and have not failed.
    """

    def __init__(
        self,
        finished: Sequence[Mapping[int, float]],
        scale: Scale,
        others: Sequence[Mapping[int, float]] = (),
    ) -> None:
        self._finished = finished
        self._others = others
        self._scale = scale
        self._views: dict[int, _View | None] = {}
        if len(finished) >= LEAST:
            final = [curve[max(curve)] for curve in finished]
            self._warp = Warp.of(final, scale)
            self._values = self._warp.values(final)

    def finals(self, epochs: Sequence[int], scores: Sequence[float] | Array) -> Finals:
        """Return the final scores that some trainings indicate.

        Args:
            epochs: Last epoch of each training.
            scores: Score of each training after that epoch.
        """
        at, seen = np.asarray(epochs, dtype=int), np.asarray(scores, dtype=float)
        found = Finals(np.full(len(at), np.nan), np.full(len(at), np.inf))
        for epoch in np.unique(at).tolist():
            if epoch not in self._views:
                self._views[epoch] = self._view(epoch)
            view = self._views[epoch]
            if view is not None:
                here = at == epoch
                values, variances = view.observe(seen[here])
                variances = np.where(variances > MOST_VARIANCE, np.inf, variances)
                found.scores[here] = self._warp.scores(values)
                found.variances[here] = variances * self._warp.spread**2
        return found

    def _view(self, epoch: int) -> _View | None:
        if sum(epoch in curve for curve in self._finished) < LEAST:
            return None
        early = [curve[epoch] for curve in self._finished]
        seen = early + [curve[epoch] for curve in self._others if epoch in curve]
        return _View.of(np.array(seen), np.array(early), self._values, self._scale)


@dataclass(frozen=True, slots=True)
class _View:
    """The relation of the final value to the value after an epoch, in the spreads of both.

    The final value is normal with mean ``level + slope * z`` for a value z after the epoch.

    Attributes:
        warp: Warp of the scores after this epoch.
        level: Expected final value for z = 0.
        slope: Slope of the final value with respect to z.
        noise: Variance of the final value given z.
        uncertainty: Covariance of level and slope, in units of ``noise``.
        middle: Mean of z over all trainings.
        spread: Variance of z over all trainings.
    """

    warp: Warp
    level: float
    slope: float
    noise: float
    uncertainty: Array
    middle: float
    spread: float

    @classmethod
    def of(cls, seen: Array, early: Array, final: Array, scale: Scale) -> _View:
        """Learn a view.

        The regression is Bayesian with the conjugate prior (Gelman et al. 2013, Bayesian Data
        Analysis, section 14.2): a slope of 0, and a variance of 1, to which the final values are
        scaled.

        Args:
            seen: Scores after this epoch of all trainings that reached it.
            early: Scores after this epoch of the finished trainings.
            final: Final values of the finished trainings.
            scale: Metric and number of images of the scores.
        """
        warp = Warp.of(seen, scale)
        z = warp.values(seen)
        inputs = np.stack([np.ones(len(early)), warp.values(early)], axis=1)
        precision = inputs.T @ inputs + np.diag([1.0, PRIOR])
        uncertainty = np.linalg.inv(precision)
        weights = uncertainty @ (inputs.T @ final)
        scatter = PRIOR + float(final @ final - weights @ precision @ weights)
        # The variance of Student's t distribution with PRIOR + len(final) degrees of freedom.
        noise = scatter / (PRIOR + len(final) - 2)
        slope = max(float(weights[1]), 0.0)
        return cls(
            warp, float(weights[0]), slope, noise, uncertainty, float(z.mean()), float(z.var())
        )

    def observe(self, scores: Sequence[float] | Array) -> tuple[Array, Array]:
        """Return the final value that each score indicates, and the variance of its error.

        This inverts Bayes' rule: the observation turns the distribution of the final values of all
        trainings into that of the trainings with this score after this epoch.
        """
        z = self.warp.values(scores)
        x = np.stack([np.ones(len(z)), z], axis=1)
        variances = self.noise * (1 + np.einsum("ni,ij,nj->n", x, self.uncertainty, x))
        explained = self.slope**2 * self.spread
        if explained == 0:
            return np.zeros(len(z)), np.full(len(z), np.inf)
        middle = self.level + self.slope * self.middle
        values = middle + self.slope * (z - self.middle) * (1 + variances / explained)
        return values, variances * (1 + variances / explained)
