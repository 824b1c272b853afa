"""Leaders trained again: statistics against simulations of known truth, and one real confirmation.

In the simulations a design has an expectation, and an accuracy is that plus noise.
"""

from __future__ import annotations

import dataclasses
import math
import signal
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.integrate import quad
from scipy.stats import sem, t

import skipsearch as ss
from skipsearch.analysis import Confirmation, confirmation, leaders, rank
from skipsearch.analysis.confirm.chance import chance_of_best
from skipsearch.artefacts.card import Card
from skipsearch.artefacts.page import render
from skipsearch.artefacts.summary import summarise
from skipsearch.cli import main
from skipsearch.errors import RunError
from skipsearch.metric import ACCURACY, Scale
from skipsearch.record import (
    COMPLETE,
    FAIL,
    INTERRUPTED,
    PRUNED,
    RUNNING,
    Epoch,
    Trial,
)
from skipsearch.run import Run
from skipsearch.searching.cluster import ray_session
from skipsearch.searching.options import Resources
from skipsearch.searching.plans import Plan
from skipsearch.searching.records import load_params, load_trials
from skipsearch.searching.study import SearchStudy
from skipsearch.text import dump_yaml

IMAGES = 10_000
SCALE = Scale(ACCURACY, IMAGES)
FIRST = 1_000_000
RESIDUAL = "conv3-bn-relu-conv3-bn + relu"


@cache
def design(number: int) -> ss.Design:
    return ss.Design(layout=RESIDUAL, depths=(number + 1,), widths=(4,))


def record(number: int, accuracy: float, seed: int = 0, **fields: Any) -> Trial:
    """A training of three epochs; its number makes its design, unless given."""
    values: dict[str, Any] = {
        "design": design(number),
        "recipe": ss.Recipe(epochs=3),
        "state": COMPLETE,
        "reason": "",
        "params": 1000 + number,
        "macs": 5000,
        "device": "cpu",
        "versions": {},
        "curve": tuple(Epoch(i, 0.1, 1.0, 0.5, 1.0, accuracy, 2.0) for i in (1, 2, 3)),
    }
    return Trial(number=number, seed=seed, **(values | fields))


def again(leader: Trial, accuracies: Sequence[float], **fields: Any) -> list[Trial]:
    """The leader trained again with new seeds."""
    return [
        record(leader.number, accuracy, FIRST + i, design=leader.design, **fields)
        for i, accuracy in enumerate(accuracies)
    ]


def judged(searched: Sequence[float], new: Sequence[Sequence[float]], seeds: int) -> Confirmation:
    """Judge leaders by their values in the search and with new seeds."""
    firsts = [record(i, value) for i, value in enumerate(searched)]
    trainings = [t for first, values in zip(firsts, new, strict=True) for t in again(first, values)]
    return confirmation([[first] for first in firsts], trainings, FIRST, seeds, SCALE)


# --- the chance of being the best ----------------------------------------------------------------


def integrated(seen: np.ndarray) -> float:
    """The chance that the first of two designs is the better one, by quadrature.

    Given the ratio of the spread between designs to the noise, the difference of their
    expectations follows Student's t; the ratio is half-Cauchy, weighted by its likelihood.
    """
    _, n = seen.shape
    difference = seen[0] - seen[1]
    within = ((difference - difference.mean()) ** 2).sum() / 2
    between = n * difference.mean() ** 2 / 2

    def share(quantile: float) -> float:
        ratio = math.tan(math.pi / 2 * quantile)
        return n * ratio**2 / (1 + n * ratio**2)

    def weight(quantile: float) -> float:
        own = 1 - share(quantile)
        return math.sqrt(own) * float(within + between * own) ** (-n / 2)

    def chance(quantile: float) -> float:
        known = share(quantile)
        scale = math.sqrt(2 * known * (within + between * (1 - known)) / n / n)
        return float(t.cdf(known * difference.mean() / scale, n)) if scale else 0.5

    top, _ = quad(lambda x: weight(x) * chance(x), 0, 1)
    bottom, _ = quad(weight, 0, 1)
    return float(top / bottom)


@pytest.mark.parametrize("seeds", [2, 3, 5, 12])
@pytest.mark.parametrize("gap", [0.0, 0.005, 0.02])
def test_of_two_designs_the_chance_is_that_of_the_integral(seeds: int, gap: float) -> None:
    seen = np.random.default_rng(seeds).normal(0.9, 0.01, (2, seeds))
    seen[0] += gap
    assert chance_of_best(seen, SCALE)[0] == pytest.approx(integrated(seen), abs=0.015)


