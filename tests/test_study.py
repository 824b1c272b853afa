"""The study: proposals never repeat, states mean what they say, nothing is lost. Real Optuna."""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from waiting import HANG

from skipsearch.canonical import ID_RULES
from skipsearch.config import SearchConfig
from skipsearch.design import Design
from skipsearch.errors import RunError, SpaceError
from skipsearch.recipe import Recipe
from skipsearch.record import COMPLETE, FAIL, PRUNED, RUNNING, Environment, Epoch
from skipsearch.run import Run
from skipsearch.run.searching import search
from skipsearch.searching.attributes import ATTEMPTS
from skipsearch.searching.plans import Plan, Proposal
from skipsearch.searching.records import StudyReader, load_trials
from skipsearch.searching.storage import without_password
from skipsearch.searching.study import SearchStudy
from skipsearch.space import ENUMERABLE, Space

RECIPE = Recipe(epochs=3, batch_size=64)
WHERE = Environment(device="cpu", numerics="cpu, float32", versions={"python": "3"})
SPACE = """
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


@pytest.fixture(autouse=True)
def _calm() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


def open_study(folder: Path, space: str = SPACE, trials: int = 1000, **how: Any) -> SearchStudy:
    how = {"sampler": "tpe"} | how  # which proposes known designs again
    plan = Plan(space=Space.from_yaml(space), recipe=RECIPE, trials=trials, **how)
    return SearchStudy(f"sqlite:///{folder}/study.db", "s", plan)


def load(folder: Path) -> optuna.Study:
    return optuna.load_study(study_name=None, storage=f"sqlite:///{folder}/study.db")


def epoch(number: int, accuracy: float) -> Epoch:
    return Epoch(number, 0.1, 1.0, 0.5, 1.0, accuracy, 0.25)


def train(study: SearchStudy, proposal: Proposal, epochs: int = 3, accuracy: float = 0.5) -> None:
    """Report so many epochs and close the trial as a driver would."""
    curve = [epoch(i + 1, accuracy + i / 100) for i in range(epochs)]
    study.report(proposal.number, curve, WHERE)
    study.finish(proposal.number, COMPLETE if epochs == RECIPE.epochs else PRUNED)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_each_design_of_a_finite_space_is_proposed_exactly_once(
    tmp_path: Path, sampler: str
) -> None:
    study = open_study(tmp_path, sampler=sampler)
    keys, designs = [], []
    while (proposal := study.ask()) is not None:
        keys.append(proposal.candidate.key)
        designs.append(proposal.candidate.design.id)
        train(study, proposal, accuracy=len(keys) / 20)
    assert len(keys) == len(set(keys)) == DISTINCT
    assert set(designs) == {design.id for design in Space.from_yaml(SPACE).enumerate()}


def test_a_known_proposal_is_rejected_and_replaced_by_its_nearest_untried_neighbour(
    tmp_path: Path,
) -> None:
    study = open_study(tmp_path)
    while (proposal := study.ask()) is not None:
        train(study, proposal)
    trials = load(tmp_path).trials
    rejected = [trial for trial in trials if "rejected" in trial.user_attrs]
    assert rejected, "nine designs were found without a single repeat: not what TPE does"
    for trial in rejected:
        assert trial.state == TrialState.PRUNED
        assert trial.value is None
        assert not trial.intermediate_values
        assert trial.user_attrs["rejected"] == "known"
    # Only a space that is exhausted leaves its last rejection without a successor.
    for trial in rejected[:-1]:
        successor = trials[trial.number + 1]
        assert "key" in successor.user_attrs
        assert successor.system_attrs["fixed_params"] == successor.params


def test_a_continuous_space_never_repeats_either(tmp_path: Path) -> None:
    space = SPACE.replace("drop_path: [0.0, 0.2]", "drop_path: {low: 0.0, high: 0.5}")
    study = open_study(tmp_path, space)
    keys = []
    for _ in range(20):
        proposal = study.ask()
        assert proposal is not None
        keys.append(proposal.candidate.key)
        train(study, proposal)
    # The plain layout has one point alone, whatever the drop rate: it must not come twice.
    assert len(set(keys)) == 20


def test_a_design_over_the_limit_is_never_trained(tmp_path: Path) -> None:
    limited = SPACE + "constraints: [params <= 5200]\n"
    allowed = {design.id for design in Space.from_yaml(limited).enumerate()}
    assert 0 < len(allowed) < DISTINCT
    study = open_study(tmp_path, limited)
    seen = set()
    while (proposal := study.ask()) is not None:
        seen.add(proposal.candidate.design.id)
        train(study, proposal)
    assert seen == allowed
    reasons = [trial.user_attrs.get("rejected", "") for trial in load(tmp_path).trials]
    assert any(reason.startswith("params <= 5200: it has ") for reason in reasons)


def test_a_space_without_an_allowed_design_is_refused(tmp_path: Path) -> None:
    space = SPACE.replace("[0.0, 0.2]", "{low: 0.0, high: 0.5}") + "constraints: [params < 9]\n"
    with pytest.raises(SpaceError, match="params < 9: it has"):
        open_study(tmp_path, space).ask()


def test_states_and_values_are_what_they_claim_to_be(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    complete, pruned, failed = study.ask(), study.ask(), study.ask()
    assert complete is not None
    assert pruned is not None
    assert failed is not None
    train(study, complete, epochs=3, accuracy=0.6)
    train(study, pruned, epochs=1, accuracy=0.9)
    study.report(failed.number, [epoch(1, 0.1)], WHERE)
    study.finish(failed.number, FAIL, "the loss became nan in epoch 2 of 3")

    trials = {trial.number: trial for trial in load(tmp_path).trials}
    first = trials[complete.number]
    assert first.state == TrialState.COMPLETE
    assert first.value == pytest.approx(0.62)
    assert first.intermediate_values == pytest.approx({1: 0.60, 2: 0.61, 3: 0.62})
    assert trials[pruned.number].state == TrialState.PRUNED
    assert trials[pruned.number].intermediate_values == {1: 0.9}
    assert trials[failed.number].state == TrialState.FAIL
    assert trials[failed.number].value is None
    # The unfinished 0.9 must not stand among the finished ones.
    values = [t.value for t in trials.values() if t.state == TrialState.COMPLETE]
    assert values == [pytest.approx(0.62)]

    records = {trial.number: trial for trial in study.trials()}
    assert records[failed.number].reason == "the loss became nan in epoch 2 of 3"
    assert records[complete.number].curve[-1] == epoch(3, 0.62)
    assert records[complete.number].seconds == pytest.approx(0.75)


def test_the_attributes_that_a_record_needs_are_in_the_study(tmp_path: Path) -> None:
    study = open_study(tmp_path, seed=7)
    proposal = study.ask()
    assert proposal is not None
    train(study, proposal)
    attributes = load(tmp_path).trials[0].user_attrs
    design = proposal.candidate.design
    assert attributes["design"] == design.to_dict()
    assert attributes["recipe"] == RECIPE.to_dict()
    assert attributes["seed"] == 7
    assert attributes["environment"] == WHERE.to_dict()
    assert set(attributes["costs"]) == {"params", "macs", "activation_bytes"}


def test_parameters_bear_the_names_of_the_axes_and_only_of_those_that_matter(
    tmp_path: Path,
) -> None:
    study = open_study(tmp_path)
    while (proposal := study.ask()) is not None:
        train(study, proposal)
    for trial in load(tmp_path).trials:
        plain = "+" not in trial.params["layout"]
        assert set(trial.params) == ({"layout"} if plain else {"layout", "shortcut", "drop_path"})


FREE = """
name: free
base: {layout: conv3 +, widths: [4, 8], depths: [1, 1], stem_width: 2, shortcut: omit}
axes:
  layout[1]: {convs: [conv3], free: [relu]}
  depths[0]: {low: 1, high: 2}
