"""Early stopping: where rungs lie, who is stopped, and who is trained on to check the rule."""

from __future__ import annotations

import random
from itertools import pairwise
from statistics import fmean, median
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.tune.schedulers import AsyncHyperBandScheduler, MedianStoppingRule, TrialScheduler

from skipsearch.early_stopping import RULES, EarlyStopping
from skipsearch.errors import RunError
from skipsearch.searching.stopping import LEAST_FOR_MEDIAN, EarlyStopper

# Li et al. 2020, arXiv:1810.05934, with a reduction factor of 3: a ninth, a third, the whole.
RUNGS = {
    1: (1,),
    2: (1, 2),
    3: (1, 3),
    4: (1, 3, 4),
    8: (1, 3, 8),
    9: (1, 3, 9),
    20: (3, 9, 20),
    27: (3, 9, 27),
    81: (9, 27, 81),
    200: (23, 69, 200),
}


@pytest.mark.parametrize("epochs", RUNGS)
def test_the_rungs_of_a_budget(epochs: int) -> None:
    assert EarlyStopping().rungs(epochs) == RUNGS[epochs]


@given(st.integers(1, 100_000))
def test_rungs_rise_by_at_most_three_to_the_full_budget(epochs: int) -> None:
    found = EarlyStopping().rungs(epochs)
    assert found[0] >= 1
    assert found[-1] == epochs
    assert all(low < high <= 3 * low for low, high in pairwise(found))
    assert 9 * found[0] >= epochs > 9 * (found[0] - 1)


@pytest.mark.parametrize(
    ("stopping", "epochs", "rungs"),
    [
        (EarlyStopping(grace=1, reduction_factor=2), 8, (1, 2, 4, 8)),
        (EarlyStopping(grace=5, reduction_factor=4), 81, (5, 20, 80, 81)),
        (EarlyStopping(reduction_factor=4), 16, (1, 4, 16)),
        (EarlyStopping(grace=9), 9, (9,)),
        (EarlyStopping(rule="none", grace=3), 9, (9,)),
        (EarlyStopping(rule="median", grace=2), 9, (2, 6, 9)),
    ],
)
def test_rungs_as_asked_for(stopping: EarlyStopping, epochs: int, rungs: tuple[int, ...]) -> None:
    assert stopping.rungs(epochs) == rungs


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"rule": "ahsa"},
            "scheduler 'ahsa' is not one of asha, median, none .did you mean 'asha'",
        ),
        ({"grace": 0}, "grace: 0 is not a whole number from 1"),
        ({"grace": 1.5}, "grace: 1.5 is not"),
        ({"reduction_factor": 1}, "reduction_factor: 1 is not a whole number from 2"),
        ({"brackets": True}, "brackets: True is not"),
        ({"brackets": None}, "brackets: None is not"),
        ({"audit": 1.1}, "audit: 1.1 is not a share from 0 to 1"),
        ({"grace": 10}, "grace: 10 epochs are more than the full budget of 9"),
        ({"brackets": 4}, "brackets: 4 asked for, and 9 epochs hold 3 rungs"),
    ],
)
def test_what_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(RunError, match=message):
        EarlyStopping(**values).rungs(9)  # type: ignore[arg-type]


accuracy = st.integers(0, 20).map(lambda n: n / 20)
curves = st.lists(st.lists(accuracy, min_size=1, max_size=9), min_size=1, max_size=30)


@given(curves, st.sampled_from(RULES))
def test_nothing_is_stopped_that_none_of_the_others_beats(
    curves: list[list[float]], rule: str
) -> None:
    stopper = EarlyStopper(EarlyStopping(rule=rule), 9)
    for number, curve in enumerate(curves):
        best_so_far = all(
            max(curve[:epoch]) >= max(other[:epoch])
            for epoch in range(1, len(curve) + 1)
            for other in curves[:number]
            if curve[epoch - 1] == max(curve[:epoch])
        )
        rising = curve == sorted(curve)
        if stopper.stops(number, curve):
            assert rule != "none"
            assert not (best_so_far and rising)


