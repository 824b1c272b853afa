"""Early stopping: at which epochs trials are compared, which of them end there, and the audit.

Pure arithmetic on what the study recorded, so that a search that goes on decides as one that was
never interrupted. Ray Tune asks it through ``driver.Scheduler``.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, median

from skipsearch.errors import RunError, counted, not_one_of

RULES = ("asha", "median", "none")
LEAST_FOR_MEDIAN = 3  # trainings that must have reached an epoch before a median is trusted


@dataclass(frozen=True, kw_only=True)
class EarlyStopping:
    """When a training that does badly is ended before its full budget.

    Attributes:
        rule: ``asha`` (Li et al. 2020, arXiv:1810.05934, stopping type): at each rung a training
            goes on if it is among the best ``1 / reduction_factor`` of those that reached it.
            ``median`` (Golovin et al. 2017, section 3.2): after each epoch it goes on unless its
            best value is below the median of the others' means up to that epoch. ``none``.
        grace: Epochs that every training gets, the first rung; None for the budget divided by
            ``reduction_factor`` squared, rounded up. What shows only later is lost.
        reduction_factor: Of ``asha``; each rung lies so many times higher than the one before.
        brackets: Of ``asha``: training n belongs to bracket n modulo ``brackets``, whose rungs
            begin so many rungs higher, and is compared within it.
        audit: Share of the trainings to be stopped that are trained to the end all the same, to
            tell how often stopping was wrong.

    Raises:
        RunError: If a value is out of range.
    """

    rule: str = "asha"
    grace: int | None = None
    reduction_factor: int = 3
    brackets: int = 1
    audit: float = 0.05

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise RunError(f"scheduler {not_one_of(self.rule, RULES)}")
        for name, least in (("grace", 1), ("reduction_factor", 2), ("brackets", 1)):
            value = getattr(self, name)
            whole = isinstance(value, int) and not isinstance(value, bool)
            if not (whole and value >= least) and (name, value) != ("grace", None):
                raise RunError(f"{name}: {value!r} is not a whole number from {least}")
        if isinstance(self.audit, bool) or not 0 <= self.audit <= 1:
            raise RunError(f"audit: {self.audit!r} is not a share from 0 to 1")

    def rungs(self, epochs: int) -> tuple[int, ...]:
        """Return the epochs at which trainings are compared, rising, the full budget last.

        Args:
            epochs: The full budget.

        Raises:
            RunError: If the budget leaves no room for the grace or the brackets.
        """
        if self.rule == "none":
            return (epochs,)
        rung = self.grace or -(-epochs // self.reduction_factor**2)
        if rung > epochs:
            raise RunError(f"grace: {rung} epochs are more than the full budget of {epochs}")
        below = []
        while rung < epochs:
            below.append(rung)
            rung *= self.reduction_factor
        if self.brackets > len(below) + 1:
            raise RunError(
                f"brackets: {self.brackets} asked for, and {counted(epochs, 'epoch')} hold"
                f" {counted(len(below) + 1, 'rung')}"
            )
        return (*below, epochs)

    def details(self) -> dict[str, float | None]:
        """Return all but the rule as plain values."""
        return {name: value for name, value in asdict(self).items() if name != "rule"}

    def is_audited(self, number: int, seed: int) -> bool:
        """Whether a training that is to be stopped goes on to the end: a fixed draw a training."""
        # Multiplying by the golden ratio spreads consecutive numbers evenly over [0, 1).
        return (number * 0.6180339887498949 + seed * 0.7548776662466927) % 1.0 < self.audit

    def judge(self, epochs: int) -> Judge:
        """Return what decides, with no training entered yet."""
        return Judge(self, epochs)


class Judge:
    """Decides about trainings, one after another, and remembers what it compares them with.

    Args:
        stopping: The rule.
        epochs: The full budget.
    """

    def __init__(self, stopping: EarlyStopping, epochs: int) -> None:
        self._stopping = stopping
        self._grace = stopping.rungs(epochs)[0]
        self._rungs = stopping.rungs(epochs)[:-1]
        # What was seen at an epoch, sorted: values at a rung, or means up to an epoch.
        self._seen: dict[Hashable, list[float]] = defaultdict(list)
        self._entered: dict[int, int] = {}  # by training under way: epochs that were entered

    def stops(self, number: int, accuracies: Sequence[float], group: Hashable = None) -> bool:
        """Enter the epochs of a training that are new, and say whether it is to end.

        All new epochs are entered, so that a training whose fate was decided before, or that has
        the full budget, is entered by the same call.

        Args:
            number: Of the training.
            accuracies: Of all its epochs so far.
            group: Trainings are compared within a group.
        """
        before = self._entered.get(number, 0)
        self._entered[number] = len(accuracies)
        falls = {
            "asha": self._below_best,
            "median": self._below_median,
            "none": lambda *_: False,
        }[self._stopping.rule]
        ends = [
            falls(number, accuracies[:epoch], group)
            for epoch in range(before + 1, len(accuracies) + 1)
        ]
        return any(ends)

    def forget(self, number: int) -> None:
        """Drop what is only needed while a training is under way."""
        self._entered.pop(number, None)

    def _below_best(self, number: int, accuracies: Sequence[float], group: Hashable) -> bool:
        bracket = number % self._stopping.brackets
        epoch, value = len(accuracies), accuracies[-1]
        if epoch not in self._rungs[bracket:]:
            return False
        seen = self._seen[group, bracket, epoch]
        insort(seen, value)
        better = len(seen) - bisect_right(seen, value)
        return better >= max(1, len(seen) // self._stopping.reduction_factor)

    def _below_median(self, _: int, accuracies: Sequence[float], group: Hashable) -> bool:
        seen = self._seen[group, len(accuracies)]
        falls = (
            len(seen) >= LEAST_FOR_MEDIAN
            and len(accuracies) >= self._grace
            and max(accuracies) < median(seen)
        )
        insort(seen, fmean(accuracies))
        return falls
