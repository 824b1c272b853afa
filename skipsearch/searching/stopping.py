"""Early stopping: decisions about which trainings end before the full budget.

Decisions depend only on the records of the study, so that a resumed search makes the same decisions
as an uninterrupted one. Ray Tune calls this through ``session.Scheduler``.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Hashable, Sequence
from statistics import fmean, median

from skipsearch.early_stopping import EarlyStopping

LEAST_FOR_MEDIAN = 3  # trainings that must have reached an epoch before its median is used


class EarlyStopper:
    """The decisions of early stopping, with the stored values of the comparisons.

    Args:
        stopping: Rule of early stopping.
        epochs: Full budget.
    """

    def __init__(self, stopping: EarlyStopping, epochs: int) -> None:
        self._stopping = stopping
        self._grace = stopping.rungs(epochs)[0]
        self._rungs = stopping.rungs(epochs)[:-1]
        # Sorted observations at an epoch: values at a rung, or means up to an epoch.
        self._seen: dict[Hashable, list[float]] = defaultdict(list)
        self._entered: dict[int, int] = {}  # entered epochs, by running training

    def stops(self, number: int, scores: Sequence[float], group: Hashable = None) -> bool:
        """Enter the new epochs of a training, and return whether it is stopped.

        All new epochs are entered, so the same call also serves to enter a training that was
        already decided on, or that has the full budget.

        Args:
            number: Number of the training.
            scores: Validation scores of all its epochs so far.
            group: Group within which trainings are compared.
        """
        before = self._entered.get(number, 0)
        self._entered[number] = len(scores)
        falls = {
            "asha": self._below_best,
            "median": self._below_median,
            "none": lambda *_: False,
        }[self._stopping.rule]
        ends = [
            falls(number, scores[:epoch], group) for epoch in range(before + 1, len(scores) + 1)
        ]
        return any(ends)

    def forget(self, number: int) -> None:
        """Drop the data that are only needed while a training is running."""
        self._entered.pop(number, None)

    def _below_best(self, number: int, scores: Sequence[float], group: Hashable) -> bool:
        bracket = number % self._stopping.brackets
        epoch, value = len(scores), scores[-1]
        if epoch not in self._rungs[bracket:]:
            return False
        seen = self._seen[group, bracket, epoch]
        insort(seen, value)
        better = len(seen) - bisect_right(seen, value)
        return better >= max(1, len(seen) // self._stopping.reduction_factor)

    def _below_median(self, _: int, scores: Sequence[float], group: Hashable) -> bool:
        seen = self._seen[group, len(scores)]
        falls = (
            len(seen) >= LEAST_FOR_MEDIAN
            and len(scores) >= self._grace
            and max(scores) < median(seen)
        )
        insort(seen, fmean(scores))
        return falls
