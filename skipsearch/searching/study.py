"""The study of a search, which proposes new trainings and accepts them.

The Optuna study is the single source of truth about trials. ``recording`` writes their results,
``queueing`` handles waiting trials, ``attributes`` defines the format, and ``drivers`` coordinates
several drivers.
"""

from __future__ import annotations

import dataclasses
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from skipsearch.cost import cost
from skipsearch.errors import DesignError, SpaceError
from skipsearch.searching.asking import Asking
from skipsearch.searching.attributes import (
    Queued,
    Rejection,
    Training,
    failure_of,
    is_training,
    key_of,
    seed_of,
)
from skipsearch.searching.open_training import OpenTraining, write
from skipsearch.searching.optuna_trials import chooser, values_of
from skipsearch.searching.plans import Packs, Plan, Proposal
from skipsearch.searching.recording import Recorder
from skipsearch.searching.samplers import make_sampler
from skipsearch.searching.storage import Place
from skipsearch.searching.tried import Tried
from skipsearch.space import TRIES, Candidate


class SearchStudy(Recorder):
    """A study that proposes new trainings and records their results.

    Args:
        storage: Storage of the study: its file, which is locked for this driver, the URL of a
            database server, or an open storage.
        name: Name of the study; a study in a file keeps its name.
        plan: Plan of the study.
        identity: Required identity of the study, the same for all its drivers and sessions. With
            a URL, several drivers may share the study.
        packs: Function that divides seeds of a design into packs, each trained as one packed
            network; None to train each seed alone. It applies to seeds that are requested together
            and, if the plan has several seeds, to those of a proposed design.

    Attributes:
        plan: Plan with the recipe merged into the space.
        exhausted: Whether the space has fewer trainings than the plan requires.
        settled: Whether all questions of the plan about axes are answered.
        seeds_at_once: Maximum number of seeds that are trained as one packed network.

    Raises:
        RunError: If the storage cannot be opened, or its study belongs to another search.
        SpaceError: If the sampler cannot search the space.
    """

    def __init__(
        self,
        storage: Place | BaseStorage,
        name: str,
        plan: Plan,
        identity: Mapping[str, Any] | None = None,
        packs: Packs | None = None,
    ) -> None:
        space = dataclasses.replace(plan.space, recipe=plan.recipe.to_dict())
        super().__init__(storage, name, dataclasses.replace(plan, space=space), identity)
        self.exhausted = self.settled = False
        self._packs = packs
        self.seeds_at_once = 1 if packs is None else plan.seeds
        # A sampler must not repeat its draws of earlier sessions, nor those of another driver.
        trials = self._study.get_trials(deepcopy=False)
        seed = self._drivers.sampler_seed(plan.seed + len(trials))
        self._asking = None if plan.inquiry is None else Asking(space, seed, plan.inquiry)
        self._study.sampler = self._asking or make_sampler(
            plan.sampler, space, seed % 2**32, plan.objectives, plan.scale
        )
        self._tried = Tried(space, plan.seed, plan.seeds, random.Random(seed))
        self.requeue_interrupted()
        self._update_tried()

    def _update_tried(self) -> None:
        """Read the existing trainings."""
        for trial in self._study.get_trials(deepcopy=False):
            if not is_training(trial):
                continue
            key, seed = key_of(trial), seed_of(trial)
            if (key, seed) not in self._tried:
                self._tried.add(key, seed, values_of(self.plan.space, trial.params))
            if trial.state == TrialState.FAIL and failure_of(trial) is not None:
                self._tried.fail(key)

    def request(self, trainings: Iterable[tuple[Mapping[str, Any], int]]) -> None:
        """Queue trainings; the plan then requires exactly these and the existing ones.

        Args:
            trainings: Parameters of a candidate, as from ``load_params``, and a seed, for each
                training. Known trainings are ignored.
        """
        space = self.plan.space
        wanted = [
            (params, space.candidate(values_of(space, params)), seed) for params, seed in trainings
        ]
        seeds: dict[str, list[int]] = defaultdict(list)
        for _, candidate, seed in wanted:
            seeds[candidate.key].append(seed)
        if self._packs is not None:
            self.seeds_at_once = max(self.seeds_at_once, *map(len, seeds.values()), 1)
        packs: dict[str, list[tuple[int, ...]]] = {}
        queued: set[tuple[str, int]] = set()
        for params, candidate, seed in wanted:
            key = candidate.key
            if key not in packs:
                packs[key] = self._divided(candidate, seeds[key])
            # The whole pack together, even if seeds of other designs are in between.
            pack = next(pack for pack in packs[key] if seed in pack)
            for each in pack:
                if (key, each) not in self._tried and (key, each) not in queued:
                    self._queue.put(params, Queued(seed=each, pack=pack))
                    queued.add((key, each))
        self.plan = dataclasses.replace(self.plan, trials=len(self._tried) + len(queued))

    def _divided(self, candidate: Candidate, seeds: Sequence[int]) -> list[tuple[int, ...]]:
        """Divide the seeds of a design into packs."""
        if self._packs is None or len(seeds) == 1:
            return [(seed,) for seed in seeds]
        return [tuple(pack) for pack in self._packs(candidate.design, candidate.recipe, seeds)]

    def ask(self) -> Proposal | None:
        """Propose a new training; return None if there are enough, or none are left in the space.

        Raises:
            SpaceError: If no design of the space meets its constraints.
        """
        for _ in range(TRIES):
            if self._has_enough():
                return None
            if self.plan.complete and self._asking is None and not self._queue:
                self._queue_incomplete()
            try:
                trial = self._study.ask()
            except UpdateFinishedTrialError:
                continue  # another driver took and ended the queued trial
            candidate = None
            try:
                candidate = self.plan.space.suggest(chooser(trial))
                obstacle = self.plan.space.violated(candidate.design)
            except DesignError as error:
                obstacle = str(error)
            # Read only once, since it queries the storage, and after the sampler has written.
            queued = Queued.from_attributes(trial.user_attrs)
            seed = self.plan.seed if queued.seed is None else queued.seed
            if candidate is not None and not obstacle:
                if queued.continues is not None or (candidate.key, seed) not in self._tried:
                    proposal = self._accept(trial, candidate, seed, queued)
                    self._drivers.flush()
                    if proposal is not None:
                        return proposal
                    continue
                obstacle = "known"
            self._reject(trial, obstacle)
            replacement = self._tried.replacement(candidate)
            if replacement is None:
                self.exhausted = True
                return None
            other, seed = replacement
            self._queue.put(other.values, Queued(seed=seed))
        raise SpaceError(f"{self.plan.space.name}: {TRIES} proposals in a row were rejected")

    def _queue_incomplete(self) -> None:
        """Queue a training of a design that lacks one of the plan's seeds, if there is one."""
        if incomplete := self._tried.incomplete():
            values, seed = incomplete
            self._queue.put(values, Queued(seed=seed))

    def _has_enough(self) -> bool:
        """Return whether all trainings that the plan requires have ended or are running."""
        if self._drivers.is_shared:
            self._update_tried()
        spent = len(self._tried) >= self.plan.trials
        if self.plan.complete and not self._drivers.is_shared and self._tried.incomplete():
            return False  # a failed design left some of its trainings to others
        if self._asking is None and not spent:
            return False
        if self._queue:
            return False
        self.settled = self._asking is not None and self._asking.is_settled(self._study)
        return self.settled or spent

    def rest_of_pack(self, proposal: Proposal) -> list[Proposal]:
        """Propose the remaining other trainings of a proposal's pack.

        Later packs of the design are queued.

        Args:
            proposal: Last proposal of ``ask``.

        Returns:
            Proposals of these trainings. Other trainings of the pack have ended, or belong to
            another driver.
        """
        candidate = proposal.candidate
        proposals = []
        for seed in proposal.pack:
            if seed == proposal.seed:
                continue
            wanted = Queued(seed=seed, pack=proposal.pack)
            is_new = (candidate.key, seed) not in self._tried
            if trial := self._queue.take(candidate, wanted, is_new):
                queued = Queued.from_attributes(trial.user_attrs)
                suggested = self.plan.space.suggest(chooser(trial))
                accepted = self._accept(trial, suggested, seed, queued)
                proposals += [accepted] if accepted else []
        for pack in proposal.later:
            for seed in pack:
                self._queue.put(candidate.values, Queued(seed=seed, pack=pack))
        self._drivers.flush()
        return proposals

    def _further(self, candidate: Candidate, seed: int) -> list[int]:
        """Return the seeds for the training of a proposed design."""
        if self.plan.seeds == 1 or self._asking is not None:
            return [seed]
        room = max(1, self.plan.trials - len(self._tried))
        others = (s for s in self._tried.further_seeds(candidate.key) if s != seed)
        return sorted([seed, *others][:room])

    def _accept(
        self, trial: optuna.Trial, candidate: Candidate, seed: int, queued: Queued
    ) -> Proposal | None:
        space = self.plan.space
        later: list[tuple[int, ...]] = []
        if queued.pack:
            pack = queued.pack
        elif queued.continues is not None:
            pack = (seed,)
        else:
            packs = self._divided(candidate, self._further(candidate, seed))
            pack = next(pack for pack in packs if seed in pack)
            later = [other for other in packs if other is not pack] if len(pack) > 1 else []
        training = Training(
            **vars(queued) | {"seed": seed, "pack": pack},
            design=candidate.design,
            recipe=candidate.recipe,
            costs=cost(candidate.design, space.in_channels, space.image_size, space.classes),
            driver=self._drivers.name,
        )
        write(trial, training.to_attributes(), queued.to_attributes())
        if self._drivers.has_taken(trial.number, training, self.plan.trials):
            self._reject(trial, "another driver has it")
            return None
        self._open[trial.number] = OpenTraining(trial, training)
        self._tried.add(training.key, seed, candidate.values)
        return Proposal(
            number=trial.number,
            candidate=candidate,
            seed=seed,
            pack=pack,
            costs=training.costs,
            scores=[epoch.validation_score for epoch in training.curve],
            stopped_at=training.stopped_at,
            later=later,
        )

    def _reject(self, trial: optuna.Trial, reason: str) -> None:
        # PRUNED, since TPE does not learn from FAIL and would repeat the proposal.
        write(trial, Rejection(reason).to_attributes(), {})
        self._study.tell(trial, state=TrialState.PRUNED)

    def _fail(self, training: OpenTraining, reason: str) -> None:
        super()._fail(training, reason)
        self._tried.fail(training.key)
