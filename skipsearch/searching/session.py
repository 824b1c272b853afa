"""A session of Ray Tune in a search.

Tune keeps and scans all its trials, so a long search has many sessions. The files of Tune are
deleted, since the study is the state.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from skipsearch.searching.cluster import waiting_processes
from skipsearch.searching.disk import is_disk_full
from skipsearch.searching.searcher import WORKER_DEATHS, StudySearcher


def run_session(
    trainable: Any,
    searcher: StudySearcher,
    scratch: str,
    deadline: float | None,
    callbacks: Sequence[tune.Callback],
    verbose: bool,
) -> None:
    """Train the searcher's suggestions until there are no more, or the search cannot continue.

    Args:
        trainable: Trainable that Tune runs as a trial.
        searcher: Tune's interface to the study.
        scratch: Folder for the files of Tune.
        deadline: Time of the monotonic clock at which the session ends; None for no limit.
        callbacks: Callbacks of Tune, such as loggers.
        verbose: Whether to show the output of Tune.
    """
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=Scheduler(searcher),
            num_samples=-1,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: str(trial.trial_id),
        ),
        run_config=tune.RunConfig(
            name="session",
            storage_path=scratch,
            stop=SessionStopper(searcher, deadline),
            # Workers write a checkpoint after each epoch; Tune must not request further ones.
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            failure_config=tune.FailureConfig(max_failures=WORKER_DEATHS),
            callbacks=list(callbacks),
            verbose=2 if verbose else 0,
        ),
    )
    try:
        with waiting_processes():
            tuner.fit()
    except Exception as error:
        if not is_disk_full(error):
            raise
        searcher.crash = error
    searcher.end_session()


class Scheduler(FIFOScheduler):
    """Tune's interface to early stopping, whose rule is in ``stopping``.

    Args:
        searcher: Searcher with the running trainings.
    """

    def __init__(self, searcher: StudySearcher) -> None:
        super().__init__()
        self._searcher = searcher

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Return Tune's action for a trial: stop or continue."""
        stops = self._searcher.stops(trial.trial_id, result)
        action: str = TrialScheduler.STOP if stops else TrialScheduler.CONTINUE
        return action


class SessionStopper(tune.Stopper):
    """A stopper that ends a session at once when the search cannot continue or its time is up.

    Tune's own time budget uses the wall clock, which may be changed during a session.

    Args:
        searcher: Searcher that determines whether the search can continue.
        deadline: Time of the monotonic clock at which the session ends; None for no limit.
    """

    def __init__(self, searcher: StudySearcher, deadline: float | None = None) -> None:
        self._searcher = searcher
        self._deadline = deadline

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return False: the scheduler stops single trials."""
        return False

    def stop_all(self) -> bool:
        """Return whether the session must end."""
        late = self._deadline is not None and time.monotonic() >= self._deadline
        return late or self._searcher.crash is not None