def simulate(rng: np.random.Generator, expectations: np.ndarray, seeds: int) -> np.ndarray:
    """Accuracies around expectations, with one part of the noise common to a seed."""
    own = rng.normal(0, 0.01, (len(expectations), seeds))
    return np.asarray(expectations[:, np.newaxis] + own + rng.normal(0, 0.005, seeds))


def test_a_chance_comes_true_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    chances, hits = [], []
    for _ in range(600):
        expectations = rng.normal(0.9, 0.01 * abs(rng.standard_cauchy()), 5)
        found = chance_of_best(simulate(rng, expectations, 4), SCALE)
        chances.append(found)
        hits.append(np.arange(5) == expectations.argmax())
    said, true = np.concatenate(chances), np.concatenate(hits)
    for low, high in ((0, 0.1), (0.1, 0.3), (0.3, 0.5), (0.5, 0.8), (0.8, 1.01)):
        here = (said >= low) & (said < high)
        deviation = math.sqrt((said[here] * (1 - said[here])).sum()) / here.sum()
        assert here.sum() > 50
        assert true[here].mean() == pytest.approx(said[here].mean(), abs=3 * deviation)


def test_where_the_truth_is_a_tie_no_leader_is_separated() -> None:
    rng = np.random.default_rng(2)
    ours = bootstrap = 0
    for _ in range(200):
        seen = simulate(rng, np.full(5, 0.9), 3)
        ours += chance_of_best(seen, SCALE).max() >= 0.95
        drawn = seen[:, rng.integers(3, size=(200, 3))].mean(axis=2).argmax(axis=0)
        bootstrap += np.bincount(drawn).max() >= 0.95 * 200
    assert ours <= 2
    assert bootstrap >= 15  # what the plain paired bootstrap would have separated


def test_a_design_that_is_far_better_is_separated() -> None:
    rng = np.random.default_rng(3)
    found = [
        chance_of_best(simulate(rng, np.array([0.90, 0.95, 0.91, 0.90]), 4), SCALE)[1]
        for _ in range(50)
    ]
    assert np.mean(np.array(found) >= 0.95) > 0.9


def test_equal_designs_have_equal_chances() -> None:
    assert chance_of_best(np.full((4, 3), 0.9), SCALE).tolist() == [0.25] * 4
    seen = np.array([[0.9, 0.8, 0.9], [0.8, 0.7, 0.7], [0.9, 0.8, 0.9]])
    first, second, third = chance_of_best(seen, SCALE)
    assert first == third > second
    same = np.array([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1]])
    assert len({sum(values) for values in same}) == 2  # equal but for the order of addition
    assert chance_of_best(same, SCALE).tolist() == [0.5, 0.5]


def test_one_image_more_with_each_of_three_seeds_is_not_sure() -> None:
    seen = np.array([[0.90, 0.93, 0.91], [0.90, 0.93, 0.91]])
    seen[0] += 1 / 100
    assert 0.8 < chance_of_best(seen, Scale(ACCURACY, 100))[0] < 0.95
    assert chance_of_best(seen, Scale(ACCURACY, 10_000))[0] > 0.95  # a hundred images more


@settings(deadline=None, max_examples=25)
@given(
    arrays(float, (3, 4), elements=st.integers(0, 100).map(lambda x: x / 100)),
    arrays(float, 4, elements=st.floats(-0.5, 0.5)),
)
def test_chances_sum_to_one_and_what_a_seed_does_to_all_changes_none(
    seen: np.ndarray, shift: np.ndarray
) -> None:
    found = chance_of_best(seen, Scale(ACCURACY, 100))
    assert found.sum() == pytest.approx(1)
    assert found.min() >= 0
    assert chance_of_best(seen + shift, Scale(ACCURACY, 100)) == pytest.approx(found, abs=0.02)
    order = [2, 0, 1]
    assert chance_of_best(seen[order], Scale(ACCURACY, 100)) == pytest.approx(
        found[order], abs=0.04
    )


# --- luck ----------------------------------------------------------------------------------------


