"""Records what becomes of trainings in the Optuna study of a run."""

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
    """An Optuna study at work, and the trainings of it that are under way here.

    Args:
        storage: As for ``SearchStudy``.
        name: As for ``SearchStudy``.
        plan: What the study is to hold.
        identity: As for ``SearchStudy``.

    Attributes:
        plan: As given.

    Raises:
        RunError: If the storage cannot be opened, or the study there is of another search.
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
        """Queue again what no driver trains any more; call it while nothing is trained here.

        Args:
            orderly: Whether the session ended in order, which is no fault of its trainings.
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
        """Record epochs of a training; one that is recorded already is passed over.

        Args:
            number: Number of the trial.
            epochs: Some of its epochs, the next one among them.
            environment: Where it runs.
            latency: Seconds for a batch, where it was measured.
        """
        to_optuna = len(self.plan.objectives) == 1  # Optuna knows no reports of several
        self._record(number, lambda each: each.report(epochs, environment, latency, to_optuna))

    def audit(self, number: int, epoch: int) -> None:
        """Record that a training is continued to check the rule that would have stopped it.

        Args:
            number: Number of the trial.
            epoch: Number of the epoch after which it would have been stopped.
        """
        self._record(number, lambda training: training.audit(epoch))

    def finish(self, number: int, state: str, reason: str = "") -> None:
        """Close a training.

        Args:
            number: Number of the trial.
            state: COMPLETE (at the full budget only), PRUNED or FAIL.
            reason: Why it failed.
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
        """Record something of a training, unless another driver took it over."""
        training = self._open.get(number)
        if training is None:
            return
        try:
            record(training)
            self._drivers.flush()
        except UpdateFinishedTrialError:  # this driver seemed dead
            del self._open[number]

    def ended_elsewhere(self) -> list[Trial]:
        """Return the trainings that other drivers have ended since the last call."""
        return self._drivers.ended()

    def running_elsewhere(self) -> int:
        """Count the trainings that other drivers are still at."""
        running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return sum(map(self._drivers.trains, running))

    def trials(self) -> list[Trial]:
        """Return the record of every training."""
        study_id = self._storage.get_study_id_from_name(self._study.study_name)
        if isinstance(self._storage, RDBStorage):
            return records(read_trials(self._storage.engine, study_id))
        return records(self._storage.get_all_trials(study_id, deepcopy=False))

    def close(self) -> None:
        """Leave the study to others, and its file at rest."""
        self._drivers.end()
        if isinstance(self._storage, RDBStorage):
            close_storage(self._storage)
