"""Many trials on many devices with early stopping: a Tune session over the study of a run.

The study is the only thing that lasts. What Tune writes goes into a temporary folder and is thrown
away; an interrupted trial goes on from its own checkpoint in the run folder.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import ray
from ray import tune
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from skipsearch.data import Data
from skipsearch.errors import RunError
from skipsearch.record import COMPLETE, FAIL, INTERRUPTED, PRUNED, RUNNING, Epoch, Trial
from skipsearch.search.job import METRIC
from skipsearch.search.progress import Progress
from skipsearch.search.rungs import REDUCTION_FACTOR, rungs
from skipsearch.search.study import SearchStudy
from skipsearch.search.worker import DesignTrainable, Engine, FrontEnd
from skipsearch.training import available_cores

SCHEDULERS = ("asha", "none")
WORKER_DEATHS = 2  # worker processes that may die under one trial

# Set before Ray starts: default loggers cost disk and seconds, a changed working directory breaks
# relative paths, and a failed trial reports no accuracy.
ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray's memory monitor would end the whole session where one worker grows too large.
    "RAY_memory_monitor_refresh_ms": "0",
}
# On top, for a calm console.
CALM = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "RAY_DEDUP_LOGS": "1",
}


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What trials may use.

    Attributes:
        cpus_per_trial: CPU cores of each trial, also its threads where it is 1 or more.
        gpus_per_trial: GPUs of each trial, a share below 1 or a whole number; None for one GPU
            where the cluster has any, else 0.
        concurrency: Trials at once at most; None for as many as the resources allow.
        address: Of a Ray cluster to join; None for a Ray of its own on this machine.

    Raises:
        RunError: If a number is out of range.
    """

    cpus_per_trial: float = 1.0
    gpus_per_trial: float | None = None
    concurrency: int | None = None
    address: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.cpus_per_trial < math.inf:
            raise RunError(f"cpus-per-trial: {self.cpus_per_trial!r} is not a number above 0")
        gpus = self.gpus_per_trial
        if gpus is not None and not (0 <= gpus <= 1 or (gpus < math.inf and gpus == int(gpus))):
            raise RunError(f"gpus-per-trial: {gpus!r} is neither a share from 0 to 1 nor whole")
        if self.concurrency is not None and self.concurrency < 1:
            raise RunError(f"concurrency: {self.concurrency!r} is not a positive whole number")


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


class Share(NamedTuple):
    """What each trial gets of a running Ray.

    Attributes:
        each: CPUs and GPUs of a trial's own.
        at_once: Trials that fit.
        memory: Share of its device's free memory that a trial may count on.
        engines: Where trials share GPUs: how many engines, and how many GPUs each has.
    """

    each: dict[str, float]
    at_once: int
    memory: float
    engines: tuple[int, float] = (0, 0.0)


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


@contextlib.contextmanager
def ray_session(resources: Resources, verbose: bool = False) -> Iterator[Share]:
    """Start a Ray of our own, or join one, and leave no trace of it afterwards.

    Args:
        resources: What trials may use.
        verbose: Whether to show what Ray prints.

    Yields:
        What each trial gets.

    Raises:
        RunError: If the resources asked for do not exist, or Ray cannot be reached.
    """
    with _environment(ENVIRONMENT | ({} if verbose else CALM)), _quiet(verbose):
        if ray.is_initialized():
            yield _share(resources)
            return
        # Sockets below it must not exceed the 107 bytes of a Unix socket's path.
        scratch = tempfile.mkdtemp(prefix="ss-", dir="/tmp")
        try:
            with _interrupts_wait():
                _start_ray(resources.address, scratch, verbose)
            with _termination_interrupts():
                yield _share(resources)
        finally:
            ray.shutdown()
            shutil.rmtree(scratch, ignore_errors=True)


def _share(resources: Resources) -> Share:
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = resources.gpus_per_trial
    if gpus is None:
        gpus = 1.0 if any(node.get("GPU", 0.0) >= 1.0 for node in nodes) else 0.0
    each = {"cpu": resources.cpus_per_trial, "gpu": gpus}
    wanted = {name: amount for name, amount in each.items() if amount}
    for name, amount in wanted.items():
        has = max((node.get(name.upper(), 0.0) for node in nodes), default=0.0)
        if has < amount:
            raise RunError(f"{name}s-per-trial: {amount:g} asked for, Ray has {has:g} on a node")
    at_once = sum(
        min(int(node.get(name.upper(), 0.0) / amount + 1e-9) for name, amount in wanted.items())
        for node in nodes
    )
    at_once = min(at_once, resources.concurrency or at_once)
    if 0 < gpus < 1:
        engines = int(sum(node.get("GPU", 0.0) for node in nodes))
        return Share({"cpu": each["cpu"], "gpu": 0.0}, at_once, gpus, (engines, 1.0))
    return Share(each, at_once, 1.0 if gpus else 1.0 / at_once)


@contextlib.contextmanager
def _termination_interrupts() -> Iterator[None]:
    """Treat SIGTERM, by which schedulers and containers end a job, as Ctrl-C.

    Ray's own handler, set when it starts, would abort the process.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)


@contextlib.contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Hold Ctrl-C back while Ray forks: Python would lose it in a hook of ``os.fork``."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    seen: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: seen.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if seen:
        raise KeyboardInterrupt


def _start_ray(address: str | None, scratch: str, verbose: bool) -> None:
    common: dict[str, Any] = {
        "include_dashboard": False,
        "log_to_driver": verbose,
        "logging_level": logging.INFO if verbose else logging.ERROR,
    }
    if address is None:
        ray.init(address="local", num_cpus=available_cores(), _temp_dir=scratch, **common)
        return
    _check_reachable(address)
    package = str(Path(__file__).parents[1])
    del common["include_dashboard"]
    try:
        ray.init(address=address, runtime_env={"py_modules": [package]}, **common)
    except (ConnectionError, ValueError, RuntimeError) as error:
        first_line = str(error).partition("\n")[0]
        raise RunError(
            f"address {address}: no Ray cluster can be joined: {first_line}"
            " (a cluster with token authentication needs RAY_AUTH_MODE=token here too)"
        ) from None


def _check_reachable(address: str) -> None:
    """Refuse at once an address that nobody listens at: Ray itself tries for many minutes."""
    host, colon, port = address.rpartition(":")
    if not colon or "/" in address:
        return  # ``auto``, or a URL such as ray://: Ray knows better what it means.
    try:
        with socket.create_connection((host, int(port)), timeout=5):
            pass
    except (OSError, ValueError) as error:
        raise RunError(f"address {address}: nobody answers there: {error}") from None


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables that the user has not set, and take them back after."""
    mine = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(mine)
    try:
        yield
    finally:
        for name in mine:
            os.environ.pop(name, None)


@contextlib.contextmanager
def _quiet(verbose: bool) -> Iterator[None]:
    loggers = [] if verbose else [logging.getLogger("ray"), logging.getLogger("ray.tune")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
