"""Questions about a space, answered from draws of a posterior.

Everything here works on a matrix of draws: each row is one space that the data allow, each column
one of its designs, each number an accuracy at the full budget. What is asked of the space is
computed in every row; the spread over the rows is what the data leave open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Codes = NDArray[np.intp]
Flags = NDArray[np.bool_]

COVERAGE = 0.95  # of intervals
CONFIDENCE = 0.975  # of statements: what is worse then has an interval below 0
BEST, TIED, WORSE, OPEN = "best", "tied", "worse", "open"


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What can be said about the levels of an axis, all statements together.

    Attributes:
        reference: The level that the others are compared with.
        words: Of each level: ``worse`` or ``tied`` (with the reference) or ``open``; the reference
            is ``best`` where all others are worse, ``tied`` where a level is tied with it and none
            is open, else ``open``.
        confidence: The probability that all statements that are not ``open`` are true.
    """

    reference: int
    words: tuple[str, ...]
    confidence: float

    @property
    def settled(self) -> bool:
        """Whether no level is open."""
        return OPEN not in self.words


def level_means(draws: Array, codes: Codes) -> Array:
    """Return the mean of each level over the designs that have it.

    Args:
        draws: (S, N)
        codes: (N,) the level of each design, from 0; -1 where the axis has no effect. Each level
            up to the highest code has a design.

    Returns:
        (S, L)
    """
    members = _members(codes)
    means: Array = draws @ (members / members.sum(axis=0))
    return means


def level_bests(draws: Array, codes: Codes, trained: Flags, least: float) -> tuple[Array, Array]:
    """Return the accuracy of the best design with each level, at the least and at the most.

    At the most it is that of the best of all designs. That rests on what the model says of designs
    like none that was trained, and the best of many such guesses is the most lucky one; so at the
    least it is that of the best design that was trained.

    Args:
        draws: As for ``level_means``.
        codes: As for ``level_means``.
        trained: (N,) whether a design was trained.
        least: Accuracy that counts where none with a level was.

    Returns:
        (S, L) at the least, and (S, L) at the most.
    """
    most = [draws[:, codes == i].max(axis=1) for i in range(codes.max() + 1)]
    low = [
        draws[:, (codes == i) & trained].max(axis=1, initial=least) for i in range(codes.max() + 1)
    ]
    return np.column_stack(low), np.column_stack(most)


def chance_of_design(draws: Array) -> Array:
    """Return the probability that each design is the best of the space; equals share it.

    Args:
        draws: (S, N)

    Returns:
        (N,) with the sum 1.
    """
    first = draws == draws.max(axis=1, keepdims=True)
    chances: Array = (first / first.sum(axis=1, keepdims=True)).mean(axis=0)
    return chances


def chance_of_level(chances: Array, codes: Codes) -> Array:
    """Return the probability that the best design of the space has each level.

    Args:
        chances: (N,) what ``chance_of_design`` returns.
        codes: As for ``level_means``.

    Returns:
        (L,) with a sum below 1 where the best design may be one on which the axis has no effect.
    """
    active = codes >= 0
    sums = np.bincount(codes[active], chances[active], minlength=codes.max() + 1)
    return np.asarray(sums, dtype=float)


def interval(values: Array, confidence: float = COVERAGE) -> tuple[Array, Array]:
    """Return the central interval of each column.

    Args:
        values: (S, K) draws.
        confidence: The probability that one value lies in its interval.
    """
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail], axis=0)
    return low, high


