"""Interactions: dependence of the effect of one axis on another."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd

from skipsearch.analysis.columns import as_values
from skipsearch.analysis.effects import UNKNOWN
from skipsearch.analysis.knowledge import FULL, STOPPED, Knowledge
from skipsearch.analysis.observations import others_than
from skipsearch.defaults import MARGIN
from skipsearch.errors import RunError
from skipsearch.metric import Metric
from skipsearch.surrogate.answers import (
    interval,
    intervals_together,
    level_means,
    sobol_shares,
)

MOST_CELLS = 200
ROUNDING = 1e-12
DEPENDS, ADDITIVE = "depends", "no dependence that matters"
FIGURES = ("mean", "low", "high", "additive", "beyond", "b_low", "b_high", "share")
COLUMNS = ("epochs", "n", "designs", *FIGURES, "verdict")
SCORES, INTERVALS = ("mean", "additive", "beyond"), (("low", "high"), ("b_low", "b_high"))


def interactions(known: Knowledge, first: str, second: str, margin: float = MARGIN) -> pd.DataFrame:
    """Return the mean of each combination of two axes' levels, and whether effects are additive.

    Effects are additive if the gain from each level of one axis is the same at every level of the
    other. All numbers are from the posterior over the designs of the space, at the full budget, as
    in ``effects``.

    Args:
        known: Posterior from ``learn``.
        first: First axis or field.
        second: Second axis or field.
        margin: Difference between scores that is too small to matter.

    Returns:
        One row for each combination in the space for which both axes have an effect:

        FIRST, SECOND      the levels, in columns named after the axes
        epochs             budget of the values
        n                  number of observed trainings
        designs            number of their designs
        mean               validation metric, mean over the space's designs
        low, high          95 % interval of the mean
        additive           expected mean without interaction
        beyond             mean minus ``additive``
        b_low, b_high      its 95 % interval; those of all combinations hold jointly
        share              share of the variance over the space that the pair explains beyond the
                           two axes; the same in each row
        verdict            "depends" if an interval of ``beyond`` excludes 0, "no dependence that
                           matters" if all are within the margin, or "not enough data"; the same in
                           each row

    Raises:
        RunError: If an axis is unknown, or one axis is a part of the other.
    """
    for axis in (first, second):
        known.check(axis)
    if not (others_than(first, [second]) and others_than(second, [first])):
        raise RunError(f"axes: {first} and {second} are not two axes")
    columns = [first, second, *COLUMNS]
    (a, names), (b, others) = known.coded(first), known.coded(second)
    both = known.common & (a >= 0) & (b >= 0)
    if not both.any():
        return pd.DataFrame(columns=columns)
    cells, codes = np.unique(a[both] * len(others) + b[both], return_inverse=True)
    draws = known.draws[:, both]
    means = level_means(draws, codes)
    # Effects in the designs where both matter, with equal weight for each combination: in an
    # unbalanced space the effect of one axis would otherwise be attributed to the other.
    mains = np.hstack(
        [np.eye(len(names))[cells // len(others)], np.eye(len(others))[cells % len(others)]]
    )
    additive = means @ (mains @ np.linalg.pinv(mains)).T
    beyond = means - additive
    beyond[np.abs(beyond) < ROUNDING * np.abs(means).max()] = 0.0
    low, high = interval(means)
    b_low, b_high = intervals_together(beyond)
    share = sobol_shares(
        known.draws[:, known.common], {first: a[known.common], second: b[known.common]}
    )
    if ((b_low > 0) | (b_high < 0)).any():
        verdict = DEPENDS
    elif (b_low >= -margin).all() and (b_high <= margin).all():
        verdict = ADDITIVE
    else:
        verdict = UNKNOWN
    observed = known.trainings[known.trainings["outcome"].isin([FULL, STOPPED])]["place"]
    place = (a * len(others) + b)[observed]
    place = np.where((a[observed] >= 0) & (b[observed] >= 0), place, -1)
    table = pd.DataFrame(
        {
            first: [names[i] for i in cells // len(others)],
            second: [others[i] for i in cells % len(others)],
            "epochs": known.epochs,
            "n": [int((place == cell).sum()) for cell in cells],
            "designs": [observed[place == cell].nunique() for cell in cells],
            "mean": means.mean(axis=0),
            "low": low,
            "high": high,
            "additive": additive.mean(axis=0),
            "beyond": beyond.mean(axis=0),
            "b_low": b_low,
            "b_high": b_high,
            "share": float(share.pairs[first, second].mean()),
            "verdict": verdict,
        },
        columns=columns,
    )
    return as_values(table, known.metric, SCORES, INTERVALS)


def dependence(table: pd.DataFrame, metric: Metric) -> str:
    """Describe in a sentence whether two axes depend on each other.

    Args:
        table: Table of ``interactions`` with at least one row.
        metric: Metric of the scores.
    """
    first, second = table.columns[:2]
    verdict = table["verdict"].iloc[0]
    if verdict != DEPENDS:
        return f"{first} and {second}: {verdict}."
    most = table["beyond"].abs().max()
    return (
        f"{first} and {second} depend on each other: the effect of one changes by up to"
        f" {metric.with_unit(metric.difference(most))} with the other."
    )


def all_interactions(known: Knowledge, margin: float = MARGIN) -> list[pd.DataFrame]:
    """Return the table of ``interactions`` for each pair of fields that the axes set.

    Pairs with possibly more than 200 combinations are omitted: their map would be unreadable.

    Args:
        known: Posterior from ``learn``.
        margin: Difference between scores that is too small to matter.
    """
    levels = {field: len(known.coded(field)[1]) for field in known.fields}
    return [
        interactions(known, first, second, margin)
        for first, second in combinations(levels, 2)
        if levels[first] > 1 and levels[second] > 1 and levels[first] * levels[second] <= MOST_CELLS
    ]
