"""From the trials of an Optuna study to the records of trainings.

A trial of the study is one of
  a training      COMPLETE at the full budget, PRUNED when stopped early, FAIL with its reason
  a rejection     PRUNED without a value: a proposal that was known, or broke a constraint; the
                  sampler is told so, and the next trial replaces it (attribute ``rejected``)
  an interruption FAIL, gone on with by a later trial (whose attribute ``continues`` names it)
Only trainings are shown as records. A training has the attribute ``key``.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from skipsearch.canonical import ID_RULES
from skipsearch.config import difference
from skipsearch.design import Design
from skipsearch.errors import RunError
from skipsearch.recipe import Recipe
from skipsearch.record import INTERRUPTED, Epoch, Trial
from skipsearch.searching.reading import (
    Recorded,
    read_attributes,
    read_recorded,
    read_trials,
    studies,
)
from skipsearch.searching.storage import Database, Place, damage_named, file_stamp, reading, shown

AnyTrial = FrozenTrial | Recorded

ATTEMPTS = 3  # drivers that may die under one epoch of a training before it counts as failed

OLD_COSTS = ("params", "macs", "activation_bytes")

ASKED = "asked"  # the study's attribute that says what is searched

# Names of a trial's attributes.
KEY = "key"  # equal for trainings of one design with one recipe
RULES = "id_rules"  # by which the design's id in the key was worked out
SEED = "seed"
PACK = "pack"  # the seeds that are trained as one packed network, where there are several
REJECTED = "rejected"
CONTINUES = "continues"
STOPPED_AT = "stopped_at"
CURVE = "curve"
ENVIRONMENT = "environment"
LATENCY = "latency"
REASON = "reason"
ATTEMPT = "attempt"  # at the epoch after EPOCHS_BEFORE, 1 for the first
EPOCHS_BEFORE = "epochs_before"  # trained before this attempt
ORDERLY = "orderly"  # set where an interruption is no fault of the training


def load_trials(
    place: Place, name: str | None = None, identity: Mapping[str, Any] | None = None
) -> list[Trial]:
    """Return the record of every training in a storage; none where it holds no study yet.

    Args:
        place: The study's file, or the URL of its storage.
        name: Of the study; None for the only one.
        identity: What the study must be of, see ``SearchConfig.identity``; None for anything.

    Raises:
        RunError: If the storage cannot be read, holds several studies and none is named, or is of
            another search.
    """
    with all_kept(), _study(place, name, identity) as found:
        return records(read_recorded(*found)) if found else []


def load_params(place: Place, name: str | None = None) -> list[dict[str, Any]]:
    """Return the parameters of every trial of a study, by its number, as Optuna holds them.

    Args:
        place: As for ``load_trials``.
        name: Of the study; None for the only one.

    Raises:
        RunError: As ``load_trials``.
    """
    with _study(place, name) as found:
        return [trial.params for trial in read_trials(*found)] if found else []


class StudyReader:
    """Reads the study of a search: again and again, and anew only where its file has changed."""

    def __init__(
        self, place: Place, name: str | None = None, identity: Mapping[str, Any] | None = None
    ) -> None:
        """Say where the study is; nothing is opened yet.

        Args:
            place: As for ``load_trials``.
            name: Of the study; None for the only one.
            identity: As for ``load_trials``.
        """
        self._study = place, name, identity
        self._stamp: tuple[int, ...] = ()
        self._trials: list[Trial] = []

    def trials(self) -> list[Trial]:
        """Return what ``load_trials`` does."""
        now = file_stamp(self._study[0])
        if not now or now != self._stamp:
            self._trials = load_trials(*self._study)
            self._stamp = now  # of before it was read: what came since is read the next time
        return list(self._trials)

    def params(self) -> list[dict[str, Any]]:
        """Return what ``load_params`` does."""
        return load_params(*self._study[:2])


@contextmanager
def all_kept() -> Iterator[None]:
    """Keep Python from looking for cycles meanwhile, among objects that are nearly all to stay.

    It looks the oftener the more are made: half of the time in which thousands of records are
    loaded.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


