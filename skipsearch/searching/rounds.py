"""Trainings in rounds, where each round depends on the results of the previous ones."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from skipsearch.data import Data
from skipsearch.early_stopping import EarlyStopping
from skipsearch.record import Trial
from skipsearch.searching.cluster import Allocation
from skipsearch.searching.driver import Outcome, run_trials
from skipsearch.searching.options import Limits
from skipsearch.searching.plans import Plan
from skipsearch.searching.study import SearchStudy
from skipsearch.training import packs

Wanted = Callable[[list[Trial]], Sequence[tuple[Mapping[str, Any], int]]]


def train_rounds(
    file: Path,
    plan: Plan,
    wanted: Wanted,
    data: Data,
    checkpoints: Path,
    *,
    allocation: Allocation,
    limits: Limits,
    identity: Mapping[str, Any] | None = None,
    deterministic: bool = False,
    verbose: bool = False,
) -> Outcome:
    """Train given designs with given seeds at the full budget, until no more are wanted.

    Trainings in the study are not repeated: after any interruption, the same call resumes. Must be
    called within ``ray_session``.

    Args:
        file: File of a separate study, created if it is missing.
        plan: Plan with the space and the recipe; only ``wanted`` chooses the trainings.
        wanted: Function from the records so far to the parameters and seeds of the next round,
            which are empty at the end.
        data: Data set as for ``run_trials``.
        checkpoints: Folder for the checkpoints of running trainings.
        allocation: Resources from ``ray_session``.
        limits: Limits of time, over all rounds, and of failures.
        identity: Required identity of the study, see ``SearchStudy``.
        deterministic: Whether a GPU must reproduce the same bits, at lower speed.
        verbose: Whether to show the output of Tune.

    Raises:
        RunError: If the disk is full, or too many trainings fail in a row.
    """
    start = time.monotonic()
    trainings: Sequence[tuple[Mapping[str, Any], int]] = ()
    study = SearchStudy(file, plan.space.name, plan, identity, partial(packs, data))
    with contextlib.closing(study):
        while following := wanted(study.trials()):
            assert following != trainings, "a round that changed nothing"
            trainings = following
            left = limits
            if limits.time_budget is not None:
                seconds = limits.time_budget - (time.monotonic() - start)
                left = dataclasses.replace(limits, time_budget=seconds)
            study.request(trainings)
            outcome = run_trials(
                study,
                data,
                checkpoints,
                allocation=allocation,
                stopping=EarlyStopping(rule="none"),
                limits=left,
                deterministic=deterministic,
                verbose=verbose,
            )
            if outcome.interrupted:
                return outcome
    return Outcome()
