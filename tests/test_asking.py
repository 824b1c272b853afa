"""Asking about axes: what a training would tell, when a question is settled, and whole searches."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pytest
from scipy.special import expit

import skipsearch as ss
from skipsearch import analysis
from skipsearch.analysis.effects import UNKNOWN
from skipsearch.cli import main, sessions
from skipsearch.errors import RunError
from skipsearch.metric import ACCURACY, Scale
from skipsearch.recipe import Recipe
from skipsearch.record import COMPLETE, DIVERGED, FAIL, Environment, Epoch
from skipsearch.searching import asking
from skipsearch.searching.driver import Outcome
from skipsearch.searching.plans import Plan, Proposal
from skipsearch.searching.study import SearchStudy
from skipsearch.space import Candidate, Space
from skipsearch.surrogate import inquiry as inquiries
from skipsearch.surrogate import process
from skipsearch.surrogate.answers import BEST, OPEN, TIED, WORSE
from skipsearch.surrogate.encoding import Axis
from skipsearch.surrogate.inquiry import Inquiry, Training
from skipsearch.surrogate.kernel import Kernel, Scales
from skipsearch.surrogate.observations import Observations
from skipsearch.surrogate.process import Posterior
from skipsearch.surrogate.question import Answer, Question, narrowed, slopes, variance_removed
from skipsearch.surrogate.sentences import LevelResult, comparison, needed

ORIGINAL = "conv3-bn-relu-conv3-bn + relu"
FULL = "bn-relu-conv3-bn-relu-conv3 +"
SPACE = f"""
name: asked
base: {{widths: [8, 16], depths: [1, 1], stem_width: 8}}
axes:
  layout:
    - {ORIGINAL}
    - {FULL}
  shortcut: [pad, proj, omit]
  recipe.peak_lr: [0.05, 0.1, 0.2]
