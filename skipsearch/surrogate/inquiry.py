"""Questions about a space: the answers from its trainings, and the next training.

All results depend only on the given space and trainings; results are cached only to save time.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf, nan

import numpy as np

from skipsearch.axes import RECIPE, Range, Value, fields_of, split_name
from skipsearch.errors import RunError, not_one_of, shown_value
from skipsearch.metric import Metric, Scale
from skipsearch.space import Candidate, Space
from skipsearch.surrogate.answers import Codes, further_trainings, level_means
from skipsearch.surrogate.belief import Belief
from skipsearch.surrogate.encoding import Array, Encoding
from skipsearch.surrogate.kernel import Kernel, Scales
from skipsearch.surrogate.observations import Observations
from skipsearch.surrogate.population import representatives
from skipsearch.surrogate.process import Posterior
from skipsearch.surrogate.question import Answer, Question, narrowed, slopes, variance_removed
from skipsearch.surrogate.scales import MAIN, NOISE, OWN, PAIR
from skipsearch.surrogate.warp import Warp

MOST_LEVELS = 20  # maximum number of compared levels of an axis
MOST_NUMBERS = 6  # the same for a numeric axis; the report divides more values into thirds
DRAWS = 1_000  # from the posterior
FIRST = 10  # minimum number of trainings before the model is fitted


@dataclass(frozen=True, slots=True)
class Training:
    """The data of a training.

    Attributes:
        key: Key of the design and recipe, see ``Candidate.key``.
        seed: Seed of the training.
        values: Values of the parameters that matter for it.
        score: Score at the full budget, or that of guessing if the training diverged; None if
            it is running or failed in another way.
        failed: Whether it diverged or failed in another way.
    """

    key: str
    seed: int
    values: Mapping[str, Value]
    score: float | None = None
    failed: bool = False


class Inquiry:
    """Questions about which levels of some axes are the best, on average over a space's designs.

    All designs of a finite space of up to 4,000 points have equal weight; a larger or infinite
    space is represented by 2,000 randomly drawn designs, always the same ones.

    Args:
        space: Space, with the recipe of the trainings.
        axes: Parameters of the space, or fields that its axes set.
        margin: Difference in mean score that is too small to matter.
        scale: Metric and number of validation images.
        seed: Seed of the first training of each design.
        seeds: Maximum number of trainings of one design.

    Attributes:
        margin: Difference in mean score that is too small to matter.
        guess: Score of a network that has learnt nothing.

    Raises:
        RunError: If an axis is missing, is named twice or has no levels to compare, or the margin
            is not above 0.
    """

    def __init__(
        self,
        space: Space,
        axes: Sequence[str],
        *,
        margin: float,
        scale: Scale,
        seed: int = 0,
        seeds: int = 1,
    ) -> None:
        check_question(space, axes, margin, scale.metric)
        self.margin = margin
        self._scale = scale
        self.guess = scale.guess(space.classes)
        self._seeds = range(seed, seed + seeds)
        self._encoding = Encoding.of(space)
        self._pool = representatives(space)
        self._place = {candidate.key: i for i, candidate in enumerate(self._pool)}
        self._rows = self._encoding.rows(candidate.values for candidate in self._pool)
        self._questions = [_question(space, axis, self._pool) for axis in axes]
        self._known: tuple[tuple[Training, ...], _Knowledge] | None = None

    def answers(self, trainings: Iterable[Training]) -> list[Answer] | None:
        """Return the answer to each question; None if there is not enough data to fit a model."""
        knowledge = self._knowledge(trainings)
        return None if knowledge is None else knowledge.answers

    def further(self, trainings: Iterable[Training]) -> list[float]:
        """Return how many further trainings would settle each question.

        Returns:
            An estimate for each question, see ``further_trainings``; NaN if it is settled. Empty if
            there is not enough data to fit a model.
        """
        knowledge = self._knowledge(trainings)
        return [] if knowledge is None else knowledge.further(self.margin)

    @property
    def fewest(self) -> int:
        """Number of finished trainings from which the model is fitted."""
        return max(FIRST, 2 * max(len(question.levels) for question in self._questions))

    def is_settled(self, trainings: Iterable[Training]) -> bool:
        """Whether no level of any axis is open."""
        answers = self.answers(trainings)
        return answers is not None and all(answer.settled for answer in answers)

    def next(
        self, trainings: Sequence[Training], rng: random.Random
    ) -> tuple[Candidate, int] | None:
        """Return the design and the seed of the most informative training; None if none is left.

        Running trainings count as done. A design is trained with a further seed if that is more
        informative than any new design.

        Args:
            trainings: All existing trainings.
            rng: Generator for breaking ties.
        """
        free = self._free_seeds(trainings)
        if not free:
            return None
        knowledge = self._knowledge(trainings)
        under_way = self._points([t for t in trainings if t.score is None and not t.failed])
        if knowledge is None:
            begun = self._points([t for t in trainings if not t.failed])
            information = self._before_the_first_fit(begun)
        else:
            information = self._information(knowledge, under_way)
        order = rng.sample(sorted(free), len(free))
        best = max(order, key=lambda place: information[place])
        return self._pool[best], free[best]

    def _free_seeds(self, trainings: Iterable[Training]) -> dict[int, int]:
        """Return the next seed of each design that may be trained, by its index in the pool."""
        taken: dict[str, set[int]] = {}
        failed = set()
        for training in trainings:
            taken.setdefault(training.key, set()).add(training.seed)
            if training.failed:
                failed.add(training.key)
        free = {}
        for place, candidate in enumerate(self._pool):
            used = taken.get(candidate.key, ())
            seed = next((seed for seed in self._seeds if seed not in used), None)
            if seed is not None and candidate.key not in failed:
                free[place] = seed
        return free

    def _points(self, trainings: Sequence[Training]) -> Array:
        """Return a row for each training, that of the same design in the pool if there is one."""
        values = [
            self._pool[self._place[t.key]].values if t.key in self._place else t.values
            for t in trainings
        ]
        return self._encoding.rows(values)

    def _knowledge(self, trainings: Iterable[Training]) -> _Knowledge | None:
        ended = tuple(t for t in trainings if t.score is not None)
        if len(ended) < self.fewest:
            return None
        if self._known is None or self._known[0] != ended:
            self._known = ended, self._worked_out(ended)
        return self._known[1]

    def _worked_out(self, ended: Sequence[Training]) -> _Knowledge:
        scores = np.array([t.score for t in ended], dtype=float)
        warp = Warp.of(scores, self._scale)
        observed, floors = warp.values(scores), warp.noise(scores)
        # The same draws as in the report, so that the same levels are open.
        rng = np.random.default_rng(0)
        least = min(self.guess, scores.min())
        points = self._points(ended)
        belief = Belief.of(self._encoding, warp, points, observed, floors, rng, least)
        values = belief.values(self._rows, DRAWS, rng)
        draws = belief.scores(values)
        answers = [Answer.of(question, draws, self.margin) for question in self._questions]
        # The next training is chosen with the most probable scales alone.
        return _Knowledge(warp, belief.posteriors[0], answers, values, draws, belief.noise)

    def _information(self, knowledge: _Knowledge, under_way: Array) -> Array:
        """Return how informative a training of each design would be."""
        warp = knowledge.warp
        posterior = knowledge.posterior.with_pending(under_way)
        slope = slopes(posterior, self._rows, warp.scores)
        noise = warp.noise(warp.scores(posterior.mean(self._rows))) + posterior.scales.noise
        reductions = []
        for answer in knowledge.answers:
            contrasts = answer.question.contrasts(answer.verdicts.reference) * slope
            decrease, variances = narrowed(posterior, self._rows, contrasts, noise)
            reductions.append((decrease, variances, answer.doubts))
        return variance_removed(reductions)

    def _before_the_first_fit(self, begun: Array) -> Array:
        """Return how informative a training of each design would be under the prior."""
        if not len(begun):
            return np.zeros(len(self._pool))
        scales = self._assumed
        nothing = np.zeros(len(begun))
        seen = Observations.of(begun, nothing, nothing)
        posterior = Posterior.of(Kernel(self._encoding.axes), scales, seen)
        noise = np.full(len(self._pool), scales.noise)
        reductions = []
        for question in self._questions:
            decrease, variances = narrowed(posterior, self._rows, question.contrasts(), noise)
            reductions.append((decrease, variances, np.ones(len(variances))))
        return variance_removed(reductions)

    @cached_property
    def _assumed(self) -> Scales:
        main, pair, own, noise = np.exp([MAIN, PAIR, OWN, NOISE]).tolist()
        return Scales(main, pair, own, noise, (1.0,) * len(self._encoding.axes))


@dataclass(frozen=True, slots=True)
class _Knowledge:
    """The posterior after some trainings.

    Attributes:
        warp: Map from scores to the values of the model.
        posterior: Posterior at the most probable scales.
        answers: Answer to each question.
        values: Draws (S, N) of each design on the scale of the model.
        draws: The same draws (S, N) as scores.
        noise: Variance of the value of one further training.
    """

    warp: Warp
    posterior: Posterior
    answers: list[Answer]
    values: Array
    draws: Array
    noise: float

    def further(self, margin: float) -> list[float]:
        """Return how many further trainings would settle each question; NaN for a settled one."""
        return [
            nan
            if answer.settled
            else further_trainings(
                self.values, level_means(self.draws, answer.question.codes), self.noise, margin
            )
            for answer in self.answers
        ]


def check_question(space: Space, axes: Sequence[str], margin: float, metric: Metric) -> None:
    """Raise an error for invalid questions about a space.

    Args:
        space: Search space.
        axes: Parameters of the space, or fields that its axes set.
        margin: Difference that is too small to matter.
        metric: Metric of the scores.

    Raises:
        RunError: As for ``Inquiry``.
    """
    allowed = list(dict.fromkeys((*space.parameters, *fields_of(space.parameters))))
    assert axes, "asked about nothing"
    for axis in axes:
        if axis not in allowed:
            raise RunError(f"ask: {not_one_of(axis, allowed)}")
        if axes.count(axis) > 1:
            raise RunError(f"ask: {axis} is named twice")
        parts = [axis] if axis in space.parameters else _parts(space, axis)
        for name in parts:
            parameter = space.parameters[name]
            if parameter.size is None:
                raise RunError(
                    f"ask: axes.{name} is an endless range, whose values cannot be compared one"
                    " by one; allowed: a list of values, or a range with a step"
                )
            if isinstance(parameter, Range) and parameter.size > MOST_NUMBERS:
                raise RunError(_too_many(name, parameter.size, MOST_NUMBERS))
    most = metric.best - metric.worst
    if isinstance(margin, bool) or not isinstance(margin, int | float) or not 0 < margin < most:
        limits = f"between 0 and {most:g}" if most < inf else "above 0"
        raise RunError(f"margin: {margin!r} is not a difference in {metric.title} {limits}")


def _parts(space: Space, field: str) -> list[str]:
    return [name for name in space.parameters if split_name(name).field == field]


def _too_many(axis: str, levels: int, most: int) -> str:
    return (
        f"ask: {axis} has {levels:,} levels, and at most {most} can be compared; give fewer values,"
        " or a larger step"
    )


def _question(space: Space, axis: str, pool: Sequence[Candidate]) -> Question:
    found = [_level(space, candidate, axis) for candidate in pool]
    levels = tuple(sorted({level for level in found if level != NO_LEVEL}, key=_order))
    if len(levels) < 2:
        only = f"the one level {shown_value(levels[0])}" if levels else "no level"
        raise RunError(
            f"ask: {axis} has {only} in the designs of {space.name}; two are needed to compare"
        )
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in levels)
    most = MOST_NUMBERS if numbers else MOST_LEVELS
    if len(levels) > most:
        raise RunError(_too_many(axis, len(levels), most))
    number = {level: i for i, level in enumerate(levels)}
    return Question(axis, levels, _codes(found, number))


NO_LEVEL = ()  # level of an axis that has no effect on a design


def _codes(found: Sequence[Value], number: Mapping[Value, int]) -> Codes:
    return np.array([number.get(level, -1) for level in found], dtype=np.intp)


def _level(space: Space, candidate: Candidate, axis: str) -> Value:
    """Return a design's level of an axis, or of a field that several axes set."""
    if axis in space.parameters:
        return candidate.values.get(axis, NO_LEVEL)
    if axis.startswith(RECIPE):
        level: Value = getattr(candidate.recipe, axis.removeprefix(RECIPE))
        return level
    if not candidate.design.has_effect(axis):
        return NO_LEVEL
    return tuple(v) if isinstance(v := getattr(candidate.design, axis), list) else v


def _order(level: Value) -> tuple[str, ...]:
    return (type(level).__name__, str(level))
