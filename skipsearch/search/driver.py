"""Many trials on many devices with early stopping: a Tune session over the study of a run.

The study is the only thing that lasts. What Tune writes goes into a temporary folder and is thrown
away; an interrupted trial goes on from its own checkpoint in the run folder.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from skipsearch.data import Data
from skipsearch.record import COMPLETE, FAIL, INTERRUPTED, PRUNED, RUNNING, Epoch, Trial
from skipsearch.search.cluster import Share
from skipsearch.search.job import METRIC
from skipsearch.search.progress import Progress
from skipsearch.search.rungs import REDUCTION_FACTOR, rungs
from skipsearch.search.study import SearchStudy
from skipsearch.search.worker import DesignTrainable, Engine, FrontEnd

SCHEDULERS = ("asha", "none")
WORKER_DEATHS = 2  # worker processes that may die under one trial


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a session of a search ended.

    Attributes:
        interrupted: Whether it ended before it had the trainings asked for, and can go on.
        out_of_time: Whether that was because of its time budget.
        exhausted: Whether it ended early because the space holds no further design.
    """

    interrupted: bool = False
    out_of_time: bool = False
    exhausted: bool = False


def run_trials(
    study: SearchStudy,
    data: Data,
    checkpoints: Path,
    *,
    trials: int,
    share: Share,
    scheduler: str = "asha",
    time_budget: float | None = None,
    deterministic: bool = False,
    verbose: bool = False,
) -> Outcome:
    """Train what the study proposes until it holds so many ended trainings.

    To be called within ``ray_session``.

    Args:
        study: Proposes designs and records what becomes of them.
        data: On the CPU; each worker puts it on its device once. The test split must be gone.
        checkpoints: Folder for the checkpoints of trainings under way.
        trials: Trainings that the study shall hold at the end, earlier ones included.
        share: What ``ray_session`` gave.
        scheduler: One of ``SCHEDULERS``: ``asha`` (Li et al. 2020, arXiv:1810.05934) or ``none``.
        time_budget: Seconds after which the session stops; run it again to go on.
        deterministic: Whether a GPU must give the same bits again, for less speed.
        verbose: Whether to show what Tune prints.
    """
    assert data.test is None, "a search must not see the test split"
    earlier = ended(study.trials())
    start = time.monotonic()
    for part in checkpoints.glob(".*.part"):
        part.unlink()  # Half-written by a worker that was killed.
    with tempfile.TemporaryDirectory(prefix="skipsearch-") as scratch:
        searcher = StudySearcher(
            study,
            checkpoints,
            remaining=trials - len(earlier),
            at_once=share.at_once,
            engines=share.engines[0],
            common={
                "threads": max(1, int(share.each["cpu"])),
                "memory_share": share.memory,
                "deterministic": deterministic,
            },
            progress=Progress(trials, earlier),
        )
        trainable = tune.with_resources(_trainable(data, share), share.each)
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=Asha(searcher, earlier, study.recipe.epochs)
                if scheduler == "asha"
                else FIFOScheduler(),
                num_samples=-1,
                reuse_actors=True,
                time_budget_s=time_budget,
                trial_dirname_creator=lambda trial: str(trial.trial_id),
            ),
            run_config=tune.RunConfig(
                name="session",
                storage_path=scratch,
                # Ours are written after each epoch; Tune must not ask for one of its own.
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=WORKER_DEATHS),
                verbose=2 if verbose else 0,
            ),
        )
        try:
            tuner.fit()
            searcher.close()
        finally:
            study.adopt_interrupted(orderly=True)
            searcher.sweep()
    if searcher.unfinished:
        late = time_budget is not None and time.monotonic() - start >= time_budget
        return Outcome(interrupted=True, out_of_time=late)
    return Outcome(exhausted=searcher.exhausted)