@contextmanager
def _study(
    place: Place, name: str | None, identity: Mapping[str, Any] | None = None
) -> Iterator[tuple[Database, int] | None]:
    """Open a study to read it; None where the search was interrupted before its first trial."""
    with reading(place) as engine, damage_named(place):
        known = studies(engine)
        if name is None and len(known) > 1:
            raise RunError(f"{shown(place)}: holds {len(known)} studies, where a run has one")
        if not known or (name is not None and name not in known):
            yield None
            return
        study_id = known[name or next(iter(known))]
        if identity is not None:
            check_identity(place, read_attributes(engine, study_id).get(ASKED), identity)
        yield engine, study_id


def check_identity(
    place: Place, there: Mapping[str, Any] | None, identity: Mapping[str, Any]
) -> None:
    """Refuse the study of another search.

    Args:
        place: Of the study.
        there: What it says that it is of; None where it is too old to say.
        identity: What it must be of.

    Raises:
        RunError: If it is of another search.
    """
    other = difference(there, identity) if there is not None else ""
    if other:
        raise RunError(f"{shown(place)} is of another search: {other}")


def is_training(trial: AnyTrial) -> bool:
    """Whether a trial of the study was accepted to be trained, and not rejected after all."""
    return KEY in trial.user_attrs and REJECTED not in trial.user_attrs


def key_of(trial: AnyTrial) -> str:
    """Return what equals for trainings of one design with one recipe, whatever version wrote it."""
    attributes = trial.user_attrs
    if attributes.get(RULES) == ID_RULES:
        return str(attributes[KEY])
    return _key(json.dumps(attributes["design"]), json.dumps(attributes["recipe"]))


@lru_cache(maxsize=8192)
def _key(design: str, recipe: str) -> str:
    design_id = Design.from_dict(json.loads(design)).id
    return f"{design_id}-{Recipe.from_dict(json.loads(recipe)).id}"


def is_interrupted(trial: AnyTrial) -> bool:
    """Whether a training ended without a word, and is to go on."""
    return is_training(trial) and trial.state == TrialState.FAIL and REASON not in trial.user_attrs


def next_attempt(trial: AnyTrial) -> int:
    """Return which attempt at its next epoch comes now, of a training that was interrupted."""
    attributes = trial.user_attrs
    if len(attributes.get(CURVE, ())) > attributes.get(EPOCHS_BEFORE, 0):
        return 1
    attempt: int = attributes.get(ATTEMPT, 1)
    return attempt if attributes.get(ORDERLY) else attempt + 1


def one_record(trial: AnyTrial) -> Trial:
    """Return the record of a training."""
    attributes = trial.user_attrs
    reason = attributes.get(REASON, "")
    if is_interrupted(trial):
        goes_on = next_attempt(trial) <= ATTEMPTS
        reason = INTERRUPTED if goes_on else f"interrupted {ATTEMPTS} times without progress"
    # Runs of older versions have these one by one.
    costs = attributes.get("costs") or {name: attributes[name] for name in OLD_COSTS}
    environment = attributes.get(ENVIRONMENT) or {
        "device": attributes.get("device", ""),
        "versions": attributes.get("versions", {}),
        "numerics": attributes.get("numerics", ""),
    }
    design = Design.from_dict(attributes["design"])
    if attributes.get(RULES) == ID_RULES:
        # The driver has worked it out, which takes longer than all else that is read here.
        vars(design)["id"] = attributes[KEY].partition("-")[0]
    return Trial(
        number=trial.number,
        design=design,
        recipe=Recipe.from_dict(attributes["recipe"]),
        seed=attributes[SEED],
        state=trial.state.name,
        reason=reason,
        curve=tuple(map(Epoch.from_dict, attributes.get(CURVE, ()))),
        **costs,
        latency=attributes.get(LATENCY),
        **environment,
        stopped_at=attributes.get(STOPPED_AT, 0),
    )


def records(trials: Iterable[AnyTrial]) -> list[Trial]:
    """Return the record of every training, in the order of their numbers."""
    found: dict[int, Trial] = {}
    continues: dict[int, int] = {}
    for trial in trials:
        if CONTINUES in trial.user_attrs:
            continues[trial.number] = trial.user_attrs[CONTINUES]
        if is_training(trial):
            found[trial.number] = one_record(trial)
    superseded = set()
    for number in found:
        while number in continues:
            number = continues[number]
            superseded.add(number)
    return [record for number, record in found.items() if number not in superseded]
