"""The records of trainings, from the trials of an Optuna study."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from skipsearch.config import difference
from skipsearch.errors import RunError
from skipsearch.record import INTERRUPTED, Environment, Trial
from skipsearch.searching.attributes import (
    ATTEMPTS,
    AnyTrial,
    Training,
    continued_by,
    is_interrupted,
    is_resumable,
    is_training,
)
from skipsearch.searching.reading import read_attributes, read_recorded, read_trials, studies
from skipsearch.searching.storage import Database, Place, damage_named, file_stamp, reading, shown

ASKED = "asked"  # the study's attribute that identifies the search


def load_trials(
    place: Place, name: str | None = None, identity: Mapping[str, Any] | None = None
) -> list[Trial]:
    """Return the record of every training in a storage; none if it has no study yet.

    Args:
        place: File of the study, or URL of its storage.
        name: Name of the study; None for the only one.
        identity: Required identity of the study, see ``SearchConfig.identity``; None for any.

    Raises:
        RunError: If the storage cannot be read, has several studies but no name is given, or
            belongs to another search.
    """
    with without_garbage_collection(), _study(place, name, identity) as found:
        return records(read_recorded(*found)) if found else []


def load_params(place: Place, name: str | None = None) -> list[dict[str, Any]]:
    """Return the parameters of every trial of a study, by number, in Optuna's format.

    Args:
        place: Storage as for ``load_trials``.
        name: Name of the study; None for the only one.

    Raises:
        RunError: See ``load_trials``.
    """
    with _study(place, name) as found:
        return [trial.params for trial in read_trials(*found)] if found else []


class StudyReader:
    """A reader of the study of a search, which reads a file again only if it has changed."""

    def __init__(
        self, place: Place, name: str | None = None, identity: Mapping[str, Any] | None = None
    ) -> None:
        """Create a reader without opening the study yet.

        Args:
            place: Storage as for ``load_trials``.
            name: Name of the study; None for the only one.
            identity: Required identity as for ``load_trials``.
        """
        self._study = place, name, identity
        self._stamp: tuple[int, ...] = ()
        self._trials: list[Trial] = []

    def trials(self) -> list[Trial]:
        """Return the same as ``load_trials``."""
        now = file_stamp(self._study[0])
        if not now or now != self._stamp:
            self._trials = load_trials(*self._study)
            self._stamp = now  # taken before reading, so that later changes are read next time
        return list(self._trials)

    def params(self) -> list[dict[str, Any]]:
        """Return the same as ``load_params``."""
        return load_params(*self._study[:2])


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Pause garbage collection while nearly all new objects stay alive.

    The collector runs more often if more objects are created, and would take half of the time of
    loading thousands of records.
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
    """Open a study for reading; None if the search was interrupted before its first trial."""
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
    """Check that a study belongs to a search.

    Args:
        place: Storage of the study.
        there: Identity of the study; None if it is too old to have one.
        identity: Required identity.

    Raises:
        RunError: If it belongs to another search.
    """
    other = difference(there, identity) if there is not None else ""
    if other:
        raise RunError(f"{shown(place)} is of another search: {other}")


def record_of(trial: AnyTrial) -> Trial:
    """Return the record of a training."""
    training = Training.from_attributes(trial.user_attrs)
    reason = training.reason or ""
    if is_interrupted(trial):
        resumable = is_resumable(trial)
        reason = INTERRUPTED if resumable else f"interrupted {ATTEMPTS} times without progress"
    environment = training.environment or Environment()
    return Trial(
        number=trial.number,
        design=training.design,
        recipe=training.recipe,
        seed=training.seed,
        state=trial.state.name,
        reason=reason,
        curve=training.curve,
        params=training.costs.params,
        macs=training.costs.macs,
        activation_bytes=training.costs.activation_bytes,
        latency=training.latency,
        device=environment.device,
        versions=environment.versions,
        numerics=environment.numerics,
        stopped_at=training.stopped_at,
    )


def records(trials: Iterable[AnyTrial]) -> list[Trial]:
    """Return the record of every training, in the order of their numbers."""
    found: dict[int, Trial] = {}
    continued: dict[int, int] = {}
    for trial in trials:
        if (earlier := continued_by(trial)) is not None:
            continued[trial.number] = earlier
        if is_training(trial):
            found[trial.number] = record_of(trial)
    superseded = set()
    for number in found:
        while number in continued:
            number = continued[number]
            superseded.add(number)
    return [record for number, record in found.items() if number not in superseded]
