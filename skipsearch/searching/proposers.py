"""Custom samplers, which propose whole candidates of a space: grid, evolution, local search.

They keep no state in memory other than caches: a proposal depends only on the trials of the study,
the seed and the trial's number. Therefore a killed search can be resumed, and any number of
trainings can run at the same time.
"""

from __future__ import annotations

import abc
import json
import math
import random
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from skipsearch.axes import Value
from skipsearch.errors import SpaceError
from skipsearch.searching.attributes import is_training, key_of
from skipsearch.searching.optuna_trials import values_of
from skipsearch.space import ENUMERABLE, Candidate, Space

POPULATION, TOURNAMENT = 20, 5  # of evolution
STARTS = 5  # random draws at the start of a climb
DRAWS = 100  # random draws to find an untried candidate
NEAR = 10_000  # cached neighbours of candidates, about 7 kB each
CLIMB = "local:climb"  # attribute of a trial: the number of its climb

Seeds = Sequence[FrozenTrial]  # trainings of one design and recipe, oldest first
Trainings = Mapping[str, Seeds]  # by key of design and recipe, oldest first
Fitness = tuple[int, float]  # the last epoch with values, and their mean


class Proposer(optuna.samplers.BaseSampler):
    """A sampler that chooses all parameters of a trial when the first of them is requested.

    Args:
        space: Searched space, with the recipe of the study.
        seed: Seed of all random choices.
    """

    def __init__(self, space: Space, seed: int) -> None:
        self._space = space
        self._seed = seed
        self._settled: tuple[int, Mapping[str, Value]] = (-1, {})
        # Key of each ended trial, None if it is no training, and the trial as the only seed.
        self._ended: dict[int, tuple[str | None, Seeds]] = {}
        # Only a cache: the oldest entries are removed when there are too many.
        self._near: dict[str, list[Candidate]] = {}
        self._held = 0

    @abc.abstractmethod
    def propose(
        self, study: optuna.Study, trial: FrozenTrial, trainings: Trainings, rng: random.Random
    ) -> Candidate:
        """Return the candidate of a trial."""

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return nothing: see ``sample_independent``."""
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return nothing: see ``sample_independent``."""
        return {}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return the value of one parameter in the candidate of the trial."""
        number, values = self._settled
        if number != trial.number:
            # Seeded by the number, not one generator for all, to make proposals reproducible.
            rng = random.Random(f"{self._seed}-{trial.number}")
            values = self.propose(study, trial, self._trainings(study), rng).values
            self._settled = trial.number, values
        value = values[param_name]
        return json.dumps(value) if isinstance(value, tuple) else value  # as Choice.labels

    def _trainings(self, study: optuna.Study) -> Trainings:
        """Return all trainings by key; one that was resumed keeps its original position."""
        trainings: dict[str, Seeds] = {}
        for number, trial in enumerate(study.get_trials(deepcopy=False)):
            known = self._ended.get(number)
            if known is None:
                known = key_of(trial) if is_training(trial) else None, (trial,)
                if trial.state.is_finished():
                    self._ended[number] = known  # an ended trial never changes
            key, alone = known
            if key is not None:
                trainings[key] = (*trainings[key], trial) if key in trainings else alone
        return trainings

    def _draw(self, trainings: Trainings, rng: random.Random) -> Candidate:
        """Draw an untried candidate; if none is found, a known one, which the study replaces."""
        for _ in range(DRAWS):
            candidate = self._space.draw(rng)
            if candidate.key not in trainings:
                break
        return candidate

    def _neighbours(self, training: FrozenTrial) -> list[Candidate]:
        """Return all candidates that differ from a trained one in one axis."""
        key = key_of(training)
        near = self._near.get(key)
        if near is None:
            values = values_of(self._space, training.params)
            near = list(self._space.neighbours(self._space.candidate(values)))
            self._near[key] = near
            self._held += len(near)
            while self._held > NEAR:
                self._held -= len(self._near.pop(next(iter(self._near))))
        return near


class Grid(Proposer):
    """A sampler that proposes each candidate of a finite space once, in shuffled order.

    Without shuffling, the first axes would keep one value for a long time, and a search that ends
    early would never try their other values. The first part of a shuffled list is a random sample.

    Raises:
        SpaceError: If the space is continuous, or too large to be listed.
    """

    def __init__(self, space: Space, seed: int) -> None:
        super().__init__(space, seed)
        if space.size is None:
            endless = next(n for n, p in space.parameters.items() if p.size is None)
            raise SpaceError(
                f"{space.name}: axes.{endless} is continuous: sampler grid needs a list or a step"
            )
        if space.size > ENUMERABLE:
            raise SpaceError(
                f"{space.name}: {space.size:,} points are more than the {ENUMERABLE:,} that"
                " sampler grid lists; take another sampler"
            )
        self._order = list(space.candidates())
        if not self._order:
            raise SpaceError(f"{space.name}: no design of the space meets its constraints")
        random.Random(seed).shuffle(self._order)

    def propose(
        self, study: optuna.Study, trial: FrozenTrial, trainings: Trainings, rng: random.Random
    ) -> Candidate:
        """Return the first untried candidate of the list; a known one if all are known."""
        return next((c for c in self._order if c.key not in trainings), self._order[0])


class Evolution(Proposer):
    """Regularised evolution (Real et al. 2019, arXiv:1802.01548, Algorithm 1).

    The first trainings are random. Then the fittest of a random tournament among the youngest
    trainings is the parent, and its child differs from it in one axis. Old trainings leave the
    population even if they are fit, so that a lucky score does not dominate forever.

    Two rules are added, since no training is repeated: only untried children are proposed, and if
    the winner has none left, the next best of the tournament is the parent.
    """

    def propose(
        self, study: optuna.Study, trial: FrozenTrial, trainings: Trainings, rng: random.Random
    ) -> Candidate:
        """Return an untried child of a tournament's winner, or a random candidate."""
        if len(trainings) >= POPULATION:
            population = [t for t in trainings.values() if _fitness(t)][-POPULATION:]
            tournament = rng.sample(population, min(TOURNAMENT, len(population)))
            for parent in sorted(tournament, key=_order, reverse=True):
                children = [c for c in self._neighbours(parent[0]) if c.key not in trainings]
                if children:
                    return rng.choice(children)
        return self._draw(trainings, rng)