def test_the_interval_of_the_shrinkage_covers_what_was_luck() -> None:
    rng = np.random.default_rng(4)
    runs, covered, lucks, seen = 200, 0, [], []
    for _ in range(runs):
        expectations = rng.normal(0.9, 0.01, 40)
        searched = simulate(rng, expectations, 1)[:, 0]
        top = searched.argsort()[::-1][:2]
        new = simulate(rng, expectations[top], 4)
        found = judged(searched[top].tolist(), new.tolist(), 4)
        luck = searched[top[0]] - expectations[top[0]]
        low, high = found.shrinkage_interval
        covered += low <= luck <= high
        lucks.append(luck)
        seen.append(found.shrinkage)
    # The deviation of a share of 0.95 in 200 runs is 0.015.
    assert covered / runs == pytest.approx(0.95, abs=0.045)
    assert np.mean(lucks) > 0.01  # one deviation of the noise: the leader was lucky
    assert np.mean(seen) == pytest.approx(np.mean(lucks), abs=3 * 0.012 / 2 / math.sqrt(runs))


def test_the_shrinkage_is_that_of_the_leader_of_the_search_not_of_the_winner() -> None:
    found = judged([0.95, 0.92], [[0.90, 0.91, 0.92], [0.93, 0.92, 0.94]], 3)
    assert found.best.number == 1
    assert found.shrinkage == pytest.approx(0.04)
    low, high = t.interval(0.95, 2, 0.91, sem([0.90, 0.91, 0.92]))
    assert found.shrinkage_interval == pytest.approx((0.95 - high, 0.95 - low))


def test_several_seeds_of_the_search_count_with_their_mean() -> None:
    one, other = record(0, 0.94), record(0, 0.92, seed=1)
    found = confirmation([[one, other]], again(one, [0.9, 0.9]), FIRST, 2, SCALE)
    assert found.table.search_accuracy.tolist() == [pytest.approx(0.93)]


def test_a_value_of_a_smaller_budget_is_not_compared() -> None:
    stopped = record(0, 0.99, state=PRUNED, curve=record(0, 0.99).curve[:1])
    found = confirmation([[stopped]], again(stopped, [0.9, 0.91]), FIRST, 2, SCALE)
    assert math.isnan(found.shrinkage)
    assert "luck" not in str(found)


# --- the table -----------------------------------------------------------------------------------


def test_the_columns_are_those_that_are_documented() -> None:
    table = judged([0.9, 0.8], [[0.9, 0.8, 0.9]] * 2, 3).table
    assert Confirmation.__doc__ is not None
    words = Confirmation.__doc__.replace(",", " ").split()
    axes = ["layout", "shortcut", "merge", "depths"]
    assert [name for name in table.columns if name not in axes and name not in words] == []
    assert [*table.columns[-5:-1]] == axes
    assert table.index.tolist() == [1, 2]
    assert table.index.name == "place"


def test_mean_deviation_and_interval_are_those_of_numpy_and_scipy() -> None:
    values = [0.90, 0.93, 0.91, 0.95]
    row = judged([0.96], [values], 4).table.iloc[0]
    assert row.n == 4
    assert row.validation_accuracy == pytest.approx(np.mean(values))
    assert row.sd == pytest.approx(np.std(values, ddof=1))
    assert (row.low, row.high) == pytest.approx(t.interval(0.95, 3, np.mean(values), sem(values)))


def test_the_highest_mean_stands_first_and_of_equals_the_smaller() -> None:
    new = [[0.8, 0.8, 0.81], [0.9, 0.91, 0.9], [0.9, 0.91, 0.9]]
    found = judged([0.95, 0.94, 0.93], new, 3)
    assert found.table.trial.tolist() == [1, 2, 0]
    assert found.table.tied.tolist() == [True, True, False]
    assert not found.separated
    assert found.best.number == 1


def test_where_the_leader_is_separated_none_is_tied() -> None:
    found = judged([0.95, 0.94], [[0.80, 0.81, 0.79, 0.8], [0.90, 0.91, 0.90, 0.89]], 9)
    assert found.separated
    assert found.wanted == ()
    assert found.table.tied.tolist() == [False, False]
    assert found.table.chance.iloc[0] >= 0.95
    assert str(found).startswith(f"Separated: {found.best.design.id} is the best of 2 leaders")


