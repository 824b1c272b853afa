"""How often early stopping was wrong: what became of the trainings that it did not get to stop."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from skipsearch.record import COMPLETE, PRUNED, Trial

BEST = 1 / 3  # share of the trainings at the full budget that count as the best


@dataclass(frozen=True, slots=True)
class Audit:
    """What early stopping cost, by the trainings that were trained on against its advice.

    Attributes:
        stopped: Trainings that it ended.
        audited: Trainings that it would have ended, and that have reached the full budget.
        among_best: Of those, how many ended among the best third of all at the full budget.
        above_all: Of those, how many ended above every training that it let pass.
    """

    stopped: int
    audited: int
    among_best: int
    above_all: int


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
        above_all=sum(value > max(passed, default=0.0) for value in audited),
    )
