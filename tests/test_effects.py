"""Answers about the axes of a run: made-up trainings whose truth is known."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import product
from math import inf, isnan
from typing import Any

import numpy as np
import pandas as pd
import pytest

from skipsearch.analysis import Knowledge, answers, effects, importance, interactions, learn
from skipsearch.analysis.answers import open_axes
from skipsearch.analysis.effects import COLUMNS
from skipsearch.errors import RunError
from skipsearch.metric import ACCURACY, Scale
from skipsearch.record import COMPLETE, DIVERGED, FAIL, PRUNED, Epoch, Trial
from skipsearch.space import Candidate, Space
from skipsearch.surrogate.sentences import needed

PLAIN = "conv3-bn-relu-conv3-bn-relu"
POST = "conv3-bn-relu-conv3-bn + relu"
PRE = "bn-relu-conv3-bn-relu-conv3 +"
SPACE = Space.from_dict(
    {
        "name": "made-up",
        "base": {"widths": [4, 8]},
        "axes": {
            "layout": [PLAIN, POST, PRE],
            "shortcut": ["pad", "proj", "omit"],
            "depths": [[1, 1], [2, 2]],
            "recipe.peak_lr": [0.1, 0.2],
        },
    }
)
ENDLESS = Space.from_dict(
    {
        "name": "endless",
        "base": {"widths": [4, 8], "depths": [1, 1], "layout": POST},
        "axes": {
            "shortcut": ["pad", "proj"],
            "recipe.peak_lr": {"low": 0.01, "high": 1, "log": True},
        },
    }
)
SCALE, BUDGET = Scale(ACCURACY, 10_000), 3
Value = Callable[[Candidate], float]


def record(candidate: Candidate, curve: Sequence[float], **fields: Any) -> Trial:
    given: dict[str, Any] = {"number": 0, "seed": 0, "state": COMPLETE, "reason": ""}
    return Trial(
        design=candidate.design,
        recipe=candidate.recipe,
        curve=tuple(Epoch(i, 0.1, 1.0, 0.5, 1.0, v, 2.0) for i, v in enumerate(curve, 1)),
        **(given | {"params": 1, "macs": 1, "device": "cpu", "versions": {}} | fields),
    )


def trained(value: Value, every: int = 1, noise: float = 0.001) -> list[Trial]:
    """One of so many designs, to the end."""
    rng = np.random.default_rng(0)
    candidates = list(SPACE.candidates())
    order = rng.permutation(len(candidates))
    return [
        record(candidate, [0.3, 0.5, value(candidate) + rng.normal(0, noise)])
        for candidate in (candidates[i] for i in order[::every])
    ]


def by_layout(gains: dict[str, float], depth: float = 0.0) -> Value:
    return lambda each: 0.8 + gains[each.design.layout] + depth * (each.design.depths[0] - 1)


def known_of(trials: Sequence[Trial], space: Space = SPACE, **how: Any) -> Knowledge:
    known = learn(trials, space, BUDGET, SCALE, **how)
    assert known is not None
    return known


GAINS = {PLAIN: 0.0, POST: 0.05, PRE: 0.1}


@pytest.fixture(scope="module")
def known() -> Knowledge:
    return known_of(trained(by_layout(GAINS), every=2))


def test_a_level_that_is_better_is_said_to_be_by_what_it_is_better(known: Knowledge) -> None:
    table = effects(known, "layout")
    assert tuple(table) == COLUMNS
    assert table.level.tolist() == [PRE, POST, PLAIN]
    assert table.verdict.tolist() == ["best", "worse", "worse"]
    assert table.best_verdict.tolist() == ["best", "worse", "worse"]
    for row, truth in zip(table.itertuples(), (0.9, 0.85, 0.8), strict=True):
        assert row.low - 0.001 <= truth <= row.high + 0.001
        assert row.d_low - 0.001 <= truth - 0.9 <= row.d_high + 0.001
    assert table.chance.tolist() == pytest.approx([1, 0, 0], abs=0.02)
    assert (table.d_low[1:] < table.d_high[1:]).all()
    assert set(table.method) == {"posterior"}
    assert set(table.epochs) == {BUDGET}
    assert table.further.isna().all()
    assert table.n.sum() == len(known.trainings)


def test_axes_that_do_nothing_are_tied_or_open_and_never_called_worse(known: Knowledge) -> None:
    table = effects(known)
    others = table[table.axis != "layout"]
    assert "worse" not in set(others.verdict) | set(others.best_verdict)
    assert (others.difference.abs() < 0.01).all()
    for axis, rows in table.groupby("axis", sort=False):
        assert (rows.further.notna() == (rows.verdict == "not enough data")).all(), axis


def test_no_interval_leaves_what_is_possible() -> None:
    table = effects(known_of(trained(by_layout(GAINS), every=12)), with_further=False)
    for name in ("mean", "low", "high", "best", "best_low", "best_high"):
        assert table[name].between(0, 1).all()
    for name in ("difference", "d_low", "d_high", "bd_low", "bd_high"):
        assert table[name].between(-1, 1).all()
    assert (table.low <= table["mean"]).all()
    assert (table["mean"] <= table.high).all()


def test_the_words_say_what_the_table_says(known: Knowledge) -> None:
    table = effects(known, "layout")
    (text,) = answers(table, ACCURACY)
    assert text.startswith(f"layout: On average over the space, '{PRE}' beats '{POST}' by ")
    chance = table.chance[table.level == PRE].iloc[0]
    assert chance > 0.95
    assert f"The best design has '{PRE}' with a probability of {chance:.2f}" in text
    best = table[table.level == PRE].iloc[0]
    low, high = 100 * best.best_low, 100 * best.best_high
    assert f"(95 % interval of its accuracy: {low:.2f} to {high:.2f} %)" in text
    assert open_axes(table) == []


def test_the_words_name_what_is_held_constant(known: Knowledge) -> None:
    (text,) = answers(effects(known, "layout"), ACCURACY, controlled="params")
    assert text.startswith("layout: On average over the space, at equal params, ")


def test_what_is_open_says_how_many_trainings_would_tell() -> None:
    trials = trained(by_layout(dict.fromkeys(GAINS, 0.0)), every=9, noise=0.05)
    table = effects(known_of(trials), "depths")
    assert set(table.verdict) == {"not enough data"}
    number = table.further.iloc[0]
    assert number > 1
    (text,) = answers(table, ACCURACY)
    assert needed(number) in text
    assert open_axes(table) == ["depths"]


@pytest.mark.parametrize(
    ("further", "words"),
    [
        (0.4, "about 1 further training would"),
        (1.0, "about 1 further training would"),
        (15.6, "about 16 further trainings would"),
        (inf, "more than 100 further trainings would"),
    ],
)
def test_further_trainings_are_counted_in_words(further: float, words: str) -> None:
    assert words in needed(further)


def test_an_axis_without_effect_on_a_design_leaves_it_out(known: Knowledge) -> None:
    codes, names = known.coded("shortcut")
    plain = known.levels["layout"] == PLAIN
    assert (codes[plain] == -1).all()
    assert set(names) == {"pad", "proj", "omit"}
    assert len(known.levels) == len(list(SPACE.candidates()))


def test_seeds_of_a_design_are_replicates() -> None:
    trials = trained(by_layout(GAINS), every=4)
    again = [record_again(trial, seed) for trial in trials for seed in (1, 2)]
    table = effects(known_of([*trials, *again]), "layout", with_further=False)
    assert table.n.sum() == 3 * len(trials)
    assert table.designs.sum() == len(trials)


def record_again(trial: Trial, seed: int) -> Trial:
    candidate = Candidate({}, trial.design, trial.recipe)
    return record(candidate, [epoch.validation_score for epoch in trial.curve], seed=seed)


def test_stopped_trainings_tell_what_finished_curves_say_of_them() -> None:
    candidates = list(SPACE.candidates())
    rng = np.random.default_rng(1)
    trials = []
    for place, candidate in enumerate(candidates):
        final = by_layout(GAINS)(candidate) + rng.normal(0, 0.002)
        curve = [final - 0.3, final - 0.1, final]
        if place % 3:
            trials.append(record(candidate, curve[:2], state=PRUNED))
        else:
            trials.append(record(candidate, curve))
    known = known_of(trials)
    assert known.epochs == BUDGET
    assert known.trainings.outcome.value_counts()["stopped"] > 0
    table = effects(known, "layout", with_further=False)
    assert table.difference.tolist() == pytest.approx([0, -0.05, -0.1], abs=0.02)
    assert table.stopped.sum() == sum(trial.state == PRUNED for trial in trials)
    # Too few finished curves tell nothing: then they are counted, and not observed.
    few = known_of([*trials[:6], *(t for t in trials[6:] if t.state == PRUNED)])
    assert few.epochs == 2


def test_what_diverged_counts_as_guessing_and_other_failures_as_nothing() -> None:
    trials = trained(by_layout(GAINS), every=2)
    lost = [
        record_failed(trial, f"{DIVERGED} nan in epoch 1")
        for trial in trained(by_layout(GAINS))
        if trial.design.layout == POST and trial.design.shortcut == "omit"
    ]
    rest = [t for t in trials if not (t.design.layout == POST and t.design.shortcut == "omit")]
    bad = effects(known_of([*rest, *lost]), "layout", with_further=False).set_index("level")
    good = effects(known_of(trials), "layout", with_further=False).set_index("level")
    assert bad["mean"][POST] < good["mean"][POST] - 0.1
    assert bad.failed[POST] == len(lost)
    out_of_memory = [record_failed(trial, "out of memory") for trial in trials]
    same = effects(known_of([*trials, *out_of_memory]), "layout", with_further=False)
    assert same.set_index("level")["mean"].to_dict() == good["mean"].to_dict()
    assert same.failed.sum() == len(trials)


def record_failed(trial: Trial, reason: str) -> Trial:
    return record(Candidate({}, trial.design, trial.recipe), [], state=FAIL, reason=reason)


def test_fewer_than_two_designs_tell_nothing() -> None:
    trials = trained(by_layout(GAINS))
    assert learn([], SPACE, BUDGET, SCALE) is None
    assert learn(trials[:1], SPACE, BUDGET, SCALE) is None
    assert learn(trials[:2], SPACE, BUDGET, SCALE) is not None


def test_an_endless_space_is_drawn_and_its_numbers_are_cut_into_thirds() -> None:
    rng = random.Random(1)
    drawn = [ENDLESS.draw(rng) for _ in range(12)]
    trials = [record(each, [0.5, 0.6, 0.7 + 0.1 * each.recipe.peak_lr]) for each in drawn]
    known = known_of(trials, ENDLESS)
    assert known.common.sum() == 2_000
    assert len(known.levels) == 2_000 + 12
    table = effects(known, "recipe.peak_lr", with_further=False)
    assert len(table) == 3
    assert all(" to " in level for level in table.level)
    assert table.n.sum() == 12


def test_at_equal_cost_what_size_alone_explains_is_gone() -> None:
    def value(each: Candidate) -> float:
        return 0.8 + 0.04 * each.design.depths[0]

    known = known_of(trained(value), with_costs=True)
    plainly = effects(known, "depths", with_further=False)
    assert plainly.verdict.tolist() == ["best", "worse"]
    equal = effects(known, "layout", "params", with_further=False)
    assert equal.best.isna().all()
    assert (equal.difference.abs() < 0.03).all()
    nothing = effects(known, "layout", "latency", with_further=False)
    assert nothing.empty


REFUSED = {
    "axis": ({"axis": "layuot"}, r"^axis: 'layuot' is not one of layout, .*did you mean 'layout'"),
    "cost": ({"controlled": "param"}, r"^controlled: 'param' is not one of params, .*'params'"),
    "margin": ({"margin": 0.0}, "^margin: 0.0 is not above 0"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_unknown_is_refused_in_one_line(case: str, known: Knowledge) -> None:
    how, message = REFUSED[case]
    with pytest.raises(RunError, match=message):
        effects(known, **how)
    with pytest.raises(RunError, match=r"^axes: layout and layout are not two axes$"):
        interactions(known, "layout", "layout")


@pytest.mark.parametrize("together", [0.0, 0.1])
def test_a_dependence_is_found_where_it_is_and_not_where_it_is_not(together: float) -> None:
    def value(each: Candidate) -> float:
        both = each.design.layout == PRE and each.design.depths == (2, 2)
        return by_layout(GAINS, -0.03)(each) - together * both

    known = known_of(trained(value))
    table = interactions(known, "layout", "depths")
    assert len(table) == 6
    assert (table.verdict == "depends").all() == bool(together)
    assert table.additive.to_numpy() + table.beyond.to_numpy() == pytest.approx(table["mean"])
    if together:
        assert table.beyond.abs().max() == pytest.approx(together / 3, abs=0.01)
        assert table.share.iloc[0] > 0.05


def test_shares_add_up_and_the_axis_that_matters_leads(known: Knowledge) -> None:
    table = importance(known)
    alone = table[table.other == ""]
    assert alone.axis.iloc[0] == "layout"
    assert table.share.between(0, 1).all()
    assert ((table.low <= table.share) & (table.share <= table.high)).all()
    assert len(table) == len(alone) + len(list(product(range(4), range(4)))) / 2 - 2
    assert isinstance(table, pd.DataFrame)
    assert not isnan(table.share.sum())