def test_a_confirmation_shows_its_words_and_its_table() -> None:
    found = judged([0.95, 0.94], [[0.90, 0.91, 0.92], [0.92, 0.91, 0.90]], 5)
    first, second = (leader.design.id for leader in found.leaders)
    words = str(found)
    assert words.startswith("Not separated: after 3 new seeds each, these are statistically")
    assert f"statistically indistinguishable: {first}, {second}." in words
    assert f"{first} is the best of 2 leaders with a probability of 0.5" in words
    assert f"The search's leader, {first}, had 95.00 % there and has 91.00 % here" in words
    assert (
        "here: too high by an estimated 4.00 points (95 % interval of the difference 1.52 to 6.48)."
        in words
    )
    assert words in repr(found)
    assert "validation_accuracy" in repr(found)
    assert "<table" in found._repr_html_()


def test_a_leader_that_became_no_worse_owed_nothing_to_luck() -> None:
    words = str(judged([0.90], [[0.91, 0.92, 0.93]], 3))
    assert "here: not too high (95 % interval of the difference -4.48 to 0.48)." in words


def test_seeds_that_agree_leave_the_interval_of_their_rounding() -> None:
    row = judged([0.9], [[0.9, 0.9, 0.9]], 3).table.iloc[0]
    half = t.ppf(0.975, 2) / IMAGES / math.sqrt(12 * 3)
    assert row.sd == 0
    assert (row.low, row.high) == pytest.approx((0.9 - half, 0.9 + half))


# --- the race ------------------------------------------------------------------------------------


def seeds_of(found: Confirmation) -> list[tuple[int, int]]:
    return [(leader.number, seed - FIRST) for leader, seed in found.wanted]


def test_the_first_rounds_are_wanted_at_once_then_one_after_another() -> None:
    assert seeds_of(judged([0.9, 0.8], [[], []], 5)) == [
        *((0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2))
    ]
    alike = [0.90, 0.91, 0.92, 0.90, 0.91]
    assert seeds_of(judged([0.9, 0.8], [alike[:3], alike[:2]], 5)) == [(1, 2)]
    assert seeds_of(judged([0.9, 0.8], [alike[:3]] * 2, 5)) == [(0, 3), (1, 3)]
    assert seeds_of(judged([0.9, 0.8], [alike[:4], alike[:3]], 5)) == [(1, 3)]
    assert seeds_of(judged([0.9, 0.8], [alike] * 2, 5)) == []
    assert seeds_of(judged([0.9, 0.8], [alike] * 2, 6)) == [(0, 5), (1, 5)]
    assert seeds_of(judged([0.9, 0.8], [[], []], 2)) == [(0, 0), (1, 0), (0, 1), (1, 1)]


def test_a_new_leader_catches_up_first() -> None:
    found = judged([0.9, 0.8], [[0.9, 0.91, 0.92, 0.93], []], 4)
    assert seeds_of(found) == [(1, 0), (1, 1), (1, 2)]
    assert found.rounds == 0
    with pytest.raises(RunError, match="in 0 rounds only"):
        _ = found.best


def test_one_leader_alone_is_trained_with_all_seeds_and_never_separated() -> None:
    found = judged([0.9], [[0.9, 0.91, 0.92]], 5)
    assert seeds_of(found) == [(0, 3)]
    assert not found.separated


def test_a_round_counts_when_it_is_finished() -> None:
    found = judged([0.9, 0.8], [[0.90, 0.92, 0.91, 0.99], [0.91, 0.90, 0.92]], 5)
    assert found.rounds == 3
    assert found.table.n.tolist() == [3, 3]
    assert found.scores(found.leaders[0]) == (0.90, 0.92, 0.91)


@pytest.mark.parametrize(("state", "reason"), [(RUNNING, ""), (FAIL, INTERRUPTED)])
def test_what_is_under_way_or_interrupted_is_still_wanted(state: str, reason: str) -> None:
    first = record(0, 0.9)
    trainings = again(first, [0.9, 0.9, 0.9])
    trainings[1] = dataclasses.replace(trainings[1], state=state, reason=reason)
    found = confirmation([[first]], trainings, FIRST, 3, SCALE)
    assert seeds_of(found) == [(0, 1)]
    assert found.rounds == 1


def test_a_leader_that_fails_is_out_whatever_its_mean() -> None:
    one, other = record(0, 0.9), record(1, 0.8)
    lost = dataclasses.replace(again(one, [0.99] * 3)[2], state=FAIL, reason="the loss became NaN")
    trainings = [*again(one, [0.99, 0.99]), lost, *again(other, [0.8, 0.81, 0.82])]
    found = confirmation([[one], [other]], trainings, FIRST, 5, SCALE)
    assert found.best.number == 1
    assert found.table.trial.tolist() == [1, 0]
    assert found.table.chance.tolist() == [1.0, 0.0]
    assert found.table.n.tolist() == [3, 2]
    assert found.table.reason.tolist() == ["", "the loss became NaN"]
    assert "is out: the loss became NaN." in str(found)