def intervals_together(values: Array, confidence: float = COVERAGE) -> tuple[Array, Array]:
    """Return intervals that hold all columns at once with the probability given.

    Their ends are order statistics of equal rank (Besag, Green, Higdon & Mengersen 1995, Bayesian
    Computation and Stochastic Systems, doi:10.1214/ss/1177010123, section 6.3).

    Args:
        values: (S, K) draws; columns that are constant take no part.
        confidence: The probability that all values lie in their intervals.
    """
    count = len(values)
    ordered = np.sort(values, axis=0)
    free = ordered[0] < ordered[-1]
    if not free.any():
        return ordered[0], ordered[-1]
    ranks = np.argsort(np.argsort(values[:, free], axis=0), axis=0)
    outermost = np.sort(np.maximum(ranks, count - 1 - ranks).max(axis=1))
    place = outermost[min(count - 1, int(np.ceil(confidence * count)))]
    return ordered[count - 1 - place], ordered[place]


def judge(
    levels: Array, margin: float, confidence: float = CONFIDENCE, least: Array | None = None
) -> Verdicts:
    """Say which levels are worse than the best one, and which are tied with it.

    The reference is the level that is the highest in most draws (at the least). The statement made
    about another level is the more probable of "worse than the reference" and "within the margin
    of it".
    Statements are accepted from the most probable on, as long as all that are accepted hold
    together with the confidence asked for.

    Args:
        levels: (S, L) draws of the levels' values.
        margin: A difference that is too small to matter.
        confidence: As said.
        least: (S, L) what the values are at the least, where ``levels`` is what they are at the
            most; a statement then has to hold for all between. None where they are known alike.
    """
    least = levels if least is None else least
    count = levels.shape[1]
    reference = _reference(least)
    most = levels - least[:, [reference]]
    worse, tied = most < 0, (most <= margin) & (least - levels[:, [reference]] >= -margin)
    is_worse = worse.mean(axis=0) >= tied.mean(axis=0)
    holds = np.where(is_worse, worse, tied)
    together = np.ones(len(levels), dtype=bool)
    words = [OPEN] * count
    for i in np.argsort(-holds.mean(axis=0), kind="stable"):
        if i == reference:
            continue
        now = together & holds[:, i]
        if now.mean() < confidence:
            break
        together, words[i] = now, WORSE if is_worse[i] else TIED
    others = {words[i] for i in range(count) if i != reference}
    if OPEN not in others:
        words[reference] = TIED if TIED in others else BEST
    return Verdicts(reference, tuple(words), float(together.mean()))


@dataclass(frozen=True, slots=True)
class Shares:
    """How much of the variance over the space axes explain, in draws.

    Attributes:
        main: (S,) of each axis alone, by its name.
        pairs: (S,) of each two axes together, beyond what each of them explains alone.
    """

    main: Mapping[str, Array]
    pairs: Mapping[tuple[str, str], Array]


def sobol_shares(draws: Array, axes: Mapping[str, Codes], most_pairs: int | None = None) -> Shares:
    """Return Sobol's shares of first and second order (Sobol' 1993, Saltelli et al. 2010).

    All designs of the space count alike. The share of an axis is the variance of its levels' means
    over the variance of all designs; where it has no effect is a level like the others. A pair's
    is that of the means of all combinations, less the two axes' own. Where axes are conditional
    upon another, designs do not fill the whole grid: what two axes say alike is then taken once
    from their pair, which may fall below 0.

    Args:
        draws: (S, N)
        axes: (N,) codes of each axis, by its name.
        most_pairs: Pairs that are looked at, at most: those of the axes that explain most.
    """
    total = draws.var(axis=1)
    scale = np.divide(1.0, total, out=np.zeros_like(total), where=total > 0)

    def explained(codes: Codes) -> Array:
        members = _members(np.unique(codes, return_inverse=True)[1])
        sizes = members.sum(axis=0)
        means = draws @ (members / sizes)
        centred = means - draws.mean(axis=1, keepdims=True)
        share: Array = (centred**2 @ sizes) / len(codes) * scale
        return share

    main = {name: explained(codes) for name, codes in axes.items()}
    pairs = {}
    ranked = sorted(axes, key=lambda name: -float(main[name].mean()))
    chosen = {(a, b) for a, b in list(combinations(ranked, 2))[:most_pairs]}
    for first, second in combinations(axes, 2):
        if (first, second) not in chosen and (second, first) not in chosen:
            continue
        both = axes[first] * (axes[second].max() + 2) + axes[second]
        pairs[first, second] = explained(both) - main[first] - main[second]
    return Shares(main, pairs)


