"""Whether what one axis does depends on another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from math import isnan, nan

import numpy as np
import pandas as pd
from scipy.stats import f

from skipsearch.analysis.linear import ERROR, LEAST_DF, LinearModel, centred, effect_coded
from skipsearch.analysis.observations import (
    NO_EFFECT,
    Observations,
    check_axis,
    codes,
    observe,
    others_than,
)
from skipsearch.errors import RunError
from skipsearch.record import Trial

MOST_CELLS = 200
DEPENDS, ADDITIVE, UNKNOWN = "depends", "no dependence found", "not enough data"


def interactions(
    trials: Iterable[Trial],
    rungs: Sequence[int],
    axes: Sequence[str],
    first: str,
    second: str,
    epochs: int | None = None,
) -> pd.DataFrame:
    """Return the mean of each combination of two axes' levels, and test whether they add up.

    They do if a level of one axis gains the same at every level of the other. The test is the F
    test of a linear model with a mean for each combination against one with main effects alone
    (Fisher 1935); both have the main effects of the other axes, and one observation a design, the
    mean over its seeds. Equal fidelity is as in ``effects``.

    Args:
        trials: Records of a run, failed and stopped ones too.
        rungs: Epochs at which values are compared, rising, the full budget last.
        axes: What was varied, as for ``effects``.
        first: One axis, or a field.
        second: Another.
        epochs: The rung; None for the highest that every training has reached which did not fail.

    Returns:
        One row a combination that was trained, where both axes have an effect:

        FIRST, SECOND      the levels, in columns named after the axes
        epochs             the rung
        n                  trainings
        designs            of so many designs (with their recipes)
        mean               validation accuracy, the other axes being as in the mean of all; the
                           plain mean, without an interval, where the model cannot tell
        low, high          95 % interval of the mean
        additive           what it would be if main effects alone counted; NaN if that is unknown
        p                  of the test, the same in each row; NaN if there is not enough data
        verdict            "depends" if p is below 0.05, "no dependence found", or "not enough
                           data"; the same in each row

    Raises:
        RunError: If an axis or the rung is unknown, or one axis is a part of the other.
    """
    for axis in (first, second):
        check_axis(axis, axes)
    if not (others_than(first, [second]) and others_than(second, [first])):
        raise RunError(f"axes: {first} and {second} are not two axes")
    seen = observe(trials, rungs, list(dict.fromkeys((*axes, first, second))), epochs)
    return _interaction(seen, axes, first, second)


def all_interactions(
    trials: Iterable[Trial], rungs: Sequence[int], axes: Sequence[str], fields: Sequence[str]
) -> list[pd.DataFrame]:
    """Return what ``interactions`` returns for each two of some fields.

    Two that may have more than 200 combinations are left out: nobody reads a map of so many.

    Args:
        trials: Records of a run.
        rungs: Epochs at which values are compared, rising, the full budget last.
        axes: What was varied, as for ``effects``.
        fields: Axes, or fields of several, none a part of another.

    Raises:
        RunError: If an axis is unknown.
    """
    for axis in fields:
        check_axis(axis, axes)
    seen = observe(trials, rungs, list(dict.fromkeys((*axes, *fields))))
    levels = {field: seen.table[field].nunique() for field in fields}
    return [
        _interaction(seen, axes, first, second)
        for first, second in combinations(fields, 2)
        if levels[first] * levels[second] <= MOST_CELLS
    ]


def _interaction(seen: Observations, axes: Sequence[str], first: str, second: str) -> pd.DataFrame:
    table = seen.table[seen.table["value"].notna()]
    table = table[(table[first] != NO_EFFECT) & (table[second] != NO_EFFECT)]
    columns = [first, second, "epochs", "n", "designs", "mean", "low", "high", "additive", "p"]
    if table.empty:
        return pd.DataFrame(columns=[*columns, "verdict"])
    cells = table.groupby("cell")
    others = [axis for axis in others_than(first, axes) if axis in others_than(second, axes)]
    levels = cells[[first, second, *others]].first()
    values, sizes = cells["value"].mean().to_numpy(), cells.size().to_numpy()
    rest = [centred(effect_coded(codes(levels[axis]))) for axis in others]
    mains = [effect_coded(codes(levels[axis])) for axis in (first, second)]
    main = np.hstack([np.ones((len(values), 1)), *mains])
    combination, names = pd.factorize(
        pd.Series(list(zip(levels[first], levels[second], strict=True)), dtype=object)
    )
    indicators = np.eye(len(names))[combination]
    whole = LinearModel(np.hstack([indicators, *rest]), values)
    additive = LinearModel(np.hstack([main, *rest]), values)
    p = _f_test(additive, whole)
    rows = []
    for i, name in enumerate(names):
        mine = combination == i
        mean = whole.estimate(np.eye(1, whole.size, i).ravel())
        at = np.zeros(additive.size)
        at[: main.shape[1]] = main[mine][0]
        rows.append(
            {
                **dict(zip((first, second), name, strict=True)),
                "epochs": seen.epochs,
                "n": int(sizes[mine].sum()),
                "designs": int(mine.sum()),
                "mean": values[mine].mean() if isnan(mean.value) else mean.value,
                **dict(zip(("low", "high"), mean.interval(), strict=True)),
                "additive": additive.estimate(at).value,
                "p": p,
            }
        )
    verdict = UNKNOWN if isnan(p) else DEPENDS if p < ERROR else ADDITIVE
    return pd.DataFrame(rows, columns=columns).assign(verdict=verdict)


def _f_test(smaller: LinearModel, larger: LinearModel) -> float:
    """Return p of the F test of a model against a larger one; NaN if it has too little data."""
    left = len(larger.residuals) - larger.rank
    more = larger.rank - smaller.rank
    if left < LEAST_DF or more < 1:
        return nan
    squares = [float(model.residuals @ model.residuals) for model in (smaller, larger)]
    if squares[1] == 0:
        return nan
    return float(f.sf((squares[0] - squares[1]) / more / (squares[1] / left), more, left))
