"""Attributes of trials: what is written is read back, in the forms of older versions too."""

from __future__ import annotations

import copy
import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from skipsearch.canonical import ID_RULES
from skipsearch.cost import cost
from skipsearch.design import Design
from skipsearch.recipe import Recipe
from skipsearch.record import COMPLETE, Environment, Epoch
from skipsearch.searching.attributes import (
    Queued,
    Training,
    is_interrupted,
    is_training,
    kept_in_memory,
    key_of,
    next_attempt,
    resumption,
)
from skipsearch.searching.plans import Plan
from skipsearch.searching.reading import Recorded
from skipsearch.searching.records import load_trials
from skipsearch.searching.study import SearchStudy
from skipsearch.space import Space

DESIGN = Design(layout="conv3-bn-relu-conv3-bn + relu", widths=(8, 16), depths=(1, 1))
RECIPE = Recipe(epochs=2)
CURVE = (Epoch(1, 0.1, 2.0, 0.25, 2.5, 0.125, 3.0), Epoch(2, 0.05, 1.0, 0.5, 1.5, 0.25, 3.0))
WHERE = Environment(device="cpu", numerics="cpu, float32", versions={"python": "3"})
NEW = Training(seed=7, design=DESIGN, recipe=RECIPE, costs=cost(DESIGN))
QUEUED = {
    "a new one": Queued(),
    "a seed": Queued(seed=3),
    "a pack": Queued(seed=3, pack=(3, 4)),
    "a resumed one": Queued(
        seed=3,
        pack=(2, 3),
        continues=0,
        curve=CURVE,
        stopped_at=1,
        latency=0.5,
        attempt=2,
        epochs_before=2,
    ),
}
TRAININGS = {
    "accepted": NEW,
    "accepted by one of several drivers": replace(NEW, driver="host-1-ab"),
    "resumed": replace(NEW, continues=4, curve=CURVE[:1], epochs_before=1),
    "recorded": replace(NEW, curve=CURVE, environment=WHERE, latency=0.25, stopped_at=1),
    "failed": replace(NEW, environment=WHERE, reason="the loss became nan"),
    "interrupted": replace(NEW, orderly=True),
}


def stored(known: Queued) -> dict[str, Any]:
    """What a storage makes of attributes."""
    values: dict[str, Any] = json.loads(json.dumps(known.to_attributes()))
    return values


def trial(known: Queued, state: TrialState = TrialState.FAIL) -> Recorded:
    return Recorded(5, state, stored(known))


def older(attributes: dict[str, Any]) -> dict[str, Any]:
    """The attributes as an older version wrote them: ids of ten digits, each figure by itself."""
    old = copy.deepcopy(attributes)
    old |= old.pop("costs") | old.pop("environment", {})
    for epoch in old.get("curve", ()):
        for split in ("train", "validation"):
            epoch[f"{split}_accuracy"] = epoch.pop(f"{split}_score")
    old["key"] = "-".join(part[:10] for part in old["key"].split("-"))
    return old | {"id_rules": ID_RULES - 1}


@pytest.mark.parametrize("case", QUEUED)
def test_what_is_queued_is_read_back(case: str) -> None:
    assert Queued.from_attributes(stored(QUEUED[case])) == QUEUED[case]


@pytest.mark.parametrize("case", TRAININGS)
def test_a_training_is_read_back(case: str) -> None:
    training = TRAININGS[case]
    read = Training.from_attributes(stored(training))
    assert read == training
    assert read.key == training.key == key_of(trial(training))


@pytest.mark.parametrize("case", TRAININGS)
def test_a_training_of_an_older_version_is_read(case: str) -> None:
    training = TRAININGS[case]
    old = older(stored(training))
    read = Training.from_attributes(old)
    assert read == training
    assert read.key == key_of(Recorded(5, TrialState.COMPLETE, old)) == training.key


def test_what_is_not_known_is_not_written() -> None:
    assert QUEUED["a new one"].to_attributes() == {}
    assert list(QUEUED["a seed"].to_attributes()) == ["seed"]
    # The key comes last: what has a key has everything else.
    names = ["design", "recipe", "costs", "id_rules", "seed", "key"]
    assert list(NEW.to_attributes()) == names