def further(
    values: Array,
    levels: Array,
    noise: float,
    margin: float,
    rng: np.random.Generator,
    *,
    most: int = 100,
    continuations: int = 5,
    confidence: float = CONFIDENCE,
) -> int | None:
    """Simulate the trainings that would settle which level is best.

    One draw after another is taken for the truth. The next training is of the design whose value
    is expected to narrow the differences between the levels most; what it shows is simulated, and
    all draws are moved by what it teaches, by the ensemble Kalman filter with perturbed
    observations (Burgers, van Leeuwen & Evensen 1998). The question is settled when ``judge``
    leaves no level open. It is an estimate: the relation of levels to values is taken for linear.

    Args:
        values: (S, C) draws of designs that may be trained, on the scale of the model.
        levels: (S, L) draws of the levels' values, of the same rows.
        noise: Variance of a training's value, on the scale of the model.
        margin: A difference between levels that is too small to matter.
        rng: Of the simulation.
        most: Trainings after which a continuation ends.
        continuations: How many are simulated.
        confidence: As for ``judge``.

    Returns:
        The median number of trainings; None where more than half of the simulated continuations
        were open at the end.
    """
    counts = []
    for truth in rng.choice(len(values), size=min(continuations, len(values)), replace=False):
        counts.append(_continued(values, levels, noise, margin, rng, truth, most, confidence))
    median = float(np.median(counts))
    return None if median > most else round(median)


def _continued(
    values: Array,
    levels: Array,
    noise: float,
    margin: float,
    rng: np.random.Generator,
    truth: int,
    most: int,
    confidence: float,
) -> int:
    """Return the number of trainings until a simulated continuation is settled."""
    true = values[truth].copy()
    state = np.hstack([np.delete(values, truth, axis=0), np.delete(levels, truth, axis=0)])
    designs, deviation = values.shape[1], float(np.sqrt(noise))
    for count in range(most + 1):
        if judge(state[:, designs:], margin, confidence).settled:
            return count
        chosen = most_informative(state[:, :designs], state[:, designs:], noise)[0]
        seen = true[chosen] + rng.normal(0, deviation)
        column = state[:, chosen].copy()
        centred = column - column.mean()
        gain = centred @ (state - state.mean(axis=0)) / len(state) / (centred.var() + noise)
        state += np.outer(seen + rng.normal(0, deviation, len(state)) - column, gain)
    return most + 1


def most_informative(values: Array, levels: Array, noise: float) -> Codes:
    """Order designs by how much one training of each narrows the levels' differences, in all.

    Args:
        values: (S, N) draws of designs, on the scale of the model.
        levels: (S, L) draws of the levels' values, of the same rows.
        noise: Variance of a training's value, on the scale of the model.

    Returns:
        Places of the designs, the most telling first.
    """
    differences = levels - levels[:, [_reference(levels)]]
    centred = values - values.mean(axis=0)
    covariance = centred.T @ (differences - differences.mean(axis=0)) / len(values)
    narrowed = (covariance**2).sum(axis=1) / (centred.var(axis=0) + noise)
    return np.argsort(-narrowed, kind="stable")


def _reference(levels: Array) -> int:
    firsts = np.bincount(levels.argmax(axis=1), minlength=levels.shape[1])
    ahead = np.flatnonzero(firsts == firsts.max())
    return int(ahead[levels[:, ahead].mean(axis=0).argmax()])


def _members(codes: Codes) -> Array:
    """Return (N, L) which design has which level."""
    members = np.zeros((len(codes), codes.max(initial=-1) + 1))
    active = np.flatnonzero(codes >= 0)
    members[active, codes[active]] = 1
    return members
