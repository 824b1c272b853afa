"""Audit of early stopping: results of trainings that continued despite its decision."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from skipsearch.errors import counted
from skipsearch.record import COMPLETE, PRUNED, Trial

BEST = 1 / 3  # share of the trainings at the full budget that count as the best


@dataclass(frozen=True, slots=True)
class Audit:
    """Wrong decisions of early stopping, from trainings that continued despite its decision.

    Attributes:
        stopped: Number of trainings that early stopping ended.
        audited: Number of trainings that it would have ended and that reached the full budget.
        among_best: Number of these among the best third of all at the full budget.
        above_all: Number of these better than every training that it would not have ended.
    """

    stopped: int
    audited: int
    among_best: int
    above_all: int

    def words(self, rule: str, trainings: int) -> list[str]:
        """Describe how often early stopping was wrong.

        Args:
            rule: Rule of the early stopping.
            trainings: Number of trainings of the run.
        """
        ended = f"Early stopping ({rule}) ended {self.stopped} of"
        return [
            f"{ended} {counted(trainings, 'training')}.",
            f"As an audit, {counted(self.audited, 'training')} that it would have stopped continued"
            f" to the full budget: {self.among_best} ended in the best third there,"
            f" {self.above_all} better than all that it did not stop."
            if self.audited
            else "No training continued as an audit, so the rate of wrong stops is unknown.",
        ]


def audit(trials: Iterable[Trial]) -> Audit:
    """Count how often early stopping was wrong.

    Args:
        trials: Records of a run.
    """
    trials = list(trials)
    complete = [trial for trial in trials if trial.state == COMPLETE]
    finals = sorted((t.curve[-1].validation_score for t in complete), reverse=True)
    bound = finals[max(0, int(len(finals) * BEST) - 1)] if finals else 1.0
    passed = [t.curve[-1].validation_score for t in complete if not t.stopped_at]
    audited = [t.curve[-1].validation_score for t in complete if t.stopped_at]
    return Audit(
        stopped=sum(trial.state == PRUNED for trial in trials),
        audited=len(audited),
        among_best=sum(value >= bound for value in audited),
        above_all=sum(value > max(passed, default=inf) for value in audited),
    )
