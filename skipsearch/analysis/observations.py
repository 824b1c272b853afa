"""The trainings of a run at one rung: value, cost, and the level of each axis."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skipsearch.analysis.ranking import grouped, level, rung_reached
from skipsearch.axes import fields_of
from skipsearch.errors import RunError, not_one_of
from skipsearch.metric import Scale
from skipsearch.record import COMPLETE, COSTS, FAIL, PRUNED, Trial

NO_EFFECT = "-"
MOST_LEVELS = 6  # maximum number of numeric levels; more are divided into thirds


class Observations(NamedTuple):
    """The trainings of a run at one rung.

    Attributes:
        epochs: Rung of the comparison.
        scale: Metric and number of validation images.
        axes: Varied axes.
        table: One row for each training, with the columns cell (equal for one design with one
            recipe), seed, value (validation score at the rung; NaN if not reached), failed (whether
            it failed before the rung), the costs, and the axes and their fields.
    """

    epochs: int
    scale: Scale
    axes: tuple[str, ...]
    table: pd.DataFrame

    @property
    def fields(self) -> list[str]:
        """Fields that the axes set, none of them a part of another."""
        return fields_of(self.axes)

    def check(self, axis: str) -> None:
        """Raise an error for a name that is neither an axis nor the field of one."""
        allowed = list(dict.fromkeys((*self.axes, *self.fields)))
        if axis not in allowed:
            raise RunError(f"axis: {not_one_of(axis, allowed)}")


def observe(
    trials: Iterable[Trial],
    rungs: Sequence[int],
    scale: Scale,
    axes: Sequence[str],
    epochs: int | None = None,
) -> Observations:
    """Collect the trainings of a run at one rung.

    *Fidelity.* All values are from one rung. By default it is the highest that all trainings
    without failure reached, so that early stopping has no influence on the comparison. At a higher
    rung only survivors are compared: a level whose weak designs were stopped looks better than it
    is, and differences shrink.

    Args:
        trials: Records of a run, including failed and stopped ones.
        rungs: Epochs at which values are compared, in ascending order, the full budget last.
        scale: Metric and number of validation images.
        axes: Varied axes: fields of the design, ``recipe.NAME``, or parameters of a space such as
            ``shortcut[1]`` and ``layout.before_join``. A number with more than six values is
            divided into thirds, by its quantiles over the designs: its levels are then texts such
            as ``0.011 to 0.046``.
        epochs: Rung; None for the highest that all trainings that ended without failure reached.

    Raises:
        RunError: If the run does not have the rung.
    """
    groups = grouped(trials)
    epochs = common_rung([trial for group in groups for trial in group], rungs, epochs)
    rows = [
        [
            cell,
            trial.seed,
            trial.curve[epochs - 1].validation_score if len(trial.curve) >= epochs else None,
            trial.state == FAIL and len(trial.curve) < epochs,
            *(getattr(trial, cost) for cost in COSTS),
        ]
        for cell, group in enumerate(groups)
        for trial in group
    ]
    table = pd.DataFrame(rows, columns=["cell", "seed", "value", "failed", *COSTS])
    table["value"] = table["value"].astype(float)
    seen = Observations(epochs, scale, tuple(axes), table)
    for axis in dict.fromkeys((*axes, *seen.fields)):
        levels = pd.Series([level(group[0], axis) for group in groups], dtype=object)
        table[axis] = in_thirds(levels).reindex(table.cell).array
    return seen


def others_than(axis: str, axes: Sequence[str]) -> list[str]:
    """Return the axes except for one and for those that are a stage or a slot of it."""
    return [a for a in axes if a != axis and not a.startswith((f"{axis}.", f"{axis}["))]


def codes(levels: pd.Series) -> NDArray[np.intp]:
    """Return the indices of the levels of an axis; -1 if it has no effect."""
    return pd.factorize(levels.where(levels != NO_EFFECT))[0]


def common_rung(trials: Iterable[Trial], rungs: Sequence[int], epochs: int | None = None) -> int:
    """Return the rung at which trainings are compared.

    Args:
        trials: Records of a run.
        rungs: Epochs at which values are compared, in ascending order.
        epochs: Rung; None for the highest that all trainings that ended without failure reached.

    Raises:
        RunError: If the run does not have the rung.
    """
    if epochs is None:
        ended = [t for t in trials if t.state in (COMPLETE, PRUNED)]
        return max(min((rung_reached(t, rungs) for t in ended), default=0), rungs[0])
    if epochs not in rungs:
        raise RunError(f"epochs: {not_one_of(epochs, map(str, rungs))}")
    return epochs


def in_thirds(levels: pd.Series) -> pd.Series:
    """Divide numbers with many values into thirds; return other levels unchanged."""
    numbers = levels[[isinstance(v, int | float) and not isinstance(v, bool) for v in levels]]
    if numbers.nunique() <= MOST_LEVELS:
        return levels
    thirds = pd.qcut(numbers.astype(float), 3, labels=False, duplicates="drop")
    ends = numbers.astype(float).groupby(thirds).agg(["min", "max"])
    names = {i: f"{low:.3g} to {high:.3g}" for i, low, high in ends.itertuples()}
    cut = levels.copy()
    cut[numbers.index] = thirds.map(names)
    return cut
