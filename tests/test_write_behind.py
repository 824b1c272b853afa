"""A study in memory, its database, and the way between: what is in the one is in the other."""

from __future__ import annotations

import math
import random
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from skipsearch.searching import reading
from skipsearch.searching.storage import close_storage, open_storage
from skipsearch.searching.write_behind import WriteBehind

SAMPLERS = {
    "random": lambda: optuna.samplers.RandomSampler(seed=0),
    "tpe": lambda: optuna.samplers.TPESampler(seed=0, n_startup_trials=3),
    "nsga2": lambda: optuna.samplers.NSGAIISampler(seed=0, population_size=4),
}


def contents(trial: FrozenTrial) -> dict[str, object]:
    """What a trial says, but for its id in a storage and the moment at which it ended."""
    return {
        "number": trial.number,
        "state": trial.state,
        "values": trial.values,
        "start": trial.datetime_start,
        "params": trial.params,
        "distributions": trial.distributions,
        "user": trial.user_attrs,
        "system": trial.system_attrs,
        "reports": trial.intermediate_values,
    }


def live(study: optuna.Study, rng: random.Random) -> None:
    """Take a trial through a part of its life."""
    trial = study.ask()
    if rng.random() < 0.5:
        trial.set_user_attr("early", [1, 2])
    trial.suggest_categorical("kind", ["add", "concat"])
    trial.suggest_float("rate", 0.01, 1.0, log=True)
    if rng.random() < 0.5:
        trial.suggest_int("depth", 1, 9)
    if rng.random() < 0.2:
        study.enqueue_trial({"kind": "add", "rate": 0.5}, {"queued": True})
    for step in range(rng.randrange(4)):
        trial.report(rng.random(), step)
    trial.set_user_attr("late", {"a": rng.random()})
    state = rng.choice([None, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL])
    if state is not None:
        study.tell(trial, rng.random() if state == TrialState.COMPLETE else None, state)


def change(study: optuna.Study, rng: random.Random) -> None:
    """Report to a trial that runs, and perhaps end it."""
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    if running:
        chosen = rng.choice(running)
        trial = optuna.Trial(study, chosen._trial_id)
        trial.set_user_attr("late", {"b": rng.random()})
        trial.suggest_int("width", 1, 9)
        trial.report(rng.random(), max(chosen.intermediate_values, default=0) + 1)
        if rng.random() < 0.5:
            study.tell(chosen.number, rng.random())


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("seed", range(3))
def test_the_database_holds_what_memory_holds(tmp_path: Path, sampler: str, seed: int) -> None:
    rng = random.Random(seed)
    url = f"sqlite:///{tmp_path}/study.db"
    written = optuna.storages.RDBStorage(url)
    optuna.create_study(storage=written, study_name="s", direction="maximize")
    compared = 0
    for _ in range(3):  # drivers, one after the other
        database = open_storage(url, quick=True)
        memory = WriteBehind(database, "s", lambda trial: trial.user_attrs)
        study = optuna.load_study(study_name="s", storage=memory, sampler=SAMPLERS[sampler]())
        for _ in range(12):
            rng.choice([live, change])(study, rng)
            if rng.random() < 0.5:
                continue
            memory.flush()
            there = optuna.load_study(study_name="s", storage=written).trials
            here = [trial for trial in study.trials if trial.state != TrialState.WAITING]
            assert list(map(contents, there)) == list(map(contents, here))
            compared += len(here)
        memory.flush()
        for storage in (written, database):  # whoever closes last leaves a single file
            close_storage(storage)
    assert compared


def test_a_trial_that_ended_keeps_in_memory_what_it_needs(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    optuna.create_study(storage=url, study_name="s")
    memory = WriteBehind(open_storage(url), "s", lambda trial: {"key": trial.user_attrs["key"]})
    study = optuna.load_study(study_name="s", storage=memory)
    ended, running = study.ask(), study.ask()
    for trial in (ended, running):
        trial.suggest_categorical("kind", ["add", "concat"])
        trial.set_user_attr("key", "k")
        trial.set_user_attr("curve", [0.1] * 100)
    study.tell(ended, 0.5)
    memory.flush()
    study.tell(running, 0.5)
    memory.flush()
    assert [set(trial.user_attrs) for trial in study.trials] == [{"key"}, {"key"}]
    there = optuna.load_study(study_name="s", storage=url).trials
    assert [set(trial.user_attrs) for trial in there] == [{"key", "curve"}] * 2


def test_trials_that_waited_in_the_database_are_taken_up(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    outside = optuna.create_study(storage=url, study_name="s")
    outside.enqueue_trial({"kind": "concat"})
    memory = WriteBehind(open_storage(url), "s", lambda trial: trial.user_attrs)
    study = optuna.load_study(study_name="s", storage=memory)
    trial = study.ask()
    assert trial.suggest_categorical("kind", ["add", "concat"]) == "concat"
    memory.flush()
    (there,) = optuna.load_study(study_name="s", storage=url).trials
    assert there.state == TrialState.RUNNING
    assert there.params == {"kind": "concat"}


@pytest.mark.parametrize("directions", [["maximize"], ["maximize", "minimize"]])
def test_trials_are_read_as_optuna_reads_them(
    tmp_path: Path, directions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "PART", 20)
    memory = optuna.create_study(directions=directions, sampler=SAMPLERS["random"]())
    rng = random.Random(0)
    several = len(directions) > 1
    for number in range(50):
        trial = memory.ask()
        trial.suggest_categorical("kind", ["add", "concat"])
        trial.suggest_float("rate", 0.01, 1.0, log=True)
        if number % 2:
            trial.suggest_int("depth", 1, 9, step=2)
        trial.set_user_attr("curve", [rng.random()])
        if number % 3 and not several:
            trial.report(rng.choice([0.5, math.inf, -math.inf, math.nan]), 3)
        value = rng.choice([rng.random(), math.inf, -math.inf])
        if number % 5 == 0:
            memory.tell(trial, state=TrialState.FAIL)
        elif number % 7:
            memory.tell(trial, [value] * len(directions))
    memory.enqueue_trial({"kind": "add"})
    url = f"sqlite:///{tmp_path}/study.db"
    database = open_storage(url)
    other = optuna.create_study(storage=database, study_name="other", directions=directions)
    other.add_trials(memory.trials[:3])  # which are not ours
    study = optuna.create_study(storage=database, study_name="s", directions=directions)
    study.add_trials(memory.trials)
    study_id = database.get_study_id_from_name("s")
    theirs = database.get_all_trials(study_id)
    assert list(map(repr, reading.read_trials(database.engine, study_id))) == list(
        map(repr, theirs)
    )
    assert len(theirs) == 51
