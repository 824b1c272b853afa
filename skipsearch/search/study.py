"""The Optuna study of a run: the single source of truth about its trials. Ask, tell, resume.

A trial of the study is one of
  a training      COMPLETE at the full budget, PRUNED when stopped early, FAIL with its reason
  a rejection     PRUNED without a value: a proposal that was known, or broke a constraint; the
                  sampler is told so, and the next trial replaces it (attribute ``rejected``)
  an interruption FAIL, gone on with by a later trial (whose attribute ``continues`` names it)
Only trainings are shown as records. A training has the attribute ``key``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import optuna
from optuna.trial import FrozenTrial, TrialState

from skipsearch.axes import Choice, Parameter, Value
from skipsearch.cost import cost
from skipsearch.design import Design
from skipsearch.errors import DesignError, RunError, SpaceError
from skipsearch.recipe import Recipe
from skipsearch.record import COMPLETE, FAIL, INTERRUPTED, PRUNED, Epoch, Trial
from skipsearch.search.samplers import make_sampler
from skipsearch.space import ENUMERABLE, TRIES, Candidate, Space

ATTEMPTS = 3  # drivers that may die under one epoch of a training before it counts as failed

REJECTED = "rejected"
CONTINUES = "continues"


@dataclass(frozen=True, slots=True)
class Ticket:
    """A training to be done.

    Attributes:
        number: Of the trial in the study.
        candidate: What to train, and how.
        seed: Of weights, data order and augmentation.
    """

    number: int
    candidate: Candidate
    seed: int


class SearchStudy:
    """Proposes designs never trained before, and records what became of them.

    Args:
        url: Storage of the study, such as ``sqlite:///runs/NAME/study.db``.
        name: Name of the study.
        space: What to search; its constraints are met before a design is trained.
        recipe: What every candidate is trained with, but for what axes of the recipe set.
        seed: Of the sampler, and of every training.
        sampler: One of ``SAMPLERS``.

    Raises:
        RunError: If the storage cannot be opened.
        SpaceError: If the sampler cannot search the space.
    """

    def __init__(
        self, url: str, name: str, space: Space, recipe: Recipe, seed: int, sampler: str
    ) -> None:
        self.space = dataclasses.replace(space, recipe=recipe.to_dict())
        self.recipe = recipe
        self.seed = seed
        with _calm():
            self._study = optuna.create_study(
                storage=_storage(url), study_name=name, direction="maximize", load_if_exists=True
            )
        trials = self._study.get_trials(deepcopy=False)
        # A resumed sampler must not repeat the draws of its first life.
        self._study.sampler = make_sampler(sampler, self.space, (seed + len(trials)) % 2**32)
        self._rng = random.Random(seed + len(trials))
        self._known = {t.user_attrs["key"]: t.number for t in trials if "key" in t.user_attrs}
        self._untried: dict[str, Candidate] | None = None
        self._open: dict[int, _Open] = {}
        self.adopt_interrupted()

    def adopt_interrupted(self, orderly: bool = False) -> None:
        """Queue again what is still RUNNING; call it only while no training is under way.

        Args:
            orderly: Whether the session ended in order, which is no fault of the training.
        """
        self._open.clear()
        trials = self._study.get_trials(deepcopy=False)
        continued = {t.user_attrs.get(CONTINUES) for t in trials}
        for trial in trials:
            if trial.state != TrialState.RUNNING:
                continue
            # A copy that was popped but not yet accepted stands for the training it continues.
            source = trial
            while "key" not in source.user_attrs and CONTINUES in source.user_attrs:
                source = trials[source.user_attrs[CONTINUES]]
            if "key" in source.user_attrs and trial.number not in continued:
                curve = source.user_attrs["curve"]
                attempt = source.user_attrs.get("attempt", 1)
                if len(curve) > source.user_attrs.get("epochs_before", 0):
                    attempt = 1
                elif not orderly:
                    attempt += 1
                attributes = {
                    CONTINUES: trial.number,
                    "attempt": attempt,
                    "epochs_before": len(curve),
                    "curve": curve,
                }
                if attempt <= ATTEMPTS:
                    # Queue first, then close: a crash in between loses nothing, and the copy is
                    # found by CONTINUES and not made twice.
                    self._study.enqueue_trial(source.params, attributes)
            self._study.tell(trial.number, state=TrialState.FAIL)

    def ask(self) -> Ticket | None:
        """Propose a training that was never done; None where the space has no more.

        Raises:
            SpaceError: If no design of the space meets its constraints.
        """
        for _ in range(TRIES):
            trial = self._study.ask()
            try:
                candidate = self.space.suggest(_chooser(trial))
                obstacle = self.space.violated(candidate.design)
            except DesignError as error:
                obstacle, candidate = str(error), None
            continues = trial.user_attrs.get(CONTINUES)
            if candidate is not None and not obstacle:
                known = self._known.get(candidate.key)
                if known is None or continues is not None:
                    return self._accept(trial, candidate)
                obstacle = f"known from trial {known}"
            self._reject(trial, obstacle)
            replacement = self._replacement(candidate)
            if replacement is None:
                return None
            self._study.enqueue_trial(_labels(replacement.values))
        raise SpaceError(f"{self.space.name}: {TRIES} proposals in a row were rejected")

    def _accept(self, trial: optuna.Trial, candidate: Candidate) -> Ticket:
        curve = trial.user_attrs.get("curve", [])
        figures = cost(
            candidate.design, self.space.in_channels, self.space.image_size, self.space.classes
        )
        attributes = {
            "curve": curve,
            "design": candidate.design.to_dict(),
            "design_id": candidate.design.id,
            "recipe": candidate.recipe.to_dict(),
            "seed": self.seed,
            "params": figures.params,
            "macs": figures.macs,
            "activation_bytes": figures.activation_bytes,
            # Last: what has a key has everything else.
            "key": candidate.key,
        }
        for name, value in attributes.items():
            trial.set_user_attr(name, value)
        self._open[trial.number] = _Open(trial, [])
        self._known[candidate.key] = trial.number
        if self._untried is not None:
            self._untried.pop(candidate.key, None)
        return Ticket(trial.number, candidate, self.seed)

    def _reject(self, trial: optuna.Trial, reason: str) -> None:
        # PRUNED, since TPE does not learn from FAIL and would propose the same again.
        trial.set_user_attr(REJECTED, reason)
        self._study.tell(trial, state=TrialState.PRUNED)

    def _replacement(self, proposal: Candidate | None) -> Candidate | None:
        """Return the untried candidate that differs from the proposal in the fewest parameters."""
        size = self.space.size
        if size is None or size > ENUMERABLE:
            for _ in range(TRIES):
                drawn = self.space.draw(self._rng)
                if drawn.key not in self._known:
                    return drawn
            return None
        if self._untried is None:
            self._untried = {
                candidate.key: candidate
                for candidate in self.space.candidates()
                if candidate.key not in self._known
            }
        untried = list(self._untried.values())
        if not untried:
            return None
        if proposal is None:
            return self._rng.choice(untried)
        self._rng.shuffle(untried)
        return min(untried, key=lambda other: _distance(other.values, proposal.values))

    def report(self, number: int, epochs: Iterable[Epoch], device: str, numerics: str = "") -> None:
        """Record epochs of a training; one that is recorded already is passed over.

        Args:
            number: Of the trial.
            epochs: Some of its epochs, the next one among them.
            device: What it runs on, in words.
            numerics: What decides its last bits; empty where it did not come to train.
        """
        trial, curve = self._open[number]
        for epoch in sorted(epochs, key=lambda epoch: epoch.epoch):
            if epoch.epoch == len(curve) + 1:
                curve.append(epoch)
                trial.report(epoch.validation_accuracy, epoch.epoch)
        trial.set_user_attr("curve", [epoch.to_dict() for epoch in curve])
        trial.set_user_attr("seconds", sum(epoch.seconds for epoch in curve))
        trial.set_user_attr("device", device)
        trial.set_user_attr("numerics", numerics)

    def finish(
        self, number: int, state: str, versions: Mapping[str, str], reason: str = ""
    ) -> None:
        """Close a training.

        Args:
            number: Of the trial.
            state: COMPLETE (at the full budget only), PRUNED or FAIL.
            versions: Of Python and the libraries it ran with.
            reason: Why it failed.
        """
        trial, curve = self._open.pop(number)
        trial.set_user_attr("versions", dict(versions))
        if state == COMPLETE:
            assert len(curve) == self.recipe.epochs, "COMPLETE means the full budget"
            self._study.tell(trial, curve[-1].validation_accuracy)
        elif state == PRUNED:
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            assert state == FAIL, state
            trial.set_user_attr("reason", reason)
            self._study.tell(trial, state=TrialState.FAIL)

    def trials(self) -> list[Trial]:
        """Return the record of every training."""
        return _records(self._study.get_trials(deepcopy=False))


class _Open(NamedTuple):
    """A training under way: its handle in the study and the epochs recorded so far."""

    trial: optuna.Trial
    curve: list[Epoch]


def load_trials(url: str) -> list[Trial]:
    """Return the record of every training in a storage; none where it holds no study yet.

    Raises:
        RunError: If the storage cannot be opened, or holds several studies.
    """
    storage = _storage(url)
    names = optuna.get_all_study_names(storage)
    if not names:
        return []  # The search was interrupted before its first trial.
    if len(names) > 1:
        raise RunError(f"{url}: holds {len(names)} studies, where a run has one")
    with _calm():
        study = optuna.load_study(study_name=names[0], storage=storage)
    return _records(study.get_trials(deepcopy=False))


@contextlib.contextmanager
def _calm() -> Iterator[None]:
    """Keep Optuna from telling that a study was made or found."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(before, optuna.logging.WARNING))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _storage(url: str) -> optuna.storages.BaseStorage:
    try:
        return optuna.storages.get_storage(url)
    except Exception as error:  # SQLAlchemy's own errors depend on the driver behind the URL.
        cause = str(error).partition("\n")[0]
        raise RunError(f"the storage {url} cannot be opened: {cause}") from None


