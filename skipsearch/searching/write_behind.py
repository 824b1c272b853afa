"""The study of a single driver, kept in memory and written to its database as it grows.

Optuna reads a study repeatedly: samplers read all trials, and a ``Trial`` reads the storage for
each parameter and attribute. With a database this takes about 70 statements per training. In memory
it takes almost no time, and all changes are written to the database together.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.storages import InMemoryStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState

from skipsearch.searching.reading import read_trials


class WriteBehind(InMemoryStorage):
    """The trials of a study in memory; ``flush`` writes their changes to its database.

    Both number the trials in order. Waiting trials are not written: they are taken in the order of
    their numbers, before any later trial.

    Args:
        database: Database of the study.
        name: Name of the study.
        keep: Function that returns the user attributes of an ended trial to keep in memory.
    """

    def __init__(
        self, database: RDBStorage, name: str, keep: Callable[[FrozenTrial], dict[str, Any]]
    ) -> None:
        super().__init__()
        self._database = database
        self._study_id = database.get_study_id_from_name(name)
        self._keep = keep
        self._ids: dict[int, int] = {}  # ids in the database, of trials that may still change
        self._written: dict[int, FrozenTrial] = {}  # these trials as they are in the database
        self._unwritten: set[int] = set()  # trials that are not in the database
        self._distributions: dict[BaseDistribution, BaseDistribution] = {}
        here = self.create_new_study(database.get_study_directions(self._study_id), name)
        for trial in read_trials(database.engine, self._study_id):
            self._mark_written(self.create_new_trial(here, trial), trial._trial_id)

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Create a trial, at first only in memory."""
        trial_id = super().create_new_trial(study_id, template_trial)
        self._unwritten.add(trial_id)
        return trial_id

    def flush(self) -> None:
        """Write all changes to the database."""
        for trial_id, there in list(self._ids.items()):
            self._write_changes(there, self._written[trial_id], self.get_trial(trial_id))
            self._mark_written(trial_id, there)
        for trial_id in sorted(self._unwritten):
            trial = self.get_trial(trial_id)
            if trial.state != TrialState.WAITING:
                self._mark_written(trial_id, self._database.create_new_trial(self._study_id, trial))

    def _write_changes(self, there: int, before: FrozenTrial, now: FrozenTrial) -> None:
        database = self._database
        if now.state != before.state and now.state == TrialState.RUNNING:
            database.set_trial_state_values(there, now.state)
        for name, value in _changed(before.params, now.params).items():
            distribution = now.distributions[name]
            internal = distribution.to_internal_repr(value)
            database.set_trial_param(there, name, internal, distribution)
        for name, value in _changed(before.user_attrs, now.user_attrs).items():
            database.set_trial_user_attr(there, name, value)
        for name, value in _changed(before.system_attrs, now.system_attrs).items():
            database.set_trial_system_attr(there, name, value)
        for step, value in _changed(before.intermediate_values, now.intermediate_values).items():
            database.set_trial_intermediate_value(there, step, value)
        if now.state.is_finished():
            database.set_trial_state_values(there, now.state, now.values)

    def _mark_written(self, trial_id: int, there: int) -> None:
        """Note that the database has the current state of a trial."""
        self._unwritten.discard(trial_id)
        trial = self.get_trial(trial_id)
        if not trial.state.is_finished():
            self._ids[trial_id], self._written[trial_id] = there, _snapshot(trial)
            return
        self._ids.pop(trial_id, None)
        self._written.pop(trial_id, None)
        # A search has thousands of these: keep each of them small.
        trial.user_attrs = self._keep(trial)
        shared = self._distributions
        trial.distributions = {n: shared.setdefault(d, d) for n, d in trial.distributions.items()}


def _snapshot(trial: FrozenTrial) -> FrozenTrial:
    """Return a copy that stays unchanged, unlike the trial in memory."""
    trial = copy.copy(trial)
    trial.params = dict(trial.params)
    trial.user_attrs = dict(trial.user_attrs)
    trial.system_attrs = dict(trial.system_attrs)
    trial.intermediate_values = dict(trial.intermediate_values)
    return trial


def _changed(before: dict[Any, Any], now: dict[Any, Any]) -> dict[Any, Any]:
    """Return the new and changed items of a dict."""
    return {n: value for n, value in now.items() if n not in before or before[n] is not value}
