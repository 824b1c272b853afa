"""Ranking at equal fidelity: by the rung that a training reached, then by its value there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import sqrt
from statistics import fmean, stdev, variance

import pandas as pd
from scipy.stats import t

from skipsearch.analysis.ties import tied_with_leader
from skipsearch.axes import RECIPE, slots, split_name
from skipsearch.fields import has_effect, spread
from skipsearch.intervals import rounding, wilson
from skipsearch.layout import Layout
from skipsearch.record import Trial
from skipsearch.space import Candidate

CONFIDENCE = 0.95


def rank(
    trials: Iterable[Trial],
    rungs: Sequence[int],
    validation_images: int,
    axes: Sequence[str] = ("layout", "shortcut", "merge", "depths"),
) -> pd.DataFrame:
    """Rank trainings at equal fidelity.

    A training stands at the highest rung that it reached, with the value that it had there:
    nothing it saw later, and no value of another budget, is compared with it. Trainings of one
    design and recipe with several seeds share a row, at the lowest rung among them.

    Args:
        trials: Records of a run, failed and stopped ones too.
        rungs: Epochs at which values are compared, rising, the full budget last.
        validation_images: Size of the validation split.
        axes: Fields of the design, or ``recipe.NAME``, to show as columns.

    Returns:
        One row a design and recipe, the best first, indexed by place from 1, with columns

        design               id of the design
        recipe               id of the recipe
        trial                number of its first trial
        state                COMPLETE, PRUNED, FAIL or RUNNING
        epochs               rung at which it is compared; 0 if it reached none
        validation_accuracy  mean over seeds at that rung; NaN at rung 0
        low, high            95 % interval: of the mean over seeds (Student) where n > 1, else
                             the one that the finite validation split alone leaves (Wilson)
        std                  deviation between seeds; NaN where n is 1
        n                    seeds
        tied                 whether the data cannot tell it apart from the leader, the first row,
                             at the leader's rung; see ``tied_with_leader``. The leader itself is
                             tied; what stands at a lower rung is not
        params, macs         of one image
        ...                  the axes; "-" where one has no effect on the design
        reason               why it failed
        numerics             what decided the last bits of its trainings: device, precision, torch
    """
    rows = [_row(group, rungs, validation_images, axes) for group in grouped(trials)]
    columns = [
        *(
            "design",
            "recipe",
            "trial",
            "state",
            "epochs",
            "validation_accuracy",
            "low",
            "high",
            "std",
            "n",
            "tied",
        ),
        *("params", "macs", *axes, "reason", "numerics"),
    ]
    table = pd.DataFrame(rows, columns=["accuracies", *columns])
    table = table.sort_values(
        ["epochs", "validation_accuracy", "params"], ascending=[False, False, True], kind="stable"
    )
    leading = (table.epochs == table.epochs.max()) & (table.epochs > 0)
    tied = tied_with_leader(table.accuracies[leading].tolist(), validation_images)
    table["tied"] = tied + [False] * (len(table) - len(tied))
    table.index = pd.RangeIndex(1, len(table) + 1, name="place")
    return table[columns]


def grouped(trials: Iterable[Trial]) -> list[list[Trial]]:
    """Put the trainings of one design and recipe together: several seeds are one group."""
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(trial.key, []).append(trial)
    return list(groups.values())


def _row(
    group: list[Trial], rungs: Sequence[int], validation_images: int, axes: Sequence[str]
) -> dict[str, object]:
    first = group[0]
    # The training that holds the row back, and says why.
    last = min(group, key=lambda trial: rung_reached(trial, rungs))
    rung = rung_reached(last, rungs)
    values = [trial.curve[rung - 1].validation_accuracy for trial in group] if rung else []
    low, high = interval(values, validation_images)
    row: dict[str, object] = {
        "accuracies": values,
        "design": first.design.id,
        "recipe": first.recipe.id,
        "trial": first.number,
        "state": last.state,
        "epochs": rung,
        "validation_accuracy": fmean(values) if values else float("nan"),
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
    """Return the value that an axis has in a training; "-" where it has no effect on the design.

    Args:
        trial: Its record, or a point of the space.
        axis: A field of the design, ``recipe.NAME``, or a parameter of a space, such as
            ``shortcut[1]`` or ``layout.before_join``.
    """
    if axis.startswith(RECIPE):
        return getattr(trial.recipe, axis.removeprefix(RECIPE))
    design = trial.design
    field, stage, slot = split_name(axis)
    value = getattr(design, field)
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
        return "-"  # The shortcut of a plain block, say: its value would mislead.
    if slot:
        return slots(Layout.parse(value)).get(slot, "-") if isinstance(value, str) else "-"
    return str(list(value)) if isinstance(value, tuple) else value


def numerics(trials: Iterable[Trial]) -> str:
    """Name what decided the last bits of some trainings, each once."""
    return "; ".join(sorted({trial.numerics for trial in trials} - {""}))


def rung_reached(trial: Trial, rungs: Sequence[int]) -> int:
    """Return the highest rung that a training reached; 0 for none."""
    return max((rung for rung in rungs if rung <= len(trial.curve)), default=0)


def interval(accuracies: Sequence[float], images: int) -> tuple[float, float]:
    """Return a 95 % interval of an accuracy.

    Args:
        accuracies: One a seed. With one, the interval is Wilson's for the images alone; with
            more, Student's for their mean, with a deviation no smaller than that of rounding to
            whole images.
        images: How many images each was measured on.

    Returns:
        Both ends; NaN where there is no accuracy.
    """
    if not accuracies:
        return float("nan"), float("nan")
    mean = fmean(accuracies)
    if len(accuracies) == 1:
        return wilson(mean, images)
    error = sqrt(max(variance(accuracies), rounding(images)) / len(accuracies))
    half = float(t.ppf(0.5 + CONFIDENCE / 2, len(accuracies) - 1)) * error
    return max(0.0, mean - half), min(1.0, mean + half)
