"""Effect of each axis on the score at the full budget, over the whole space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np
import pandas as pd

from skipsearch.analysis.columns import as_values
from skipsearch.analysis.knowledge import FAILED, FULL, OPEN, STOPPED, Knowledge
from skipsearch.defaults import MARGIN
from skipsearch.errors import RunError, not_one_of
from skipsearch.record import COSTS
from skipsearch.surrogate import answers
from skipsearch.surrogate.answers import (
    Array,
    Codes,
    Verdicts,
    chance_of_design,
    chance_of_level,
    further_trainings,
    interval,
    judge,
    level_bests,
    level_means,
)

BEST, TIED, WORSE = answers.BEST, answers.TIED, answers.WORSE
UNKNOWN = "not enough data"
POSTERIOR = "posterior"
COLUMNS = (
    *("axis", "level", "epochs", "n", "designs", "failed", "stopped"),
    *("mean", "low", "high", "difference", "d_low", "d_high", "verdict"),
    *("best", "best_low", "best_high", "best_difference", "bd_low", "bd_high", "best_verdict"),
    *("chance", "pairs", "method", "further"),
)
SCORES = ("mean", "difference", "best", "best_difference")
INTERVALS = (
    ("low", "high"),
    ("d_low", "d_high"),
    ("best_low", "best_high"),
    ("bd_low", "bd_high"),
)


def effects(
    known: Knowledge,
    axis: str | None = None,
    controlled: str | None = None,
    margin: float = MARGIN,
    with_further: bool = True,
) -> pd.DataFrame:
    """Compare the levels of each axis over all designs of the space, at the full budget.

    All numbers are from the posterior over spaces, see ``learn``: the scores of all designs of
    the space, trained or not, given the trainings. Intervals stay within the possible range, since
    each draw is a space with possible scores.

    There are two questions. *On average*: the mean over all designs of the space with a level,
    minus that over those with the reference. *At its best*: the best design with a level against
    the best with the reference. A level that does not fit many other choices is worse on average,
    and may still be as good as any at its best.

    *At its best*, the better end of an interval is for the best of all designs, and the worse end
    for the best trained one, since the best of many predictions for untrained designs is
    optimistic.

    Args:
        known: Posterior from ``learn``.
        axis: Axis, or field of several axes; None for all axes.
        controlled: Cost that is held constant in the comparison, one of ``COSTS``: its logarithm is
            a covariate of the mean over the designs. There are then no results for the best
            designs.
        margin: Difference between scores that is too small to matter.
        with_further: Whether to simulate further trainings, which takes a second per axis.

    Returns:
        One row for each axis and level, the reference first, then from best to worst on average.
        Levels that no design of the space has are omitted. Columns:

        axis, level
        epochs               budget of the values
        n                    number of observed trainings
        designs              number of their designs
        failed               number of further trainings that failed
        stopped              number of trainings that were stopped early or are running; those that
                             predict the final value are also counted in ``n``
        mean                 validation metric, mean over the space's designs with the level
        low, high            its 95 % interval
        difference           mean minus that of the reference
        d_low, d_high        its 95 % interval
        verdict              on average: "worse", "tied" (within the margin) or "not enough data";
                             all statements about an axis hold jointly with a probability of 0.975.
                             The reference is "best" if all others are worse, "tied" if none is
                             open
        best                 value of the best design with the level
        best_low, best_high  its 95 % interval
        best_difference      best minus that of the level whose best trained design leads; 0 for
                             this level itself
        bd_low, bd_high      its 95 % interval
        best_verdict         at its best, as ``verdict``
        chance               probability that the best design of the space has the level
        pairs                0; used by the paired method only
        method               "posterior"
        further              if the verdict is open: number of further trainings that would settle
                             it, each the most informative one, median over simulated
                             continuations; infinite for more than 100, NaN if it is settled

    Raises:
        RunError: If the axis or the cost is unknown, or the margin is not above 0.
    """
    check(known, axis, controlled, margin)
    rows: list[dict[str, object]] = []
    chances = chance_of_design(known.draws)
    for name in known.axes if axis is None else [axis]:
        compared = _Levels.of(known, name, controlled)
        if compared is not None:
            rows += _rows(known, compared, chances, controlled is None, margin, with_further)
    table = pd.DataFrame(rows, columns=COLUMNS).assign(epochs=known.epochs)
    return as_values(table, known.metric, SCORES, INTERVALS)


def check(known: Knowledge, axis: str | None, controlled: str | None, margin: float) -> None:
    """Raise an error for invalid arguments of ``effects``."""
    if axis is not None:
        known.check(axis)
    if controlled is not None and controlled not in COSTS:
        raise RunError(f"controlled: {not_one_of(controlled, COSTS)}")
    if not margin > 0:
        raise RunError(f"margin: {margin!r} is not above 0")


@dataclass(frozen=True, slots=True)
class _Levels:
    """The levels of an axis.

    Attributes:
        axis: Name of the axis.
        names: Names of the levels.
        codes: Index (N,) of each design's level.
        means: Draws (S, L) of the means of the levels.
    """

    axis: str
    names: Sequence[Any]
    codes: Codes
    means: Array

    @classmethod
    def of(cls, known: Knowledge, axis: str, controlled: str | None) -> _Levels | None:
        codes, names = known.coded(axis)
        counted = known.common & (codes >= 0)
        cost = np.zeros(len(codes)) if controlled is None else known.costs[controlled]
        counted &= ~np.isnan(cost)
        there = [i for i in range(len(names)) if (codes[counted] == i).any()]
        if not there:
            return None
        number = np.full(len(names) + 1, -1, dtype=np.intp)
        number[there] = range(len(there))
        codes, names = number[codes], [names[i] for i in there]
        draws, common = known.draws[:, counted], codes[counted]
        if controlled is None:
            means = level_means(draws, common)
        else:
            means = _adjusted(draws, common, np.log(cost[counted]))
            means = np.clip(means, known.metric.worst, known.metric.best)
        return cls(axis, names, codes, means)


def _adjusted(draws: Array, codes: Codes, covariate: Array) -> Array:
    """Return the means of levels at the mean of a covariate (analysis of covariance, Fisher 1932).

    NaN if levels differ only in the covariate: then the two effects are indistinguishable.
    """
    members = np.eye(codes.max() + 1)[codes]
    centred = covariate - covariate.mean()
    within = centred - members @ (members.T @ centred / members.sum(axis=0))
    if within.std() < 1e-6:
        return np.full((len(draws), members.shape[1]), nan)
    columns = np.column_stack([members, centred])
    weights = np.linalg.pinv(columns)[:-1]
    means: Array = draws @ weights.T
    return means


def _rows(
    known: Knowledge,
    levels: _Levels,
    chances: Array,
    with_best: bool,
    margin: float,
    with_further: bool,
) -> list[dict[str, object]]:
    count = len(levels.names)
    if np.isnan(levels.means).any():
        return [_counts(known, levels, i) | _nothing() for i in range(count)]
    verdicts = judge(levels.means, margin)
    differences = levels.means - levels.means[:, [verdicts.reference]]
    low, high = interval(levels.means)
    d_low, d_high = interval(differences)
    columns: dict[str, Any] = {
        "mean": levels.means.mean(axis=0),
        "low": low,
        "high": high,
        "difference": differences.mean(axis=0),
        "d_low": d_low,
        "d_high": d_high,
        "verdict": _words(verdicts),
    }
    if with_best:
        columns |= _at_best(known, levels, margin)
        columns["chance"] = chance_of_level(chances, levels.codes)
    else:
        columns |= dict.fromkeys(COLUMNS[14:22], [nan] * count) | {"best_verdict": [""] * count}
    is_open = with_further and count > 1 and not verdicts.settled
    more = nan
    if is_open:
        more = further_trainings(known.values, levels.means, known.noise, margin)
    columns["further"] = [more if word == UNKNOWN else nan for word in columns["verdict"]]
    order = sorted(range(count), key=lambda i: (i != verdicts.reference, -columns["difference"][i]))
    fixed = {"pairs": 0, "method": POSTERIOR}
    return [
        _counts(known, levels, i) | {name: each[i] for name, each in columns.items()} | fixed
        for i in order
    ]


def _at_best(
    known: Knowledge, levels: _Levels, margin: float
) -> dict[str, Sequence[object] | Array]:
    guess = float(known.draws.min())
    least, most = level_bests(known.draws, levels.codes, known.trained, guess)
    verdicts = judge(most, margin, least=least)
    reference = verdicts.reference
    below, above = least - most[:, [reference]], most - least[:, [reference]]
    below[:, reference] = above[:, reference] = 0.0
    return {
        "best": most.mean(axis=0),
        "best_low": interval(least)[0],
        "best_high": interval(most)[1],
        "best_difference": (most - most[:, [reference]]).mean(axis=0),
        "bd_low": interval(below)[0],
        "bd_high": interval(above)[1],
        "best_verdict": _words(verdicts),
    }


def _words(verdicts: Verdicts) -> list[str]:
    return [UNKNOWN if word == answers.OPEN else word for word in verdicts.words]


def _counts(known: Knowledge, levels: _Levels, i: int) -> dict[str, object]:
    """Return the numbers of trainings and designs with a level."""
    trainings = known.trainings[levels.codes[known.trainings["place"]] == i]
    outcome = trainings["outcome"]
    observed = trainings[outcome.isin([FULL, STOPPED])]
    return {
        "axis": levels.axis,
        "level": levels.names[i],
        "n": len(observed),
        "designs": observed["place"].nunique(),
        "failed": int((outcome == FAILED).sum()),
        "stopped": int(outcome.isin([STOPPED, OPEN]).sum()),
    }


def _nothing() -> dict[str, object]:
    figures: dict[str, object] = dict.fromkeys(COLUMNS[7:], nan)
    words = {"verdict": UNKNOWN, "best_verdict": "", "method": "", "pairs": 0}
    return figures | words