def test_a_trial_that_was_never_accepted_is_no_training() -> None:
    queued = trial(QUEUED["a resumed one"])
    assert not is_training(queued)
    assert not is_interrupted(queued)
    with pytest.raises(LookupError):
        Training.from_attributes(queued.user_attrs)


@pytest.mark.parametrize(
    ("attempt", "before", "orderly", "expected"),
    [(1, 2, False, 2), (2, 2, False, 3), (2, 2, True, 2), (3, 1, False, 1), (3, 1, True, 1)],
)
def test_a_resumed_training_inherits_its_epochs_and_counts_its_attempts(
    attempt: int, before: int, orderly: bool, expected: int
) -> None:
    recorded = TRAININGS["recorded"]
    training = replace(recorded, attempt=attempt, epochs_before=before, orderly=orderly)
    interrupted = trial(replace(training, continues=1))  # attempts are those of resumed trainings
    assert is_interrupted(interrupted)
    assert next_attempt(interrupted) == expected
    assert resumption(interrupted) == Queued(
        seed=7,
        continues=5,
        curve=CURVE,
        stopped_at=1,
        latency=0.25,
        attempt=expected,
        epochs_before=2,
    )


def test_memory_keeps_what_identifies_a_training_that_ended() -> None:
    ended = optuna.trial.create_trial(
        state=TrialState.PRUNED, user_attrs=older(stored(TRAININGS["recorded"]))
    )
    assert kept_in_memory(ended) == {"seed": 7, "key": NEW.key, "id_rules": ID_RULES}
    interrupted = optuna.trial.create_trial(state=TrialState.FAIL, user_attrs=stored(NEW))
    assert kept_in_memory(interrupted) == stored(NEW)


SPACE = """
name: small
base: {widths: [8, 16], depths: [1, 1], layout: conv3-bn-relu-conv3-bn + relu}
axes:
  shortcut: [pad, proj]
  merge: [add, cat]
"""


def studied(file: Path, trials: int) -> SearchStudy:
    plan = Plan(space=Space.from_yaml(SPACE), recipe=RECIPE, trials=trials, sampler="random")
    return SearchStudy(file, "s", plan)


def train(study: SearchStudy) -> None:
    while (proposal := study.ask()) is not None:
        study.report(proposal.number, CURVE, WHERE)
        study.finish(proposal.number, COMPLETE)


def test_a_study_of_an_older_version_is_read_and_resumed(tmp_path: Path) -> None:
    file = tmp_path / "study.db"
    with closing(studied(file, 1)) as study:
        train(study)
    before = load_trials(file)
    with closing(sqlite3.connect(file)) as database:
        rows = database.execute("SELECT key, value_json FROM trial_user_attributes").fetchall()
        old = older({name: json.loads(text) for name, text in rows})
        database.execute("DELETE FROM trial_user_attributes")
        database.executemany(
            "INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES (1, ?, ?)",
            [(name, json.dumps(value)) for name, value in old.items()],
        )
        database.commit()
    assert load_trials(file) == before
    with closing(studied(file, 2)) as study:
        train(study)
    first, second = load_trials(file)
    assert [first] == before
    assert second.key != first.key


def test_attributes_of_other_tools_are_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "study.db"
    study = studied(file, 1)
    proposal = study.ask()
    assert proposal is not None
    note = {"dashboard:note": "look at this one"}
    there = optuna.load_study(study_name=None, storage=f"sqlite:///{file}")
    (running,) = there.get_trials(deepcopy=False)
    optuna.Trial(there, running._trial_id).set_user_attr(*note.popitem())
    study.report(proposal.number, CURVE, WHERE)
    study.finish(proposal.number, COMPLETE)
    study.close()
    (record,) = load_trials(file)
    assert record.curve == CURVE
    (ended,) = there.get_trials()
    assert ended.user_attrs["dashboard:note"] == "look at this one"
    with closing(studied(file, 2)) as study:
        train(study)
    assert there.get_trials()[0].user_attrs["dashboard:note"] == "look at this one"
