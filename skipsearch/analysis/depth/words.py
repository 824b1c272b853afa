"""Tables and verdicts in sentences."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import pandas as pd

from skipsearch.analysis.depth.groups import LEAST_SEEDS
from skipsearch.analysis.depth.verdict import DEGRADES, GAINS, OVERFITS, TIED, UNKNOWN
from skipsearch.errors import counted
from skipsearch.metric import Metric, Scale

CLAIMS = {
    DEGRADES: "degrades as it gets deeper, for its training error rises",
    OVERFITS: "overfits as it gets deeper, for its validation error alone rises",
    GAINS: "gains from depth",
}


def short_claims(verdicts: pd.DataFrame, axes: Sequence[str]) -> Iterable[str]:
    """Yield the verdicts on the groups on which depth has an effect, without numbers.

    Args:
        verdicts: Verdicts of ``degradation``.
        axes: Axes that groups are named by.
    """
    for _, row in verdicts[verdicts.verdict.isin(CLAIMS)].iterrows():
        yield f"{group_name(row, axes)}: {CLAIMS[row.verdict]}."


def sentences(
    table: pd.DataFrame, verdicts: pd.DataFrame, axes: Sequence[str], scale: Scale
) -> Iterable[str]:
    """Yield the conclusions in sentences.

    Args:
        table: Table of ``degradation``.
        verdicts: Verdicts of ``degradation``.
        axes: Axes that groups are named by.
        scale: Metric of the scores, and number of folds.
    """
    judged = verdicts.deepest.notna()
    for _, row in verdicts[judged].iterrows():
        yield f"{group_name(row, axes)}: {row.verdict}. {_reason(row, scale)}"
    if not judged.all():
        which = f" about {counted(int((~judged).sum()), 'more group')}" if judged.any() else ""
        yield (
            f"{UNKNOWN.capitalize()}{which}. A verdict needs two depths with {LEAST_SEEDS}"
            f" {scale.repeat}s each, all else being equal."
        )
    yield from _convergence(table, axes)
    once = table.drop_duplicates(["design", "recipe"])  # a network may be in several groups
    stopped, failed = int(once.stopped.sum()), int(once.failed.sum())
    if stopped:
        yield (
            f"Early stopping ended {stopped} of these trainings before they could be compared:"
            " those that are left are the better ones, and depths look better than they are."
        )
    if failed:
        yield f"{failed} of these trainings failed, by divergence or out of memory."


def group_name(row: pd.Series, axes: Sequence[str]) -> str:
    """Return the name of a group by its layout and the axes that have an effect on it."""
    named = [axis for axis in axes if axis != "layout" and row[axis] != "-"]
    words = ["no links" if row[a] == "[]" else f"{a} {row[a]}" for a in named]
    layout = str(row["layout"]) if "layout" in row else ""
    kind = f"plain {layout}" if layout and "+" not in layout else layout
    return ", ".join(filter(None, [kind, *words])) or f"group {row['group']}"


def _reason(row: pd.Series, scale: Scale) -> str:
    metric = scale.metric
    train, validation = (_moves(row, split, metric) for split in ("train", "validation"))
    return (
        f"Training {metric.error} goes from {train}; validation {metric.error} goes from"
        f" {validation} (n = {row.n:g} {scale.repeat}s or more). {_stops(row)}"
    )


def _moves(row: pd.Series, name: str, metric: Metric) -> str:
    """Describe how an error changes from the best shallower network to the deepest."""
    best, least = row[f"{name}_best"], row[f"{name}_least"]
    rise, low, high = (row[f"{name}_rise{end}"] for end in ("", "_low", "_high"))
    change = metric.with_unit(metric.number(rise, "+"))
    return (
        f"{metric.text(least)} at {best:g} layers to {metric.text(least + rise)} at"
        f" {row.deepest:g} ({change},"
        f" {metric.number(low, '+')} to {metric.number(high, '+')})"
    )


def _stops(row: pd.Series) -> str:
    if row.verdict == TIED:
        return "The depths do not differ significantly."
    if row.enough == row.deepest:
        return f"Going deeper still helped at {row.deepest:g} layers, the deepest compared."
    where = f"at {row.best:g}" if row.best == row.enough else f"from {row.enough:g} to {row.best:g}"
    return f"Going deeper stops helping {where} layers."


def _convergence(table: pd.DataFrame, axes: Sequence[str]) -> Iterable[str]:
    """Describe which group converges faster, at the greatest depth that several groups have."""
    reached = table[table.epochs_to_loss < math.inf]
    shared = reached.groupby("layers").group.nunique()
    if (shared < 2).all():
        return
    here = reached[reached.layers == shared[shared > 1].index.max()].sort_values("epochs_to_loss")
    by = "; ".join(
        f"{row.epochs_to_loss:g} for {group_name(row, axes)}" for _, row in here.iterrows()
    )
    first = here.iloc[0]
    yield f"Epochs until a training loss of {first.loss:.3g}, at {first.layers} layers: {by}."
