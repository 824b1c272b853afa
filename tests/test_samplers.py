"""The samplers: each walks a space by its own rule, through the real study. Real Optuna."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from skipsearch.canonical import ID_RULES
from skipsearch.config import SAMPLERS
from skipsearch.design import Design
from skipsearch.errors import RunError, SpaceError
from skipsearch.recipe import Recipe
from skipsearch.record import COMPLETE, FAIL, PRUNED, Environment, Epoch
from skipsearch.searching import proposers
from skipsearch.searching.optuna_trials import chooser
from skipsearch.searching.plans import Plan, Proposal
from skipsearch.searching.proposers import CLIMB, POPULATION, STARTS, Local, _fitness
from skipsearch.searching.samplers import ONE_OBJECTIVE, make_sampler, sampler_name
from skipsearch.searching.study import SearchStudy
from skipsearch.searching.surrogate import RANDOM as SURROGATE_RANDOM
from skipsearch.space import Candidate, Space

WHERE = Environment(device="cpu", numerics="cpu, float32", versions={"python": "3"})
RECIPE = Recipe(epochs=3, batch_size=64)
SMALL = """
name: small
base: {widths: [8, 16], depths: [1, 1], stem_width: 8}
axes:
  layout:
    - conv3-bn-relu-conv3-bn + relu
    - bn-relu-conv3-bn-relu-conv3 +
    - conv3-bn-relu-conv3-bn-relu
  shortcut: [pad, proj]
  drop_path: [0.0, 0.2]
"""
# Two orders x two shortcuts x two rates, and the plain layout, for which neither matters.
DISTINCT = 9
# Four axes that always matter: 5 x 3 x 3 x 3 trainings, each with 4 + 2 + 2 + 2 neighbours but for
# those at the ends of drop_path, which have one less.
WIDE = """
name: wide
base: {widths: [8, 16], stem_width: 8}
axes:
  layout:
    - conv3-bn-relu-conv3-bn + relu
    - conv3-bn-relu-conv3 + bn-relu
    - conv3-bn-relu-conv3-bn-relu +
    - relu-conv3-bn-relu-conv3-bn +
    - bn-relu-conv3-bn-relu-conv3 +
  shortcut: [pad, proj, proj-all]
  depths: [[1, 1], [2, 2], [3, 3]]
  drop_path: {low: 0.0, high: 0.2, step: 0.1}
