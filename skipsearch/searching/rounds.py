"""Round by round: train what is wanted, look at what came out, and ask what is wanted next."""

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

    What the study holds is not trained again: after an interruption, of whatever kind, the same
    call resumes. To be called within ``ray_session``.

    Args:
        file: File of a study of its own, made where it is missing.
        plan: Says the space, its recipe and its name; what is trained, ``wanted`` alone says.
        wanted: From the records so far to the parameters and seeds of the next round; none at the
            end.
        data: As for ``run_trials``.
        checkpoints: Folder for the checkpoints of trainings under way.
        allocation: What ``ray_session`` gave.
        limits: Limits of time, over all rounds, and of failures.
        identity: What the study is of, and must be; see ``SearchStudy``.
        deterministic: Whether a GPU must give the same bits again, for less speed.
        verbose: Whether to show what Tune prints.

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