class Local(Proposer):
    """Hill climbing with restarts (White et al. 2020, arXiv:2005.02960).

    A climb starts with some random draws. Its position is the best of its trainings, so that any
    improvement moves it. The next candidate is an untried neighbour, which differs from the
    position in one axis. If all neighbours are tried and none is better, another climb starts. The
    first climb that can continue does so, since a running training may move a climb that seemed to
    have ended.
    """

    def propose(
        self, study: optuna.Study, trial: FrozenTrial, trainings: Trainings, rng: random.Random
    ) -> Candidate:
        """Return the next step of a climb, or the start of another one."""
        climbs = [*_climbs(study, trainings), []]  # the last one is new
        steps = ((n, self._step(climb, trainings, rng)) for n, climb in enumerate(climbs))
        number, candidate = next((n, step) for n, step in steps if step is not None)
        # Samplers have no public method to mark a trial; those of Optuna do the same.
        study._storage.set_trial_system_attr(trial._trial_id, CLIMB, number)
        return candidate

    def _step(
        self, climb: list[Seeds], trainings: Trainings, rng: random.Random
    ) -> Candidate | None:
        """Return the next candidate of a climb; None if it has ended."""
        position = max(climb, key=_order, default=None)
        if position is None or len(climb) < STARTS or _fitness(position) is None:
            return self._draw(trainings, rng)
        while True:
            neighbours = self._neighbours(position[0])
            untried = [c for c in neighbours if c.key not in trainings]
            if untried:
                return rng.choice(untried)
            # Another climb may have found a better one here.
            best = max((trainings[c.key] for c in neighbours), key=_order, default=position)
            if _order(best) <= _order(position):
                return None
            position = best


def _climbs(study: optuna.Study, trainings: Trainings) -> list[list[Seeds]]:
    """Return the trainings of each climb, by its number."""
    climbs: dict[int, list[Seeds]] = {}
    for trial in study.get_trials(deepcopy=False):
        # The attribute stays on the sampled trial, even if another one resumes it.
        if CLIMB in trial.system_attrs and is_training(trial):
            members = climbs.setdefault(trial.system_attrs[CLIMB], [])
            members.append(trainings[key_of(trial)])
    return list(climbs.values())


def _fitness(seeds: Seeds) -> Fitness | None:
    """Return the fitness of a design; None while its trainings are running, or if all failed.

    Values of different epochs are not compared. More epochs mean a higher fitness, since only
    trainings that early stopping did not end reach the full budget. If there are several seeds, the
    one that was stopped first determines the epoch, as in a ranking.
    """
    ended = (t for t in seeds if t.state in (TrialState.COMPLETE, TrialState.PRUNED))
    curves = [trial.intermediate_values for trial in ended if trial.intermediate_values]
    epoch = min((max(curve) for curve in curves), default=0)
    values = [curve[epoch] for curve in curves if math.isfinite(curve.get(epoch, math.nan))]
    return (epoch, fmean(values)) if values else None


def _order(seeds: Seeds) -> Fitness:
    return _fitness(seeds) or (-1, 0.0)