def _records(trials: list[FrozenTrial]) -> list[Trial]:
    trainings = [trial for trial in trials if "key" in trial.user_attrs]
    superseded = set()
    for trial in trainings:
        earlier = trial.user_attrs.get(CONTINUES)
        while earlier is not None:
            superseded.add(earlier)
            earlier = trials[earlier].user_attrs.get(CONTINUES)
    queued = {trial.user_attrs.get(CONTINUES) for trial in trials}
    return [_record(t, t.number in queued) for t in trainings if t.number not in superseded]


def _record(trial: FrozenTrial, queued: bool) -> Trial:
    attributes = trial.user_attrs
    reason = attributes.get("reason", "")
    if trial.state == TrialState.FAIL and not reason:
        reason = INTERRUPTED if queued else f"interrupted {ATTEMPTS} times without progress"
    return Trial(
        number=trial.number,
        design=Design.from_dict(attributes["design"]),
        recipe=Recipe.from_dict(attributes["recipe"]),
        seed=attributes["seed"],
        state=trial.state.name,
        reason=reason,
        curve=tuple(map(Epoch.from_dict, attributes["curve"])),
        params=attributes["params"],
        macs=attributes["macs"],
        device=attributes.get("device", ""),
        versions=attributes.get("versions", {}),
        numerics=attributes.get("numerics", ""),
    )