def test_where_all_leaders_fail_there_is_no_winner() -> None:
    one = record(0, 0.9)
    trainings = again(one, [0.9], state=FAIL, reason="the loss became NaN")
    found = confirmation([[one]], trainings, FIRST, 5, SCALE)
    assert found.wanted == ()
    with pytest.raises(RunError, match=r"every leader failed .*: the loss became NaN"):
        _ = found.best


def test_new_seeds_go_round_at_the_end_of_their_range() -> None:
    found = confirmation([[record(0, 0.9)]], [], 2**32 - 1, 3, SCALE)
    assert [seed for _, seed in found.wanted] == [2**32 - 1, 0, 1]


def chosen(trials: list[Trial], top: int, keep: Sequence[str] = ()) -> list[list[int]]:
    groups = leaders(rank(trials, (1, 3), SCALE), trials, top, keep)
    return [[trial.number for trial in group] for group in groups]


def test_leaders_are_the_highest_ranked_that_did_not_fail() -> None:
    stopped = [
        record(i, i / 10, state=PRUNED, curve=record(i, i / 10).curve[:1]) for i in (5, 6, 7)
    ]
    failed = record(9, 0.99, state=FAIL, reason="NaN")
    complete = [record(1, 0.3), record(2, 0.4), record(3, 0.35)]
    assert chosen([*stopped, *complete, failed], 2) == [[2], [3]]
    assert chosen([*stopped, *complete, failed], 4) == [[2], [3], [1], [7]]
    assert chosen([*stopped, failed], 2) == [[7], [6]]
    assert chosen([failed], 2) == []
    key = stopped[0].design.id + "-" + stopped[0].recipe.id
    assert chosen([*stopped, *complete], 1, [key]) == [[2], [5]]


def test_trainings_of_one_design_are_one_leader() -> None:
    twin = record(1, 0.5, seed=1, design=record(0, 0).design)
    assert chosen([record(0, 0.5), twin, record(2, 0.4)], 2) == [[0, 1], [2]]


# --- the card ------------------------------------------------------------------------------------


def test_the_card_says_how_sure_the_choice_is() -> None:
    card = Card(
        confirmations=(0.90, 0.92),
        confirmed_interval=(0.85, 0.97),
        chance_of_best=0.625,
        leaders=5,
    )
    summary = summarise(
        card,
        record(0, 0.9).design,
        [],
        in_channels=1,
        image_size=8,
        classes=10,
        least_side=1,
        tolerance=1e-4,
        precision="fp32",
        written_with={},
    )
    page = render(summary)
    assert "91.00 % on average" in page
    assert "(n = 2 seeds). The 95 % interval of the mean is 85.00 to 97.00 %." in page
    assert "the best of the 5 designs that were compared so with a chance of 0.62." in page
    assert summary["search"]["chance_of_best"] == 0.625


# --- a real one ----------------------------------------------------------------------------------

SPACE = f"""
name: pair
base: {{widths: [4], depths: [1]}}
recipe: {{batch_size: 64}}
axes:
  layout: [{RESIDUAL}, bn-relu-conv3-bn-relu-conv3 +]
  recipe.peak_lr: [0.3, 0.01]
"""
EPOCHS = 3


def test_a_study_trains_what_is_requested_once_and_nothing_else(tmp_path: Path) -> None:
    space = ss.Space.from_yaml(SPACE)
    plan = Plan(space=space, recipe=ss.Recipe(epochs=EPOCHS), trials=0, sampler="random")
    params = {"layout": RESIDUAL, "recipe.peak_lr": 0.01}
    url = f"sqlite:///{tmp_path}/confirm.db"
    for expected, seeds in (([7, 9], [7, 9]), ([8], [7, 8, 9]), ([], [9])):
        study = SearchStudy(url, "pair", plan)
        study.request([(params, seed) for seed in seeds])
        assert study.plan.trials == len(study.trials()) + len(expected)
        found = []
        while (proposal := study.ask()) is not None:
            assert proposal.candidate.design.layout == RESIDUAL
            assert proposal.candidate.recipe.peak_lr == 0.01
            found.append(proposal.seed)
            study.finish(proposal.number, FAIL, "it was not trained")
        assert found == expected
        study.close()
        trials = load_params(url)
        assert trials == [params] * len(trials)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("confirm")
    with ray_session(Resources()):
        asked = {"trials": 3, "epochs": EPOCHS, "out": folder / "run", "sampler": "tpe"}
        asked["resources"] = Resources(concurrency=1)
        yield ss.search(ss.Space.from_yaml(SPACE), **asked)


