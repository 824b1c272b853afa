"""Waiting trials of a study: the next trainings, and those to be resumed."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from skipsearch.axes import Value
from skipsearch.searching.attributes import (
    Queued,
    Training,
    continued_by,
    is_resumable,
    is_training,
    resumption,
)
from skipsearch.searching.drivers import Drivers
from skipsearch.searching.open_training import OpenTraining
from skipsearch.searching.optuna_trials import labels, values_of
from skipsearch.space import Candidate, Space

FIXED = "fixed_params"  # Optuna's attribute of a queued trial


class Queue:
    """The waiting trials of a study.

    Args:
        study: Study of the trials.
        drivers: Drivers of the study.
        space: Searched space.
    """

    def __init__(self, study: optuna.Study, drivers: Drivers, space: Space) -> None:
        self._study = study
        self._drivers = drivers
        self._space = space

    def __len__(self) -> int:
        return len(self._waiting())

    def put(self, values: Mapping[str, Value], queued: Queued) -> None:
        """Queue a training.

        Args:
            values: Values of its parameters.
            queued: Content of its attributes.
        """
        self._study.enqueue_trial(labels(values), queued.to_attributes())

    def take(self, candidate: Candidate, queued: Queued, is_new: bool) -> optuna.Trial | None:
        """Take a given training from the queue.

        Args:
            candidate: Design and recipe.
            queued: Seed and pack of the training.
            is_new: Whether to queue it first if it is not in the queue.

        Returns:
            Trial; None if it is not in the queue, or another driver was faster.
        """
        waiting = self._find(candidate, queued)
        if waiting is None and is_new:
            self.put(candidate.values, queued)
            waiting = self._find(candidate, queued)
        if waiting is not None:
            trial_id, running = waiting._trial_id, TrialState.RUNNING
            with contextlib.suppress(UpdateFinishedTrialError):
                if self._study._storage.set_trial_state_values(trial_id, running):
                    return optuna.Trial(self._study, trial_id)
        return None

    def _waiting(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,))

    def _find(self, candidate: Candidate, wanted: Queued) -> FrozenTrial | None:
        waiting = self._waiting()
        # A study in memory numbers its trials in the order of the queue: none may be skipped.
        for trial in waiting if self._drivers.is_shared else waiting[:1]:
            queued = Queued.from_attributes(trial.user_attrs)
            if (queued.seed, queued.pack) == (wanted.seed, wanted.pack):
                values = values_of(self._space, trial.system_attrs[FIXED])
                if self._space.candidate(values).key == candidate.key:
                    return trial
        return None

    def requeue_interrupted(self, orderly: bool) -> None:
        """Queue the trainings again that no driver is training any more.

        Args:
            orderly: Whether the session ended normally, so that no training caused it.
        """
        running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        self._drivers.wait_until_known(running)
        for trial in running:
            if not self._drivers.trains(trial):
                # Another driver may close it at the same moment.
                with contextlib.suppress(UpdateFinishedTrialError):
                    self._close(trial, orderly)
        # Closed first and queued later: if killed in between, the next driver finds them here.
        trials = self._study.get_trials(deepcopy=False)
        under_way = (TrialState.WAITING, TrialState.RUNNING)
        resumed = {continued_by(t) for t in trials if t.state in under_way or is_training(t)}
        for trial in trials:
            if is_resumable(trial) and trial.number not in resumed:
                self._study.enqueue_trial(trial.params, resumption(trial).to_attributes())

    def _close(self, trial: FrozenTrial, orderly: bool) -> None:
        if orderly and is_training(trial):
            handle = optuna.Trial(self._study, trial._trial_id)
            OpenTraining(handle, Training.from_attributes(trial.user_attrs)).interrupt()
        self._study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