"""
CONTINUOUS = SMALL.replace("[0.0, 0.2]", "{low: 0.0, high: 0.5}") + (
    "  recipe.peak_lr: {low: 0.01, high: 1.0, log: true}\n"
    "  recipe.batch_size: {low: 16, high: 256, log: true}\n"
)

OBJECTIVES = ("validation_accuracy", "latency")
Judge = Callable[[Candidate], float]


@pytest.fixture(autouse=True)
def _calm() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


def open_study(sampler: str, space: str = SMALL, seed: int = 0, url: Any = None) -> SearchStudy:
    """Open a study, in memory where no storage is given."""
    plan = Plan(
        space=Space.from_yaml(space), recipe=RECIPE, trials=100_000, seed=seed, sampler=sampler
    )
    return SearchStudy(url or optuna.storages.InMemoryStorage(), "s", plan)


def trials(study: SearchStudy) -> list[FrozenTrial]:
    return study._study.get_trials(deepcopy=False)


def train(
    study: SearchStudy, proposal: Proposal, accuracy: float, epochs: int = 3, state: str = COMPLETE
) -> None:
    """Report so many epochs and close the trial as a driver would."""
    curve = [Epoch(i + 1, 0.1, 1.0, 0.5, 1.0, accuracy, 0.25) for i in range(epochs)]
    study.report(proposal.number, curve, WHERE)
    study.finish(proposal.number, state, "it failed" if state == FAIL else "")


def additive(candidate: Candidate) -> float:
    """A sum over the axes of WIDE: the best is the last layout, proj, depth 2 and rate 0.1."""
    values = candidate.values
    layouts = Space.from_yaml(WIDE).parameters["layout"].values
    return (
        0.1 * layouts.index(values["layout"])
        + {"pad": 0.0, "proj": 0.1, "proj-all": 0.05}[values["shortcut"]]
        + {1: 0.02, 2: 0.09, 3: 0.0}[values["depths"][0]]
        - 0.3 * abs(values["drop_path"] - 0.1)
    )


def search(study: SearchStudy, judge: Judge, most: int = 1_000) -> list[Candidate]:
    """Train one after the other, at most so many more, and return them in order."""
    done: list[Candidate] = []
    while len(done) < most and (proposal := study.ask()) is not None:
        train(study, proposal, judge(proposal.candidate))
        done.append(proposal.candidate)
    return done


def keys(candidates: list[Candidate]) -> list[str]:
    return [candidate.key for candidate in candidates]


def neighbours(study: SearchStudy, candidate: Candidate) -> set[str]:
    return set(keys(list(study.plan.space.neighbours(candidate))))


# --- every sampler -------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_finite_space_is_trained_to_its_end_and_no_design_twice(sampler: str) -> None:
    done = search(open_study(sampler), lambda c: len(c.key + str(c.values)) / 1000)
    assert len(set(keys(done))) == len(done) == DISTINCT
    assert {c.design.id for c in done} == {d.id for d in Space.from_yaml(SMALL).enumerate()}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_seed_decides_what_is_proposed_one_after_the_other(sampler: str) -> None:
    # Enough for the models of TPE and GP to begin.
    first, second, other = (
        keys(search(open_study(sampler, WIDE, seed), additive, 14)) for seed in (0, 0, 1)
    )
    assert first == second != other


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_what_runs_at_the_same_time_is_never_the_same(sampler: str) -> None:
    study = open_study(sampler)
    done: list[str] = []
    running: list[Proposal] = []
    while True:
        while len(running) < 3 and (proposal := study.ask()) is not None:
            running.append(proposal)
            done.append(proposal.candidate.key)
        if not running:
            break
        ended = running.pop(len(done) % len(running))  # not in the order of their beginnings
        train(study, ended, 0.1 + len(done) / 100)
    assert len(set(done)) == len(done) == DISTINCT


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_search_that_was_killed_is_resumed(tmp_path: Path, sampler: str) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    study = open_study(sampler, url=url)
    done = search(study, lambda c: len(c.key) / 100, most=3)
    left = study.ask()
    assert left is not None
    study = open_study(sampler, url=url)  # the first one is gone, and told nothing
    again = study.ask()
    assert again is not None
    assert again.candidate.key == left.candidate.key
    train(study, again, 0.3)
    done += [again.candidate, *search(study, lambda c: len(c.key) / 100, most=2)]
    assert len(set(keys(done))) == len(done) == 6


@pytest.mark.parametrize("sampler", ["grid", "evolution", "local"])
def test_another_sampler_takes_over_and_proposes_nothing_that_is_known(sampler: str) -> None:
    storage = optuna.storages.InMemoryStorage()
    # Optuna's own third step of 0.1 is 0.30000000000000004, where it is not the last.
    stepped = WIDE.replace("high: 0.2", "high: 0.4")

    def judge(candidate: Candidate) -> float:
        return 1.0 if candidate.values["drop_path"] == 0.3 else 0.5

    done = search(open_study("random", stepped, url=storage), judge, most=70)
    study = open_study(sampler, stepped, url=storage)
    rejected = sum("rejected" in trial.user_attrs for trial in trials(study))
    done += search(study, judge, most=40)
    assert len(set(keys(done))) == len(done) == 110
    assert sum("rejected" in trial.user_attrs for trial in trials(study)) == rejected


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("only_failures", [False, True])
def test_failures_and_early_stops_are_survived(sampler: str, only_failures: bool) -> None:
    study = open_study(sampler, WIDE)
    seen = set()
    for i in range(POPULATION + 5):
        proposal = study.ask()
        assert proposal is not None
        seen.add(proposal.candidate.key)
        if only_failures or i % 4 == 0:
            train(study, proposal, 0.9, epochs=i % 2, state=FAIL)
        elif i % 4 == 1:
            train(study, proposal, 0.9, epochs=1, state=PRUNED)
        else:
            train(study, proposal, additive(proposal.candidate))
    assert len(seen) == POPULATION + 5


@pytest.mark.parametrize("sampler", [word for word in SAMPLERS if word != "grid"])
def test_a_continuous_space_is_walked_without_a_repeat(sampler: str) -> None:
    done = search(
        open_study(sampler, CONTINUOUS),
        lambda c: 1 - abs(math.log10(c.recipe.peak_lr) + 1) / 2,
        most=POPULATION + 10,
    )
    assert len(set(keys(done))) == POPULATION + 10
    for candidate in done:
        assert 0.01 <= candidate.recipe.peak_lr <= 1.0
        assert candidate.recipe.batch_size in range(16, 257)


@pytest.mark.parametrize("sampler", [word for word in SAMPLERS if word not in ONE_OBJECTIVE])
def test_several_objectives_are_possible(sampler: str) -> None:
    space = Space.from_yaml(SMALL)
    study = optuna.create_study(
        directions=["maximize", "minimize"], sampler=make_sampler(sampler, space, 0, OBJECTIVES)
    )
    for _ in range(35):
        trial = study.ask()
        candidate = space.suggest(chooser(trial))
        trial.set_user_attr("key", candidate.key)
        trial.set_user_attr("id_rules", ID_RULES)
        study.tell(trial, [candidate.values.get("drop_path", 0.1), len(candidate.values)])
    counts = Counter(trial.user_attrs["key"] for trial in study.trials)
    assert len(counts) > DISTINCT / 2
    if sampler == "grid":
        assert len(counts) == DISTINCT


@pytest.mark.parametrize("sampler", ONE_OBJECTIVE)
def test_what_orders_by_one_value_refuses_several(sampler: str) -> None:
    with pytest.raises(RunError, match=f"{sampler} supports one objective, not 2; allowed: "):
        make_sampler(sampler, Space.from_yaml(SMALL), 0, OBJECTIVES)


def test_an_unknown_word_is_refused_with_the_nearest() -> None:
    with pytest.raises(RunError, match=r"sampler 'evolutoin' is not one of .*'evolution'\?"):
        make_sampler("evolutoin", Space.from_yaml(SMALL), 0)


# --- grid ----------------------------------------------------------------------------------------


def test_the_grid_is_shuffled_and_none_of_its_proposals_is_rejected() -> None:
    study = open_study("grid")
    done = search(study, lambda c: 0.5)
    listed = keys(list(study.plan.space.candidates()))
    assert sorted(keys(done)) == sorted(listed)
    assert keys(done) != listed
    # But the one that finds the space exhausted.
    assert len(trials(study)) == DISTINCT + 1


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (CONTINUOUS, "small: axes.drop_path is continuous: sampler grid"),
        (SMALL + "  recipe.batch_size: {low: 1, high: 5000}\n", "small: 45,000 points are more"),
        (SMALL + "constraints: [params < 9]\n", "small: no design of the space meets"),
    ],
)
def test_the_grid_refuses_what_it_cannot_list(space: str, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        make_sampler("grid", Space.from_yaml(space), 0)


# --- nsga2 ---------------------------------------------------------------------------------------


def test_a_replacement_belongs_to_its_generation() -> None:
    study = open_study("nsga2")
    search(study, lambda c: 0.5)
    trainings = [trial for trial in trials(study) if trial.state == TrialState.COMPLETE]
    assert any("fixed_params" in trial.system_attrs for trial in trainings)
    for trial in trainings:
        assert any(name.endswith(":generation") for name in trial.system_attrs)


@pytest.mark.parametrize("sampler", ["evolution", "local"])
def test_what_a_sampler_keeps_in_memory_is_bounded_and_decides_nothing(
    monkeypatch: pytest.MonkeyPatch, sampler: str
) -> None:
    free = keys(search(open_study(sampler, WIDE), additive, 2 * POPULATION))
    monkeypatch.setattr(proposers, "NEAR", 20)  # some two positions
    study = open_study(sampler, WIDE)
    assert keys(search(study, additive, 2 * POPULATION)) == free
    kept = study._study.sampler._near.values()  # type: ignore[attr-defined]
    assert 0 < sum(map(len, kept)) <= 20


# --- evolution -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_a_child_differs_in_one_axis_from_one_of_the_youngest_that_did_not_fail(seed: int) -> None:
    study = open_study("evolution", WIDE, seed)
    living: list[Candidate] = []
    for i in range(3 * POPULATION):
        proposal = study.ask()
        assert proposal is not None
        if i >= POPULATION:
            population = living[-POPULATION:]
            assert any(proposal.candidate.key in neighbours(study, each) for each in population)
        if i % 5 == 0:
            train(study, proposal, 0.9, state=FAIL)
        else:
            # The first would father all, did it not die of age.
            train(study, proposal, 1.0 if len(living) < 2 else additive(proposal.candidate) / 2)
            living.append(proposal.candidate)


def test_evolution_breeds_from_the_fit() -> None:
    first, later = [], []
    for seed in range(4):
        done = search(open_study("evolution", WIDE, seed), additive, most=2 * POPULATION)
        values = [additive(candidate) for candidate in done]
        first += values[:POPULATION]
        later += values[POPULATION:]
    # Random draws differ by 0.02 or so.
    assert mean(later) > mean(first) + 0.06


# --- local search --------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_a_climb_steps_to_untried_neighbours_of_its_best_until_it_is_at_the_top(seed: int) -> None:
    study = open_study("local", WIDE, seed)
    top = max(study.plan.space.candidates(), key=additive)
    done = search(study, additive, most=STARTS)
    assert any(each.key not in neighbours(study, done[0]) for each in done[1:])
    while True:
        best = max(done, key=additive)
        untried = neighbours(study, best) - set(keys(done))
        if not untried:
            break
        (step,) = search(study, additive, most=1)
        assert step.key in untried
        done.append(step)
    assert best.key == top.key
    assert len(done) < 60  # of 135
    # Then it begins anew, at random.
    search(study, additive, most=1)
    climbs = [trial.system_attrs[CLIMB] for trial in trials(study)]
    assert climbs == [0] * len(done) + [1]


@pytest.mark.parametrize("seed", range(3))
def test_a_climb_ends_where_no_known_way_leads_up_to_an_untried_neighbour(seed: int) -> None:
    study = open_study("local", WIDE, seed)
    candidates = {candidate.key: candidate for candidate in study.plan.space.candidates()}
    climbs: list[list[Candidate]] = []
    known: set[str] = set()
    while len(known) < 100 and (proposal := study.ask()) is not None:
        number = trials(study)[proposal.number].system_attrs[CLIMB]
        if number == len(climbs):
            if climbs:  # One has just ended.
                better = max(climbs[-1], key=additive)
                place = None
                while place != better:
                    place = better
                    assert neighbours(study, place) <= known
                    around = [candidates[key] for key in neighbours(study, place)]
                    better = max([place, *around], key=additive)
            climbs.append([])
        climbs[number].append(proposal.candidate)
        known.add(proposal.candidate.key)
        train(study, proposal, additive(proposal.candidate))
    assert len(climbs) > 1


@pytest.mark.parametrize("sampler", ["evolution", "local"])
def test_what_was_given_back_to_another_driver_hides_no_training(sampler: str) -> None:
    study = open_study(sampler, WIDE)
    proposal = study.ask()
    assert proposal is not None
    train(study, proposal, 0.5)
    # Taken at the same moment by another driver, which wrote, then looked, and gave it back.
    twin = study._study.ask()
    twin.set_user_attr("key", proposal.candidate.key)
    twin.set_user_attr("id_rules", ID_RULES)
    study._reject(twin, "another driver has it")
    ((kept,),) = Local(study.plan.space, 0)._trainings(study._study).values()
    assert kept.number == proposal.number


def test_the_fitness_of_a_design_is_the_mean_over_the_seeds_that_ended_well() -> None:
    space = Space.from_yaml(SMALL)
    plan = Plan(space=space, recipe=RECIPE, trials=5, sampler="random", seeds=5)

    def packs(design: Design, recipe: Recipe, seeds: Sequence[int]) -> list[Sequence[int]]:
        return [seeds]

    study = SearchStudy(optuna.storages.InMemoryStorage(), "s", plan, packs=packs)
    proposal = study.ask()
    assert proposal is not None
    proposals = [proposal, *study.rest_of_pack(proposal)]

    def fitness() -> tuple[int, float] | None:
        (seeds,) = Local(space, 0)._trainings(study._study).values()
        return _fitness(seeds)

    assert fitness() is None
    train(study, proposals[1], 0.9, state=FAIL)
    assert fitness() is None
    train(study, proposals[0], 0.75)
    assert fitness() == (3, 0.75)
    train(study, proposals[2], 0.25)
    assert fitness() == (3, 0.5)
    train(study, proposals[3], 0.5, epochs=2, state=PRUNED)
    assert fitness() == (2, 0.5)
    train(study, proposals[4], 0.0, epochs=0, state=FAIL)
    assert fitness() == (2, 0.5)


def test_climbs_resume_after_a_kill_and_with_several_trainings_at_once() -> None:
    storage = optuna.storages.InMemoryStorage()
    study = open_study("local", WIDE, url=storage)
    done = search(study, additive, most=STARTS)
    for _ in range(8):
        best = max(done, key=additive)
        known = set(keys(done))
        proposals = [proposal for proposal in (study.ask(), study.ask(), study.ask()) if proposal]
        found = {proposal.candidate.key for proposal in proposals}
        assert len(found - known) == 3
        untried = neighbours(study, best) - known
        assert len(found & untried) == min(3, len(untried))
        study = open_study("local", WIDE, url=storage)
        for _ in proposals:
            proposal = study.ask()
            assert proposal is not None
            assert proposal.candidate.key in found
            train(study, proposal, additive(proposal.candidate))
            done.append(proposal.candidate)


def test_a_climb_stands_where_most_was_trained_not_where_a_short_value_was_high() -> None:
    study = open_study("local", WIDE)
    proposals = [study.ask() for _ in range(STARTS)]
    for i, proposal in enumerate(proposals):
        assert proposal is not None
        if i == 1:
            train(study, proposal, 0.4)
        elif i % 2:
            train(study, proposal, 0.9, epochs=1, state=PRUNED)
        else:
            train(study, proposal, 0.9, state=FAIL)
    assert proposals[1] is not None
    nearby = neighbours(study, proposals[1].candidate)
    steps = [study.ask() for _ in range(3)]
    assert all(step is not None and step.candidate.key in nearby for step in steps)


# --- surrogate -----------------------------------------------------------------------------------


def test_the_surrogate_finds_the_best_design_in_a_third_of_the_space() -> None:
    top = max(Space.from_yaml(WIDE).candidates(), key=additive).design
    for seed in range(3):
        done = search(open_study("surrogate", WIDE, seed), additive, most=45)  # of 135
        assert top in [candidate.design for candidate in done]


@pytest.mark.parametrize("space", [WIDE, CONTINUOUS], ids=["listed", "endless"])
def test_the_surrogate_proposes_what_meets_the_constraints_alone(space: str) -> None:
    bound = "constraints: [params <= 9000]\n"
    study = open_study("surrogate", space + bound)
    done = search(study, lambda c: 0.5 + len(c.key + str(c.values)) % 7 / 20, most=25)
    assert all(not study.plan.space.violated(candidate.design) for candidate in done)
    # Only the random beginning, which Optuna's own draws replace, could have been refused.
    assert not any("rejected" in trial.user_attrs for trial in trials(study)[SURROGATE_RANDOM:])


def test_a_known_cost_is_an_objective_of_the_surrogate_and_needs_no_training() -> None:
    plan = Plan(
        space=Space.from_yaml(WIDE),
        recipe=RECIPE,
        trials=100,
        sampler="surrogate",
        objectives=("validation_accuracy", "params"),
    )
    study = SearchStudy(optuna.storages.InMemoryStorage(), "s", plan)
    done = search(study, lambda c: additive(c) / 2, most=35)
    front = [
        max(additive(c) for c in done if c.values["depths"] == depths)
        for depths in plan.space.parameters["depths"].values
    ]
    # The smallest and the best are both on the front: depth 1 costs least, depth 2 is best.
    assert front[0] > 0.5
    assert front[1] > 0.58


def test_a_sampler_of_optuna_is_taken_as_it_is() -> None:
    sampler = optuna.samplers.RandomSampler(seed=1)
    assert make_sampler(sampler, Space.from_yaml(SMALL), 0) is sampler
    assert sampler_name(sampler) == "RandomSampler"
    assert sampler_name("tpe") == "tpe"
    plan = Plan(space=Space.from_yaml(SMALL), recipe=RECIPE, trials=100, sampler=sampler)
    done = search(SearchStudy(optuna.storages.InMemoryStorage(), "s", plan), lambda c: 0.5)
    assert len(set(keys(done))) == DISTINCT