def _chooser(trial: optuna.Trial) -> Callable[[str, Parameter], Value]:
    """Let Optuna choose the value of each parameter, under the name that it has in the space."""

    def choose(name: str, parameter: Parameter) -> Value:
        if isinstance(parameter, Choice):
            label = trial.suggest_categorical(name, parameter.labels)
            return parameter.values[parameter.labels.index(label)]
        if parameter.whole:
            step = 1 if parameter.log else int(parameter.step or 1)
            low, high = int(parameter.low), int(parameter.high)
            return trial.suggest_int(name, low, high, step=step, log=parameter.log)
        value = trial.suggest_float(
            name, parameter.low, parameter.high, step=parameter.step, log=parameter.log
        )
        # Optuna's own multiples of a step may differ in the last bit, and so would the key.
        return (
            value
            if parameter.step is None
            else parameter.values[round((value - parameter.low) / parameter.step)]
        )

    return choose


def _labels(values: Mapping[str, Value]) -> dict[str, Value]:
    """Return the values of parameters as Optuna's parameters hold them."""
    return {n: json.dumps(v) if isinstance(v, tuple) else v for n, v in values.items()}


def _distance(a: Mapping[str, Value], b: Mapping[str, Value]) -> int:
    """In how many parameters two candidates differ; one that matters for one alone counts."""
    return sum(a.get(name) != b.get(name) or (name in a) != (name in b) for name in {*a, *b})
