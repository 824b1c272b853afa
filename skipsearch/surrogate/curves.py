"""What the first epochs of a training tell about its end.

The final value of a training is latent until it ends, and its value after each epoch is a noisy
view of it, of a level, slope and noise that are learned from the finished trainings of the same
search. So a training that was stopped is an observation of its final value like any other, with
more noise.

Trainings are stopped by what their curves look like, so those that finished are a selection. The
regression of the final value on the value after an epoch is not biased by that, and the spread of
the values after an epoch is known of all trainings: together they give the view (the factored
likelihood of Anderson 1957, doi:10.1080/01621459.1957.10501379).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from skipsearch.surrogate.encoding import Array
from skipsearch.surrogate.warp import Warp

LEAST = 5  # finished trainings before an epoch tells anything
PRIOR = 4.0  # finished trainings that the prior weighs: it says that an epoch tells nothing
MOST_VARIANCE = 25.0  # of a view, in squared spreads of the final values: beyond it tells nothing


class Final(NamedTuple):
    """What the epochs of a training say of its final accuracy.

    Attributes:
        accuracy: The final accuracy that they point to. It may lie far from all that was seen, with
            a variance to match.
        variance: Of its value by ``Warp``, in squared logits, beside the noise of a training that
            finished. Divided by the square of a warp's spread it is that of the warp's values.
    """

    accuracy: float
    variance: float


class Curves:
    """The curves of a search, from which it is learned what an epoch tells.

    Args:
        finished: Accuracies by epoch of the trainings that went to the end; the last epoch is that
            of the full budget.
        images: Number of images that an accuracy is a share of.
        others: Accuracies by epoch of trainings that did not, and have not failed.
    """

    def __init__(
        self,
        finished: Sequence[Mapping[int, float]],
        images: int,
        others: Sequence[Mapping[int, float]] = (),
    ) -> None:
        self._finished = finished
        self._others = others
        self._images = images
        self._views: dict[int, _View | None] = {}
        if len(finished) >= LEAST:
            final = [curve[max(curve)] for curve in finished]
            self._warp = Warp.of(final, images)
            self._values = self._warp.values(final)

    def final(self, epoch: int, accuracy: float) -> Final | None:
        """Return what an accuracy says of the final one; None where it says nothing.

        Args:
            epoch: The last that a training was trained for.
            accuracy: After it.
        """
        if epoch not in self._views:
            self._views[epoch] = self._view(epoch)
        view = self._views[epoch]
        if view is None:
            return None
        value, variance = view.observe(accuracy)
        if variance > MOST_VARIANCE:
            return None
        return Final(float(self._warp.accuracies([value])[0]), variance * self._warp.spread**2)

    def _view(self, epoch: int) -> _View | None:
        if sum(epoch in curve for curve in self._finished) < LEAST:
            return None
        early = [curve[epoch] for curve in self._finished]
        seen = early + [curve[epoch] for curve in self._others if epoch in curve]
        return _View.of(np.array(seen), np.array(early), self._values, self._images)


@dataclass(frozen=True, slots=True)
class _View:
    """How an epoch shows the final value, in spreads of either.

    The final value is normal about ``level + slope * z`` for a value z after the epoch.

    Attributes:
        warp: Of the accuracies after this epoch.
        level: Final value that is expected where z is 0.
        slope: By which it rises with z.
        noise: Its variance where z is known.
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
    def of(cls, seen: Array, early: Array, final: Array, images: int) -> _View:
        """Learn a view.

        The regression is Bayesian with the conjugate prior (Gelman et al. 2013, Bayesian Data
        Analysis, section 14.2): a slope of 0, and final values of the variance 1 that they are
        scaled to.

        Args:
            seen: Accuracies after this epoch of all trainings that reached it.
            early: The same of those that finished.
            final: Values of those at the end.
            images: Number of images that an accuracy is a share of.
        """
        warp = Warp.of(seen, images)
        z = warp.values(seen)
        inputs = np.stack([np.ones(len(early)), warp.values(early)], axis=1)
        precision = inputs.T @ inputs + np.diag([1.0, PRIOR])
        uncertainty = np.linalg.inv(precision)
        weights = uncertainty @ (inputs.T @ final)
        scatter = PRIOR + float(final @ final - weights @ precision @ weights)
        # The variance of Student's t distribution of PRIOR + len(final) degrees of freedom.
        noise = scatter / (PRIOR + len(final) - 2)
        slope = max(float(weights[1]), 0.0)
        return cls(
            warp, float(weights[0]), slope, noise, uncertainty, float(z.mean()), float(z.var())
        )

    def observe(self, accuracy: float) -> tuple[float, float]:
        """Return the final value that an accuracy points to, and by what variance it may be off.

        This is Bayes' rule backwards: the observation by which the final values of all trainings
        become those of the trainings that show this accuracy after this epoch.
        """
        z = float(self.warp.values([accuracy])[0])
        x = np.array([1.0, z])
        variance = self.noise * float(1 + x @ self.uncertainty @ x)
        explained = self.slope**2 * self.spread
        if explained == 0:
            return 0.0, np.inf
        middle = self.level + self.slope * self.middle
        value = middle + self.slope * (z - self.middle) * (1 + variance / explained)
        return value, variance * (1 + variance / explained)
