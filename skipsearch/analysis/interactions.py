"""Whether what one axis does depends on another."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd

from skipsearch.analysis.effects import UNKNOWN
from skipsearch.analysis.knowledge import FULL, STOPPED, Knowledge
from skipsearch.analysis.observations import others_than
from skipsearch.defaults import MARGIN
from skipsearch.errors import RunError
from skipsearch.surrogate.answers import (
    interval,
    intervals_together,
    level_means,
    sobol_shares,
)
from skipsearch.task import Metric

MOST_CELLS = 200
ROUNDING = 1e-12
DEPENDS, ADDITIVE = "depends", "no dependence that matters"
FIGURES = ("mean", "low", "high", "additive", "beyond", "b_low", "b_high", "share")
COLUMNS = ("epochs", "n", "designs", *FIGURES, "verdict")


def interactions(known: Knowledge, first: str, second: str, margin: float = MARGIN) -> pd.DataFrame:
    """Return the mean of each combination of two axes' levels, and whether they add up.

    They do if a level of one axis gains the same at every level of the other. All is of the
    posterior over the designs of the space, at the full budget, as in ``effects``.

    Args:
        known: What ``learn`` returns.
        first: One axis, or a field.
        second: Another.
        margin: A difference in accuracy that is too small to matter.

    Returns:
        One row a combination that designs of the space have, where both axes have an effect:

        FIRST, SECOND      the levels, in columns named after the axes
        epochs             the budget that the accuracies are at
        n                  trainings that were observed
        designs            of so many designs
        mean               validation accuracy, mean over the space's designs
        low, high          95 % interval of the mean
        additive           what it would be if main effects alone counted
        beyond             the mean less that
        b_low, b_high      its 95 % interval; those of all combinations hold together
        share              of the variance over the space, what the pair explains beyond the two
                           axes; the same in each row
        verdict            "depends" if an interval of ``beyond`` leaves out 0, "no dependence that
                           matters" if all lie within the margin, or "not enough data"; the same in
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
    # Effects of the designs where both matter, each combination counted once: an unbalanced space
    # would let the one axis take what is the other's.
    mains = np.hstack(
        [np.eye(len(names))[cells // len(others)], np.eye(len(others))[cells % len(others)]]
    )
    additive = means @ (mains @ np.linalg.pinv(mains)).T
    beyond = means - additive
    beyond[np.abs(beyond) < ROUNDING] = 0.0
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
    return pd.DataFrame(
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


def dependence(table: pd.DataFrame, metric: Metric) -> str:
    """Say in a sentence whether two axes depend on each other.

    Args:
        table: What ``interactions`` returned, with a row at least.
        metric: Metric of the scores.
    """
    first, second = table.columns[:2]
    verdict = table["verdict"].iloc[0]
    if verdict != DEPENDS:
        return f"{first} and {second}: {verdict}."
    return (
        f"{first} and {second} depend on each other: what the one gains by itself differs by up to"
        f" {metric.factor * table['beyond'].abs().max():.1f} {metric.difference_unit} with the"
        " other."
    )


def all_interactions(known: Knowledge, margin: float = MARGIN) -> list[pd.DataFrame]:
    """Return what ``interactions`` returns for each two fields that the axes set.

    Two that may have more than 200 combinations are left out: nobody reads a map of so many.

    Args:
        known: What ``learn`` returns.
        margin: As for ``interactions``.
    """
    levels = {field: len(known.coded(field)[1]) for field in known.fields}
    return [
        interactions(known, first, second, margin)
        for first, second in combinations(levels, 2)
        if levels[first] > 1 and levels[second] > 1 and levels[first] * levels[second] <= MOST_CELLS
    ]