KILLED = """
import os, signal
from skipsearch.record import Environment, Epoch
from skipsearch.recipe import Recipe
from skipsearch.searching.records import load_params
from skipsearch.searching.plans import Plan
from skipsearch.searching.study import SearchStudy
from skipsearch.space import Space
from skipsearch.text import parse_yaml

asked = parse_yaml(open("run.yaml").read(), "run.yaml", ValueError)
space = Space.from_dict(asked["space"], "run.yaml").for_images(1, 8, 10)
plan = Plan(space=space, recipe=Recipe.from_dict(asked["recipe"]), trials=0, sampler="random")
study = SearchStudy("sqlite:///confirm.db", "pair", plan)
params = load_params("sqlite:///study.db")[LEADER]
study.request([(params, 1_000_000), (params, 1_000_001)])
done, begun = study.ask(), study.ask()
curve = [Epoch(i, 0.1, 1.0, 0.0, 1.0, 0.0, 1.0) for i in (1, 2, 3)]
where = Environment(device="cpu")
study.report(done.number, curve, where)
study.finish(done.number, "COMPLETE")
study.report(begun.number, curve[:1], where)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_confirmation_that_is_killed_is_resumed_and_decides_what_is_best(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.confirmation() is None
    ranking = run.rank()
    keys = (ranking.design + "-" + ranking.recipe)[:2].tolist()
    (run.path / "confirm.yaml").write_text(dump_yaml({"leaders": keys, "seeds": 2}))
    program = KILLED.replace("LEADER", str(ranking.trial[1]))
    killed = subprocess.run([sys.executable, "-c", program], cwd=run.path, check=False)
    assert killed.returncode == -signal.SIGKILL
    partial = run.confirmation()
    assert partial is not None
    assert len(partial.wanted) == 3
    assert run.trial("best").number == ranking.trial[1]  # as if nothing were there

    found = ss.confirm(run, top=2, seeds=2, resources=Resources(concurrency=1))
    url = f"sqlite:///{run.path}/confirm.db"
    after = load_trials(url)
    (kept,) = (trial for trial in after if trial.curve[-1].validation_score == 0)
    assert (kept.number, kept.seed) == (0, 1_000_000)
    assert {(trial.state, len(trial.curve)) for trial in after} == {(COMPLETE, EPOCHS)}
    trained = sorted((f"{t.design.id}-{t.recipe.id}", t.seed - 1_000_000) for t in after)
    assert trained == sorted((key, i) for key in keys for i in (0, 1))
    assert list((run.path / "checkpoints").iterdir()) == []

    assert found.rounds == 2
    assert found.wanted == ()
    assert found.table.n.tolist() == [2, 2]
    mean = np.mean(found.scores(run.trial(keys[0])))
    assert found.shrinkage == pytest.approx(ranking.validation_accuracy[1] - mean)
    assert found.best == run.trial(keys[1])  # one draw of 0 has put the other behind
    assert run.trial("best") == run.trial(found.best) == found.best

    # Called again it does nothing, and both stay leaders; the command shows the same.
    assert main(["confirm", str(run.path), "--top", "1", "--seeds", "2"]) == 0
    output = capsys.readouterr().out
    assert output.startswith(str(found))
    assert load_trials(url) == after
    written = pd.read_csv(run.path / "report" / "confirmation.csv", index_col="place")
    assert written.design.tolist() == found.table.design.tolist()

    exported = ss.export(run, found.best, tmp_path / "winner", formats=())
    assert exported.design == found.best.design
    card = (tmp_path / "winner" / "card.md").read_text()
    assert "Confirmed: trained again with new seeds" in card
    assert "the best of the 2 designs that were compared so" in card


@pytest.mark.parametrize(
    ("how", "message"), [({"seeds": 1}, "seeds: 1 is not"), ({"top": 0}, "top: 0 is not")]
)
def test_one_seed_or_no_leader_is_refused(run: Run, how: dict[str, int], message: str) -> None:
    with pytest.raises(RunError, match=message):
        ss.confirm(run, **how)  # type: ignore[arg-type]
