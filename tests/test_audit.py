"""How often early stopping was wrong, on records with a known answer."""

from __future__ import annotations

import pytest

from skipsearch.analysis import Audit, audit
from skipsearch.design import Design
from skipsearch.recipe import Recipe
from skipsearch.record import COMPLETE, FAIL, PRUNED, RUNNING, Epoch, Trial


def trial(state: str, accuracy: float, stopped_at: int = 0) -> Trial:
    return Trial(
        number=0,
        design=Design(layout="conv3 +"),
        recipe=Recipe(),
        seed=0,
        state=state,
        reason="",
        curve=(Epoch(1, 0.1, 1.0, 0.5, 1.0, accuracy, 0.1),),
        params=1,
        macs=1,
        device="cpu",
        versions={},
        stopped_at=stopped_at,
    )


PASSED = [trial(COMPLETE, accuracy) for accuracy in (0.5, 0.6, 0.7, 0.8, 0.9)]


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([], Audit(0, 0, 0, 0)),
        ([trial(PRUNED, 0.99), trial(FAIL, 0.99, 1), trial(RUNNING, 0.99, 1)], Audit(1, 0, 0, 0)),
        ([trial(COMPLETE, 0.1, 1)], Audit(0, 1, 0, 0)),
        ([trial(COMPLETE, 0.85, 1)], Audit(0, 1, 1, 0)),  # the second of six
        ([trial(COMPLETE, 0.95, 1), trial(COMPLETE, 0.91, 3)], Audit(0, 2, 2, 2)),
        (
            [trial(COMPLETE, 0.9, 1), trial(COMPLETE, 0.2, 1)],
            Audit(0, 2, 1, 0),
        ),  # a tie is not above
    ],
)
def test_what_was_trained_on_tells_how_often_stopping_was_wrong(
    others: list[Trial], expected: Audit
) -> None:
    assert audit([*PASSED, *others]) == expected


def test_a_run_without_trainings_has_nothing_to_audit() -> None:
    assert audit([]) == Audit(0, 0, 0, 0)
    assert audit([trial(COMPLETE, 0.3, 1)]) == Audit(0, 1, 1, 0)  # it let none pass