"""
ENDLESS = SPACE.replace("[0.05, 0.1, 0.2]", "{low: 0.05, high: 0.2, log: true}")
STAGED = SPACE.replace("  shortcut: [pad, proj, omit]", "  shortcut[1]: [pad, proj]")
BY_STAGE = SPACE.replace("  layout:", "  layout[0]: &orders").replace(
    "  shortcut: [pad, proj, omit]", "  layout[1]: *orders"
)
RECIPE = Recipe(epochs=1, batch_size=64)
AXES = (Axis("a", ("x", "y")), Axis("b", (1, 2, 4), numeric=True), Axis("c", (0, 1)))
SCALES = Scales(0.6, 0.4, 0.1, 0.2, (1.0, 2.0, 0.5))
POOL = np.stack(np.meshgrid(*(range(len(a.levels)) for a in AXES), indexing="ij"), -1).reshape(
    -1, len(AXES)
) * np.ones(1)
QUESTION = Question("a", ("x", "y"), POOL[:, 0].astype(np.intp))


@pytest.fixture(autouse=True)
def _calm() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


def posterior(places: list[int]) -> Posterior:
    rng = np.random.default_rng(1)
    values, floors = rng.normal(size=len(places)), np.full(len(places), 0.05)
    seen = Observations.of(POOL[places], values, floors)
    return Posterior.of(Kernel(AXES), SCALES, seen)


# --- what a training would tell -------------------------------------------------------------------


@pytest.mark.parametrize("most_features", [process.MOST_FEATURES, 0], ids=["features", "designs"])
def test_a_contrast_narrows_by_what_a_refit_says(
    most_features: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "MOST_FEATURES", most_features)
    known = posterior([0, 3, 3, 7, 10])  # one design with two seeds
    contrasts = QUESTION.contrasts(0)
    noise = np.full(len(POOL), 0.05 + SCALES.noise)
    decrease, variances = narrowed(known, POOL, contrasts, noise)
    assert variances == pytest.approx(np.diag(contrasts @ known.covariance(POOL) @ contrasts.T))
    if not most_features:
        return  # a refit has the new design among those in whose features it is worked out
    for place in range(len(POOL)):
        after = known.with_trainings(POOL[[place]], np.array([0.7])).covariance(POOL)
        left = np.diag(contrasts @ after @ contrasts.T)
        assert variances - decrease[:, place] == pytest.approx(left, abs=1e-9)


def test_the_covariance_of_sums_is_that_of_all_rows() -> None:
    known = posterior([0, 3, 3, 7, 10])
    weights = np.random.default_rng(0).normal(size=(4, len(POOL)))
    expected = weights @ known.covariance(POOL)
    assert known.covariance_of(weights, POOL) == pytest.approx(expected)


def test_a_slope_is_that_of_the_covariance_whatever_the_curve() -> None:
    known = posterior([0, 3, 7])
    assert slopes(known, POOL, lambda v: 0.2 * v - 1) == pytest.approx(0.2)
    values = known.sample(POOL, 200_000, np.random.default_rng(0))
    centred = values - values.mean(axis=0)
    expected = (expit(3 * values) * centred).mean(axis=0) / (centred**2).mean(axis=0)
    assert slopes(known, POOL, lambda v: expit(3 * v)) == pytest.approx(expected, rel=0.02)


def test_what_is_most_informative_is_the_level_that_is_known_least() -> None:
    at_x = [i for i in range(len(POOL)) if POOL[i, 0] == 0]
    known = posterior(at_x)
    noise = np.full(len(POOL), 0.25)
    information = variance_removed(
        [(*narrowed(known, POOL, QUESTION.contrasts(0), noise), np.ones(2))]
    )
    assert POOL[information.argmax(), 0] == 1
    # A training under way counts as done: the next is of another design.
    pending = known.with_pending(POOL[[information.argmax()]])
    again = variance_removed([(*narrowed(pending, POOL, QUESTION.contrasts(0), noise), np.ones(2))])
    assert again.argmax() != information.argmax()
    # Nothing is gained where there is no doubt.
    sure = variance_removed([(*narrowed(known, POOL, QUESTION.contrasts(0), noise), np.zeros(2))])
    assert not sure.any()


def test_an_answer_says_best_worse_tied_and_open() -> None:
    rng = np.random.default_rng(0)
    codes = np.array([0, 1, 2, 3, -1])
    means = np.array([0.9, 0.8, 0.8999, 0.895, 0.1])
    draws = means + rng.normal(size=(2000, 5)) * [1e-4, 1e-3, 1e-4, 1e-2, 0.1]
    question = Question("shortcut", ("a", "b c", (1, 1), ""), codes)
    answer = Answer.of(question, draws, 0.005)
    reference = answer.verdicts.reference
    words = dict(zip(question.levels, answer.verdicts.words, strict=True))
    assert words["b c"] == WORSE
    assert OPEN in answer.verdicts.words
    assert not answer.settled
    assert answer.doubts[reference] == 0
    sentence = answer.sentence(ACCURACY)
    assert " beats 'b c' by 10.0 points (9.8 to 10.2)" in sentence
    assert "; undecided: " in sentence
    assert " (-2.4 to +1.5 points)" in sentence
    assert sentence.endswith(" points) (95 % intervals).")
    sure = Answer.of(
        replace(question, levels=("a", "b", "c"), codes=codes.clip(-1, 2)), draws, 0.05
    )
    assert set(sure.verdicts.words) <= {BEST, TIED, WORSE}
    assert sure.settled


def test_every_level_has_its_interval() -> None:
    differences = ((-0.1, WORSE), (-0.2, WORSE), (-0.001, TIED), (-0.02, OPEN))
    levels = [
        LevelResult(name, verdict, middle, middle - 0.01, middle + 0.01)
        for name, (middle, verdict) in zip("abcd", differences, strict=True)
    ]
    assert comparison("e", levels, ACCURACY) == (
        "e beats a by 10.0 points (9.0 to 11.0) and b by 20.0 points (19.0 to 21.0);"
        " it is tied with c (-1.1 to +0.9 points);"
        " undecided: d (-3.0 to -1.0 points)"
    )
    many = [levels[1]._replace(name=str(i)) for i in range(6)]
    assert comparison("e", many, ACCURACY).endswith(" and 2 others by more")


# --- an inquiry about a space ---------------------------------------------------------------------


def accuracy(candidate: Candidate, seed: int, gain: float = 0.06) -> float:
    """An accuracy that is made up: the layout and the rate matter, each design and seed a bit."""
    rng = random.Random(f"{candidate.key} {seed}")
    own = random.Random(candidate.key).gauss(0, 0.01)
    rate = {0.05: 0.0, 0.1: 0.03, 0.2: 0.05}.get(candidate.recipe.peak_lr, 0.02)
    level = gain if candidate.design.layout == FULL else 0.0
    return round(0.7 + level + rate + own + rng.gauss(0, 0.008), 3)


def asked(text: str = SPACE, axes: tuple[str, ...] = ("layout",), **options: Any) -> Inquiry:
    space = replace(Space.from_yaml(text), recipe=RECIPE.to_dict())
    usual = {"margin": 0.005, "scale": Scale(ACCURACY, 500)}
    return Inquiry(space, axes, **usual | options)


def searched(
    inquiry: Inquiry, gain: float = 0.06, most: int = 200, rng: int = 0
) -> tuple[list[Training], list[Answer]]:
    """Train what is asked for until it is settled."""
    trainings: list[Training] = []
    draws = random.Random(rng)
    while len(trainings) < most and not inquiry.is_settled(trainings):
        following = inquiry.next(trainings, draws)
        if following is None:
            break
        candidate, seed = following
        value = accuracy(candidate, seed, gain)
        trainings.append(Training(candidate.key, seed, candidate.values, value))
    return trainings, inquiry.answers(trainings) or []


@pytest.mark.parametrize("text", [SPACE, ENDLESS], ids=["finite", "endless"])
def test_it_ends_when_the_better_level_is_known(text: str) -> None:
    trainings, (answer,) = searched(asked(text))
    assert answer.settled
    assert answer.question.levels[answer.verdicts.reference] == FULL
    assert inquiries.FIRST <= len(trainings) < 18
    assert answer.sentence(ACCURACY).startswith(
        f"layout: On average over the space, '{FULL}' beats '{ORIGINAL}' by "
    )


def test_levels_that_do_not_differ_are_tied_and_designs_get_further_seeds() -> None:
    inquiry = asked(margin=0.03, seeds=3)
    _, (answer,) = searched(inquiry, gain=0.0)
    assert set(answer.verdicts.words) == {TIED}
    assert " is tied with '" in answer.sentence(ACCURACY)
    every, (answer,) = searched(asked(margin=0.0001, seeds=2), gain=0.0)
    assert len(every) == 2 * 18 or answer.settled
    assert max(Counter(t.key for t in every).values()) == 2
    assert len({(t.key, t.seed) for t in every}) == len(every)


def test_the_first_trainings_show_each_level() -> None:
    inquiry = asked(axes=("layout", "shortcut"))
    trainings, _ = searched(inquiry, most=9)
    for name, levels in (("layout", 2), ("shortcut", 3)):
        counts = Counter(t.values[name] for t in trainings)
        assert len(counts) == levels
        assert max(counts.values()) - min(counts.values()) <= 2


def test_it_follows_from_the_trainings_alone() -> None:
    trainings, _ = searched(asked(seeds=2), gain=0.01, most=20)
    old, new = asked(seeds=2), asked(seeds=2)
    for count in (0, 1, 5, 12, 20):
        some = trainings[:count]
        assert old.next(some, random.Random(3)) == new.next(some, random.Random(3))
        assert old.is_settled(some) == new.is_settled(some)


def test_trainings_under_way_count_as_done_and_failures_are_not_tried_again() -> None:
    inquiry = asked(seeds=3)
    trainings, _ = searched(inquiry, gain=0.01, most=14)
    going: list[Training] = []
    for _ in range(8):
        following = inquiry.next([*trainings, *going], random.Random(0))
        assert following is not None
        candidate, seed = following
        assert (candidate.key, seed) not in {(t.key, t.seed) for t in (*trainings, *going)}
        going.append(Training(candidate.key, seed, candidate.values))
    assert len({t.key for t in going}) > 4
    failed = [replace(t, failed=True) for t in going]
    for _ in range(30):
        following = inquiry.next([*trainings, *failed], random.Random(0))
        if following is None:
            break
        candidate, seed = following
        assert candidate.key not in {t.key for t in failed}
        trainings.append(Training(candidate.key, seed, candidate.values, 0.8))


def test_a_field_that_stages_set_has_the_levels_of_the_whole_design() -> None:
    inquiry = asked(STAGED, ("shortcut",))
    _, (answer,) = searched(inquiry, most=14)
    assert len(answer.question.levels) == 2
    assert (answer.question.codes >= 0).all()


# --- what cannot be asked -------------------------------------------------------------------------

FEW = SPACE + "constraints: [params <= 3200]\n"
MANY = SPACE.replace("[0.05, 0.1, 0.2]", "{low: 0.01, high: 0.31, step: 0.01}")
BAD: list[tuple[str, tuple[str, ...], float, str]] = [
    (SPACE, ("layuot",), 0.005, "ask: 'layuot' is not one of layout, .* \\(did you mean 'layout'"),
    (SPACE, ("layout", "layout"), 0.005, "ask: layout is named twice"),
    (ENDLESS, ("recipe.peak_lr",), 0.005, "ask: axes.recipe.peak_lr is an endless range.* a step"),
    (MANY, ("recipe.peak_lr",), 0.005, "recipe.peak_lr has 31 levels, and at most 6"),
    (SPACE + "  groups: [1]\n", ("groups",), 0.005, "groups has the one level 1 in the designs"),
    (SPACE, ("layout",), 0.0, "margin: 0.0 is not a difference in accuracy between 0 and 1"),
    (SPACE, ("layout",), float("nan"), "margin: nan is not"),
]


@pytest.mark.parametrize(("text", "axes", "margin", "message"), BAD)
def test_what_cannot_be_asked_is_refused(
    text: str, axes: tuple[str, ...], margin: float, message: str
) -> None:
    with pytest.raises(RunError, match=message):
        asked(text, axes, margin=margin)


CLI = ["--trials", "20", "--epochs", "1"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--ask", "layuot"], "ask: 'layuot' is not one of layout, shortcut, recipe.peak_lr"),
        (["--ask", "recipe.peak_lr"], "ask: axes.recipe.peak_lr is an endless range"),
        (["--ask", ","], "ask: no axis is named"),
        (["--ask", "best,layout"], "ask: best cannot be combined with axes"),
        (["--ask", "layout", "--margin", "0"], "margin: 0.0 is not a difference"),
        (["--margin", "0.01"], "margin: is for a search that is asked about axes"),
        (["--ask", "layout", "--sampler", "tpe"], "sampler: 'tpe' is not for a search that"),
        (["--ask", "layout", "--scheduler", "asha"], "scheduler: 'asha' is not for a search that"),
        (
            ["--ask", "layout", "--objectives", "validation_accuracy,params"],
            "objectives: a search about axes supports validation_accuracy alone",
        ),
    ],
)
def test_bad_words_are_one_line_and_nothing_is_written(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "space.yaml").write_text(ENDLESS)
    place = [str(tmp_path / "space.yaml"), "--out", str(tmp_path / "run")]
    assert main(["search", *place, *CLI, *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "run").exists()


# --- the study of a search ------------------------------------------------------------------------


def open_study(storage: Any, seeds: int = 1, trials: int = 200, **options: Any) -> SearchStudy:
    inquiry = asked(seeds=seeds, **options)
    plan = Plan(
        space=Space.from_yaml(SPACE), recipe=RECIPE, trials=trials, seeds=seeds, inquiry=inquiry
    )
    return SearchStudy(storage, "asked", plan)


def finish(study: SearchStudy, proposal: Proposal, gain: float = 0.06) -> None:
    value = accuracy(proposal.candidate, proposal.seed, gain)
    epoch = Epoch(1, 0.5, 0.5, 0.5, 0.5, value, 1.0)
    study.report(proposal.number, [epoch], Environment())
    study.finish(proposal.number, COMPLETE)


def proposed(ask: Callable[[], Proposal | None], count: int) -> list[Proposal]:
    proposals = [ask() for _ in range(count)]
    return [proposal for proposal in proposals if proposal is not None]


def test_a_study_ends_when_it_is_settled_and_stays_so() -> None:
    storage = optuna.storages.InMemoryStorage()
    study = open_study(storage)
    trained = 0
    while (proposal := study.ask()) is not None:
        finish(study, proposal)
        trained += 1
    assert study.settled
    assert not study.exhausted
    assert trained < 18
    again = open_study(storage)
    assert again.ask() is None
    assert again.settled


def test_a_study_whose_budget_is_spent_is_open_and_continues_with_a_larger_one() -> None:
    storage = optuna.storages.InMemoryStorage()
    for trials in (12, 16):
        study = open_study(storage, trials=trials, margin=0.0001)
        while (proposal := study.ask()) is not None:
            finish(study, proposal, gain=0.0)
        assert not study.settled
        assert len(study.trials()) == trials


def test_a_design_is_trained_with_a_further_seed_where_that_is_all_there_is() -> None:
    study = open_study(optuna.storages.InMemoryStorage(), seeds=2, margin=0.0001)
    while (proposal := study.ask()) is not None:
        finish(study, proposal, gain=0.0)
    seeds = Counter(trial.seed for trial in study.trials())
    assert set(seeds) == {0, 1}
    assert study.settled or study.exhausted


@pytest.mark.parametrize("at_once", [1, 4])
def test_what_a_killed_driver_was_at_is_resumed_with_its_seed(tmp_path: Path, at_once: int) -> None:
    file = tmp_path / "study.db"
    first = open_study(file, seeds=3, margin=0.0001)
    for _ in range(12):
        (proposal,) = proposed(first.ask, 1)
        finish(first, proposal, gain=0.0)
    going = proposed(first.ask, at_once)
    assert len({(t.candidate.key, t.seed) for t in going}) == at_once
    first.close()  # as after kill -9: nothing was said of those under way
    second = open_study(file, seeds=3, margin=0.0001)
    taken = proposed(second.ask, at_once)
    assert {(t.candidate.key, t.seed) for t in taken} == {(t.candidate.key, t.seed) for t in going}
    (new,) = proposed(second.ask, 1)
    assert (new.candidate.key, new.seed) not in {(t.candidate.key, t.seed) for t in taken}
    for proposal in (*taken, new):
        finish(second, proposal, gain=0.0)
    trained = [(trial.key, trial.seed) for trial in second.trials()]
    assert len(trained) == len(set(trained)) == 12 + at_once + 1
    second.close()


def test_a_design_that_fails_is_not_proposed_again() -> None:
    study = open_study(optuna.storages.InMemoryStorage(), seeds=2, margin=0.0001)
    failed = set()
    while (proposal := study.ask()) is not None:
        if proposal.number % 5 == 0:
            study.finish(proposal.number, FAIL, "the loss is no longer finite")
            assert proposal.candidate.key not in failed
            failed.add(proposal.candidate.key)
        else:
            assert proposal.candidate.key not in failed
            finish(study, proposal, gain=0.0)
    assert failed
    assert study.settled or study.exhausted


@pytest.mark.parametrize("margin", [0.0001, 0.005, 0.03])
def test_it_says_what_the_report_says_at_each_step(margin: float) -> None:
    inquiry = asked(margin=margin)
    plan = Plan(space=Space.from_yaml(SPACE), recipe=RECIPE, trials=18, inquiry=inquiry)
    study = SearchStudy(optuna.storages.InMemoryStorage(), "asked", plan)
    while (proposal := study.ask()) is not None:
        if proposal.number in (4, 9):
            reason = f"{DIVERGED} nan" if proposal.number == 4 else "out of memory"
            study.finish(proposal.number, FAIL, reason)
        else:
            finish(study, proposal, gain=0.01)
        trials = study.trials()
        params: list[dict[str, Any]] = [{}] * 100  # the space is listed: keys are enough
        answers = inquiry.answers(asking.trainings(study.plan.space, trials, params, inquiry.guess))
        known = analysis.learn(trials, study.plan.space, 1, Scale(ACCURACY, 500))
        if answers is None or known is None:
            continue
        (answer,) = answers
        table = analysis.effects(known, "layout", margin=margin, with_further=False)
        words = table.verdict.replace(UNKNOWN, OPEN)
        said = dict(zip(table.level, words, strict=True))
        assert said == dict(zip(answer.question.levels, answer.verdicts.words, strict=True))
        assert table.level[0] == answer.question.levels[answer.verdicts.reference]
    # Both estimate the same number of further trainings.
    assert known is not None
    seen = asking.trainings(study.plan.space, trials, params, inquiry.guess)
    (further,), (answer,) = inquiry.further(seen), inquiry.answers(seen) or []
    table = analysis.effects(known, "layout", margin=margin)
    np.testing.assert_equal(table.further.max(), further)
    assert np.isnan(further) == answer.settled
    if not answer.settled:
        texts = (*analysis.answers(table, ACCURACY), answer.sentence(ACCURACY, further))
        assert all(needed(further) in text for text in texts)


@pytest.mark.parametrize(
    ("exhausted", "further", "options"),
    [
        (False, 16.2, "--trials 37"),
        (False, 0.0, "--trials 21"),
        (False, math.inf, "--trials 120"),
        (True, 16.0, "--seeds 4"),
        (True, 60.0, "--seeds 8 --trials 80"),
    ],
)
def test_the_hint_names_options_that_probably_settle_the_question(
    exhausted: bool, further: float, options: str
) -> None:
    trained = [SimpleNamespace(key=str(number % 10)) for number in range(20)]  # two seeds each
    config = SimpleNamespace(seeds=2, trials=40)
    outcome = Outcome(exhausted=exhausted, further=further)
    assert sessions._enough(trained, config, outcome) == options


# --- a whole search -------------------------------------------------------------------------------


@pytest.mark.usefixtures("ray")
def test_a_search_says_what_is_open_is_resumed_and_ends_when_it_is_settled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Asked about a field that two axes set.
    (tmp_path / "space.yaml").write_text(BY_STAGE)
    words = ["search", str(tmp_path / "space.yaml"), "--out", str(tmp_path / "run")]
    words += ["--epochs", "1", "--ask", "layout", "--margin", "0.9", "--concurrency", "1"]
    assert main([*words, "--trials", "3"]) == 0
    out = capsys.readouterr().out
    fewest = inquiries.FIRST
    assert f"Not enough data: 3 trainings of at least {fewest} ended." in out
    assert f"To continue, run the same command again with --trials {fewest}.\n" in out
    run = ss.Run.open(tmp_path / "run")
    assert len(run.trials()) == 3
    assert (run.config.ask, run.config.margin) == (("layout",), 0.9)
    assert (run.config.sampler, run.config.stopping.rule) == ("surrogate", "none")
    # Any two accuracies are tied by a margin of 90 points.
    assert main([*words, "--trials", "30"]) == 0
    out = capsys.readouterr().out
    assert "layout: " in out
    assert "The question is settled" in out
    trials = run.trials()
    assert inquiries.FIRST <= len(trials) < 30
    assert {trial.state for trial in trials} == {COMPLETE}
    # The report says the same, by the margin that was asked for, before all else.
    assert set(run.effects("layout").verdict) == {TIED}
    assert set(run.effects("layout", margin=1e-9).verdict) != {TIED}
    page = run.report().read_text()
    assert page.index("<p><b>layout</b>: On average") < page.index("It is not confirmed")
    # Called again it ends at once, with the same words.
    assert main([*words, "--trials", "30"]) == 0
    assert capsys.readouterr().out == out
    assert run.trials() == trials
    words[words.index("layout")] = "recipe.peak_lr"
    assert main([*words, "--trials", "30"]) == 2
    assert "ask is ['layout'] there, ['recipe.peak_lr'] was asked for" in capsys.readouterr().err


def test_several_questions_leave_no_axis_confounded_with_another() -> None:
    # Questions of many levels once outweighed the others: the depth was one with the rate.
    space = Space.load("quickstart").for_images(1, 8, 10)
    scale = Scale(ACCURACY, 359, 0.1)
    axes = ("layout", "merge", "depths")
    inquiry = Inquiry(space, axes, margin=0.01, scale=scale, seed=0, seeds=3)
    begun: list[Training] = []
    combined = set()
    for _ in range(4):
        found = inquiry.next(begun, random.Random(0))
        assert found is not None
        candidate, seed = found
        values = candidate.values
        begun.append(
            Training(key=candidate.key, seed=seed, values=values, score=None, failed=False)
        )
        combined.add((candidate.design.depths, candidate.recipe.peak_lr))
    assert len(combined) == 4  # two depths, each with both rates