@given(curves)
def test_asha_keeps_the_best_third_at_each_rung(curves: list[list[float]]) -> None:
    stopper = EarlyStopper(EarlyStopping(), 9)
    seen: dict[int, list[float]] = {1: [], 3: []}
    for number, curve in enumerate(curves):
        for epoch in range(1, len(curve) + 1):  # reported one after another, as a worker does
            stops = stopper.stops(number, curve[:epoch])
            if epoch not in seen:
                assert not stops
                continue
            seen[epoch].append(curve[epoch - 1])
            place = sum(value > curve[epoch - 1] for value in seen[epoch])
            assert stops == (place >= max(1, len(seen[epoch]) // 3))


@given(curves)
def test_the_median_rule_is_that_of_its_paper(curves: list[list[float]]) -> None:
    stopper = EarlyStopper(EarlyStopping(rule="median", grace=2), 9)
    for number, curve in enumerate(curves):
        for epoch in range(1, len(curve) + 1):
            others = [fmean(c[:epoch]) for c in curves[:number] if len(c) >= epoch]
            falls = (
                epoch >= 2
                and len(others) >= LEAST_FOR_MEDIAN
                and max(curve[:epoch]) < median(others)
            )
            assert stopper.stops(number, curve[:epoch]) == falls


@given(curves, st.integers(0, 8))
def test_epochs_that_come_twice_or_together_count_once(
    curves: list[list[float]], before: int
) -> None:
    one, other = EarlyStopper(EarlyStopping(), 9), EarlyStopper(EarlyStopping(), 9)
    for number, curve in enumerate(curves):
        steps = [one.stops(number, curve[:epoch]) for epoch in range(1, len(curve) + 1)]
        parts = [other.stops(number, curve[:before]), other.stops(number, curve)]
        assert any(steps) == any(parts)
        assert not other.stops(number, curve)


def test_brackets_have_rungs_of_their_own() -> None:
    stopper = EarlyStopper(EarlyStopping(brackets=2), 9)
    assert not stopper.stops(0, [0.9])
    assert not stopper.stops(1, [0.1])  # the second bracket begins at epoch 3
    assert stopper.stops(2, [0.1])
    assert not stopper.stops(1, [0.1, 0.1, 0.1])  # nothing there to compare with
    assert stopper.stops(3, [0.0, 0.0, 0.0])


def test_groups_are_not_compared_with_each_other() -> None:
    stopper = EarlyStopper(EarlyStopping(), 9)
    assert not stopper.stops(0, [0.9], "large")
    assert not stopper.stops(1, [0.1], "small")
    assert stopper.stops(2, [0.1], "large")


def test_the_share_that_is_audited_is_as_asked_for() -> None:
    for share in (0.0, 0.05, 0.5, 1.0):
        stopping = EarlyStopping(audit=share)
        for seed in range(5):
            drawn = [stopping.is_audited(number, seed) for number in range(2000)]
            assert sum(drawn) == pytest.approx(2000 * share, abs=6)
    assert [EarlyStopping(audit=0.3).is_audited(n, 0) for n in range(50)] != [
        EarlyStopping(audit=0.3).is_audited(n, 1) for n in range(50)
    ]


ALONE = SimpleNamespace(get_live_trials=list)  # a controller with nothing else to run


class _Trial:
    def __init__(self, number: int) -> None:
        self.trial_id = str(number)


def _stopped_by_ray(scheduler: TrialScheduler, curves: list[list[float]]) -> list[int]:
    """Return the epoch at which Ray's own scheduler stops each curve, or its length."""
    ends = []
    for number, curve in enumerate(curves):
        trial = _Trial(number)
        scheduler.on_trial_add(None, trial)  # type: ignore[arg-type]
        for epoch, value in enumerate(curve, 1):
            result = {"epoch": epoch, "accuracy": value}
            if scheduler.on_trial_result(ALONE, trial, result) == TrialScheduler.STOP:
                break
        ends.append(epoch)
    return ends


def _stopped(stopping: EarlyStopping, curves: list[list[float]]) -> list[int]:
    stopper = EarlyStopper(stopping, 9)
    return [
        next((e for e in range(1, 9) if stopper.stops(number, curve[:e])), 9)
        for number, curve in enumerate(curves)
    ]


def test_it_stops_about_what_ray_would_stop() -> None:
    rng = random.Random(0)
    curves = []
    for _ in range(300):
        quality, noise = rng.random(), 0.05
        curves.append([quality * e / 9 + rng.gauss(0, noise) for e in range(1, 10)])
    names = {"time_attr": "epoch", "metric": "accuracy", "mode": "max"}
    asha = AsyncHyperBandScheduler(max_t=9, grace_period=1, reduction_factor=3, **names)
    mine, theirs = _stopped(EarlyStopping(), curves), _stopped_by_ray(asha, curves)
    # The same rule but for the first few at a rung: Ray interpolates the bound between them.
    assert sum(a == b for a, b in zip(mine, theirs, strict=True)) > 0.93 * len(curves)
    assert mine != [9] * len(curves)


def test_the_median_rule_stops_what_rays_stops() -> None:
    rng = random.Random(1)
    curves = [[rng.random() * e / 9 for e in range(1, 10)] for _ in range(60)]
    rule = MedianStoppingRule(
        time_attr="epoch", metric="accuracy", mode="max", grace_period=1, min_samples_required=3
    )
    # Ray's forgets what a stopped training showed before it was stopped; ours sees the same then.
    assert _stopped(EarlyStopping(rule="median", grace=1), curves) == _stopped_by_ray(rule, curves)
