"""Questions about a space, answered from draws of a posterior.

Everything here works on a matrix of draws: each row is one space consistent with the data, each
column one of its designs, each number a score at the full budget. The quantity of interest is
computed in every row; its spread over the rows is the remaining uncertainty.
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

COVERAGE = 0.95  # probability that an interval contains the value
CONFIDENCE = 0.975  # of statements: the 95 % interval of a worse level is then below 0
BEST, TIED, WORSE, OPEN = "best", "tied", "worse", "open"
CANDIDATES = 64  # designs among which a simulated training is chosen
STATES = 400  # draws that it updates


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Joint verdicts on the levels of an axis.

    Attributes:
        reference: Level that the others are compared with.
        words: Verdict on each level: ``worse``, ``tied`` (with the reference) or ``open``. The
            reference is ``best`` if all others are worse, ``tied`` if a level is tied with it and
            none is open, else ``open``.
        confidence: Probability that all verdicts except ``open`` ones are true.
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
        draws: Draws, (S, N).
        codes: Level of each design, (N,), from 0; -1 if the axis has no effect. Each level up to
            the highest code has a design.

    Returns:
        The means, (S, L).
    """
    members = _members(codes)
    means: Array = draws @ (members / members.sum(axis=0))
    return means


def level_bests(draws: Array, codes: Codes, trained: Flags, least: float) -> tuple[Array, Array]:
    """Return bounds on the score of the best design with each level.

    The upper bound is the score of the best of all designs. It relies on predictions for designs
    unlike any trained one, and the best of many such guesses is optimistic. So the lower bound is
    the score of the best trained design.

    Args:
        draws: As for ``level_means``.
        codes: As for ``level_means``.
        trained: Whether each design was trained, (N,).
        least: Lower bound for a level without a trained design.

    Returns:
        The lower bounds, (S, L), and the upper bounds, (S, L).
    """
    most = [draws[:, codes == i].max(axis=1) for i in range(codes.max() + 1)]
    low = [
        draws[:, (codes == i) & trained].max(axis=1, initial=least) for i in range(codes.max() + 1)
    ]
    return np.column_stack(low), np.column_stack(most)


def chance_of_design(draws: Array) -> Array:
    """Return the probability that each design is the best of the space; equal ones share it.

    Args:
        draws: Draws, (S, N).

    Returns:
        The probabilities, (N,), with the sum 1.
    """
    first = draws == draws.max(axis=1, keepdims=True)
    chances: Array = (first / first.sum(axis=1, keepdims=True)).mean(axis=0)
    return chances


def chance_of_level(chances: Array, codes: Codes) -> Array:
    """Return the probability that the best design of the space has each level.

    Args:
        chances: Result of ``chance_of_design``, (N,).
        codes: As for ``level_means``.

    Returns:
        The probabilities, (L,); the sum is below 1 if the axis may not affect the best design.
    """
    active = codes >= 0
    sums = np.bincount(codes[active], chances[active], minlength=codes.max() + 1)
    return np.asarray(sums, dtype=float)


def interval(values: Array, confidence: float = COVERAGE) -> tuple[Array, Array]:
    """Return the central interval of each column.

    Args:
        values: Draws, (S, K).
        confidence: Probability that one value lies in its interval.
    """
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail], axis=0)
    return low, high


def intervals_together(values: Array, confidence: float = COVERAGE) -> tuple[Array, Array]:
    """Return intervals that contain all columns simultaneously with a given probability.

    Their ends are order statistics of equal rank (Besag, Green, Higdon & Mengersen 1995, Bayesian
    Computation and Stochastic Systems, doi:10.1214/ss/1177010123, section 6.3).

    Args:
        values: Draws, (S, K); constant columns are ignored.
        confidence: Probability that all values lie in their intervals.
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
    """Decide which levels are worse than the best one, and which are tied with it.

    The reference is the level that is most often the highest (by the lower bounds). The statement
    about another level is the more probable of "worse than the reference" and "within the margin
    of it". Statements are accepted in order of decreasing probability, as long as all accepted ones
    hold jointly with the given confidence.

    Args:
        levels: Draws of the levels' values, (S, L).
        margin: Difference that is too small to matter.
        confidence: Joint probability of the accepted statements.
        least: Lower bounds on the values, (S, L), if ``levels`` are upper bounds; a statement must
            then hold for all values in between. None if ``levels`` are the values themselves.
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
    """Draws of the shares of the variance over the space that are explained by axes.

    Attributes:
        main: Share of each single axis, (S,), by name.
        pairs: Share of each pair of axes, (S,), beyond what the two explain separately.
    """

    main: Mapping[str, Array]
    pairs: Mapping[tuple[str, str], Array]