"""


def test_slots_and_stages_are_parameters_that_survive_a_dead_driver(tmp_path: Path) -> None:
    # Eight layouts of the second stage build six networks, since nothing joins there; two depths.
    space = Space.from_yaml(FREE)
    assert space.size == 16
    wanted = {design.id for design in space.enumerate()}
    assert len(wanted) == 12
    study, designs = open_study(tmp_path, FREE), []
    for _ in range(5):
        proposal = study.ask()
        assert proposal is not None
        train(study, proposal)
        designs.append(proposal.candidate.design.id)
    left = study.ask()
    assert left is not None
    study = open_study(tmp_path, FREE)  # The driver died under it.
    while (proposal := study.ask()) is not None:
        if len(designs) == 5:
            assert proposal.candidate == left.candidate
        train(study, proposal)
        designs.append(proposal.candidate.design.id)
    assert set(designs) == wanted
    assert len(designs) == len(wanted)
    trials = load(tmp_path).trials
    slots = {f"layout[1].{slot}" for slot in ("before", "before_join", "after_join")}
    assert {frozenset(trial.params) for trial in trials} == {frozenset(slots | {"depths[0]"})}
    assert any(t.user_attrs.get("rejected") == "known" for t in trials)


def test_slots_and_stages_share_the_column_of_their_field(tmp_path: Path) -> None:
    space = FREE + "  layout[0]: [conv3 +, conv3]\n"
    study = open_study(tmp_path, space)
    while (proposal := study.ask()) is not None:
        train(study, proposal)
    data = {"name": "x", "root": None, "resized_to": None, "split_seed": 0, "fingerprint": "f"}
    data |= {"in_channels": 3, "image_size": 32, "classes": 10, "source": ""}
    data |= {"train_images": 900, "validation_images": 100}
    config = SearchConfig.from_dict(
        {
            "space": Space.from_yaml(space).to_dict(),
            "data": data,
            "recipe": RECIPE.to_dict(),
            "seed": 0,
            "sampler": "tpe",
            "scheduler": "none",
            "rungs": [3],
            "trials": 1000,
            "versions": {},
        }
    )
    table = Run(tmp_path, config).rank()
    columns = list(table.columns)
    assert columns[columns.index("macs") + 1 :] == ["layout", "depths", "reason", "numerics"]
    designs = {trial.number: trial.design for trial in study.trials()}
    for _, row in table.iterrows():
        layout = designs[row.trial].layout
        assert row.layout == (layout if isinstance(layout, str) else str(list(layout)))
        assert row.depths == str(list(designs[row.trial].depths))


def test_reports_are_idempotent_by_epoch(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    proposal = study.ask()
    assert proposal is not None
    study.report(proposal.number, [epoch(1, 0.3)], WHERE)
    study.report(proposal.number, [epoch(1, 0.4), epoch(2, 0.5)], WHERE)
    study.report(proposal.number, [epoch(2, 0.9)], WHERE)
    assert load(tmp_path).trials[0].intermediate_values == {1: 0.3, 2: 0.5}


def test_what_a_dead_driver_left_running_is_queued_again_once(tmp_path: Path) -> None:
    first = open_study(tmp_path)
    ended, left = first.ask(), first.ask()
    assert ended is not None
    assert left is not None
    train(first, ended)
    first.report(left.number, [epoch(1, 0.4)], WHERE)
    del first  # as by kill -9: nothing is told

    for _ in range(2):  # Opened twice, as when the second driver dies at once.
        second = open_study(tmp_path)
    states = [trial.state for trial in load(tmp_path).trials]
    assert states == [TrialState.COMPLETE, TrialState.FAIL]
    # Until it goes on it is shown, as interrupted, with what it has reached.
    assert second.trials()[1].reason == "interrupted"
    assert [e.epoch for e in second.trials()[1].curve] == [1]

    again = second.ask()
    assert again is not None
    assert again.candidate.key == left.candidate.key
    train(second, again)
    records = second.trials()
    assert [trial.state for trial in records] == [COMPLETE, COMPLETE]
    assert not any(trial.state == TrialState.RUNNING for trial in load(tmp_path).trials)


def test_a_driver_that_dies_while_it_takes_up_a_trial_loses_nothing(tmp_path: Path) -> None:
    first = open_study(tmp_path)
    left = first.ask()
    assert left is not None
    open_study(tmp_path)
    load(tmp_path).ask()  # Popped from the queue, and killed before it was accepted.
    third = open_study(tmp_path)
    again = third.ask()
    assert again is not None
    assert again.candidate.key == left.candidate.key
    train(third, again)
    assert [trial.state for trial in third.trials()] == [COMPLETE]


def test_a_training_that_every_driver_dies_under_fails_in_the_end(tmp_path: Path) -> None:
    key = None
    for _ in range(ATTEMPTS):
        proposal = open_study(tmp_path).ask()
        assert proposal is not None
        assert key in (None, proposal.candidate.key)
        key = proposal.candidate.key
    last = open_study(tmp_path)
    assert [(t.state, t.reason) for t in last.trials()] == [
        (FAIL, f"interrupted {ATTEMPTS} times without progress")
    ]
    proposal = last.ask()
    assert proposal is not None
    assert proposal.candidate.key != key


def test_a_training_that_makes_progress_may_be_interrupted_as_often_as_one_likes(
    tmp_path: Path,
) -> None:
    curve: list[Epoch] = []
    for number in range(1, 3):  # The driver dies after each epoch but the last.
        study = open_study(tmp_path)
        for _ in range(ATTEMPTS):  # And is interrupted in order before the epoch has ended.
            proposal = study.ask()
            assert proposal is not None
            study.requeue_interrupted(orderly=True)
        proposal = study.ask()
        assert proposal is not None
        curve.append(epoch(number, 0.1))
        study.report(proposal.number, curve, WHERE)
    study = open_study(tmp_path)
    proposal = study.ask()
    assert proposal is not None
    train(study, proposal)
    assert [trial.state for trial in study.trials()] == [COMPLETE]


def test_records_are_read_without_the_space(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    proposal = study.ask()
    assert proposal is not None
    train(study, proposal)
    assert load_trials(f"sqlite:///{tmp_path}/study.db") == study.trials()


def test_a_study_is_read_anew_only_when_it_has_changed(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    reader = StudyReader(tmp_path / "study.db")
    for number in range(3):
        proposal = study.ask()
        assert proposal is not None
        train(study, proposal)
        first, again = reader.trials(), reader.trials()
        assert first == study.trials()
        assert len(first) == number + 1
        assert all(a is b for a, b in zip(first, again, strict=True))
        again.clear()
        assert reader.trials() == first


def test_an_id_of_other_rules_is_worked_out_anew(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    proposal = study.ask()
    assert proposal is not None
    train(study, proposal)
    url = f"sqlite:///{tmp_path}/study.db"
    (record,) = load_trials(url)
    right = record.design.replace(drop_path=record.design.drop_path).id  # another object
    assert record.design.id == right
    key = json.dumps(f"0123456789-{record.recipe.id}")
    with closing(sqlite3.connect(tmp_path / "study.db")) as connection:
        change = "UPDATE trial_user_attributes SET value_json = ? WHERE key = ?"
        connection.execute(change, (key, "key"))
        connection.commit()
        assert load_trials(url)[0].design.id == "0123456789"  # as the driver has it
        connection.execute(change, (str(ID_RULES - 1), "id_rules"))
        connection.commit()
        assert load_trials(url)[0].design.id == right


@pytest.mark.parametrize("sampler", ["surrogate", "tpe", "local"])
def test_a_study_of_older_ids_is_resumed(sampler: str, tmp_path: Path) -> None:
    study = open_study(tmp_path, sampler=sampler)
    for _ in range(6):
        proposal = study.ask()
        assert proposal is not None
        train(study, proposal)
    study.close()
    with closing(sqlite3.connect(tmp_path / "study.db")) as connection:
        table = "trial_user_attributes"
        rows = connection.execute(
            f"SELECT rowid, value_json FROM {table} WHERE key = 'key'"
        ).fetchall()
        for row, text in rows:
            design, _, recipe = json.loads(text).partition("-")
            old = json.dumps(f"{design[:10]}-{recipe[:10]}")
            connection.execute(f"UPDATE {table} SET value_json = ? WHERE rowid = ?", (old, row))
        connection.execute(f"UPDATE {table} SET value_json = '2' WHERE key = 'id_rules'")
        connection.commit()
    study = open_study(tmp_path, sampler=sampler)
    seen = {record.key for record in load_trials(f"sqlite:///{tmp_path}/study.db")}
    assert len(seen) == 6
    while proposal := study.ask():
        assert proposal.candidate.key not in seen
        seen.add(proposal.candidate.key)
        train(study, proposal)
    assert study.exhausted


def test_what_is_no_storage_is_one_clear_error() -> None:
    with pytest.raises(RunError, match="the storage 'hello' cannot be opened"):
        StudyReader("hello").trials()


def test_a_storage_without_a_study_has_no_records(tmp_path: Path) -> None:
    optuna.storages.get_storage(f"sqlite:///{tmp_path}/study.db")
    assert load_trials(f"sqlite:///{tmp_path}/study.db") == []


def test_reading_what_a_killed_driver_left_makes_it_one_plain_file_again(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    killed = (
        "import optuna, os, sys; from skipsearch.searching.storage import open_storage;"
        "optuna.create_study(storage=open_storage(sys.argv[1], quick=True)); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", killed, url], check=False, stderr=subprocess.DEVNULL)
    assert len(list(tmp_path.iterdir())) > 1
    assert load_trials(url) == []
    assert [path.name for path in tmp_path.iterdir()] == ["study.db"]


def test_a_storage_that_cannot_be_opened_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_bytes(b"this is no SQLite file, at all" * 40)
    with pytest.raises(RunError, match="cannot be opened"):
        load_trials(f"sqlite:///{tmp_path}/study.db")


# --- seeds, neighbours, objectives ---------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_further_seeds_are_trained_when_asked_for_and_never_twice(
    tmp_path: Path, sampler: str
) -> None:
    study = open_study(tmp_path, seeds=3, seed=7, sampler=sampler)
    trained: list[tuple[str, int]] = []
    while (proposal := study.ask()) is not None:
        trained.append((proposal.candidate.key, proposal.seed))
        train(study, proposal)
    assert study.exhausted
    keys = {key for key, _ in trained}
    assert len(keys) == DISTINCT
    assert sorted(trained) == sorted((key, seed) for key in keys for seed in (7, 8, 9))
    for key in keys:  # in order
        assert [seed for other, seed in trained if other == key] == [7, 8, 9]


@pytest.mark.parametrize("joined", [False, True], ids=["alone", "shared"])
def test_a_design_is_trained_with_all_packs_of_its_seeds(tmp_path: Path, joined: bool) -> None:
    plan = Plan(space=Space.from_yaml(SPACE), recipe=RECIPE, trials=14, seeds=5, sampler="grid")
    place = f"sqlite:///{tmp_path}/study.db" if joined else tmp_path / "study.db"
    asked = {"search": "this"} if joined else None
    study = SearchStudy(place, "s", plan, asked, lambda *which: [which[-1][:2], which[-1][2:]])
    assert study.seeds_at_once == 5
    trained = []
    while (proposal := study.ask()) is not None:
        proposals = [proposal, *study.rest_of_pack(proposal)]
        assert [each.seed for each in proposals] == list(proposal.pack)
        trained.append((proposal.candidate.key, proposal.pack))
        for each in proposals:
            train(study, each)
    study.close()
    keys = list(dict.fromkeys(key for key, _ in trained))
    expected = [(key, pack) for key in keys for pack in ((0, 1), (2, 3, 4))]
    assert len(keys) == 3
    # The last design is trained as far as the plan goes.
    assert trained == [*expected[:-1], (keys[-1], (2, 3))]


def test_requested_seeds_are_divided_once_a_design(tmp_path: Path) -> None:
    plan = Plan(space=Space.from_yaml(SPACE), recipe=RECIPE, trials=0, sampler="random")
    divided = []

    def packs(design: Design, _: Recipe, seeds: Sequence[int]) -> list[Sequence[int]]:
        divided.append(design.id)
        return [seeds]

    study = SearchStudy(tmp_path / "study.db", "s", plan, packs=packs)
    first, second, *_ = plan.space.candidates()
    study.request([(each.values, seed) for seed in range(4) for each in (first, second)])
    assert sorted(divided) == sorted([first.design.id, second.design.id])
    assert study.seeds_at_once == 4
    study.close()


def test_a_driver_killed_while_it_takes_up_a_pack_leaves_no_part_of_it_out(
    tmp_path: Path,
) -> None:
    def opened() -> SearchStudy:
        plan = Plan(space=Space.from_yaml(SPACE), recipe=RECIPE, trials=27, seeds=3, sampler="grid")
        path = tmp_path / "study.db"
        return SearchStudy(path, "s", plan, packs=lambda *which: [which[-1]])

    first = opened()
    whole = first.ask()
    assert whole is not None
    first.rest_of_pack(whole)
    begun = first.ask()  # and no companions: here it is killed
    assert begun is not None
    second = opened()
    numbers = []
    for proposal in (whole, begun):
        again = second.ask()
        assert again is not None
        assert again.candidate.key == proposal.candidate.key
        proposals = [again, *second.rest_of_pack(again)]
        assert [(each.seed, each.pack) for each in proposals] == [(n, (0, 1, 2)) for n in range(3)]
        numbers += [each.number for each in proposals]
    assert numbers == sorted(numbers)
    there = {trial.number: trial.seed for trial in load_trials(tmp_path / "study.db")}
    assert [there[number] for number in numbers] == [0, 1, 2, 0, 1, 2]
    for study in (first, second):
        study.close()


def test_a_design_that_failed_is_not_tried_with_another_seed(tmp_path: Path) -> None:
    study = open_study(tmp_path, seeds=2)
    seeds: list[int] = []
    while (proposal := study.ask()) is not None:
        seeds.append(proposal.seed)
        study.finish(proposal.number, FAIL, "no luck")
        if len(seeds) == 4:
            study = open_study(tmp_path, seeds=2)  # what failed before is known to have failed
    assert seeds == [0] * DISTINCT


def test_as_many_trainings_as_the_plan_says(tmp_path: Path) -> None:
    study = open_study(tmp_path, trials=4)
    for _ in range(4):
        proposal = study.ask()
        assert proposal is not None
        train(study, proposal)
    assert study.ask() is None
    assert not study.exhausted
    more = open_study(tmp_path, trials=5)
    assert more.ask() is not None
    assert more.ask() is None


LARGE = """
name: large
base: {widths: [8, 16], stem_width: 8}
axes:
  layout: {convs: [conv3, conv3], free: [bn, relu]}
  depths: [[1, 1], [1, 2], [2, 1], [2, 2]]
  merge: [add, cat]
  recipe.peak_lr: {low: 0.01, high: 0.5, step: 0.07}
  drop_path: [0.0, 0.1, 0.2]
