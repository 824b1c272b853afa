"""Tune's interface to a search: the next trainings, their results, and the trials to stop."""

from __future__ import annotations

import contextlib
import time
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ray.tune.search import Searcher

from skipsearch.cost import Cost
from skipsearch.early_stopping import EarlyStopping
from skipsearch.errors import RunError, counted
from skipsearch.record import COMPLETE, FAIL, PRUNED, SCORE, Environment, Trial
from skipsearch.searching.disk import is_disk_full
from skipsearch.searching.messages import ENDED, REPORT, Member, Report, Request
from skipsearch.searching.options import Limits
from skipsearch.searching.plans import Proposal
from skipsearch.searching.progress import Progress
from skipsearch.searching.stopping import EarlyStopper
from skipsearch.searching.study import SearchStudy
from skipsearch.training import Store

WORKER_DEATHS = 2  # worker processes that may die in one trial
SESSION_TRIALS = 500  # maximum per Tune session, which keeps and scans all its trials


def checkpoint_name(key: str, seeds: Iterable[int]) -> str:
    """Return the name of a checkpoint, by which later attempts of the same trainings find it."""
    return f"{key}-{'+'.join(map(str, seeds))}.pt"


def trainings_of(checkpoint: str) -> set[tuple[str, int]]:
    """Return the key and seed of each training of a checkpoint; none for other files."""
    key, _, seeds = checkpoint.removesuffix(".pt").rpartition("-")
    parts = seeds.split("+")
    return {(key, int(seed)) for seed in parts} if all(map(str.isdecimal, parts)) else set()


@dataclass
class _Training:
    """A running training."""

    proposal: Proposal
    place: int  # in its pack
    stopped: bool = False  # by the scheduler
    audited: bool = False  # it should have been stopped, and is not checked again


@dataclass(frozen=True)
class _End:
    """The end of a training: its state, reason and score."""

    state: str
    reason: str = ""
    score: float | None = None


@dataclass
class _Pack:
    """The trainings of one worker: a single one, or several seeds as one packed network.

    A place whose training has ended, or belongs to another driver, is computed but not recorded, so
    that the results of the others stay the same in all bits, and the checkpoint remains valid.
    """

    trainings: list[_Training]  # running
    checkpoint: str
    engine: int | None
    begun: float
    ends: list[_End] = field(default_factory=list)  # of those that have ended
    device_failure: str = ""  # the error with which its last worker lost the device

    @property
    def failure(self) -> str:
        """Reason of its failure; empty unless all its ended trainings failed."""
        return self.ends[0].reason if all(end.reason for end in self.ends) else ""


