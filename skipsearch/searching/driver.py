"""Running many trials on many devices with early stopping: Tune sessions on the study of a run.

Only the study is persistent. The files of Tune are in a temporary folder and are deleted; an
interrupted trial resumes from its checkpoint in the run folder.
"""

from __future__ import annotations

import contextlib
import math
import random
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import quantiles
from typing import Any

import ray
from ray import tune
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from skipsearch.cost import cost
from skipsearch.data import Data
from skipsearch.early_stopping import EarlyStopping
from skipsearch.errors import counted
from skipsearch.record import INTERRUPTED, RUNNING, Trial
from skipsearch.searching.clock import Clock
from skipsearch.searching.cluster import Allocation
from skipsearch.searching.disk import forecast
from skipsearch.searching.front_end import FrontEnd
from skipsearch.searching.messages import Request
from skipsearch.searching.options import Limits
from skipsearch.searching.plans import Plan
from skipsearch.searching.progress import Progress
from skipsearch.searching.searcher import WORKER_DEATHS, StudySearcher, trainings_of
from skipsearch.searching.session import run_session
from skipsearch.searching.study import SearchStudy
from skipsearch.searching.worker import DesignTrainable, Engine, RemoteStore
from skipsearch.training import LARGEST_PACK, Folder, Store

COST_GROUPS = 4  # within which early stopping compares, if a cost is an objective
COST_DRAWS = 200  # random designs that give the bounds between them


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of a session of a search.

    Attributes:
        interrupted: Whether it ended before all requested trainings, and can be resumed.
        out_of_time: Whether its time budget interrupted it.
        exhausted: Whether it ended early because the space has no further designs.
        running_elsewhere: Number of trainings that other drivers of a shared study are running.
        settled: Whether it ended because all its questions about axes are answered.
        answers: Current answer about each of these axes, one line each.
        further: Estimated number of further trainings that settle the open questions; infinite for
            more than 100, NaN if none is open.
    """

    interrupted: bool = False
    out_of_time: bool = False
    exhausted: bool = False
    running_elsewhere: int = 0
    settled: bool = False
    answers: tuple[str, ...] = ()
    further: float = math.nan


def run_trials(
    study: SearchStudy,
    data: Data,
    checkpoints: Path,
    *,
    allocation: Allocation,
    stopping: EarlyStopping | None = None,
    limits: Limits | None = None,
    latency_batch: int | None = None,
    deterministic: bool = False,
    callbacks: Sequence[tune.Callback] = (),
    verbose: bool = False,
    worker: type[tune.Trainable] = DesignTrainable,
) -> Outcome:
    """Train the proposals of the study until it has as many trainings as its plan requires.

    Must be called within ``ray_session``.

    Args:
        study: Study that proposes designs and records their trainings.
        data: Data set on the CPU, without test split; each worker copies it to its device once.
        checkpoints: Folder for the checkpoints of running trainings.
        allocation: Resources from ``ray_session``.
        stopping: Early stopping; the defaults of ``EarlyStopping`` if None.
        limits: Limits of time and failures; the defaults of ``Limits`` if None.
        latency_batch: Number of images whose latency is measured; None to skip it.
        deterministic: Whether a GPU must reproduce the same bits, at lower speed.
        callbacks: Callbacks of Tune, such as loggers.
        verbose: Whether to show the output of Tune.
        worker: Class of dedicated workers; a benchmark uses one that replays recorded trainings.

    Raises:
        RunError: If the disk is full, or too many trainings fail in a row.
    """
    assert data.test is None, "a search must not see the test split"
    stopping, limits = stopping or EarlyStopping(), limits or Limits()
    plan = study.plan
    earlier = ended(study.trials())
    start = time.monotonic()
    folder = Folder(checkpoints)
    sweep_checkpoints(folder, earlier)
    progress = Progress(plan.trials, earlier, data.task.metric, folds=data.folds or 1)
    progress.write_line(
        forecast(
            checkpoints.parent,
            plan.space,
            plan.trials - len(earlier),
            plan.recipe.epochs,
            allocation.at_once,
            min(study.seeds_at_once, LARGEST_PACK),
        )
    )
    if allocation.spread and data.files():
        progress.write_line(describe_copies(data, ray.nodes()))
    searcher = StudySearcher(
        study,
        folder,
        earlier,
        at_once=allocation.at_once,
        engines=allocation.engines[0],
        request=partial(
            Request,
            threads=max(1, int(allocation.each["cpu"])),
            memory_fraction=allocation.memory,
            deterministic=deterministic,
            timeout=limits.trial_timeout,
            latency_batch=latency_batch,
        ),
        stopping=stopping,
        cost_bounds=_cost_bounds(plan),
        limits=limits,
        progress=progress,
    )
    shipped = ray.put(data)  # once, and kept for engines that restart

    deadline = None if limits.time_budget is None else start + limits.time_budget
    clock = Clock()

    with (
        tempfile.TemporaryDirectory(prefix="tune-", dir=allocation.folder) as scratch,
        _store(checkpoints, allocation) as store,
        _engines(shipped, store, allocation) as engines,
    ):
        trainable = _trainable(shipped, store, engines, worker)
        trainable = tune.with_resources(trainable, allocation.each)
        try:
            while True:
                searcher.begin_session()
                with clock.named_in_errors():
                    run_session(trainable, searcher, scratch, deadline, callbacks, verbose)
                if not searcher.needs_session:
                    break
            searcher.close()
        finally:
            # If the disk is full, the next driver does this.
            with contextlib.suppress(Exception) if searcher.crash else contextlib.nullcontext():
                study.requeue_interrupted(orderly=True)
            searcher.end_session()
    if searcher.unfinished:
        late = deadline is not None and time.monotonic() >= deadline
        return Outcome(interrupted=True, out_of_time=late)
    return Outcome(
        exhausted=study.exhausted,
        running_elsewhere=study.running_elsewhere(),
        settled=study.settled,
    )


def describe_copies(data: Data, nodes: Sequence[dict[str, Any]]) -> str:
    """Describe where the nodes of a cluster read mapped data.

    Args:
        data: Mapped data.
        nodes: Nodes, as ``ray.nodes`` returns them.
    """
    alive = sum(node["Alive"] for node in nodes)
    return (
        f"data: read from {data.files()[0].path.parent} during training; each of"
        f" {counted(alive, 'node')} that lacks the file makes its own copy from"
        f" {data.path or data.name}"
    )


@contextlib.contextmanager
def _store(checkpoints: Path, allocation: Allocation) -> Iterator[Store]:
    """Yield the store of checkpoints: the folder, also for workers on other machines."""
    if not allocation.spread:
        yield Folder(checkpoints)
        return
    here = ray.get_runtime_context().get_node_id()
    actor = ray.remote(Folder).options(
        num_cpus=0,
        # Its files persist: a new actor replaces it, and its calls are repeated.
        max_restarts=-1,
        max_task_retries=-1,
        scheduling_strategy=NodeAffinitySchedulingStrategy(here, soft=False),
    )
    keeper = actor.remote(checkpoints)
    try:
        yield RemoteStore(keeper)
    finally:
        ray.kill(keeper)


@contextlib.contextmanager
def _engines(shipped: ray.ObjectRef, store: Store, allocation: Allocation) -> Iterator[list[Any]]:
    """Start and end the processes, one per GPU, whose trials share a GPU.

    They are ended here, since Tune keeps references to the arguments of trials: otherwise the
    processes would hold their GPUs as long as Ray runs.
    """
    number, gpus = allocation.engines
    streams = -(-allocation.at_once // max(1, number))
    engine = ray.remote(Engine).options(
        num_cpus=0,
        num_gpus=gpus,
        # An engine that dies restarts, and its requests are repeated.
        max_restarts=-1,
        max_task_retries=WORKER_DEATHS,
        max_concurrency=streams + 2,
    )
    # In a list: Ray prints an error about an argument that it would have to read again.
    engines = [engine.remote([shipped], store) for _ in range(number)]
    try:
        yield engines
    finally:
        for each in engines:
            ray.kill(each)


def _trainable(
    shipped: ray.ObjectRef, store: Store, engines: list[Any], worker: type[tune.Trainable]
) -> Any:
    """Return the trainable that Tune runs as a trial."""
    if engines:
        return tune.with_parameters(FrontEnd, engines=engines)
    return tune.with_parameters(worker, data=shipped, store=store)


def sweep_checkpoints(folder: Folder, finished: Iterable[Trial]) -> None:
    """Remove checkpoints of killed drivers, for trainings that need not be resumed.

    Args:
        folder: Folder of the checkpoints, which no driver is using.
        finished: Ended trainings.
    """
    folder.sweep()
    done = {(trial.key, trial.seed) for trial in finished}
    for name in folder.names():
        trainings = trainings_of(name)
        if trainings and trainings <= done:
            folder.remove(name)


def _cost_bounds(plan: Plan) -> list[float]:
    """Return the bounds between groups of similar cost; none if the score is the only objective.

    Compared with all others, small designs would be stopped early even if their scores were good
    for their cost.
    """
    if len(plan.objectives) == 1:
        return []
    rng, space = random.Random(plan.seed), plan.space
    images = (space.in_channels, space.image_size, space.classes)
    costs = [getattr(cost(space.sample(rng), *images), plan.measure) for _ in range(COST_DRAWS)]
    return quantiles(costs, n=COST_GROUPS)


def ended(trials: Iterable[Trial]) -> list[Trial]:
    """Return the trainings that need not be resumed.

    A training that is RUNNING while no driver has locked the run folder belonged to a killed
    driver, and is resumed.
    """
    return [t for t in trials if t.state != RUNNING and t.reason != INTERRUPTED]
