"""The trainings of a run side by side at one rung: value, cost, and the level of each axis."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skipsearch.analysis.ranking import grouped, level, rung_reached
from skipsearch.axes import fields_of
from skipsearch.errors import RunError, not_one_of
from skipsearch.record import COMPLETE, COSTS, FAIL, PRUNED, Trial
from skipsearch.task import Scale

NO_EFFECT = "-"
MOST_LEVELS = 6  # an axis of numbers that has more is cut into thirds


class Observations(NamedTuple):
    """What can be compared.

    Attributes:
        epochs: The rung at which all is compared.
        scale: Metric and number of validation images.
        axes: What was varied.
        table: One row a training, with the columns cell (equal for one design with one recipe),
            seed, value (validation score at the rung; NaN where it was not reached), failed
            (whether it ended before the rung by failing), the costs, and the axes and their fields.
    """

    epochs: int
    scale: Scale
    axes: tuple[str, ...]
    table: pd.DataFrame

    @property
    def fields(self) -> list[str]:
        """The fields that the axes set, none a part of another."""
        return fields_of(self.axes)

    def check(self, axis: str) -> None:
        """Refuse what is neither an axis nor the field of one."""
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
    """Put trainings side by side at one rung.

    *Fidelity.* All values are those at one rung. By default that is the highest which every
    training has reached that did not fail, so that early stopping has had no say in who is
    compared. At a higher rung only survivors are: a level whose weak designs were stopped looks
    better than it is, and differences shrink.

    Args:
        trials: Records of a run, failed and stopped ones too.
        rungs: Epochs at which values are compared, rising, the full budget last.
        scale: Metric and number of validation images.
        axes: What was varied: fields of the design, ``recipe.NAME``, or parameters of a space such
            as ``shortcut[1]`` and ``layout.before_join``. A number with more than six values is
            cut into thirds, by its quantiles over the designs: its levels then are texts such as
            ``0.011 to 0.046``.
        epochs: The rung; None for the highest that every training has reached which ended
            without failing.

    Raises:
        RunError: If the rung is none of those of the run.
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
    """Return the axes but for one, and for those that are a stage or a slot of it."""
    return [a for a in axes if a != axis and not a.startswith((f"{axis}.", f"{axis}["))]


def codes(levels: pd.Series) -> NDArray[np.intp]:
    """Number the levels of an axis from 0; -1 where it has no effect."""
    return pd.factorize(levels.where(levels != NO_EFFECT))[0]


def common_rung(trials: Iterable[Trial], rungs: Sequence[int], epochs: int | None = None) -> int:
    """Return the rung at which trainings are compared.

    Args:
        trials: Records of a run.
        rungs: Epochs at which values are compared, rising.
        epochs: The rung; None for the highest that every training has reached which ended without
            failing.

    Raises:
        RunError: If the rung is none of those of the run.
    """
    if epochs is None:
        ended = [t for t in trials if t.state in (COMPLETE, PRUNED)]
        return max(min((rung_reached(t, rungs) for t in ended), default=0), rungs[0])
    if epochs not in rungs:
        raise RunError(f"epochs: {not_one_of(epochs, map(str, rungs))}")
    return epochs


def in_thirds(levels: pd.Series) -> pd.Series:
    """Cut numbers into thirds where they have many values; all else stays."""
    numbers = levels[[isinstance(v, int | float) and not isinstance(v, bool) for v in levels]]
    if numbers.nunique() <= MOST_LEVELS:
        return levels
    thirds = pd.qcut(numbers.astype(float), 3, labels=False, duplicates="drop")
    ends = numbers.astype(float).groupby(thirds).agg(["min", "max"])
    names = {i: f"{low:.3g} to {high:.3g}" for i, low, high in ends.itertuples()}
    cut = levels.copy()
    cut[numbers.index] = thirds.map(names)
    return cut
