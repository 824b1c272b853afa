"""Effect of each axis if designs were trained in pairs: the paired t-test at equal fidelity."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb, inf, isnan

import pandas as pd

from skipsearch.analysis.columns import as_values
from skipsearch.analysis.comparison import Difference, Levels
from skipsearch.analysis.effects import (
    BEST,
    COLUMNS,
    INTERVALS,
    SCORES,
    TIED,
    UNKNOWN,
    WORSE,
)
from skipsearch.analysis.linear import ERROR, Estimate
from skipsearch.analysis.observations import NO_EFFECT, Observations, others_than
from skipsearch.defaults import MARGIN
from skipsearch.errors import RunError, not_one_of
from skipsearch.record import COSTS

CANDIDATES = 10  # maximum number of levels that may become the reference


def paired_effects(
    seen: Observations,
    axis: str | None = None,
    controlled: str | None = None,
    margin: float = MARGIN,
) -> pd.DataFrame:
    """Compare the levels of each axis by pairs, if the trainings were planned in pairs.

    An example of such a plan is a grid over the whole space with several seeds of each design.
    ``effects`` needs no such plan, but relies on a model.

    *Pairs.* Two levels are compared by the paired t-test between designs that agree in every other
    axis with an effect on both levels (so a plain layout is paired with the mean over the shortcuts
    of a residual one), if there are six or more pairs that include a third of the designs of the
    rarer level.

    *Seeds as pairs.* With fewer than six pairs, if every design is in one and both sides share two
    seeds or more, the designs are fixed and the seeds are paired. With folds, these are the pairs.

    *Model.* Otherwise a linear model with the main effects of all axes is fitted to one observation
    per design, by ``LinearModel``. An axis without effect on some designs counts there as the mean
    of its levels.

    *Reference.* This is the level with the best mean. If pairs show another level ahead of it, the
    reference is the one of the ten best levels that others lead by the smallest difference. Since
    it is chosen from the data, the intervals of the differences hold for all pairs of levels
    jointly, by Bonferroni's correction. ``low`` and ``high`` are for one level alone.

    Args:
        seen: Observations from ``observe``.
        axis: Axis, or field of several axes; None for all axes.
        controlled: Cost that is held constant in the comparison, one of ``COSTS``. Axes that set
            the size of a network may then differ within a pair, and costs may differ by a tenth.
            The model has the logarithm of the cost instead of those axes.
        margin: Difference between scores that is too small to matter.

    Returns:
        The columns of ``effects``: those of the best design with a level are NaN, ``pairs`` is the
        number of pairs of a difference, and ``method`` is "pairs", "seeds", "folds" or "model".

    Raises:
        RunError: If the axis or the cost is unknown, or the margin is not above 0.
    """
    if axis is not None:
        seen.check(axis)
    if controlled is not None and controlled not in COSTS:
        raise RunError(f"controlled: {not_one_of(controlled, COSTS)}")
    if not margin > 0:
        raise RunError(f"margin: {margin!r} is not above 0")
    rows = []
    for name in seen.axes if axis is None else [axis]:
        table = seen.table[seen.table[name] != NO_EFFECT]
        if controlled is not None:
            table = table[table[controlled].fillna(0) > 0]
        rows += _rows(seen._replace(table=table), name, controlled, margin)
    table = pd.DataFrame(rows, columns=COLUMNS).assign(epochs=seen.epochs, best_verdict="")
    return as_values(table, seen.scale.metric, SCORES, INTERVALS)


def _rows(
    seen: Observations, axis: str, controlled: str | None, margin: float
) -> list[dict[str, object]]:
    trainings = seen.table
    compared = trainings[trainings["value"].notna()]
    if compared.empty:
        return []
    others = others_than(axis, seen.axes)
    levels = Levels(compared, axis, others, controlled, seen.scale)
    means, clip = [levels.mean(i) for i in range(len(levels.names))], seen.scale.metric.clip
    error = ERROR / max(1, comb(len(means), 2))
    reference, differences = _against_the_best(levels, means)
    judged = {i: _judged(difference, error, margin) for i, difference in differences.items()}
    verdict = _of_reference({row["verdict"] for row in judged.values()})
    best: dict[str, object] = {"pairs": 0, "method": "", "verdict": verdict}
    best |= dict.fromkeys(("difference", "d_low", "d_high"), 0.0)
    missing = trainings[trainings["value"].isna()]
    failed = missing[missing["failed"]].groupby(axis).size()
    stopped = missing[~missing["failed"]].groupby(axis).size()
    return [
        {
            "axis": axis,
            "level": levels.names[i],
            "n": levels.trainings(i),
            "designs": levels.designs(i),
            "failed": int(failed.get(levels.names[i], 0)),
            "stopped": int(stopped.get(levels.names[i], 0)),
            "mean": means[i].value,
            **dict(zip(("low", "high"), map(clip, means[i].interval()), strict=True)),
            **row,
        }
        for i, row in ({reference: best} | judged).items()
    ]


def _against_the_best(
    levels: Levels, means: Sequence[Estimate]
) -> tuple[int, dict[int, Difference]]:
    """Return the reference, and the differences of the other levels from it, best first."""
    order = sorted(range(len(means)), key=lambda i: -means[i].value)

    def against(reference: int) -> dict[int, Difference]:
        return {i: levels.difference(i, reference) for i in order if i != reference}

    def lead(differences: dict[int, Difference]) -> float:
        return max((d.estimate.value for d in differences.values() if d.method), default=0.0)

    # Pairs may disagree with the means, which are from the model.
    reference, differences = order[0], against(order[0])
    for candidate in order[1:CANDIDATES]:
        if lead(differences) <= 0:
            break
        found = against(candidate)
        if lead(found) < lead(differences):
            reference, differences = candidate, found
    place = {i: each.estimate.value for i, each in differences.items()}
    ranked = sorted(place, key=lambda i: inf if isnan(place[i]) else -place[i])
    return reference, {i: differences[i] for i in ranked}


def _judged(difference: Difference, error: float, margin: float) -> dict[str, object]:
    estimate = difference.estimate
    low, high = estimate.interval(error)
    small = -margin <= low and high <= margin
    verdict = WORSE if high < 0 else TIED if small else UNKNOWN
    return {
        "difference": estimate.value,
        "d_low": low,
        "d_high": high,
        "pairs": difference.pairs,
        "method": difference.method,
        "verdict": verdict,
    }


def _of_reference(verdicts: set[object]) -> str:
    if verdicts == {WORSE}:
        return BEST
    return TIED if TIED in verdicts else UNKNOWN
