"""Several objectives: the Pareto front of the trainings, and its hypervolume."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, mean

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from skipsearch.analysis.columns import as_values
from skipsearch.analysis.ranking import grouped, interval, level, numerics
from skipsearch.errors import RunError, not_one_of
from skipsearch.metric import Metric, Scale
from skipsearch.record import COMPLETE, COSTS, Trial

# A point with the cost of the reference covers nothing, and the largest network is often the most
# accurate. Therefore the reference is a tenth above the largest cost. Ishibuchi et al. 2018
# (doi:10.1162/evco_a_00226) discuss the choice.
MARGIN = 1.1


def pareto(
    trials: Iterable[Trial],
    objectives: Sequence[str],
    scale: Scale,
    axes: Sequence[str] = ("layout", "shortcut", "merge", "depths"),
) -> pd.DataFrame:
    """Return the Pareto front of the trainings at the full budget.

    One training dominates another if it is as good in every objective and better in one; equal ones
    are all kept. Only COMPLETE trainings are compared. Those of one design and recipe with several
    seeds are one row, with their mean score. A front of noisy scores contains the lucky ones: see
    ``low`` and ``high``.

    Args:
        trials: Records of a run; those that are not COMPLETE are ignored.
        objectives: Name of the metric on the validation split, whose score is maximised, and some
            of params, macs, activation_bytes and latency, which are minimised. Trainings without a
            measurement of one of them (None or 0) are omitted.
        scale: Metric and number of validation images.
        axes: Fields of the design, or ``recipe.NAME``, to show as columns.

    Returns:
        One row for each design and recipe, by ascending costs in the order of ``objectives``,
        indexed by point from 1, with columns

        design               id of the design
        recipe               id of the recipe
        trial                number of its first COMPLETE trial
        n                    number of COMPLETE seeds
        validation_accuracy  mean over seeds, after the last epoch; the column is named after the
                             task's metric
        low, high            95 % interval, as in ``rank``
        ...                  the requested costs; latency is a mean over the seeds that have one
        ...                  the axes; "-" for one without effect on the design
        numerics             device and numerical settings; compare latencies only on one device

    Raises:
        RunError: If an objective is unknown or named twice, or there is none.
    """
    score = scale.metric.validation
    costs = [objective for objective in objectives if objective != score]
    groups = _compared(trials, objectives, scale.metric)
    losses = [
        [-scale.metric.value(v) if name == score else v for name, v in values.items()]
        for _, values in groups
    ]
    rows = [
        _row(group, {cost: values[cost] for cost in costs}, scale, axes)
        for (group, values), kept in zip(groups, front(losses), strict=True)
        if kept
    ]
    columns = [
        *("design", "recipe", "trial", "n", score, "low", "high"),
        *(*costs, *axes, "numerics"),
    ]
    table = pd.DataFrame(rows, columns=columns)
    table = table.sort_values(
        [*costs, score], ascending=[True] * len(costs) + [False], kind="stable"
    )
    table.index = pd.RangeIndex(1, len(table) + 1, name="point")
    return as_values(table, scale.metric, [score], [("low", "high")])


def dominated_share(
    trials: Iterable[Trial],
    objectives: Sequence[str],
    scale: Scale,
    reference: Mapping[str, float] | None = None,
) -> float:
    """Return the normalised hypervolume of the COMPLETE trainings, from 0 to 1.

    It is their hypervolume over that of the box from the ideal, the best score at no cost, to the
    reference. Shares are comparable only for the same reference: to follow a growing run, or to
    compare two runs, use the reference of all their trainings.

    Args:
        trials: Records of a run.
        objectives: Objectives as for ``pareto``.
        scale: Metric and number of validation images.
        reference: Value of the metric that is worse than the best, and costs above 0, by objective;
            those of ``reference_point`` if None. A training that is worse in one of them covers
            nothing.

    Raises:
        RunError: If an objective is unknown or named twice, or there is none.
    """
    trials, metric = list(trials), scale.metric
    points = [list(values.values()) for _, values in _compared(trials, objectives, metric)]
    if not points:
        return 0.0
    reference = reference or reference_point(trials, objectives, scale)
    best = metric.value(metric.best)
    ideal = np.array([best if name == metric.validation else 0.0 for name in objectives])
    worst = np.array([reference[objective] for objective in objectives])
    return hypervolume((points - ideal) / (worst - ideal), np.ones(len(objectives)))


def reference_point(
    trials: Iterable[Trial], objectives: Sequence[str], scale: Scale
) -> dict[str, float]:
    """Return the default reference: the worst value and ``MARGIN`` times the largest costs.

    The worst value is that of ``Scale.floor``. The largest costs are those of the COMPLETE
    trainings; 0 if there are none.

    Args:
        trials: Records of a run.
        objectives: Objectives as for ``pareto``.
        scale: Metric and number of validation images.

    Raises:
        RunError: If an objective is unknown or named twice, or there is none.
    """
    metric = scale.metric
    seen = [values for _, values in _compared(trials, objectives, metric)]
    return {
        objective: metric.value(scale.floor)
        if objective == metric.validation
        else MARGIN * max((values[objective] for values in seen), default=0.0)
        for objective in objectives
    }


def front(points: ArrayLike) -> NDArray[np.bool_]:
    """Return which points are not dominated by another.

    A point dominates another if it is nowhere greater and somewhere smaller.

    Args:
        points: Points (N, objectives), each to be minimised. Of equal points all or none are kept.

    Returns:
        Flags (N,), True for the points of the front.
    """
    array = np.asarray(points, dtype=float)
    if not array.size:
        return np.zeros(len(array), dtype=bool)
    assert array.ndim == 2, "expected (N, objectives)"
    assert not np.isnan(array).any(), "expected numbers"
    # In lexicographic order, a point can only dominate later ones.
    distinct, which = np.unique(array, axis=0, return_inverse=True)
    kept = np.zeros(len(distinct), dtype=bool)
    kept[0] = True
    if distinct.shape[1] == 2:
        least = np.minimum.accumulate(distinct[:, 1])
        kept[1:] = distinct[1:, 1] < least[:-1]
    else:
        left = np.arange(len(distinct))
        while left.size:
            kept[left[0]] = True
            left = left[(distinct[left] < distinct[left[0]]).any(axis=1)]
    on_front: NDArray[np.bool_] = kept[which.reshape(-1)]
    return on_front


def hypervolume(points: ArrayLike, reference: ArrayLike) -> float:
    """Return the exact hypervolume of the points with respect to a reference.

    It is divided into slices along the last objective; within a slice, the earlier points dominate
    the same volume as without that objective (While et al. 2006, doi:10.1109/TEVC.2005.851275).
    With N points on the front this takes about N^(objectives - 1) steps.

    Args:
        points: Points (N, objectives), each to be minimised. Points that are dominated, or not
            below the reference in every objective, add nothing.
        reference: Worst corner (objectives,).
    """
    corner = np.asarray(reference, dtype=float)
    inside = np.asarray(points, dtype=float)
    if not inside.size:
        return 0.0
    assert inside.shape == (len(inside), len(corner)), "expected (N, objectives)"
    inside = inside[(inside < corner).all(axis=1)]
    return _volume(inside[front(inside)], corner)


def _volume(points: NDArray[np.float64], corner: NDArray[np.float64]) -> float:
    if not len(points):
        return 0.0
    if len(corner) == 1:
        return float(corner[0] - points.min())
    points = points[points[:, -1].argsort()]
    depths = np.diff(points[:, -1], append=corner[-1])
    if len(corner) == 2:  # The same as the recursion, for all slices at once.
        widths = corner[0] - np.minimum.accumulate(points[:, 0])
        return float(depths @ widths)
    ends = np.flatnonzero(depths)
    slices = [_volume(points[: end + 1, :-1], corner[:-1]) for end in ends]
    return float(depths[ends] @ slices)


def _compared(
    trials: Iterable[Trial], objectives: Sequence[str], metric: Metric
) -> list[tuple[list[Trial], dict[str, float]]]:
    """Return the COMPLETE trainings of each design and recipe, and their objectives."""
    known = (metric.validation, *COSTS)
    for i, objective in enumerate(objectives):
        if objective not in known:
            raise RunError(f"objectives[{i}]: {not_one_of(objective, known)}")
        if objective in objectives[:i]:
            raise RunError(f"objectives[{i}]: {objective!r} is named twice")
    if not objectives:
        raise RunError(f"objectives: none is named; choose from {', '.join(known)}")
    groups = grouped(trial for trial in trials if trial.state == COMPLETE)
    compared = [
        (group, {name: _value(group, name, metric) for name in objectives}) for group in groups
    ]
    return [pair for pair in compared if not any(map(math.isnan, pair[1].values()))]


def _value(group: list[Trial], objective: str, metric: Metric) -> float:
    if objective == metric.validation:
        return metric.value(fmean(trial.curve[-1].validation_score for trial in group))
    measured = [value for trial in group if (value := getattr(trial, objective))]
    return mean(measured) if measured else math.nan


def _row(
    group: list[Trial], costs: Mapping[str, float], scale: Scale, axes: Sequence[str]
) -> dict[str, object]:
    first = group[0]
    scores = [trial.curve[-1].validation_score for trial in group]
    low, high = interval(scores, scale)
    row: dict[str, object] = {
        "design": first.design.id,
        "recipe": first.recipe.id,
        "trial": first.number,
        "n": len(group),
        scale.metric.validation: fmean(scores),
        "low": low,
        "high": high,
        "numerics": numerics(group),
    }
    return {**row, **costs, **{axis: level(first, axis) for axis in axes}}