class StudySearcher(Searcher):
    """Tune's interface to the study, which proposes designs and records their results.

    Args:
        study: Study that proposes and records.
        store: Store of checkpoints.
        earlier: Records of trainings that ended before this session.
        at_once: Maximum number of packs at once.
        engines: Number of engines that trials share; 0 if each trial has a dedicated worker.
        request: Function that creates a request from the arguments that vary between trainings.
        stopping: Early stopping.
        cost_bounds: Bounds between groups of similar cost, within which trainings are compared.
        limits: Limits of time and failures; a pack counts as one failure, if all its ended
            trainings failed.
        progress: Display of the state of the search.
    """

    def __init__(
        self,
        study: SearchStudy,
        store: Store,
        earlier: Iterable[Trial],
        *,
        at_once: int,
        engines: int,
        request: Callable[..., Request],
        stopping: EarlyStopping,
        cost_bounds: Sequence[float],
        limits: Limits,
        progress: Progress,
    ) -> None:
        super().__init__(metric=SCORE, mode="max")
        self._study = study
        self._store = store
        self._at_once = at_once
        self._request = request
        self._load = dict.fromkeys(range(engines), 0)  # running packs, by engine
        self._stopping = stopping
        self._stopper = EarlyStopper(stopping, study.plan.recipe.epochs)
        self._bounds = cost_bounds
        self._cost = study.plan.measure
        self._limits = limits
        self._failures: list[str] = []  # reasons of consecutive ones
        self._progress = progress
        self._warnings: set[str] = set()
        self._packs: dict[str, _Pack] = {}  # by Tune's trial
        self._ended_checkpoints: list[str] = []
        self._left = SESSION_TRIALS  # that may still start in this session
        self._is_done = False  # whether the study has no more to train
        self.crash: Exception | None = None
        for trial in earlier:
            self._compare_with(trial)

    def _compare_with(self, trial: Trial) -> None:
        """Add an ended training to the comparisons of early stopping."""
        curve = trial.curve[: trial.stopped_at or None]
        scores = [epoch.validation_score for epoch in curve]
        self._stopper.stops(trial.number, scores, self._group(trial))
        self._stopper.forget(trial.number)

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its searcher for a restore that never happens: the study is the state.
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the study is the state."""

    @property
    def unfinished(self) -> bool:
        """Whether trainings remained when the session ended."""
        return bool(self._packs) or not self._is_done

    def begin_session(self) -> None:
        """Prepare for another Tune session."""
        self._left = SESSION_TRIALS

    @property
    def needs_session(self) -> bool:
        """Whether the last session ended because it had started the maximum number of trials."""
        return not (self._left or self._is_done or self._packs or self.crash)

    @property
    def _running(self) -> int:
        return sum(len(pack.trainings) for pack in self._packs.values())

    def suggest(self, trial_id: str) -> Any:
        """Return the next training or pack to Tune; None while enough are running."""
        with self._keeping_crash():
            return self._suggest(trial_id)
        return Searcher.FINISHED

    def _suggest(self, trial_id: str) -> Any:
        if self._is_done or self.crash or not self._left:
            return Searcher.FINISHED
        if len(self._packs) >= self._at_once:
            return None
        for trial in self._study.ended_elsewhere():
            self._compare_with(trial)
            score = trial.curve[-1].validation_score if trial.curve else None
            self._progress.ended(trial.number, trial.key, trial.state, score, self._running)
        proposal = self._study.ask()
        if proposal is None:
            if self._study.settled and self._packs:
                return None  # running trainings may reopen the question
            self._is_done = True
            return Searcher.FINISHED
        checkpoint = checkpoint_name(proposal.candidate.key, proposal.pack)
        running = (pack for pack in self._packs.values() if pack.checkpoint == checkpoint)
        if (pack := next(running, None)) is not None:
            # Another driver had it, and its place is already computed here.
            self._add_trainings(proposal, pack)
            return self._suggest(trial_id)
        self._left -= 1
        engine = min(self._load, key=self._load.__getitem__) if self._load else None
        pack = self._packs[trial_id] = _Pack([], checkpoint, engine, time.monotonic())
        self._add_trainings(proposal, pack)
        if engine is not None:
            self._load[engine] += 1
        self._progress.show(self._running)
        return self._request(
            design=proposal.candidate.design,
            recipe=proposal.candidate.recipe,
            seeds=proposal.pack,
            recorded=tuple(training.proposal.seed for training in pack.trainings),
            checkpoint=checkpoint,
            engine=engine,
        ).to_config()

    def _add_trainings(self, proposal: Proposal, pack: _Pack) -> None:
        """Add the training of a proposal, and the remaining trainings of its pack, to a pack."""
        for each in [proposal, *self._study.rest_of_pack(proposal)]:
            if each.scores:
                # Earlier decisions about these epochs stay valid.
                self._stopper.stops(each.number, each.scores, self._group(each.costs))
            place, audited = proposal.pack.index(each.seed), each.stopped_at > 0
            pack.trainings.append(_Training(each, place, audited=audited))

    def _group(self, costs: Trial | Cost) -> int:
        return bisect(self._bounds, getattr(costs, self._cost))

    def stops(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Return whether a whole pack is stopped; mark trainings that early stopping ends."""
        pack = self._packs.get(trial_id)
        report: Report = result[REPORT]
        if pack is None or report.done or report.device_lost:
            return False
        stops = [self._stops(each, report.members[each.place]) for each in pack.trainings]
        return all(stops)

    def _stops(self, training: _Training, member: Member) -> bool:
        if member.failure or training.audited:
            return bool(member.failure)
        proposal = training.proposal
        scores = [epoch.validation_score for epoch in member.curve]
        if not self._stopper.stops(proposal.number, scores, self._group(proposal.costs)):
            return False
        if self._stopping.is_audited(proposal.number, self._study.plan.seed):
            training.audited = True
            self._study.audit(proposal.number, len(scores))
            return False
        training.stopped = True
        return True

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Record the epochs of a result, and close ended trainings of a continuing pack."""
        with self._keeping_crash():
            self._record(trial_id, result)

    def _record(self, trial_id: str, result: dict[str, Any]) -> None:
        pack = self._packs.get(trial_id)
        if pack is None:
            return  # already closed: a duplicate report
        report: Report = result[REPORT]
        if report.warning and report.warning not in self._warnings:  # once for all
            self._warnings.add(report.warning)
            self._progress.write_line(f"trials train slower than they could: {report.warning}")
        environment = Environment(
            device=report.device, numerics=report.numerics, versions=report.versions
        )
        for training in pack.trainings:
            curve = report.members[training.place].curve
            self._study.report(training.proposal.number, curve, environment, report.latency)
        if report.disk_full:
            raise OSError(report.disk_full)
        if report.device_lost and not report.done:
            # The reason of a training that had not diverged before.
            pack.device_failure = report.members[pack.trainings[0].place].failure
            return
        ends = [self._end(each, report.members[each.place]) for each in pack.trainings]
        for training, end in zip(pack.trainings, ends, strict=True):
            if end is not None:
                # For the loggers: Tune calls them after the searcher, with the same set.
                result[ENDED].add(training.place)
        self._close(trial_id, ends)
        self._progress.show(self._running)

    def _end(self, training: _Training, member: Member) -> _End | None:
        """Return how a training ended; None if it continues, now or in a later session."""
        curve = member.curve
        if member.failure:
            return _End(FAIL, member.failure)
        if len(curve) >= self._study.plan.recipe.epochs:
            return _End(COMPLETE, score=curve[-1].validation_score)
        return _End(PRUNED) if training.stopped else None

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Record the last result, or its absence, and close ended trainings."""
        with self._keeping_crash():
            if result is not None and not error:
                self._record(trial_id, result)
            elif (pack := self._packs.get(trial_id)) is not None:
                self._close(trial_id, [_End(FAIL, self._death_reason(pack))] * len(pack.trainings))

    def _close(self, trial_id: str, ends: Sequence[_End | None]) -> None:
        """Close the ended trainings of a pack, and the pack with the last of them."""
        pack = self._packs[trial_id]
        ended = [(t.proposal, end) for t, end in zip(pack.trainings, ends, strict=True) if end]
        pack.trainings = [t for t, end in zip(pack.trainings, ends, strict=True) if end is None]
        pack.ends += [end for _, end in ended]
        for proposal, end in ended:
            self._study.finish(proposal.number, end.state, end.reason)
            self._stopper.forget(proposal.number)
        if not pack.trainings:
            del self._packs[trial_id]
            if pack.engine is not None:
                self._load[pack.engine] -= 1
            self._store.remove(pack.checkpoint)
            self._ended_checkpoints.append(pack.checkpoint)
        for proposal, end in ended:
            number, key = proposal.number, proposal.candidate.key
            self._progress.ended(number, key, end.state, end.score, self._running)
        if not pack.trainings:
            self._count_failures(pack.failure)

    def _death_reason(self, pack: _Pack) -> str:
        reason = f"its worker process died {WORKER_DEATHS + 1} times"
        if pack.device_failure:
            reason += f": {pack.device_failure}"
        timeout = self._limits.trial_timeout
        if timeout is not None:
            timeout *= len(pack.trainings[0].proposal.pack)  # as in the worker
            if time.monotonic() - pack.begun > timeout:
                reason += f", and did not answer within the time-out of {timeout:g} s"
        return reason

    def _count_failures(self, reason: str) -> None:
        self._failures = [*self._failures, reason] if reason else []
        if len(self._failures) >= self._limits.max_failures:
            (most, count), *_ = Counter(self._failures).most_common(1)
            raise RunError(
                f"{counted(len(self._failures), 'trial')} in a row failed, so the search has"
                f" stopped; {count} of them: {most} (--max-failures sets another limit)"
            )

    @contextlib.contextmanager
    def _keeping_crash(self) -> Iterator[None]:
        """Store an exception, which ends the session; Tune would count it as a failed trial."""
        try:
            yield
        except Exception as error:
            self.crash = self.crash or error

    def end_session(self) -> None:
        """Remove checkpoints that a worker wrote while its training was ending."""
        for name in self._ended_checkpoints:
            self._store.remove(name)
        self._ended_checkpoints.clear()

    def close(self) -> None:
        """Write the last line, and raise the stored exception, if any."""
        self._progress.show(self._running, final=True)
        if self.crash is None:
            return
        if is_disk_full(self.crash):
            raise RunError(
                "the disk is full, so the search has stopped; free some room and run the same"
                f" command again to resume ({self.crash})"
            ) from None
        raise self.crash