def sobol_shares(draws: Array, axes: Mapping[str, Codes], most_pairs: int | None = None) -> Shares:
    """Return Sobol's shares of first and second order (Sobol' 1993, Saltelli et al. 2010).

    All designs of the space have equal weight. The share of an axis is the variance of its levels'
    means divided by the variance of all designs. If an axis has no effect on some designs, the
    variance of the means is that among the other designs, since the difference between the two
    groups is due to another axis. The share of a pair is the variance of the means of all
    combinations of levels minus those of the levels of each axis, among the designs on which both
    axes have an effect. It may be slightly negative if these designs lack some combinations.

    Args:
        draws: Draws, (S, N).
        axes: Codes of each axis, (N,), by name.
        most_pairs: Maximum number of pairs; those of the axes that explain most are kept. None for
            all pairs.
    """
    total = draws.var(axis=1)
    scale = np.divide(1.0, total, out=np.zeros_like(total), where=total > 0)

    def explained(codes: Codes, among: Flags) -> Array:
        if not among.any():
            return np.zeros(len(draws))
        some = draws[:, among]
        members = _members(np.unique(codes[among], return_inverse=True)[1])
        sizes = members.sum(axis=0)
        means = some @ (members / sizes)
        centred = means - some.mean(axis=1, keepdims=True)
        share: Array = (centred**2 @ sizes) / len(codes) * scale
        return share

    main = {name: explained(codes, codes >= 0) for name, codes in axes.items()}
    pairs = {}
    ranked = sorted(axes, key=lambda name: -float(main[name].mean()))
    chosen = {(a, b) for a, b in list(combinations(ranked, 2))[:most_pairs]}
    for first, second in combinations(axes, 2):
        if (first, second) not in chosen and (second, first) not in chosen:
            continue
        a, b = axes[first], axes[second]
        among = (a >= 0) & (b >= 0)
        of_cells = explained(a * (b.max() + 1) + b, among)
        pairs[first, second] = of_cells - explained(a, among) - explained(b, among)
    return Shares(main, pairs)


def further_trainings(values: Array, levels: Array, noise: float, margin: float) -> float:
    """Estimate how many trainings would settle which level is best.

    Args:
        values: Draws of all designs that may be trained, (S, N), on the scale of the model.
        levels: As for ``further``.
        noise: As for ``further``.
        margin: As for ``further``.

    Returns:
        Estimate of ``further`` among the most informative designs; infinite for more than 100.
    """
    values, levels = values[:STATES], levels[:STATES]
    chosen = ordered_by_information(values, levels, noise)[:CANDIDATES]
    found = further(values[:, chosen], levels, noise, margin, np.random.default_rng(0))
    return np.inf if found is None else float(found)


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
    """Estimate by simulation how many trainings would settle which level is best.

    Each continuation takes one draw as the truth. The next training is of the design whose value
    is expected to narrow the differences between the levels most. Its result is simulated, and all
    draws are updated by the ensemble Kalman filter with perturbed observations (Burgers, van
    Leeuwen & Evensen 1998). The question is settled when ``judge`` leaves no level open. This is an
    estimate, since the relation of levels to values is assumed to be linear.

    Args:
        values: Draws of designs that may be trained, (S, C), on the scale of the model.
        levels: Draws of the levels' values, (S, L), of the same rows.
        noise: Variance of a training's value, on the scale of the model.
        margin: Difference between levels that is too small to matter.
        rng: Generator of the simulation.
        most: Maximum number of trainings in a continuation.
        continuations: Number of simulated continuations.
        confidence: As for ``judge``.

    Returns:
        The median number of trainings; None if more than half of the continuations stayed open.
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
        chosen = ordered_by_information(state[:, :designs], state[:, designs:], noise)[0]
        seen = true[chosen] + rng.normal(0, deviation)
        column = state[:, chosen].copy()
        centred = column - column.mean()
        gain = centred @ (state - state.mean(axis=0)) / len(state) / (centred.var() + noise)
        state += np.outer(seen + rng.normal(0, deviation, len(state)) - column, gain)
    return most + 1


def ordered_by_information(values: Array, levels: Array, noise: float) -> Codes:
    """Order designs by how much one training narrows all differences of levels together.

    Args:
        values: Draws of designs, (S, N), on the scale of the model.
        levels: Draws of the levels' values, (S, L), of the same rows.
        noise: Variance of a training's value, on the scale of the model.

    Returns:
        Indices of the designs, the most informative first.
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
    """Return an indicator matrix of the level of each design, (N, L)."""
    members = np.zeros((len(codes), codes.max(initial=-1) + 1))
    active = np.flatnonzero(codes >= 0)
    members[active, codes[active]] = 1
    return members
