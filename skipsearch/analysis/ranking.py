"""Ranking at equal fidelity: by the rung that a training reached, then by its value there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import sqrt
from statistics import fmean, stdev, variance

import pandas as pd

from skipsearch.analysis.columns import as_values
from skipsearch.analysis.student import t_quantile
from skipsearch.analysis.ties import tied_with_leader
from skipsearch.axes import RECIPE, slots, split_name
from skipsearch.fields import has_effect, spread
from skipsearch.layout import Layout
from skipsearch.metric import Scale
from skipsearch.record import Trial
from skipsearch.space import Candidate

CONFIDENCE = 0.95


def rank(
    trials: Iterable[Trial],
    rungs: Sequence[int],
    scale: Scale,
    axes: Sequence[str] = ("layout", "shortcut", "merge", "depths"),
) -> pd.DataFrame:
    """Rank trainings at equal fidelity.

    A training is ranked at the highest rung that it reached, by its value there: later values, and
    values of other budgets, are not compared with it. Trainings of one design and recipe with
    several seeds share a row, at the lowest rung among them.

    Args:
        trials: Records of a run, including failed and stopped ones.
        rungs: Epochs at which values are compared, in ascending order, the full budget last.
        scale: Metric and number of validation images.
        axes: Fields of the design, or ``recipe.NAME``, to show as columns.

    Returns:
        One row for each design and recipe, the best first, indexed by place from 1, with columns

        design               id of the design
        recipe               id of the recipe
        trial                number of its first trial
        state                COMPLETE, PRUNED, FAIL or RUNNING
        epochs               rung of the comparison; 0 if it reached none
        validation_accuracy  mean over seeds at that rung; NaN at rung 0. The column is named after
                             the task's metric
        low, high            95 % interval: of the mean over seeds (Student) if n > 1, otherwise
                             only that due to the finite validation split (for an accuracy
                             Wilson's)
        std                  standard deviation between seeds; NaN if n is 1
        n                    number of seeds
        tied                 whether it may be as good as the leader, the first row, at the
                             leader's rung; see ``tied_with_leader``. The leader itself is tied;
                             designs at a lower rung are not
        params, macs         numbers of parameters, and of multiply-adds for one image
        ...                  the axes; "-" for one without effect on the design
        reason               reason of its failure; empty if it has not failed
        numerics             settings that determine the last bits: device, precision, torch
    """
    score = scale.metric.validation
    rows = [_row(group, rungs, scale, axes) for group in grouped(trials)]
    columns = [
        *(
            "design",
            "recipe",
            "trial",
            "state",
            "epochs",
            score,
            "low",
            "high",
            "std",
            "n",
            "tied",
        ),
        *("params", "macs", *axes, "reason", "numerics"),
    ]
    table = pd.DataFrame(rows, columns=["scores", *columns])
    # A mean over some folds is not comparable with one over all of them.
    table["whole"] = table.n >= scale.folds
    table = table.sort_values(
        ["whole", "epochs", score, "params"], ascending=[False, False, False, True], kind="stable"
    )
    first = table.iloc[:1]
    is_level = (table.whole == first.whole.all()) & (table.epochs == first.epochs.max())
    leading = is_level & (table.epochs > 0)
    tied = tied_with_leader(table.scores[leading].tolist(), scale)
    table["tied"] = tied + [False] * (len(table) - len(tied))
    table.index = pd.RangeIndex(1, len(table) + 1, name="place")
    return as_values(table[columns], scale.metric, [score], [("low", "high")])


def grouped(trials: Iterable[Trial]) -> list[list[Trial]]:
    """Group trainings by design and recipe, so that several seeds are one group."""
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(trial.key, []).append(trial)
    return list(groups.values())


def _row(
    group: list[Trial], rungs: Sequence[int], scale: Scale, axes: Sequence[str]
) -> dict[str, object]:
    first = group[0]
    # The training that limits the row, with its reason.
    last = min(group, key=lambda trial: rung_reached(trial, rungs))
    rung = rung_reached(last, rungs)
    values = [trial.curve[rung - 1].validation_score for trial in group] if rung else []
    low, high = interval(values, scale)
    row: dict[str, object] = {
        "scores": values,
        "design": first.design.id,
        "recipe": first.recipe.id,
        "trial": first.number,
        "state": last.state,
        "epochs": rung,
        scale.metric.validation: fmean(values) if values else float("nan"),
        "low": low,
        "high": high,
        "std": stdev(values) if len(values) > 1 else float("nan"),
        "n": len(group),
        "params": first.params,
        "macs": first.macs,
        "reason": last.reason,
        "numerics": numerics(group),
    }
    return row | {axis: level(first, axis) for axis in axes}


def level(trial: Trial | Candidate, axis: str) -> object:
    """Return the value of an axis in a training; "-" if it has no effect on the design.

    Args:
        trial: Record of the training, or a point of the space.
        axis: Field of the design, ``recipe.NAME``, or parameter of a space, such as
            ``shortcut[1]`` or ``layout.before_join``.
    """
    if axis.startswith(RECIPE):
        return getattr(trial.recipe, axis.removeprefix(RECIPE))
    design = trial.design
    field, stage, slot = split_name(axis)
    value = design.worded_links if field == "links" else getattr(design, field)
    if stage is not None:
        stages = len(design.depths)
        if stage >= stages:
            return "-"
        layout, merge, value = (
            spread(v, stages)[stage] for v in (design.layout, design.merge, value)
        )
        if not has_effect(field, [Layout.parse(layout)], [merge]):
            return "-"
    elif not design.has_effect(field):
        return "-"  # For example the shortcut of a plain block, whose value would mislead.
    if slot:
        return slots(Layout.parse(value)).get(slot, "-") if isinstance(value, str) else "-"
    return str(list(value)) if isinstance(value, tuple) else value


def numerics(trials: Iterable[Trial]) -> str:
    """Return the distinct numerical settings of some trainings."""
    return "; ".join(sorted({trial.numerics for trial in trials} - {""}))


def rung_reached(trial: Trial, rungs: Sequence[int]) -> int:
    """Return the highest rung that a training reached; 0 for none."""
    return max((rung for rung in rungs if rung <= len(trial.curve)), default=0)


def interval(scores: Sequence[float], scale: Scale) -> tuple[float, float]:
    """Return a 95 % interval of a score.

    Args:
        scores: Score of each seed. The interval of one score is due to the finite images alone;
            that of several is Student's for their mean, with a deviation of at least that of
            rounding to whole images, and corrected for folds, see ``Scale.mean_variance``.
        scale: Metric and number of images of each score.

    Returns:
        Both ends; NaN if there is no score.
    """
    if not scores:
        return float("nan"), float("nan")
    mean = fmean(scores)
    if len(scores) == 1:
        return scale.interval(mean)
    error = sqrt(max(variance(scores), scale.rounding) * scale.mean_variance(len(scores)))
    half = t_quantile(0.5 + CONFIDENCE / 2, len(scores) - 1) * error
    return scale.metric.clip(mean - half), scale.metric.clip(mean + half)
