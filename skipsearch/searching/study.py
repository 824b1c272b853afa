"""The Optuna study of a run: the single source of truth about its trials. Ask, tell, resume.

What its trials are, ``records`` says. One driver alone holds the study in memory, see
``write_behind``. Several may work on one where its storage is a database server; each then writes
first and looks after, and of two that took the same training at least one gives it back.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from skipsearch.axes import Value
from skipsearch.canonical import ID_RULES
from skipsearch.config import difference
from skipsearch.cost import cost
from skipsearch.errors import DesignError, RunError, SpaceError
from skipsearch.record import COMPLETE, FAIL, Epoch, Trial
from skipsearch.searching.asking import Asking
from skipsearch.searching.optuna_trials import OpenTraining, at_rest, began, chooser, labels, marks
from skipsearch.searching.plans import Packs, Plan, Proposal
from skipsearch.searching.presence import Presence
from skipsearch.searching.reading import read_trials
from skipsearch.searching.records import (
    ASKED,
    ATTEMPT,
    ATTEMPTS,
    CONTINUES,
    CURVE,
    ENVIRONMENT,
    EPOCHS_BEFORE,
    KEY,
    LATENCY,
    ORDERLY,
    PACK,
    REASON,
    REJECTED,
    RULES,
    SEED,
    STOPPED_AT,
    check_identity,
    is_interrupted,
    is_training,
    key_of,
    next_attempt,
    one_record,
    records,
)
from skipsearch.searching.samplers import make_sampler
from skipsearch.searching.storage import Place, calm, close_storage, damage_named, open_storage
from skipsearch.searching.tried import Tried
from skipsearch.searching.write_behind import WriteBehind
from skipsearch.space import TRIES, Candidate

MAXIMIZE, MINIMIZE = StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE
FIXED = "fixed_params"  # Optuna's attribute of a queued trial
DRIVER = "driver"  # a trial's attribute, where several drivers work on a study
INHERITED = (CURVE, SEED, PACK, STOPPED_AT, LATENCY)  # by a training that goes on


class SearchStudy:
    """Proposes trainings never done before, and records what became of them.

    Args:
        storage: Of the study: its file, which a lock keeps for this driver, the URL of a database
            server, or a storage that is open.
        name: Name of the study; a file keeps the name that its study has.
        plan: What to propose.
        identity: What the study is of, and must be: of all who work on it, and of all sessions.
            With a URL others may work on it at the same time.
        packs: Divides seeds of a design into those that are trained as one packed network; None
            to train each alone. Seeds that are requested together are, and where the plan has
            several, those of a design that is proposed.

    Attributes:
        plan: As given, with the recipe joined into the space.
        exhausted: Whether the space held fewer trainings than the plan asks for.
        settled: Whether all that the plan asks about axes is known.
        seeds_at_once: Of a design that are trained as one packed network, at most so many.

    Raises:
        RunError: If the storage cannot be opened, or the study there is of another search.
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
        self.plan = dataclasses.replace(plan, space=space)
        self.exhausted = self.settled = False
        self._packs = packs
        self.seeds_at_once = 1 if packs is None else plan.seeds
        self._presence: Presence | None = None
        self._memory: WriteBehind | None = None
        if isinstance(storage, BaseStorage):
            self._database = storage
            self._study = self._opened(name, identity, storage)
        else:
            self._database = open_storage(storage, quick=True)
            try:
                with damage_named(storage):
                    self._study = self._opened(name, identity, storage)
            except RunError:
                self._close_storage()
                raise
        trials = self._study.get_trials(deepcopy=False)
        # A sampler must not repeat the draws of its first life, nor those of another driver.
        seed = plan.seed + len(trials)
        if self._presence:
            seed = random.Random(f"{seed} {self._presence.driver}").randrange(2**32)
        self._asking = None if plan.inquiry is None else Asking(space, seed, plan.inquiry)
        self._study.sampler = self._asking or make_sampler(
            plan.sampler, space, seed % 2**32, plan.objectives, plan.images
        )
        self._tried = Tried(space, plan.seed, plan.seeds, random.Random(seed))
        self._open: dict[int, OpenTraining] = {}
        self._seen = {trial.number for trial in trials if trial.state.is_finished()}
        self.adopt_interrupted()
        self._look_around()

    def _opened(
        self, name: str, identity: Mapping[str, Any] | None, place: Place | BaseStorage
    ) -> optuna.Study:
        """Open the study, or make it, and say what it is of."""
        directions = [MAXIMIZE] + [MINIMIZE] * (len(self.plan.objectives) - 1)
        with calm():
            if isinstance(place, Path):
                name = next(iter(optuna.get_all_study_names(self._database)), name)
            study = optuna.create_study(
                storage=self._database,
                study_name=name,
                directions=directions,
                load_if_exists=True,
            )
            if study.directions != directions:
                raise RunError(f"study {name!r} in the storage is of other objectives")
            if identity is not None:
                self._check(study, json.loads(json.dumps(identity)), place)
            if identity is not None and not isinstance(place, Path):
                self._presence = Presence(study)
            elif isinstance(self._database, RDBStorage):
                self._memory = WriteBehind(self._database, name, at_rest)
                study = optuna.load_study(study_name=name, storage=self._memory)
        return study

    def _check(
        self, study: optuna.Study, identity: Mapping[str, Any], place: Place | BaseStorage
    ) -> None:
        there = study.user_attrs.get(ASKED)
        if there is None:
            study.set_user_attr(ASKED, dict(identity))
        elif isinstance(place, Path):
            check_identity(place, there, identity)
        elif other := difference(there, identity):
            raise RunError(
                f"study {study.study_name!r} in the storage is of another search: {other}; give"
                " this one another name, in the space's YAML"
            )

    def adopt_interrupted(self, orderly: bool = False) -> None:
        """Queue again what nobody trains any more; call it while no training is under way here.

        Args:
            orderly: Whether the session ended in order, which is no fault of its trainings.
        """
        self._open.clear()
        running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        if self._presence is not None:
            signed = [trial for trial in running if DRIVER in trial.user_attrs]
            unsigned = {t.number: began(t) for t in running if DRIVER not in t.user_attrs}
            self._presence.settle({trial.user_attrs[DRIVER] for trial in signed}, unsigned)
        for trial in running:
            if not self._is_trained_elsewhere(trial):
                # Another driver may close it at the same moment.
                with contextlib.suppress(UpdateFinishedTrialError):
                    if orderly:
                        optuna.Trial(self._study, trial._trial_id).set_user_attr(ORDERLY, True)
                    self._study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
        # Closed first and queued after: killed in between, the next driver finds them here.
        trials = self._study.get_trials(deepcopy=False)
        under_way = (TrialState.WAITING, TrialState.RUNNING)
        continued = {
            t.user_attrs.get(CONTINUES) for t in trials if t.state in under_way or is_training(t)
        }
        for trial in trials:
            if is_interrupted(trial) and trial.number not in continued:
                self._queue_again(trial)
        self._flush()

    def _flush(self) -> None:
        if self._memory is not None:
            self._memory.flush()

    def _is_trained_elsewhere(self, trial: FrozenTrial) -> bool:
        if self._presence is None:
            return False
        driver = trial.user_attrs.get(DRIVER)
        if driver is None:  # not accepted yet: a moment's work, where its driver lives
            return self._presence.is_recent(trial.number, began(trial))
        return driver != self._presence.driver and driver in self._presence.alive()

    def _queue_again(self, trial: FrozenTrial) -> None:
        attributes = trial.user_attrs
        attempt = next_attempt(trial)
        if attempt <= ATTEMPTS:
            inherited = {n: attributes[n] for n in INHERITED if n in attributes}
            counted = {ATTEMPT: attempt, EPOCHS_BEFORE: len(attributes.get(CURVE, ()))}
            self._study.enqueue_trial(
                trial.params, {CONTINUES: trial.number, **inherited, **counted}
            )

    def _look_around(self) -> None:
        """Learn which trainings there are."""
        for trial in self._study.get_trials(deepcopy=False):
            if not is_training(trial):
                continue
            key, seed = key_of(trial), trial.user_attrs[SEED]
            if (key, seed) not in self._tried:
                self._tried.add(key, seed, self._values(trial.params))
            if trial.state == TrialState.FAIL and REASON in trial.user_attrs:
                self._tried.fail(key)

    def _values(self, params: Mapping[str, Any]) -> dict[str, Value]:
        """Return the values of parameters that Optuna's parameters hold."""
        parameters = self.plan.space.parameters
        return {name: parameters[name].value(value) for name, value in params.items()}

    def request(self, trainings: Iterable[tuple[Mapping[str, Any], int]]) -> None:
        """Queue trainings; the plan then asks for these and those that there are, and no more.

        Args:
            trainings: The parameters of a candidate, as ``load_params`` returns them, and a seed.
                Those that are known are passed over.
        """
        wanted = [
            (dict(params), self.plan.space.candidate(self._values(params)), seed)
            for params, seed in trainings
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
            # The whole pack here, though seeds of others may stand between.
            pack = next(pack for pack in packs[key] if seed in pack)
            for each in pack:
                if (key, each) not in self._tried and (key, each) not in queued:
                    self._study.enqueue_trial(params, marks(each, pack))
                    queued.add((key, each))
        self.plan = dataclasses.replace(self.plan, trials=len(self._tried) + len(queued))

    def _divided(self, candidate: Candidate, seeds: Sequence[int]) -> list[tuple[int, ...]]:
        """Divide the seeds of a design into packs."""
        if self._packs is None or len(seeds) == 1:
            return [(seed,) for seed in seeds]
        return [tuple(pack) for pack in self._packs(candidate.design, candidate.recipe, seeds)]

    def _has_enough(self) -> bool:
        """Whether all trainings that the plan asks for are done or under way."""
        if self._presence is not None:
            self._look_around()
        spent = len(self._tried) >= self.plan.trials
        if self._asking is None and not spent:
            return False
        if self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            return False
        self.settled = self._asking is not None and self._asking.is_settled(self._study)
        return self.settled or spent

    def ask(self) -> Proposal | None:
        """Propose a training that was never done; None where there are enough, or no more.

        Raises:
            SpaceError: If no design of the space meets its constraints.
        """
        for _ in range(TRIES):
            if self._has_enough():
                return None
            try:
                trial = self._study.ask()
            except UpdateFinishedTrialError:
                continue  # another driver took what was queued, and is through with it
            candidate = None
            try:
                candidate = self.plan.space.suggest(chooser(trial))
                obstacle = self.plan.space.violated(candidate.design)
            except DesignError as error:
                obstacle = str(error)
            # Read once, since each reading goes to the storage, and after the sampler had its say.
            inherited = trial.user_attrs
            seed = inherited.get(SEED, self.plan.seed)
            if candidate is not None and not obstacle:
                if CONTINUES in inherited or (candidate.key, seed) not in self._tried:
                    proposal = self._accept(trial, candidate, seed, inherited)
                    self._flush()
                    if proposal is not None:
                        return proposal
                    continue
                obstacle = "known"
            self._reject(trial, obstacle)
            replacement = self._tried.instead(candidate)
            if replacement is None:
                self.exhausted = True
                return None
            other, seed = replacement
            self._study.enqueue_trial(labels(other.values), {SEED: seed})
        raise SpaceError(f"{self.plan.space.name}: {TRIES} proposals in a row were rejected")

    def companions(self, proposal: Proposal) -> list[Proposal]:
        """Take up the other trainings of a proposal's pack, those that are still to be done.

        What the design is to be trained with later is queued.

        Args:
            proposal: What ``ask`` has just returned.

        Returns:
            Their proposals. A training of the pack that is not among them has ended, or another
            driver has it.
        """
        proposals = []
        for seed in proposal.pack:
            trial = None if seed == proposal.seed else self._companion(proposal, seed)
            if trial is not None:
                candidate = self.plan.space.suggest(chooser(trial))
                accepted = self._accept(trial, candidate, seed, trial.user_attrs)
                proposals += [accepted] if accepted else []
        for pack in proposal.later:
            for seed in pack:
                self._study.enqueue_trial(labels(proposal.candidate.values), marks(seed, pack))
        self._flush()
        return proposals

    def _companion(self, proposal: Proposal, seed: int) -> optuna.Trial | None:
        """Take a training of a pack from the queue; one that is not known is queued first."""
        candidate, wanted = proposal.candidate, marks(seed, proposal.pack)
        waiting = self._waiting(candidate.key, wanted)
        if waiting is None and (candidate.key, seed) not in self._tried:
            self._study.enqueue_trial(labels(candidate.values), wanted)
            waiting = self._waiting(candidate.key, wanted)
        if waiting is None:
            return None
        trial_id, running = waiting._trial_id, TrialState.RUNNING
        with contextlib.suppress(UpdateFinishedTrialError):
            if self._study._storage.set_trial_state_values(trial_id, running):
                return optuna.Trial(self._study, trial_id)
        return None  # another driver was faster

    def _waiting(self, key: str, wanted: Mapping[str, Any]) -> FrozenTrial | None:
        waiting = self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        # A study in memory numbers its trials as they are taken: none may be passed over.
        for trial in waiting if self._presence else waiting[:1]:
            if all(trial.user_attrs.get(name) == value for name, value in wanted.items()):
                params = trial.system_attrs[FIXED]
                if self.plan.space.candidate(self._values(params)).key == key:
                    return trial
        return None

    def _further(self, candidate: Candidate, seed: int) -> list[int]:
        """Return the seeds with which a design that is proposed is to be trained."""
        if self.plan.seeds == 1 or self._asking is not None:
            return [seed]
        room = max(1, self.plan.trials - len(self._tried))
        others = (s for s in self._tried.further_seeds(candidate.key) if s != seed)
        return sorted([seed, *others][:room])

    def _accept(
        self, trial: optuna.Trial, candidate: Candidate, seed: int, inherited: Mapping[str, Any]
    ) -> Proposal | None:
        space = self.plan.space
        figures = cost(candidate.design, space.in_channels, space.image_size, space.classes)
        costs = dataclasses.asdict(figures)
        later: list[tuple[int, ...]] = []
        if PACK in inherited:
            pack = tuple(inherited[PACK])
        elif CONTINUES in inherited:
            pack = (seed,)
        else:
            packs = self._divided(candidate, self._further(candidate, seed))
            pack = next(pack for pack in packs if seed in pack)
            later = [other for other in packs if other is not pack] if len(pack) > 1 else []
        attributes: dict[str, Any] = {
            "design": candidate.design.to_dict(),
            "recipe": candidate.recipe.to_dict(),
            "costs": costs,
            RULES: ID_RULES,
            **marks(seed, pack),
        }
        if self._presence is not None:
            attributes[DRIVER] = self._presence.driver
        # Last: what has a key has everything else.
        for name, value in (attributes | {KEY: candidate.key}).items():
            if inherited.get(name) != value:
                trial.set_user_attr(name, value)
        continues = CONTINUES in inherited
        if self._presence and self._clashes(trial.number, candidate.key, seed, continues):
            self._reject(trial, "another driver has it")
            return None
        self._open[trial.number] = OpenTraining(trial, candidate.key, costs, inherited.get(LATENCY))
        self._tried.add(candidate.key, seed, candidate.values)
        scores = [Epoch.from_dict(epoch).validation_score for epoch in inherited.get(CURVE, ())]
        stopped_at = inherited.get(STOPPED_AT, 0)
        return Proposal(trial.number, candidate, seed, pack, costs, scores, stopped_at, later)

    def _clashes(self, mine: int, key: str, seed: int, continues: bool) -> bool:
        """Whether another driver has taken the same training, or the last one that was left."""
        slots = set()
        for trial in self._study.get_trials(deepcopy=False):
            if trial.number == mine or not is_training(trial):
                continue
            slot = (key_of(trial), trial.user_attrs[SEED])
            slots.add(slot)
            if slot == (key, seed) and not is_interrupted(trial):
                return True
        return not continues and len(slots) >= self.plan.trials

    def _reject(self, trial: optuna.Trial, reason: str) -> None:
        # PRUNED, since TPE does not learn from FAIL and would propose the same again.
        trial.set_user_attr(REJECTED, reason)
        self._study.tell(trial, state=TrialState.PRUNED)

    def report(
        self,
        number: int,
        epochs: Iterable[Epoch],
        environment: Mapping[str, Any],
        latency: float | None = None,
    ) -> None:
        """Record epochs of a training; one that is recorded already is passed over.

        Args:
            number: Of the trial.
            epochs: Some of its epochs, the next one among them.
            environment: Where it runs: device, numerics and versions, as in ``Trial``.
            latency: Seconds for a batch, where it was measured.
        """
        opened = self._open.get(number)
        if opened is None:
            return  # taken over by another driver
        before = len(opened.curve)
        with self._unless_taken_over(number):
            for epoch in sorted(epochs, key=lambda epoch: epoch.epoch):
                if epoch.epoch == len(opened.curve) + 1:
                    opened.curve.append(epoch)
                    if len(self.plan.objectives) == 1:  # Optuna knows no other reports
                        opened.trial.report(epoch.validation_score, epoch.epoch)
            if len(opened.curve) > before:
                opened.set(CURVE, [epoch.to_dict() for epoch in opened.curve])
            opened.set(ENVIRONMENT, dict(environment))
            if latency is not None and opened.latency is None:
                opened.latency = latency  # the first that was seen
                opened.set(LATENCY, latency)
            self._flush()

    def audit(self, number: int, epoch: int) -> None:
        """Record that a training is to go on to check the rule that would have stopped it."""
        opened = self._open.get(number)
        if opened is not None:
            with self._unless_taken_over(number):
                opened.set(STOPPED_AT, epoch)
                self._flush()

    def finish(self, number: int, state: str, reason: str = "") -> None:
        """Close a training.

        Args:
            number: Of the trial.
            state: COMPLETE (at the full budget only), PRUNED or FAIL.
            reason: Why it failed.
        """
        opened = self._open.pop(number, None)
        if opened is None:
            return  # taken over by another driver
        values = None
        if state == COMPLETE:
            assert len(opened.curve) == self.plan.recipe.epochs, "COMPLETE means the full budget"
            figures = dict(opened.costs)
            if opened.latency is not None:
                figures[LATENCY] = opened.latency
            costs = [figures[name] for name in self.plan.objectives[1:]]
            values = [opened.curve[-1].validation_score, *costs]
        with self._unless_taken_over(number):
            if state == FAIL:
                opened.set(REASON, reason)
                self._tried.fail(opened.key)
            self._study.tell(number, values, TrialState[state], skip_if_finished=True)
            self._flush()
        self._seen.add(number)

    @contextlib.contextmanager
    def _unless_taken_over(self, number: int) -> Iterator[None]:
        """Let go of a training that another driver took over, because this one seemed dead."""
        try:
            yield
        except UpdateFinishedTrialError:
            self._open.pop(number, None)

    def news(self) -> list[Trial]:
        """Return the trainings that other drivers have ended since this was last asked."""
        if self._presence is None:
            return []
        trials = self._study.get_trials(deepcopy=False)
        new = [t for t in trials if t.state.is_finished() and t.number not in self._seen]
        self._seen.update(trial.number for trial in new)
        return [
            one_record(trial) for trial in new if is_training(trial) and not is_interrupted(trial)
        ]

    def elsewhere(self) -> int:
        """Count the trainings that other drivers are still at."""
        running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return sum(map(self._is_trained_elsewhere, running))

    def trials(self) -> list[Trial]:
        """Return the record of every training."""
        study_id = self._database.get_study_id_from_name(self._study.study_name)
        if isinstance(self._database, RDBStorage):
            return records(read_trials(self._database.engine, study_id))
        return records(self._database.get_all_trials(study_id, deepcopy=False))

    def close(self) -> None:
        """Leave the study to others, and its file at rest."""
        if self._presence is not None:
            self._presence.end()
        self._close_storage()

    def _close_storage(self) -> None:
        if isinstance(self._database, RDBStorage):
            close_storage(self._database)