"""


def test_in_a_large_space_a_known_proposal_is_replaced_by_a_neighbour(tmp_path: Path) -> None:
    space = Space.from_yaml(LARGE)
    assert space.size is not None
    assert space.size > ENUMERABLE
    study = open_study(tmp_path, LARGE)
    first = study.ask()
    assert first is not None
    train(study, first)
    proposed = load(tmp_path).trials[0].params
    for _ in range(5):  # a user who insists
        study.close()
        load(tmp_path).enqueue_trial(proposed)
        study = open_study(tmp_path, LARGE)
        proposal = study.ask()
        assert proposal is not None
        changed = [
            name
            for name in {*proposal.candidate.values, *first.candidate.values}
            if proposal.candidate.values.get(name) != first.candidate.values.get(name)
        ]
        assert len(changed) == 1
        train(study, proposal)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_several_objectives(tmp_path: Path, sampler: str) -> None:
    objectives = ("validation_accuracy", "macs", "latency")
    study = open_study(tmp_path, sampler=sampler, objectives=objectives)
    while (proposal := study.ask()) is not None:
        stopped = proposal.number % 4 == 1
        curve = [epoch(i + 1, 0.5 + proposal.number / 100) for i in range(1 if stopped else 3)]
        study.report(proposal.number, curve, WHERE, latency=0.002)
        study.report(
            proposal.number, curve, WHERE, latency=0.004
        )  # another driver's, after a break
        study.finish(proposal.number, PRUNED if stopped else COMPLETE)
    optuna_study = load(tmp_path)
    assert [d.name for d in optuna_study.directions] == ["MAXIMIZE", "MINIMIZE", "MINIMIZE"]
    records = {trial.number: trial for trial in study.trials()}
    assert {trial.state for trial in records.values()} == {COMPLETE, PRUNED}
    for number, record in records.items():
        assert record.latency == 0.002
        values = optuna_study.trials[number].values
        if record.state == COMPLETE:
            assert values == [record.curve[-1].validation_score, record.macs, 0.002]
        else:  # an unfinished value must not stand on the front
            assert values is None
    assert all(record.activation_bytes > 0 for record in records.values())


def test_an_audited_training_stays_audited_when_it_is_resumed(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    proposal = study.ask()
    assert proposal is not None
    assert proposal.stopped_at == 0
    study.report(proposal.number, [epoch(1, 0.1)], WHERE)
    study.audit(proposal.number, 1)
    again = open_study(tmp_path).ask()
    assert again is not None
    assert again.stopped_at == 1
    assert again.scores == [0.1]


# --- several drivers on one study ----------------------------------------------------------------


def postgres() -> Path | None:
    """Where a PostgreSQL server lies, if there is one that may be started here."""
    if importlib.util.find_spec("psycopg") is None:
        return None
    found = shutil.which("postgres")
    places = [Path(found).resolve()] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return next((p.parent for p in reversed(places) if (p.parent / "createdb").exists()), None)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], str]]:
    """What makes the URL of an empty storage."""
    folder = tmp_path_factory.mktemp("storage")
    count = itertools.count()
    if request.param == "sqlite":
        yield lambda: f"sqlite:///{folder}/{next(count)}.db"
        return
    programs = postgres()
    if programs is None:
        pytest.skip("needs a PostgreSQL server and psycopg")
    # It refuses to run as root.
    user = {"user": "postgres", "group": "postgres", "extra_groups": []} if not os.getuid() else {}
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    if user:
        shutil.chown(folder, "postgres", "postgres")

    def run(program: str, *words: str) -> None:
        subprocess.run(
            [programs / program, *words], check=True, stdout=subprocess.DEVNULL, cwd="/", **user
        )

    try:
        run("initdb", "-D", f"{folder}/data", "-A", "trust", "-U", "search")
        options = f"-k {folder} -h ''"  # on a socket in the folder, not on a port of all
        run("pg_ctl", "-D", f"{folder}/data", "-o", options, "-l", f"{folder}/log", "-w", "start")

        def url() -> str:
            name = f"d{next(count)}"
            run("createdb", "-h", str(folder), "-U", "search", name)
            return f"postgresql+psycopg://search@/{name}?host={folder}"

        yield url
        run("pg_ctl", "-D", f"{folder}/data", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def join(url: str, trials: int = 1000, asked: str = "this", **how: Any) -> SearchStudy:
    plan = Plan(space=Space.from_yaml(SPACE), recipe=RECIPE, trials=trials, **how)
    return SearchStudy(url, "s", plan, {"search": asked})


def test_drivers_share_a_study_and_never_a_training(server: Callable[[], str]) -> None:
    url = server()
    drivers = [join(url) for _ in range(3)]
    proposals = []
    while any(found := [driver.ask() for driver in drivers]):
        for driver, proposal in zip(drivers, found, strict=True):
            if proposal is not None:
                proposals.append(proposal)
                train(driver, proposal)
    keys = [proposal.candidate.key for proposal in proposals]
    assert len(keys) == len(set(keys)) == DISTINCT
    assert len(drivers[0].trials()) == DISTINCT
    news = [len(driver.ended_elsewhere()) for driver in drivers]
    assert sum(news) == 2 * DISTINCT  # each hears of what the other two did, once
    assert [driver.ended_elsewhere() for driver in drivers] == [[]] * 3
    for driver in drivers:
        driver.close()


def test_drivers_meet_the_budget_together(server: Callable[[], str]) -> None:
    url = server()
    if url.startswith("sqlite"):
        pytest.skip("two drivers may take the same queued trial: SQLite locks no row")
    join(url, trials=7).close()  # a race for the tables would leave connections to the collector
    barrier = threading.Barrier(3, timeout=HANG)

    def drive() -> int:
        driver = join(url, trials=7)
        barrier.wait()
        done = 0
        while (proposal := driver.ask()) is not None:
            train(driver, proposal)
            done += 1
        driver.close()
        return done

    with ThreadPoolExecutor(3) as threads:
        done = [future.result() for future in [threads.submit(drive) for _ in range(3)]]
    assert sum(done) == 7
    trials = load_trials(url)
    assert len({trial.design.id for trial in trials}) == len(trials) == 7


DRIVER = """
import signal, sys
sys.path.insert(0, {tests!r})
from test_study import join, epoch, WHERE
driver = join({url!r})
proposal = driver.ask()
driver.report(proposal.number, [epoch(1, 0.25)], WHERE)
print(proposal.candidate.key, flush=True)
signal.pause()
"""


def test_what_a_killed_driver_left_is_taken_over_and_that_of_a_living_one_is_not(
    server: Callable[[], str],
) -> None:
    url = server()
    program = DRIVER.format(tests=str(Path(__file__).parent), url=url)
    other = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        key = other.stdout.readline().strip()
        driver = join(url)
        assert driver.running_elsewhere() == 1
        assert [trial.state for trial in driver.trials()] == [RUNNING]
    finally:
        other.kill()
        other.communicate()
    assert driver.running_elsewhere() == 0
    driver.requeue_interrupted()
    proposal = driver.ask()
    assert proposal is not None
    assert proposal.candidate.key == key
    assert proposal.scores == [0.25]
    train(driver, proposal)
    assert [trial.state for trial in driver.trials()] == [COMPLETE]
    driver.close()


def test_a_pack_is_taken_over_whole_and_never_trained_twice(server: Callable[[], str]) -> None:
    url = server()

    def together() -> SearchStudy:
        plan = Plan(space=Space.from_yaml(SPACE), recipe=RECIPE, trials=7, sampler="grid", seeds=3)
        return SearchStudy(url, "s", plan, {"search": "this"}, lambda *which: [which[-1]])

    def taken(driver: SearchStudy) -> list[Proposal]:
        proposal = driver.ask()
        return [proposal, *driver.rest_of_pack(proposal)] if proposal else []

    first, second = together(), together()
    mine, theirs = taken(first), taken(second)
    assert (
        [proposal.seed for proposal in mine] == [proposal.seed for proposal in theirs] == [0, 1, 2]
    )
    assert mine[0].candidate.key != theirs[0].candidate.key
    (last,) = taken(second)  # what is left of the trials
    assert last.pack == (0,)
    assert taken(first) == []
    for driver, proposal in ((first, mine[1]), *((second, each) for each in [*theirs, last])):
        train(driver, proposal)
    first._drivers.end()  # as if it had been killed
    second.requeue_interrupted()
    again = taken(second)
    assert [(proposal.seed, proposal.pack) for proposal in again] == [
        (0, (0, 1, 2)),
        (2, (0, 1, 2)),
    ]
    assert {proposal.candidate.key for proposal in again} == {mine[0].candidate.key}
    assert taken(second) == []
    for driver in (first, second):
        driver.close()


def test_a_driver_with_another_question_is_refused(server: Callable[[], str]) -> None:
    url = server()
    first = join(url)
    with pytest.raises(RunError, match="study 's' in the storage is of another search"):
        join(url, asked="that")
    first.close()


def test_a_driver_that_seemed_dead_lets_go_of_what_another_took_over(
    server: Callable[[], str],
) -> None:
    url = server()
    sleeper, other = join(url), join(url)
    proposal = sleeper.ask()
    assert proposal is not None
    sleeper._drivers.end()  # as if its machine had slept
    other.requeue_interrupted()
    taken = other.ask()
    assert taken is not None
    assert taken.candidate.key == proposal.candidate.key
    train(sleeper, proposal, accuracy=0.1)  # it wakes, and knows of nothing
    train(other, taken, accuracy=0.7)
    (record,) = other.trials()
    assert (record.state, record.curve[0].validation_score) == (COMPLETE, 0.7)
    for driver in (sleeper, other):
        driver.close()


def test_sqlite_is_not_shared(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="storage: SQLite is for one search"):
        search(Space.from_yaml(SPACE), trials=1, epochs=1, out=tmp_path, storage="sqlite:///a.db")


def test_a_password_is_neither_shown_nor_kept() -> None:
    url = "postgresql+psycopg://me:s3cret@localhost:1/x"
    assert without_password(url) == "postgresql+psycopg://me@localhost:1/x"
    if importlib.util.find_spec("psycopg"):
        with pytest.raises(RunError, match="cannot be opened") as caught:
            load_trials(url)
        assert "s3cret" not in str(caught.value)
    with pytest.raises(RunError, match="is no URL"):
        without_password("here")


def test_a_failure_keeps_the_numerics_of_the_epochs_before(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    proposal = study.ask()
    assert proposal is not None
    study.report(proposal.number, [epoch(1, 0.5)], WHERE)
    # A worker that fails says where, and no numerics: nothing was computed.
    study.report(proposal.number, [epoch(1, 0.5)], dataclasses.replace(WHERE, numerics=""))
    study.finish(proposal.number, FAIL, "RuntimeError: shapes differ")
    (trial,) = study.trials()
    assert (trial.numerics, trial.device) == (WHERE.numerics, WHERE.device)
