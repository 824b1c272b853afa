"""Whether what one axis does depends on another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from math import isnan, nan

import numpy as np
import pandas as pd
from scipy.stats import f

from skipsearch.analysis.linear import (
    ERROR,
    LEAST_DF,
    Estimate,
    LinearModel,
    centred,
    effect_coded,
)
from skipsearch.analysis.observations import NO_EFFECT, Observations, codes, others_than
from skipsearch.analysis.ranking import interval
from skipsearch.errors import RunError
from skipsearch.intervals import rounding

MOST_CELLS = 200
BY_DESIGNS, BY_SEEDS = "designs", "seeds"
DEPENDS, ADDITIVE, UNKNOWN = "depends", "no dependence found", "not enough data"


def interactions(seen: Observations, first: str, second: str) -> pd.DataFrame:
    """Return the mean of each combination of two axes' levels, and test whether they add up.

    They do if a level of one axis gains the same at every level of the other. The test is the F
    test of a linear model with a mean for each combination against one with main effects alone
    (Fisher 1935); both have the main effects of the other axes, and one observation a design, the
    mean over its seeds.

    *Seeds.* Where there is one design a combination, and they differ in these two axes alone, every
    training is an observation, and the seed has a main effect as well. The designs are taken as
    given then: what is found is true of them, and not of others with the same levels.

    Args:
        seen: What ``observe`` returns.
        first: One axis, or a field.
        second: Another.

    Returns:
        One row a combination that was trained, where both axes have an effect:

        FIRST, SECOND      the levels, in columns named after the axes
        epochs             the rung
        n                  trainings
        designs            of so many designs (with their recipes)
        mean               validation accuracy, the other axes being as in the mean of all; the
                           plain mean, without an interval, where the model cannot tell
        low, high          95 % interval of the mean: by the model, or over the seeds (Student)
        additive           what it would be if main effects alone counted; NaN if that is unknown
        p                  of the test, the same in each row; NaN if there is not enough data
        method             "designs" or "seeds": what an observation is; empty if there is not
                           enough data
        verdict            "depends" if p is below 0.05, "no dependence found", or "not enough
                           data"; the same in each row

    Raises:
        RunError: If an axis is unknown, or one axis is a part of the other.
    """
    for axis in (first, second):
        seen.check(axis)
    if not (others_than(first, [second]) and others_than(second, [first])):
        raise RunError(f"axes: {first} and {second} are not two axes")
    return _interaction(seen, first, second)


def all_interactions(seen: Observations) -> list[pd.DataFrame]:
    """Return what ``interactions`` returns for each two fields that the axes set.

    Two that may have more than 200 combinations are left out: nobody reads a map of so many.

    Args:
        seen: What ``observe`` returns.
    """
    levels = {field: seen.table[field].nunique() for field in seen.fields}
    return [
        _interaction(seen, first, second)
        for first, second in combinations(levels, 2)
        if levels[first] * levels[second] <= MOST_CELLS
    ]


def _interaction(seen: Observations, first: str, second: str) -> pd.DataFrame:
    columns = [first, second, "epochs", "n", "designs", "mean", "low", "high", "additive", "p"]
    table = seen.table[seen.table["value"].notna()]
    table = table[(table[first] != NO_EFFECT) & (table[second] != NO_EFFECT)]
    if table.empty:
        return pd.DataFrame(columns=[*columns, "method", "verdict"])
    others = others_than(second, others_than(first, seen.axes))
    cells = table.groupby("cell")
    designs = cells[[first, second, *others]].first()
    designs = designs.assign(value=cells["value"].mean(), n=cells.size(), cell=designs.index)
    alone = not designs.duplicated([first, second]).any()
    if alone and (designs[others].nunique() <= 1).all():
        fit = _Fit(table.assign(n=1), first, second, ["seed"], seen.images, BY_SEEDS)
    else:
        fit = _Fit(designs, first, second, others, seen.images, BY_DESIGNS)
    found = pd.DataFrame(fit.rows(), columns=columns).assign(epochs=seen.epochs, p=fit.p)
    found = found.sort_values(
        [first, second], key=lambda levels: pd.factorize(levels)[0], ignore_index=True
    )
    verdict = UNKNOWN if isnan(fit.p) else DEPENDS if fit.p < ERROR else ADDITIVE
    return found.assign(method="" if isnan(fit.p) else fit.method, verdict=verdict)


class _Fit:
    """The two models of one table of observations.

    Attributes:
        method: What an observation is.
        p: Of the F test of the smaller against the larger; NaN if there is not enough data.
    """

    def __init__(
        self,
        table: pd.DataFrame,
        first: str,
        second: str,
        others: Sequence[str],
        images: int,
        method: str,
    ) -> None:
        self._table, self._axes, self._images, self.method = table, (first, second), images, method
        values = table["value"].to_numpy()
        least = rounding(images) / table["n"].to_numpy()
        rest = [centred(effect_coded(codes(table[axis]))) for axis in others]
        mains = [effect_coded(codes(table[axis])) for axis in (first, second)]
        self._main = np.hstack([np.ones((len(values), 1)), *mains])
        pairs = list(zip(table[first], table[second], strict=True))
        self._combination, self._names = pd.factorize(pd.Series(pairs, dtype=object))
        indicators = np.eye(len(self._names))[self._combination]
        self._whole = LinearModel(np.hstack([indicators, *rest]), values, least)
        self._additive = LinearModel(np.hstack([self._main, *rest]), values, least)
        left = len(values) - self._whole.rank
        more = self._whole.rank - self._additive.rank
        enough = left >= LEAST_DF and more > 0
        self.p = self._f_test(left, more, left * float(least.mean())) if enough else nan

    def _f_test(self, left: int, more: int, least: float) -> float:
        smaller, larger = (
            float(model.residuals @ model.residuals) for model in (self._additive, self._whole)
        )
        noise = max(larger, least)
        return float(f.sf((smaller - larger) / more / (noise / left), more, left))

    def rows(self) -> Iterator[dict[str, object]]:
        """Yield the figures of each combination."""
        for i, name in enumerate(self._names):
            mine = self._combination == i
            rows = self._table[mine]
            mean = self._whole.estimate(np.eye(1, self._whole.size, i).ravel())
            at = np.zeros(self._additive.size)
            at[: self._main.shape[1]] = self._main[mine][0]
            yield {
                **dict(zip(self._axes, name, strict=True)),
                "n": int(rows["n"].sum()),
                "designs": rows["cell"].nunique(),
                "mean": rows["value"].mean() if isnan(mean.value) else mean.value,
                **dict(zip(("low", "high"), self._ends(mean, rows), strict=True)),
                "additive": self._additive.estimate(at).value,
            }

    def _ends(self, mean: Estimate, rows: pd.DataFrame) -> tuple[float, float]:
        if self.method == BY_DESIGNS:
            low, high = np.clip(mean.interval(), 0.0, 1.0)
            return float(low), float(high)
        # What a seed does to all designs is a part of what a mean over seeds is unsure of.
        return interval(rows["value"].tolist(), self._images) if len(rows) > 1 else (nan, nan)
