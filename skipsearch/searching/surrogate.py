"""The sampler ``surrogate``: expected improvement on a model of the space.

The model is in ``skipsearch.surrogate``. Every proposal depends on the trials of the study, the
seed and the trial's number. The state between proposals saves time; it may change the last digits
of the model.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
import optuna
from optuna.trial import FrozenTrial, TrialState

from skipsearch.axes import Value
from skipsearch.cost import cost
from skipsearch.metric import ACCURACY, Scale
from skipsearch.record import LATENCY, SCORE
from skipsearch.searching.attributes import is_interrupted, is_training, key_of
from skipsearch.searching.optuna_trials import values_of
from skipsearch.searching.proposers import Proposer, Trainings
from skipsearch.space import ENUMERABLE, Candidate, Space
from skipsearch.surrogate.acquisition import expected_improvement, front_gain
from skipsearch.surrogate.curves import Curves
from skipsearch.surrogate.encoding import Array, Encoding
from skipsearch.surrogate.gram import Gram
from skipsearch.surrogate.kernel import Kernel, Scales
from skipsearch.surrogate.observations import Observations
from skipsearch.surrogate.process import Posterior
from skipsearch.surrogate.scales import fit_scales
from skipsearch.surrogate.warp import Warp, half_ranks

RANDOM = 6  # random trainings before the first proposal of the model
ENDED = 5  # minimum number of observations for the model
REFIT = 5  # further observations after which the model's scales are fitted again,
REFIT_SHARE = 0.05  # or this share of all observations, if that is more
DRAWN = 1_000  # random candidates in a space too large to list
RENEWED = 5  # number of them that are replaced for each trial
BEST = 10  # best designs, whose neighbours are also candidates in such a space
SHORTLIST = 2_000  # candidates with the highest means, whose variance is computed
USUAL = Scale(ACCURACY, 10_000)  # default if the scale is unknown


class Surrogate(Proposer):
    """Expected improvement on a Gaussian process over the axes of the space.

    The first trainings are random. Then the proposal is the candidate with the largest expected
    improvement over the best posterior mean of the observed designs. A running training counts as
    its posterior mean, a failure as the worst observed value, and a stopped training as its
    predicted final value, see ``Curves``. The candidates are all untried designs if the space can
    be listed; otherwise they are random draws and the neighbours of the best designs.

    With a cost as second objective, candidates are ranked by the expected increase of the area
    under the Pareto front, see ``front_gain``. Latency, which is measured, has a separate model, of
    which the mean is used. If there are several costs, one is drawn for each proposal.

    Args:
        space: Searched space, with the recipe of the study.
        seed: Seed of all random choices.
        objectives: Validation score, and the costs to minimise beside it.
        scale: Metric and number of validation images; None if they are unknown.
    """

    def __init__(
        self,
        space: Space,
        seed: int,
        objectives: Sequence[str] = (SCORE,),
        scale: Scale | None = None,
    ) -> None:
        super().__init__(space, seed)
        self._objectives = tuple(objectives)
        self._scale = scale or USUAL
        self._encoding = Encoding.of(space)
        self._kernel = Kernel(self._encoding.axes)
        self._is_listed = space.size is not None and space.size <= ENUMERABLE
        self._pool: _Pool | None = None
        self._drawn: dict[int, Candidate] = {}
        self._rows: dict[str, Array] = {}
        self._costs: dict[tuple[str, str], float] = {}
        self._observed: dict[int, _Ended | None] = {}
        self._scales: dict[str, tuple[int, Scales]] = {}
        self._grams = {name: Gram(self._kernel) for name in self._objectives}

    def propose(
        self, study: optuna.Study, trial: FrozenTrial, trainings: Trainings, rng: random.Random
    ) -> Candidate:
        """Return the candidate with the largest expected improvement, or a random one."""
        seen = self._seen(study)
        if len(trainings) < RANDOM or len(seen) < ENDED:
            return self._draw(trainings, rng)
        posterior = self._posterior(self._objectives[0], seen)
        posterior = posterior.with_pending(self._rows_of(self._under_way(study, trainings)))
        pool = self._candidates(trial.number, posterior, seen)
        untried = np.array([key not in trainings for key in pool.keys])
        if not untried.any():
            return self._draw(trainings, rng)
        means = posterior.mean(pool.rows)
        if len(self._objectives) == 1:
            at = np.flatnonzero(untried)
            at = at[np.argsort(-means[at], kind="stable")[:SHORTLIST]]
            best = float(posterior.mean(posterior.seen.points).max())
            deviations = np.sqrt(posterior.variance(pool.rows, at))
            gains = expected_improvement(means[at], deviations, best)
        else:
            at = np.flatnonzero(untried)
            gains = self._front_gains(pool, at, posterior, seen, rng)
        return pool.candidates[int(at[np.argmax(gains)])]

    # --- observations ----------------------------------------------------------------------------

    def _under_way(self, study: optuna.Study, trainings: Trainings) -> list[FrozenTrial]:
        """Return the first training of each design with a running one."""
        trials = enumerate(study.get_trials(deepcopy=False))
        others = [trial for number, trial in trials if number not in self._observed]
        running = {
            key_of(trial)
            for trial in others
            if trial.state == TrialState.RUNNING and is_training(trial)
        }
        return [trainings[key][0] for key in trainings if key in running]

    def _seen(self, study: optuna.Study) -> _Seen:
        """Return the observations of the ended trainings, oldest first."""
        for number, trial in enumerate(study.get_trials(deepcopy=False)):
            # An ended trial never changes.
            if number not in self._observed and trial.state.is_finished():
                counts = is_training(trial) and not is_interrupted(trial)
                self._observed[number] = self._read(trial) if counts else None
        ended = [each for n in sorted(self._observed) if (each := self._observed[n]) is not None]
        states = np.array([each.trial.state.value for each in ended], dtype=int)
        complete = states == TrialState.COMPLETE.value
        stopped = states == TrialState.PRUNED.value
        curves = Curves(
            [ended[n].curve for n in np.flatnonzero(complete) if ended[n].curve],
            self._scale,
            [ended[n].curve for n in np.flatnonzero(stopped) if ended[n].curve],
        )
        scores, variances = np.array([each.score for each in ended]), np.zeros(len(ended))
        # A failure counts as the worst score.
        scores[states == TrialState.FAIL.value] = scores[complete].min(initial=np.inf)
        stopped &= np.isfinite(scores)
        epochs = [ended[n].epoch for n in np.flatnonzero(stopped)]
        scores[stopped], variances[stopped] = curves.finals(epochs, scores[stopped])
        known = np.flatnonzero(np.isfinite(scores) & np.isfinite(variances))
        return _Seen([ended[n] for n in known.tolist()], scores[known], variances[known])

    def _read(self, trial: FrozenTrial) -> _Ended:
        key = key_of(trial)
        if key not in self._rows:
            self._row(key, values_of(self._space, trial.params))
        curve = trial.intermediate_values
        epoch, score = max(curve.items(), default=(0, math.nan))
        if trial.state == TrialState.COMPLETE:
            score = trial.values[0]
        return _Ended(trial, key, self._rows[key], curve, epoch, score)

    def _posterior(self, name: str, seen: _Seen) -> Posterior:
        """Fit the model of an objective."""
        rows = np.array([each.row for each in seen.trainings])
        if name == self._objectives[0]:
            warp = Warp.of(seen.scores, self._scale)
            values = half_ranks(seen.scores, self._scale)
            # Ranks have no slope: all values get the median noise.
            floors = np.full(len(seen), float(np.median(warp.noise(seen.scores))))
            floors += seen.variances / warp.spread**2
        else:
            logs = seen.logs(self._objectives.index(name))
            values = (logs - logs.mean()) / (logs.std() or 1.0)
            floors = np.full(len(seen), 1e-4)
        gathered = Observations.of(rows, values, floors)
        count, scales = self._scales.get(name, (0, None))
        if scales is None or len(seen) >= count + max(REFIT, REFIT_SHARE * count):
            count, scales = len(seen), fit_scales(self._kernel, gathered)
            self._scales[name] = count, scales
        return Posterior.of(self._kernel, scales, gathered, self._grams[name])

    # --- two objectives --------------------------------------------------------------------------

    def _front_gains(
        self,
        pool: _Pool,
        at: npt.NDArray[np.intp],
        posterior: Posterior,
        seen: _Seen,
        rng: random.Random,
    ) -> Array:
        """Return the expected increase of the area under the front by each candidate."""
        name = rng.choice(self._objectives[1:])
        complete = seen.complete
        known = complete.logs(self._objectives.index(name))  # costs are compared by their ratios
        if name == LATENCY:
            measured = self._posterior(name, complete)
            costs = measured.mean(pool.rows)[at] * (known.std() or 1.0) + known.mean()
        else:
            costs = np.log([self._cost(pool.candidates[n], pool.keys[n], name) for n in at])
        front = posterior.mean(np.array([each.row for each in complete.trainings]))
        means = posterior.mean(pool.rows)[at]
        deviations = np.sqrt(posterior.variance(pool.rows, at))
        return front_gain(means, deviations, costs, front, known, float(front.min()))

    def _cost(self, candidate: Candidate, key: str, name: str) -> float:
        if (key, name) not in self._costs:
            space = self._space
            figures = cost(candidate.design, space.in_channels, space.image_size, space.classes)
            self._costs[key, name] = max(float(getattr(figures, name)), 1e-12)
        return self._costs[key, name]

    # --- candidates ------------------------------------------------------------------------------

    def _candidates(self, number: int, posterior: Posterior, seen: _Seen) -> _Pool:
        """Return the candidates, including tried designs."""
        if self._is_listed:
            if self._pool is None:
                self._pool = self._pool_of({each.key: each for each in self._space.candidates()})
            return self._pool
        # Each draw is seeded by its own number, so that a pool is reproducible.
        first = number * RENEWED
        self._drawn = {
            n: self._drawn.get(n) or self._space.draw(random.Random(f"{self._seed} pool {n}"))
            for n in range(first, first + DRAWN)
        }
        means = posterior.mean(posterior.seen.points)
        trials = {each.row.tobytes(): each.trial for each in seen.trainings}
        order = np.argsort(-means, kind="stable")
        # Running trainings have no neighbours yet: they may fail.
        rows = (posterior.seen.points[n].tobytes() for n in order)
        best = islice((trials[row] for row in rows if row in trials), BEST)
        near = [candidate for trial in best for candidate in self._neighbours(trial)]
        candidates = {candidate.key: candidate for candidate in (*self._drawn.values(), *near)}
        return self._pool_of(candidates)

    def _pool_of(self, candidates: Mapping[str, Candidate]) -> _Pool:
        rows = [self._row(key, each.values) for key, each in candidates.items()]
        return _Pool(list(candidates.values()), list(candidates), np.array(rows))

    def _rows_of(self, trials: Sequence[FrozenTrial]) -> Array:
        rows = []
        for trial in trials:
            key = key_of(trial)
            if key not in self._rows:
                self._row(key, values_of(self._space, trial.params))
            rows.append(self._rows[key])
        return np.array(rows).reshape(len(rows), len(self._encoding.axes))

    def _row(self, key: str, values: Mapping[str, Value]) -> Array:
        """Return the row of a candidate; designs with the same key have the same row."""
        if key not in self._rows:
            self._rows[key] = self._encoding.rows([values])[0]
        return self._rows[key]


@dataclass(frozen=True, slots=True)
class _Ended:
    """A training that has ended, with the row of its design and its last epoch and score."""

    trial: FrozenTrial
    key: str
    row: Array
    curve: Mapping[int, float]
    epoch: int
    score: float

    @property
    def is_complete(self) -> bool:
        return self.trial.state == TrialState.COMPLETE


@dataclass(frozen=True, slots=True)
class _Seen:
    """Observations of trainings: their final scores, or estimates of them."""

    trainings: Sequence[_Ended]
    scores: Array
    variances: Array  # of estimated scores, in squared logits

    def __len__(self) -> int:
        return len(self.trainings)

    @property
    def complete(self) -> _Seen:
        """The trainings with the full budget alone."""
        at = [n for n, each in enumerate(self.trainings) if each.is_complete]
        return _Seen([self.trainings[n] for n in at], self.scores[at], self.variances[at])

    def logs(self, objective: int) -> Array:
        """Return the logarithm of each training's value of an objective."""
        values = [each.trial.values[objective] for each in self.trainings]
        return np.log(np.maximum(values, 1e-12))


@dataclass(frozen=True, slots=True)
class _Pool:
    """Candidates, with their keys and the rows of their encoding."""

    candidates: list[Candidate]
    keys: list[str]
    rows: Array