def _trainable(data: Data, share: Share) -> Any:
    """Prepare what Tune runs as a trial; the data are shipped once."""
    number, gpus = share.engines
    if not number:
        return tune.with_parameters(DesignTrainable, data=data)
    # A share of a GPU: the trials of one GPU are trained by one process that holds it.
    residents = -(-share.at_once // number)
    engine = ray.remote(Engine).options(
        num_cpus=0, num_gpus=gpus, max_restarts=-1, max_concurrency=residents + 2
    )
    shipped = ray.put(data)
    engines = [engine.remote(shipped, residents) for _ in range(number)]
    return tune.with_parameters(FrontEnd, engines=engines)


def ended(trials: Iterable[Trial]) -> list[Trial]:
    """Return the trainings that need not go on.

    One that is RUNNING while no driver holds the run folder was left by a driver that was killed.
    """
    return [t for t in trials if t.state != RUNNING and t.reason != INTERRUPTED]


class StudySearcher(Searcher):
    """Tune's view of the study: asks it for designs and tells it what became of them."""

    def __init__(
        self,
        study: SearchStudy,
        checkpoints: Path,
        *,
        remaining: int,
        at_once: int,
        engines: int,
        common: Mapping[str, Any],
        progress: Progress,
    ) -> None:
        super().__init__(metric=METRIC, mode="max")
        self._study = study
        self._checkpoints = checkpoints
        self._remaining = remaining
        self._at_once = at_once
        self._common = common  # to all tasks
        self._load = dict.fromkeys(range(engines), 0)  # trainings under way, by engine
        self._engine: dict[str, int] = {}  # of each of them, by Tune's trial
        self._progress = progress
        self._numbers: dict[str, int] = {}  # trainings under way, by Tune's trial
        self._files: dict[str, Path] = {}  # their checkpoints
        self._ended_files: list[Path] = []
        self.exhausted = False  # whether the space held fewer designs than were asked for
        self._crash: Exception | None = None
        self.stopped: set[str] = set()  # trials that the scheduler has stopped

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its searcher for a restore that we never ask for: the study is the state.
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the study is the state."""

    @property
    def unfinished(self) -> bool:
        """Whether trainings were still to be done when the session ended."""
        return bool(self._numbers) or (self._remaining > 0 and not self.exhausted)

    def suggest(self, trial_id: str) -> Any:
        """Give Tune the next training; None while enough are under way."""
        with self._crash_is_kept():
            return self._suggest(trial_id)
        return Searcher.FINISHED

    def _suggest(self, trial_id: str) -> Any:
        if self._remaining <= 0 or self.exhausted:
            return Searcher.FINISHED
        if len(self._numbers) >= self._at_once:
            return None
        ticket = self._study.ask()
        if ticket is None:
            self.exhausted = True
            return Searcher.FINISHED
        self._remaining -= 1
        self._numbers[trial_id] = ticket.number
        # Named by design, recipe and seed, so that a later attempt finds it.
        checkpoint = self._checkpoints / f"{ticket.candidate.key}-{ticket.seed}.pt"
        self._files[trial_id] = checkpoint
        task = {
            "design": ticket.candidate.design.to_dict(),
            "recipe": ticket.candidate.recipe.to_dict(),
            "seed": ticket.seed,
            "checkpoint": str(checkpoint),
            **self._common,
        }
        if self._load:
            task["engine"] = self._engine[trial_id] = min(self._load, key=self._load.__getitem__)
            self._load[task["engine"]] += 1
        self._progress.show(len(self._numbers))
        # One text: Tune flattens and copies a nested config, and puts it into folder names.
        return {"task": json.dumps(task)}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Record the epochs of a result."""
        with self._crash_is_kept():
            self._report(trial_id, result)

    def _report(self, trial_id: str, result: dict[str, Any]) -> None:
        if trial_id not in self._numbers:
            return  # Closed already: a report that came twice.
        epochs = map(Epoch.from_dict, result["curve"])
        self._study.report(
            self._numbers[trial_id], epochs, result["device"], result.get("numerics", "")
        )
        self._progress.show(len(self._numbers))

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Close a training with the state that it deserves."""
        with self._crash_is_kept():
            self._complete(trial_id, result, error)

    def _complete(self, trial_id: str, result: dict[str, Any] | None, error: bool) -> None:
        if trial_id not in self._numbers:
            return
        reason, accuracy = "", None
        if result is None or error:
            state, reason = FAIL, f"its worker process died {WORKER_DEATHS + 1} times"
        else:
            self._report(trial_id, result)
            accuracy = result.get(METRIC)
            if "failed" in result:
                state, reason = FAIL, result["failed"]
            elif result["epoch"] >= self._study.recipe.epochs:
                state = COMPLETE
            elif trial_id in self.stopped:
                state = PRUNED
            else:
                return  # The session ends under it: it is taken up by the next one.
        number = self._numbers.pop(trial_id)
        if self._load:
            self._load[self._engine.pop(trial_id)] -= 1
        ran_with = json.loads(result["versions"]) if result else {}
        self._study.finish(number, state, ran_with, reason)
        file = self._files.pop(trial_id)
        file.unlink(missing_ok=True)
        self._ended_files.append(file)
        self._progress.ended(number, state, accuracy, len(self._numbers))

    @contextlib.contextmanager
    def _crash_is_kept(self) -> Iterator[None]:
        """Keep an exception for ``close``: Tune would count it as a failure of the trial."""
        try:
            yield
        except Exception as error:
            self._crash = self._crash or error
            self._remaining = 0

    def sweep(self) -> None:
        """Remove checkpoints that a worker wrote while its training was being ended."""
        for path in self._ended_files:
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Write the last line, and raise what Tune would have swallowed."""
        self._progress.show(len(self._numbers), final=True)
        if self._crash is not None:
            raise self._crash


class Asha(AsyncHyperBandScheduler):
    """Tune's ASHA, with its rungs filled from what the study already knows."""

    def __init__(self, searcher: StudySearcher, earlier: Iterable[Trial], epochs: int) -> None:
        super().__init__(
            time_attr="epoch",
            metric=METRIC,
            mode="max",
            max_t=epochs,
            grace_period=rungs(epochs)[0],
            reduction_factor=REDUCTION_FACTOR,
        )
        self._searcher = searcher
        for trial in earlier:
            stand_in = SimpleNamespace(trial_id=f"earlier-{trial.number}")
            super().on_trial_add(None, stand_in)
            self._enter(stand_in, [epoch.to_dict() for epoch in trial.curve])

    def _enter(self, trial: Any, curve: Iterable[Mapping[str, Any]]) -> str:
        """Enter every epoch, not only the last: a trial that goes on may have passed rungs."""
        action: str = TrialScheduler.CONTINUE
        for epoch in curve:
            result = {"epoch": epoch["epoch"], METRIC: epoch[METRIC]}
            action = super().on_trial_result(None, trial, result)
            if action == TrialScheduler.STOP:
                break
        return action

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Decide, and remember which trials were stopped: their state is PRUNED."""
        action = self._enter(trial, result["curve"])
        if action == TrialScheduler.STOP:
            self._searcher.stopped.add(trial.trial_id)
        return action
