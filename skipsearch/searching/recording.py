"""Recording of the results of trainings in the Optuna study of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import TrialState

from skipsearch.record import COMPLETE, FAIL, Environment, Epoch, Trial
from skipsearch.searching.open_training import OpenTraining
from skipsearch.searching.opening import open_study
from skipsearch.searching.plans import Plan
from skipsearch.searching.queueing import Queue
from skipsearch.searching.reading import read_trials
from skipsearch.searching.records import records
from skipsearch.searching.storage import Place, close_storage


class Recorder:
    """The Optuna study of a run, and its trainings that are running in this session.

    Args:
        storage: Storage as for ``SearchStudy``.
        name: Name as for ``SearchStudy``.
        plan: Plan of the study.
        identity: Identity as for ``SearchStudy``.

    Attributes:
        plan: Plan of the study.

    Raises:
        RunError: If the storage cannot be opened, or its study belongs to another search.
    """

    def __init__(
        self,
        storage: Place | BaseStorage,
        name: str,
        plan: Plan,
        identity: Mapping[str, object] | None,
    ) -> None:
        self.plan = plan
        self._study, self._storage, self._drivers = open_study(
            storage, name, plan.objectives, identity
        )
        self._queue = Queue(self._study, self._drivers, plan.space)
        self._open: dict[int, OpenTraining] = {}

    def requeue_interrupted(self, orderly: bool = False) -> None:
        """Queue trainings again that no driver is training; call this while none is running here.

        Args:
            orderly: Whether the session ended normally, so that no training caused it.
        """
        self._open.clear()
        self._queue.requeue_interrupted(orderly)
        self._drivers.flush()

    def report(
        self,
        number: int,
        epochs: Iterable[Epoch],
        environment: Environment,
        latency: float | None = None,
    ) -> None:
        """Record epochs of a training; those that are already recorded are ignored.

        Args:
            number: Number of the trial.
            epochs: Epochs of the training so far.
            environment: Environment of the training.
            latency: Seconds for a batch; None if it was not measured.
        """
        to_optuna = len(self.plan.objectives) == 1  # as Optuna requires for reports
        self._record(number, lambda each: each.report(epochs, environment, latency, to_optuna))

    def audit(self, number: int, epoch: int) -> None:
        """Record that a training continues as an audit of early stopping.

        Args:
            number: Number of the trial.
            epoch: Epoch after which it would have been stopped.
        """
        self._record(number, lambda training: training.audit(epoch))

    def finish(self, number: int, state: str, reason: str = "") -> None:
        """Close a training.

        Args:
            number: Number of the trial.
            state: Final state: COMPLETE (only at the full budget), PRUNED or FAIL.
            reason: Reason of a failure.
        """

        def close(training: OpenTraining) -> None:
            values = None
            if state == COMPLETE:
                values = training.values(self.plan.objectives, self.plan.recipe.epochs)
            if state == FAIL:
                self._fail(training, reason)
            self._study.tell(number, values, TrialState[state], skip_if_finished=True)

        self._record(number, close)
        self._open.pop(number, None)

    def _fail(self, training: OpenTraining, reason: str) -> None:
        training.fail(reason)

    def _record(self, number: int, record: Callable[[OpenTraining], None]) -> None:
        """Call a function that records a training, unless another driver has taken it over."""
        training = self._open.get(number)
        if training is None:
            return
        try:
            record(training)
            self._drivers.flush()
        except UpdateFinishedTrialError:  # other drivers considered this one dead
            del self._open[number]

    def ended_elsewhere(self) -> list[Trial]:
        """Return the trainings of other drivers that have ended since the last call."""
        return self._drivers.ended()

    def running_elsewhere(self) -> int:
        """Return the number of trainings that other drivers are running."""
        running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return sum(map(self._drivers.trains, running))

    def trials(self) -> list[Trial]:
        """Return the record of every training."""
        study_id = self._storage.get_study_id_from_name(self._study.study_name)
        if isinstance(self._storage, RDBStorage):
            return records(read_trials(self._storage.engine, study_id))
        return records(self._storage.get_all_trials(study_id, deepcopy=False))

    def close(self) -> None:
        """Leave the study to other drivers, and close its file."""
        self._drivers.end()
        if isinstance(self._storage, RDBStorage):
            close_storage(self._storage)
